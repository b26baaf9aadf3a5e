using System;
using System.Collections.Generic;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace;

/// <summary>
/// What a stack has counted up to some moment, under the names that <c>nstat</c> prints (<c>TcpRetransSegs</c>,
/// <c>TcpExtTCPTimeouts</c>). Those that begin with <c>Millrace</c> count what Linux has no counter for: copies, wake-ups, polls.
/// </summary>
/// <remarks>Linux: /proc/net/snmp, /proc/net/netstat; the skb drop reasons.</remarks>
public sealed class NetCounters
{
    private readonly SortedDictionary<string, long> _values = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, long> _drops = new(StringComparer.Ordinal);

    private NetCounters()
    {
    }

    /// <summary>Every counter by name, in alphabetical order.</summary>
    public IReadOnlyDictionary<string, long> Values => _values;

    /// <summary>Packets that were dropped, by the kernel's name of the reason (<c>TCP_OLD_DATA</c>), in alphabetical order.</summary>
    public IReadOnlyDictionary<string, long> Drops => _drops;

    /// <summary>One counter.</summary>
    /// <exception cref="KeyNotFoundException">There is no counter of that name.</exception>
    public long this[string name] => _values.TryGetValue(name, out long value)
        ? value
        : throw new KeyNotFoundException($"There is no counter named {name}.");

    /// <summary>What was counted since an earlier moment.</summary>
    public NetCounters Since(NetCounters earlier)
    {
        ArgumentNullException.ThrowIfNull(earlier);
        var difference = new NetCounters();
        foreach ((string name, long value) in _values)
            difference._values.Add(name, value - earlier._values[name]);
        foreach ((string name, long value) in _drops)
            difference._drops.Add(name, value - earlier._drops[name]);
        return difference;
    }

    internal static NetCounters Snapshot(CpuSet cpus)
    {
        var counters = new NetCounters();
        foreach (Mib mib in Enum.GetValues<Mib>())
            counters._values.Add(mib.ToString(), cpus.Read(mib));
        foreach (DropReason reason in Enum.GetValues<DropReason>())
        {
            if (reason != DropReason.None)
                counters._drops.Add(reason.KernelName(), cpus.Read(reason));
        }
        return counters;
    }
}
