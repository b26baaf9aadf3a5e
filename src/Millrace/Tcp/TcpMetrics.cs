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
            sk.Reorder.Degree = entry.Reordering;
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
            MakeRoom();
            var key = (sk.SourceAddr, sk.RemoteAddr);
            Entry entry = _entries.GetValueOrDefault(key);
            if (!sk.Cc.InInitialSlowStart)
                entry.Ssthresh = sk.Cc.Cwnd > sk.Cc.Ssthresh ? System.Math.Max(sk.Cc.Cwnd >> 1, sk.Cc.Ssthresh) : sk.Cc.Ssthresh;
            if (sk.Reorder.Degree > entry.Reordering && sk.Reorder.Degree != sysctls.TcpReordering)
                entry.Reordering = sk.Reorder.Degree;
            _entries[key] = entry;
        }
    }

    /// <summary>
    /// The Fast Open option for a SYN to this peer: its cookie, or, if none is known, the request for one; and the MSS that it had.
    /// Linux: tcp_fastopen_cache_get.
    /// </summary>
    public FastOpenCookie FindCookie(TcpSock sk, out ushort mss)
    {
        lock (_lock)
        {
            Entry entry = _entries.GetValueOrDefault((sk.SourceAddr, sk.RemoteAddr));
            mss = entry.Mss;
            return entry.Cookie.HasCookie ? entry.Cookie : new FastOpenCookie([], entry.Cookie.IsExperimental || entry.TryExperimental == 1);
        }
    }

    /// <summary>
    /// What a SYN-ACK has told about Fast Open. <paramref name="tryExperimental"/>: 1, the peer did not know the option, perhaps it
    /// knows the older one; 2, nor that. Linux: tcp_fastopen_cache_set.
    /// </summary>
    public void LearnCookie(TcpSock sk, ushort mss, in FastOpenCookie cookie, byte tryExperimental)
    {
        lock (_lock)
        {
            MakeRoom();
            var key = (sk.SourceAddr, sk.RemoteAddr);
            Entry entry = _entries.GetValueOrDefault(key);
            if (mss != 0)
                entry.Mss = mss;
            if (cookie.HasCookie)
                entry.Cookie = cookie;
            else if (tryExperimental > entry.TryExperimental && !entry.Cookie.HasCookie && !entry.Cookie.IsExperimental)
                entry.TryExperimental = tryExperimental;
            _entries[key] = entry;
        }
    }

    private void MakeRoom()
    {
        if (_entries.Count >= MaxEntries)
            _entries.Clear();
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

        /// <summary>Fast Open: the peer's MSS and cookie. Linux: tcp_fastopen_metrics.</summary>
        public ushort Mss;
        public FastOpenCookie Cookie;
        public byte TryExperimental;
    }
}
