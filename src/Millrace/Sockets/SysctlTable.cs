using System;
using System.Collections.Frozen;
using System.Collections.Generic;

namespace Millrace.Sockets;

/// <summary>Every setting by its name, in the order in which they are listed.</summary>
/// <remarks>
/// Linux: net_core_table, ipv4_net_table, ipv4_route_netns_table; the bounds are those that 6.18 was seen to keep.
/// Deviates: a switch that Linux keeps in a byte takes 0 to 255 as there, and is read back as 0 or 1; where a
/// negative number means nothing it is refused; HZ is 1000, so that milliseconds are kept as they are written; a row with one bad
/// number changes nothing.
/// </remarks>
internal static class SysctlTable
{
    private const long Byte = 255;
    private const long Int = int.MaxValue;
    private const long Seconds = int.MaxValue / 1000;

    public static IReadOnlyList<Sysctl> All { get; } =
    [
        Number("net.core.dev_weight", static s => s.DevWeight, static (s, v) => s.DevWeight = (int)v, 1),
        Number("net.core.netdev_budget", static s => s.NetdevBudget, static (s, v) => s.NetdevBudget = (int)v),
        Number("net.core.netdev_budget_usecs", static s => s.NetdevBudgetUsecs, static (s, v) => s.NetdevBudgetUsecs = (int)v),
        Number("net.core.netdev_max_backlog", static s => s.NetdevMaxBacklog, static (s, v) => s.NetdevMaxBacklog = (int)v),
        Number("net.core.optmem_max", static s => s.OptmemMax, static (s, v) => s.OptmemMax = (int)v),
        Number("net.core.rmem_default", static s => s.RmemDefault, static (s, v) => s.RmemDefault = (int)v, Sock.MinReceiveBuffer),
        Number("net.core.rmem_max", static s => s.RmemMax, static (s, v) => s.RmemMax = (int)v, Sock.MinReceiveBuffer),
        Number("net.core.somaxconn", static s => s.SoMaxConn, static (s, v) => s.SoMaxConn = (int)v),
        Number("net.core.txrehash", static s => s.TxRehash, static (s, v) => s.TxRehash = (int)v, 0, 1),
        Number("net.core.wmem_default", static s => s.WmemDefault, static (s, v) => s.WmemDefault = (int)v, Sock.MinSendBuffer),
        Number("net.core.wmem_max", static s => s.WmemMax, static (s, v) => s.WmemMax = (int)v, Sock.MinSendBuffer),

        Flag("net.ipv4.conf.all.arp_notify", static s => s.ArpNotify, static (s, v) => s.ArpNotify = v, Int),
        Flag("net.ipv4.icmp_echo_ignore_all", static s => s.IcmpEchoIgnoreAll, static (s, v) => s.IcmpEchoIgnoreAll = v, 1),
        Number("net.ipv4.icmp_msgs_burst", static s => s.IcmpMsgsBurst, static (s, v) => s.IcmpMsgsBurst = (int)v),
        Number("net.ipv4.icmp_msgs_per_sec", static s => s.IcmpMsgsPerSec, static (s, v) => s.IcmpMsgsPerSec = (int)v),
        Number("net.ipv4.icmp_ratelimit", static s => s.IcmpRateLimit, static (s, v) => s.IcmpRateLimit = (int)v),
        Number("net.ipv4.icmp_ratemask", static s => s.IcmpRateMask, static (s, v) => s.IcmpRateMask = (int)v, int.MinValue),
        Flag("net.ipv4.ip_autobind_reuse", static s => s.IpAutobindReuse, static (s, v) => s.IpAutobindReuse = v, 1),
        Number("net.ipv4.ip_default_ttl", static s => s.IpDefaultTtl, static (s, v) => s.IpDefaultTtl = (byte)v, 1, Byte),
        Flag("net.ipv4.ip_early_demux", static s => s.IpEarlyDemux, static (s, v) => s.IpEarlyDemux = v),
        new NumberSysctl("net.ipv4.ip_local_port_range", static s => [s.IpLocalPortRange.Low, s.IpLocalPortRange.High], SetPortRange, 1, 65535),
        new TextSysctl("net.ipv4.ip_local_reserved_ports", static s => s.IpLocalReservedPorts, static (s, v) => s.SetReservedPorts(v)),
        Number("net.ipv4.ip_no_pmtu_disc", static s => s.IpNoPmtuDisc, static (s, v) => s.IpNoPmtuDisc = (int)v, 0, Byte),
        Flag("net.ipv4.ip_nonlocal_bind", static s => s.IpNonlocalBind, static (s, v) => s.IpNonlocalBind = v),
        new NumberSysctl("net.ipv4.ip_unprivileged_port_start", static s => [s.IpUnprivilegedPortStart], SetUnprivilegedStart, 0, 65535),
        .. Neighbours("net.ipv4.neigh.default", static s => s.Neigh4),
        Number("net.ipv4.route.min_adv_mss", static s => s.MinAdvMss, static (s, v) => s.MinAdvMss = (int)v),
        Number("net.ipv4.route.min_pmtu", static s => s.MinPmtu, static (s, v) => s.MinPmtu = (int)v, 68),

        Flag("net.ipv4.tcp_abort_on_overflow", static s => s.TcpAbortOnOverflow, static (s, v) => s.TcpAbortOnOverflow = v),
        Number("net.ipv4.tcp_app_win", static s => s.TcpAppWin, static (s, v) => s.TcpAppWin = (int)v, 0, 31),
        Flag("net.ipv4.tcp_autocorking", static s => s.TcpAutocorking, static (s, v) => s.TcpAutocorking = v, 1),
        new TextSysctl("net.ipv4.tcp_available_congestion_control", static s => s.AvailableCongestionControl(), null),
        Flag("net.ipv4.tcp_backlog_ack_defer", static s => s.TcpBacklogAckDefer, static (s, v) => s.TcpBacklogAckDefer = v, 1),
        Number("net.ipv4.tcp_base_mss", static s => s.TcpBaseMss, static (s, v) => s.TcpBaseMss = (int)v),
        Number("net.ipv4.tcp_challenge_ack_limit", static s => s.TcpChallengeAckLimit, static (s, v) => s.TcpChallengeAckLimit = (int)v),
        Number("net.ipv4.tcp_comp_sack_delay_ns", static s => s.TcpCompSackDelayNs, static (s, v) => s.TcpCompSackDelayNs = v, 0, long.MaxValue),
        Number("net.ipv4.tcp_comp_sack_nr", static s => s.TcpCompSackNr, static (s, v) => s.TcpCompSackNr = (int)v, 0, Byte),
        Number("net.ipv4.tcp_comp_sack_rtt_percent", static s => s.TcpCompSackRttPercent, static (s, v) => s.TcpCompSackRttPercent = (int)v, 1, 1000),
        new TextSysctl("net.ipv4.tcp_congestion_control", static s => s.TcpCongestionControl, SetCongestionControl),
        Flag("net.ipv4.tcp_dsack", static s => s.TcpDsack, static (s, v) => s.TcpDsack = v),
        Flag("net.ipv4.tcp_early_demux", static s => s.TcpEarlyDemux, static (s, v) => s.TcpEarlyDemux = v),
        Number("net.ipv4.tcp_early_retrans", static s => s.TcpEarlyRetrans, static (s, v) => s.TcpEarlyRetrans = (int)v, 0, 4),
        Number("net.ipv4.tcp_ecn", static s => s.TcpEcn, static (s, v) => s.TcpEcn = (int)v, 0, 5),
        Flag("net.ipv4.tcp_ecn_fallback", static s => s.TcpEcnFallback, static (s, v) => s.TcpEcnFallback = v, 1),
        Number("net.ipv4.tcp_ecn_option", static s => s.TcpEcnOption, static (s, v) => s.TcpEcnOption = (int)v, 0, 3),
        Number("net.ipv4.tcp_ecn_option_beacon", static s => s.TcpEcnOptionBeacon, static (s, v) => s.TcpEcnOptionBeacon = (int)v, 0, 3),
        Number("net.ipv4.tcp_fastopen", static s => s.TcpFastopen, static (s, v) => s.TcpFastopen = (int)v),
        Number("net.ipv4.tcp_fastopen_blackhole_timeout_sec", static s => s.TcpFastopenBlackholeTimeoutSec,
            static (s, v) => s.TcpFastopenBlackholeTimeoutSec = (int)v),
        new TextSysctl("net.ipv4.tcp_fastopen_key", static s => s.TcpFastopenKey, static (s, v) => s.SetFastOpenKeys(v)),
        Number("net.ipv4.tcp_fin_timeout", static s => s.TcpFinTimeout, static (s, v) => s.TcpFinTimeout = (int)v, 0, Seconds),
        Number("net.ipv4.tcp_frto", static s => s.TcpFrto, static (s, v) => s.TcpFrto = (int)v, 0, Byte),
        Number("net.ipv4.tcp_invalid_ratelimit", static s => s.TcpInvalidRatelimit, static (s, v) => s.TcpInvalidRatelimit = (int)v),
        Number("net.ipv4.tcp_keepalive_intvl", static s => s.TcpKeepaliveIntvl, static (s, v) => s.TcpKeepaliveIntvl = (int)v, 0, Seconds),
        Number("net.ipv4.tcp_keepalive_probes", static s => s.TcpKeepaliveProbes, static (s, v) => s.TcpKeepaliveProbes = (int)v, 0, Byte),
        Number("net.ipv4.tcp_keepalive_time", static s => s.TcpKeepaliveTime, static (s, v) => s.TcpKeepaliveTime = (int)v, 0, Seconds),
        Number("net.ipv4.tcp_limit_output_bytes", static s => s.TcpLimitOutputBytes, static (s, v) => s.TcpLimitOutputBytes = (int)v),
        Number("net.ipv4.tcp_max_orphans", static s => s.TcpMaxOrphans, static (s, v) => s.TcpMaxOrphans = (int)v),
        Number("net.ipv4.tcp_max_reordering", static s => s.TcpMaxReordering, static (s, v) => s.TcpMaxReordering = (int)v, 1),
        Number("net.ipv4.tcp_max_syn_backlog", static s => s.TcpMaxSynBacklog, static (s, v) => s.TcpMaxSynBacklog = (int)v),
        Number("net.ipv4.tcp_max_tw_buckets", static s => s.TcpMaxTwBuckets, static (s, v) => s.TcpMaxTwBuckets = (int)v),
        new NumberSysctl("net.ipv4.tcp_mem", static s => [s.TcpMem.Low, s.TcpMem.Pressure, s.TcpMem.High],
            static (s, v) => Done(s.TcpMem = (v[0], v[1], v[2])), 0, long.MaxValue),
        Number("net.ipv4.tcp_min_rtt_wlen", static s => s.TcpMinRttWlen, static (s, v) => s.TcpMinRttWlen = (int)v, 0, 86400),
        Number("net.ipv4.tcp_min_snd_mss", static s => s.TcpMinSndMss, static (s, v) => s.TcpMinSndMss = (int)v, 48, 65535),
        Number("net.ipv4.tcp_min_tso_segs", static s => s.TcpMinTsoSegs, static (s, v) => s.TcpMinTsoSegs = (int)v, 1, Byte),
        Flag("net.ipv4.tcp_moderate_rcvbuf", static s => s.TcpModerateRcvbuf, static (s, v) => s.TcpModerateRcvbuf = v),
        Number("net.ipv4.tcp_mtu_probe_floor", static s => s.TcpMtuProbeFloor, static (s, v) => s.TcpMtuProbeFloor = (int)v, 48, 65535),
        Number("net.ipv4.tcp_mtu_probing", static s => s.TcpMtuProbing, static (s, v) => s.TcpMtuProbing = (int)v, 0, Byte),
        Flag("net.ipv4.tcp_no_metrics_save", static s => s.TcpNoMetricsSave, static (s, v) => s.TcpNoMetricsSave = v),
        Flag("net.ipv4.tcp_no_ssthresh_metrics_save", static s => s.TcpNoSsthreshMetricsSave, static (s, v) => s.TcpNoSsthreshMetricsSave = v, 1),
        Number("net.ipv4.tcp_notsent_lowat", static s => s.TcpNotsentLowat, static (s, v) => s.TcpNotsentLowat = (uint)v, 0, uint.MaxValue),
        Number("net.ipv4.tcp_orphan_retries", static s => s.TcpOrphanRetries, static (s, v) => s.TcpOrphanRetries = (int)v, 0, Byte),
        Number("net.ipv4.tcp_pacing_ca_ratio", static s => s.TcpPacingCaRatio, static (s, v) => s.TcpPacingCaRatio = (int)v, 0, 1000),
        Number("net.ipv4.tcp_pacing_ss_ratio", static s => s.TcpPacingSsRatio, static (s, v) => s.TcpPacingSsRatio = (int)v, 0, 1000),
        Number("net.ipv4.tcp_pingpong_thresh", static s => s.TcpPingpongThresh, static (s, v) => s.TcpPingpongThresh = (int)v, 1, Byte),
        Number("net.ipv4.tcp_probe_interval", static s => s.TcpProbeInterval, static (s, v) => s.TcpProbeInterval = (int)v, 0, Seconds),
        Number("net.ipv4.tcp_probe_threshold", static s => s.TcpProbeThreshold, static (s, v) => s.TcpProbeThreshold = (int)v),
        Number("net.ipv4.tcp_recovery", static s => s.TcpRecovery, static (s, v) => s.TcpRecovery = (int)v, 0, Byte),
        Flag("net.ipv4.tcp_reflect_tos", static s => s.TcpReflectTos, static (s, v) => s.TcpReflectTos = v, 1),
        Number("net.ipv4.tcp_reordering", static s => s.TcpReordering, static (s, v) => s.TcpReordering = (int)v, 1, 300),
        Flag("net.ipv4.tcp_retrans_collapse", static s => s.TcpRetransCollapse, static (s, v) => s.TcpRetransCollapse = v),
        Number("net.ipv4.tcp_retries1", static s => s.TcpRetries1, static (s, v) => s.TcpRetries1 = (int)v, 0, Byte),
        Number("net.ipv4.tcp_retries2", static s => s.TcpRetries2, static (s, v) => s.TcpRetries2 = (int)v, 0, Byte),
        Flag("net.ipv4.tcp_rfc1337", static s => s.TcpRfc1337, static (s, v) => s.TcpRfc1337 = v),
        new NumberSysctl("net.ipv4.tcp_rmem", static s => Row(s.TcpRmem), static (s, v) => Done(s.TcpRmem = Triple(v)), 1, Int),
        Number("net.ipv4.tcp_rto_max_ms", static s => s.TcpRtoMaxMs, static (s, v) => s.TcpRtoMaxMs = (int)v, 1000, 120_000),
        Number("net.ipv4.tcp_rto_min_us", static s => s.TcpRtoMinUs, static (s, v) => s.TcpRtoMinUs = (int)v, 1),
        Flag("net.ipv4.tcp_sack", static s => s.TcpSack, static (s, v) => s.TcpSack = v),
        Flag("net.ipv4.tcp_shrink_window", static s => s.TcpShrinkWindow, static (s, v) => s.TcpShrinkWindow = v, 1),
        Flag("net.ipv4.tcp_slow_start_after_idle", static s => s.TcpSlowStartAfterIdle, static (s, v) => s.TcpSlowStartAfterIdle = v),
        Flag("net.ipv4.tcp_stdurg", static s => s.TcpStdurg, static (s, v) => s.TcpStdurg = v),
        Number("net.ipv4.tcp_syn_linear_timeouts", static s => s.TcpSynLinearTimeouts, static (s, v) => s.TcpSynLinearTimeouts = (int)v, 0, 127),
        Number("net.ipv4.tcp_syn_retries", static s => s.TcpSynRetries, static (s, v) => s.TcpSynRetries = (int)v, 1, 127),
        Number("net.ipv4.tcp_synack_retries", static s => s.TcpSynackRetries, static (s, v) => s.TcpSynackRetries = (int)v, 0, Byte),
        Number("net.ipv4.tcp_syncookies", static s => s.TcpSyncookies, static (s, v) => s.TcpSyncookies = (int)v, 0, Byte),
        Flag("net.ipv4.tcp_thin_linear_timeouts", static s => s.TcpThinLinearTimeouts, static (s, v) => s.TcpThinLinearTimeouts = v),
        Number("net.ipv4.tcp_timestamps", static s => s.TcpTimestamps, static (s, v) => s.TcpTimestamps = (int)v, 0, Byte),
        Number("net.ipv4.tcp_tso_rtt_log", static s => s.TcpTsoRttLog, static (s, v) => s.TcpTsoRttLog = (int)v, 0, Byte),
        Number("net.ipv4.tcp_tso_win_divisor", static s => s.TcpTsoWinDivisor, static (s, v) => s.TcpTsoWinDivisor = (int)v, 0, Byte),
        Number("net.ipv4.tcp_tw_reuse", static s => s.TcpTwReuse, static (s, v) => s.TcpTwReuse = (int)v, 0, 2),
        Number("net.ipv4.tcp_tw_reuse_delay", static s => s.TcpTwReuseDelay, static (s, v) => s.TcpTwReuseDelay = (int)v, 1, 60_000),
        Flag("net.ipv4.tcp_window_scaling", static s => s.TcpWindowScaling, static (s, v) => s.TcpWindowScaling = v),
        new NumberSysctl("net.ipv4.tcp_wmem", static s => Row(s.TcpWmem), static (s, v) => Done(s.TcpWmem = Triple(v)), 1, Int),
        Flag("net.ipv4.tcp_workaround_signed_windows", static s => s.TcpWorkaroundSignedWindows, static (s, v) => s.TcpWorkaroundSignedWindows = v),

        Number("net.ipv6.auto_flowlabels", static s => s.AutoFlowLabels, static (s, v) => s.AutoFlowLabels = (int)v, 0, 3),
        Flag("net.ipv6.bindv6only", static s => s.BindV6Only, static (s, v) => s.BindV6Only = v),
        Flag("net.ipv6.ip_nonlocal_bind", static s => s.Ip6NonlocalBind, static (s, v) => s.Ip6NonlocalBind = v),
        Number("net.ipv6.route.min_adv_mss", static s => s.MinAdvMss6, static (s, v) => s.MinAdvMss6 = (int)v),
        .. Neighbours("net.ipv6.neigh.default", static s => s.Neigh6),
    ];

    private static readonly FrozenDictionary<string, Sysctl> s_byName = All.ToFrozenDictionary(static s => s.Name, StringComparer.Ordinal);

    /// <param name="name">With dots, or with slashes as below /proc/sys.</param>
    public static Sysctl? Find(string name) => s_byName.GetValueOrDefault(name.Replace('/', '.'));

    // Linux: neigh_sysctl_template.
    private static Sysctl[] Neighbours(string path, Func<Sysctls, NeighbourSysctls> of)
    {
        return
        [
            Setting("base_reachable_time_ms", static n => n.BaseReachableTimeMs, static (n, v) => n.BaseReachableTimeMs = v),
            Setting("delay_first_probe_time", static n => n.DelayFirstProbeTime, static (n, v) => n.DelayFirstProbeTime = v, Seconds),
            Setting("gc_stale_time", static n => n.GcStaleTime, static (n, v) => n.GcStaleTime = v, Seconds),
            Setting("gc_thresh1", static n => n.GcThresh1, static (n, v) => n.GcThresh1 = v),
            Setting("gc_thresh2", static n => n.GcThresh2, static (n, v) => n.GcThresh2 = v),
            Setting("gc_thresh3", static n => n.GcThresh3, static (n, v) => n.GcThresh3 = v),
            Setting("locktime", static n => n.LockTime, static (n, v) => n.LockTime = v),
            Setting("mcast_resolicit", static n => n.McastResolicit, static (n, v) => n.McastResolicit = v),
            Setting("mcast_solicit", static n => n.McastSolicit, static (n, v) => n.McastSolicit = v),
            Setting("retrans_time_ms", static n => n.RetransTimeMs, static (n, v) => n.RetransTimeMs = v),
            Setting("ucast_solicit", static n => n.UcastSolicit, static (n, v) => n.UcastSolicit = v),
            Setting("unres_qlen_bytes", static n => n.UnresQlenBytes, static (n, v) => n.UnresQlenBytes = v),
        ];

        NumberSysctl Setting(string name, Func<NeighbourSysctls, int> get, Action<NeighbourSysctls, int> set, long max = Int) =>
            Number($"{path}.{name}", s => get(of(s)), (s, v) => set(of(s), (int)v), 0, max);
    }

    private static NumberSysctl Number(string name, Func<Sysctls, long> get, Action<Sysctls, long> set, long min = 0, long max = Int) =>
        new(name, s => [get(s)], (s, v) =>
        {
            set(s, v[0]);
            return true;
        }, min, max);

    private static NumberSysctl Flag(string name, Func<Sysctls, bool> get, Action<Sysctls, bool> set, long max = Byte) =>
        Number(name, s => get(s) ? 1 : 0, (s, v) => set(s, v != 0), 0, max);

    private static long[] Row((int Min, int Default, int Max) triple) => [triple.Min, triple.Default, triple.Max];

    private static (int Min, int Default, int Max) Triple(long[] row) => ((int)row[0], (int)row[1], (int)row[2]);

    private static bool Done<T>(T _) => true;

    // Linux: ipv4_local_port_range.
    private static bool SetPortRange(Sysctls settings, long[] range)
    {
        bool fits = range[0] <= range[1] && range[0] >= settings.IpUnprivilegedPortStart;
        if (fits)
            settings.IpLocalPortRange = ((int)range[0], (int)range[1]);
        return fits;
    }

    // Linux: ipv4_privileged_ports.
    private static bool SetUnprivilegedStart(Sysctls settings, long[] start)
    {
        bool fits = start[0] <= settings.IpLocalPortRange.Low;
        if (fits)
            settings.IpUnprivilegedPortStart = (int)start[0];
        return fits;
    }

    // Linux: proc_tcp_congestion_control.
    private static Errno SetCongestionControl(Sysctls settings, string name)
    {
        if (!Array.Exists(settings.AvailableCongestionControl().Split(' '), known => known == name))
            return Errno.ENOENT;
        settings.TcpCongestionControl = name;
        return Errno.OK;
    }
}
