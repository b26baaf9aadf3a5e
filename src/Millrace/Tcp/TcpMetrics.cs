using System.Collections.Generic;
using System.Threading;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>What earlier connections have learned about a pair of addresses. Bounded. Linux: tcp_metrics.c.</summary>
internal sealed class TcpMetrics(Sysctls sysctls)
{
    private const int MaxEntries = 4096;

    private readonly Lock _lock = new();
    private readonly Dictionary<(IpAddr Local, IpAddr Remote), Entry> _entries = [];

    /// <summary>Starts a connection with what is known. Linux: tcp_init_metrics.</summary>
    public void Apply(Cpu cpu, TcpSock sk)
    {
        Entry entry;
        lock (_lock)
        {
            if (!_entries.TryGetValue((sk.SourceAddr, sk.RemoteAddr), out entry))
                entry = default;
        }
        if (entry.Ssthresh != 0 && !sysctls.TcpNoSsthreshMetricsSave)
            sk.Cc.Ssthresh = entry.Ssthresh;
        if (entry.Reordering != 0)
            sk.Reordering = entry.Reordering;
        // RFC 6298 §5.7: without a sample of its own, the first timeout after a lost SYN is three seconds.
        if (!sk.Rtt.HasSample)
            sk.ResetRttAfterLostSyn();
    }

    /// <summary>Remembers what a connection that ends well has learned. Linux: tcp_update_metrics.</summary>
    public void Learn(Cpu cpu, TcpSock sk)
    {
        if (sysctls.TcpNoMetricsSave || !sk.Rtt.HasSample)
            return;
        lock (_lock)
        {
            if (_entries.Count >= MaxEntries)
                _entries.Clear();
            var key = (sk.SourceAddr, sk.RemoteAddr);
            Entry entry = _entries.GetValueOrDefault(key);
            if (!sk.Cc.InInitialSlowStart)
                entry.Ssthresh = sk.Cc.Cwnd > sk.Cc.Ssthresh ? System.Math.Max(sk.Cc.Cwnd >> 1, sk.Cc.Ssthresh) : sk.Cc.Ssthresh;
            if (sk.Reordering > entry.Reordering && sk.Reordering != sysctls.TcpReordering)
                entry.Reordering = sk.Reordering;
            _entries[key] = entry;
        }
    }

    /// <summary>Linux: ip tcp_metrics flush.</summary>
    public void Flush()
    {
        lock (_lock)
            _entries.Clear();
    }

    private struct Entry
    {
        public uint Ssthresh;
        public ushort Reordering;
    }
}
