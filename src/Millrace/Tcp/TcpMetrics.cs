using System.Collections.Generic;
using System.Diagnostics.CodeAnalysis;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// What earlier connections have learned about pairs of addresses, for the next connection between them to start with. Bounded: who
/// was not asked for the longest goes.
/// </summary>
/// <remarks>
/// Linux: tcp_metrics.c. Deviates: one list in order of use where Linux keeps five entries a hash chain and drops a chain's oldest.
/// Called with the socket owned or locked; the table has its own lock, which is the innermost.
/// </remarks>
internal sealed class TcpMetrics(Sysctls sysctls)
{
    /// <summary>Pairs that are remembered.</summary>
    public const int MaxEntries = 4096;

    /// <summary>What is older is taken anew from the route. Linux: TCP_METRICS_TIMEOUT.</summary>
    private static readonly Micros s_lifetime = Micros.FromSeconds(3600);

    private readonly Dictionary<(IpAddr Source, IpAddr Remote), LinkedListNode<Entry>> _entries = [];
    private readonly LinkedList<Entry> _byUse = [];
    private SpinLock32 _lock;

    /// <summary>Starts a connection with what is known. Linux: tcp_init_metrics.</summary>
    public void Apply(Cpu cpu, TcpSock sk)
    {
        // The handshake's own losses say nothing about the path's room.
        sk.Cc.Ssthresh = TcpConstants.InfiniteSsthresh;
        PeerMetrics known = sk.Route is { } route ? Look(cpu, sk, route) : default;
        if ((known.Locked & LearnedMetrics.Cwnd) != 0)
            sk.Cc.Clamp = known.Cwnd;
        if (known.Ssthresh != 0 && !sysctls.TcpNoSsthreshMetricsSave)
            sk.Cc.Ssthresh = System.Math.Min(known.Ssthresh, sk.Cc.Clamp);
        if (known.Reordering != 0)
            sk.Reorder.Degree = (ushort)known.Reordering;
        sk.StartRtoFrom(known.Srtt8);
    }

    /// <summary>Remembers what a connection that ends has learned. Linux: tcp_update_metrics.</summary>
    public void Learn(Cpu cpu, TcpSock sk)
    {
        if (sysctls.TcpNoMetricsSave || sk.Route is not { } route)
            return;
        bool measured = sk.Backoff == 0 && sk.Rtt.HasSample;
        _lock.Lock(cpu);
        Entry? entry = measured ? FindOrAdd(cpu, sk, route) : Find(cpu, sk.SourceAddr, sk.RemoteAddr, route);
        if (measured)
            entry!.Metrics.Learn(sk, !sysctls.TcpNoSsthreshMetricsSave, cpu.Now);
        else if (entry is not null && (entry.Metrics.Locked & LearnedMetrics.Rtt) == 0)
            entry.Metrics.Srtt8 = 0;
        _lock.Unlock(cpu);
    }

    /// <summary>Whether a connection with this peer has ended well, so that a SYN from there is no forgery. Linux: tcp_peer_is_proven.</summary>
    public bool IsProven(Cpu cpu, IpAddr source, IpAddr remote, Route route)
    {
        _lock.Lock(cpu);
        bool proven = Find(cpu, source, remote, route) is { Metrics.Srtt8: > 0 };
        _lock.Unlock(cpu);
        return proven;
    }

    /// <summary>
    /// The Fast Open option for a SYN to this peer: its cookie, or, if none is known, the request for one; and the MSS that it had.
    /// Linux: tcp_fastopen_cache_get.
    /// </summary>
    public FastOpenCookie FindCookie(Cpu cpu, TcpSock sk, out ushort mss)
    {
        PeerMetrics known = sk.Route is { } route ? Look(cpu, sk, route) : default;
        mss = known.FastOpenMss;
        return known.Cookie.HasCookie ? known.Cookie : new FastOpenCookie([], known.Cookie.IsExperimental || known.TryExperimental == 1);
    }

    /// <summary>
    /// What a SYN-ACK has told about Fast Open. <paramref name="tryExperimental"/>: 1, the peer did not know the option, perhaps it
    /// knows the older one; 2, nor that. Linux: tcp_fastopen_cache_set.
    /// </summary>
    /// <param name="synLost">The SYN had to be repeated without the option.</param>
    public void LearnCookie(Cpu cpu, TcpSock sk, ushort mss, in FastOpenCookie cookie, bool synLost, byte tryExperimental)
    {
        if (sk.Route is not { } route)
            return;
        _lock.Lock(cpu);
        ref PeerMetrics known = ref FindOrAdd(cpu, sk, route).Metrics;
        if (mss != 0)
            known.FastOpenMss = mss;
        if (cookie.HasCookie)
            known.Cookie = cookie;
        else if (tryExperimental > known.TryExperimental && !known.Cookie.HasCookie && !known.Cookie.IsExperimental)
            known.TryExperimental = tryExperimental;
        known.SynLosses = synLost ? (ushort)(known.SynLosses + 1) : (ushort)0;
        if (synLost)
            known.LastSynLoss = cpu.Now;
        _lock.Unlock(cpu);
    }

    /// <summary>All that is remembered, the last used first. Linux: tcp_metrics_nl_dump.</summary>
    public List<TcpMetricsEntry> List(Cpu cpu)
    {
        var list = new List<TcpMetricsEntry>();
        _lock.Lock(cpu);
        foreach (Entry entry in _byUse)
            list.Add(entry.Describe(cpu.Now));
        _lock.Unlock(cpu);
        return list;
    }

    /// <summary>Forgets everything, or what is known of one peer; the count of entries. Linux: tcp_metrics_nl_cmd_del.</summary>
    public int Flush(Cpu cpu, IpAddr? remote)
    {
        int removed = 0;
        _lock.Lock(cpu);
        for (LinkedListNode<Entry>? at = _byUse.First, next; at is not null; at = next)
        {
            next = at.Next;
            if (remote is { } only && at.Value.Remote != only)
                continue;
            Remove(at);
            removed++;
        }
        _lock.Unlock(cpu);
        return removed;
    }

    private PeerMetrics Look(Cpu cpu, TcpSock sk, Route route)
    {
        _lock.Lock(cpu);
        Entry? entry = Find(cpu, sk.SourceAddr, sk.RemoteAddr, route);
        PeerMetrics known = entry?.Metrics ?? default;
        _lock.Unlock(cpu);
        return known;
    }

    // Linux: __tcp_get_metrics, tcpm_check_stamp.
    private Entry? Find(Cpu cpu, IpAddr source, IpAddr remote, Route route)
    {
        if (!_entries.TryGetValue((source, remote), out LinkedListNode<Entry>? node))
            return null;
        _byUse.Remove(node);
        _byUse.AddFirst(node);
        if (cpu.Now - node.Value.Metrics.Stamp > s_lifetime)
            node.Value.Metrics.TakeFrom(route.Metrics, cpu.Now);
        return node.Value;
    }

    // Linux: tcp_get_metrics, tcpm_new.
    [return: NotNull]
    private Entry FindOrAdd(Cpu cpu, TcpSock sk, Route route)
    {
        if (Find(cpu, sk.SourceAddr, sk.RemoteAddr, route) is { } known)
            return known;
        if (_entries.Count >= MaxEntries)
            Remove(_byUse.Last!);
        var entry = new Entry(sk.SourceAddr, sk.RemoteAddr);
        entry.Metrics.TakeFrom(route.Metrics, cpu.Now);
        _entries.Add((entry.Source, entry.Remote), _byUse.AddFirst(entry));
        return entry;
    }

    private void Remove(LinkedListNode<Entry> node)
    {
        _entries.Remove((node.Value.Source, node.Value.Remote));
        _byUse.Remove(node);
    }

    private sealed class Entry(IpAddr source, IpAddr remote)
    {
        public PeerMetrics Metrics;

        public IpAddr Source { get; } = source;

        public IpAddr Remote { get; } = remote;

        public TcpMetricsEntry Describe(Micros now) => new()
        {
            Source = Source.ToIPAddress(),
            Remote = Remote.ToIPAddress(),
            Age = (now - Metrics.Stamp).ToTimeSpan(),
            RoundTrip = new Micros(Metrics.Srtt8 >> 3).ToTimeSpan(),
            RoundTripVariation = new Micros(Metrics.Rttvar4 >> 2).ToTimeSpan(),
            SlowStartThreshold = (int)Metrics.Ssthresh,
            CongestionWindow = (int)Metrics.Cwnd,
            Reordering = (int)Metrics.Reordering,
            FastOpenMss = Metrics.FastOpenMss,
            FastOpenCookie = Metrics.Cookie.Bytes,
            FastOpenSynLosses = Metrics.SynLosses,
            LastFastOpenSynLoss = Metrics.SynLosses == 0 ? default : (now - Metrics.LastSynLoss).ToTimeSpan(),
        };
    }
}
