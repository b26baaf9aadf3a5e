using System;

namespace Millrace;

/// <summary>How a <see cref="NetStack"/> is made.</summary>
public sealed class NetStackOptions
{
    /// <summary>Shown in traces and lists.</summary>
    public string Name { get; set; } = "millrace";

    /// <summary>
    /// CPUs of the stack: shares of per-CPU state that threads lease. Zero: twice the machine's, so that a thread that the system
    /// preempts holds nobody up; a simulated stack has one.
    /// </summary>
    public int Cpus { get; set; }

    /// <summary>Decides secrets and choices, so that a stack can be run the same way again; null draws them from the system.</summary>
    public ulong? Seed { get; set; }

    /// <summary>What may be done with sockets.</summary>
    public SecurityPolicy Security { get; set; } = SecurityPolicy.AllowAll;

    /// <summary>
    /// Whether continuations of asynchronous operations run on the thread that completed them, which may be the one that polls the
    /// device: the fastest way, for code that never blocks. Otherwise they go to the thread pool.
    /// </summary>
    public bool InlineCompletions { get; set; }

    /// <summary>Bytes that the buffers of all TCP connections may hold; zero for Linux's share of 8 GiB. Linux: net.ipv4.tcp_mem.</summary>
    public long MemoryBudget { get; set; }

    /// <summary>Descriptors of a process.</summary>
    public int FileLimit { get; set; } = 1 << 20;

    /// <summary>A copy for a simulated machine: nothing of it is left to the real one.</summary>
    internal NetStackOptions ForSimulation(ulong seed)
    {
        var copy = (NetStackOptions)MemberwiseClone();
        copy.Seed ??= seed;
        copy.Cpus = Math.Max(Cpus, 1);
        return copy;
    }
}
