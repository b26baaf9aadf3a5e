namespace Millrace;

/// <summary>
/// How neighbours are found and forgotten: <c>net.ipv4.neigh.default.*</c> or <c>net.ipv6.neigh.default.*</c>, for all devices of a stack.
/// </summary>
/// <remarks>Linux: neigh_sysctl_template, arp_tbl, nd_tbl.</remarks>
public sealed class NeighbourSysctls
{
    internal NeighbourSysctls(int lockTime) => LockTime = lockTime;

    /// <summary>base_reachable_time_ms: how long an answer is believed, on average.</summary>
    public int BaseReachableTimeMs { get; set; } = 30_000;

    /// <summary>delay_first_probe_time, seconds: how long a stale neighbour may prove itself alive before it is asked.</summary>
    public int DelayFirstProbeTime { get; set; } = 5;

    /// <summary>retrans_time_ms: between one question and the next.</summary>
    public int RetransTimeMs { get; set; } = 1000;

    /// <summary>ucast_solicit: questions to the known address.</summary>
    public int UcastSolicit { get; set; } = 3;

    /// <summary>mcast_solicit: questions to all, while the address is not known.</summary>
    public int McastSolicit { get; set; } = 3;

    /// <summary>mcast_resolicit: questions to all, when the known address has not answered.</summary>
    public int McastResolicit { get; set; }

    /// <summary>unres_qlen_bytes: memory of the packets that wait for one neighbour.</summary>
    public int UnresQlenBytes { get; set; } = 212_992;

    /// <summary>locktime, hundredths of a second: within it the first of several different answers stays.</summary>
    public int LockTime { get; set; }

    /// <summary>gc_stale_time, seconds: an entry that nobody has used for so long may be forgotten.</summary>
    public int GcStaleTime { get; set; } = 60;

    /// <summary>gc_thresh1: a table with fewer entries forgets nothing.</summary>
    public int GcThresh1 { get; set; } = 128;

    /// <summary>gc_thresh2: from here on entries older than five seconds make room.</summary>
    public int GcThresh2 { get; set; } = 512;

    /// <summary>gc_thresh3: entries that there are at most.</summary>
    public int GcThresh3 { get; set; } = 1024;
}
