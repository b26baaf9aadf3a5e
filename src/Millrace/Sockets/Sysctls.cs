using System;
using System.Collections.Generic;
using System.Linq;
using Millrace.Sockets;

namespace Millrace;

/// <summary>
/// The stack's settings, with Linux's names, units and defaults. A setting exists only where code reads it. They may be changed at any
/// time; each change counts from the next use.
/// </summary>
/// <remarks>Linux: /proc/sys/net.</remarks>
public sealed class Sysctls
{
    private volatile PortSet _reservedPorts = PortSet.Empty;

    /// <summary>A setting by Linux's name, such as <c>net.ipv4.tcp_sack</c>, as the text that Linux prints and takes.</summary>
    /// <exception cref="KeyNotFoundException">There is no setting of this name.</exception>
    /// <exception cref="ArgumentException">It cannot have this value.</exception>
    public string this[string name]
    {
        get => (SysctlTable.Find(name) ?? throw Unknown(name)).Read(this);
        set
        {
            ArgumentNullException.ThrowIfNull(value);
            Errno error = (SysctlTable.Find(name) ?? throw Unknown(name)).Write(this, value);
            if (error != Errno.OK)
                throw new ArgumentException($"{name} cannot be \"{value}\" ({error}).", nameof(value));
        }
    }

    /// <summary>The names of all settings, in the order in which sysctl(8) lists them.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. SysctlTable.All.Select(static s => s.Name)];

    /// <summary>Reads a setting by its name.</summary>
    /// <returns>ENOENT if there is none of this name.</returns>
    public Errno Read(string name, out string value)
    {
        Sysctl? found = SysctlTable.Find(name);
        value = found?.Read(this) ?? "";
        return found is null ? Errno.ENOENT : Errno.OK;
    }

    /// <summary>Writes a setting by its name.</summary>
    /// <returns>ENOENT: no such setting, or no such choice. EINVAL: not of its kind, or out of its range. EACCES: it can only be read.</returns>
    public Errno Write(string name, string value) => SysctlTable.Find(name)?.Write(this, value) ?? Errno.ENOENT;

    /// <summary>Names of the congestion control algorithms that there are, separated by spaces.</summary>
    internal Func<string> AvailableCongestionControl { get; set; } = static () => "";

    // ---- net.core ----

    /// <summary>net.core.netdev_budget, _budget_usecs, dev_weight: what one softirq of receiving may do, and one device in its turn; packets.</summary>
    public int NetdevBudget { get => Receiving.Budget; set => Receiving.Budget = value; }

    public int NetdevBudgetUsecs { get => Receiving.BudgetUsecs; set => Receiving.BudgetUsecs = value; }

    public int DevWeight { get => Receiving.Weight; set => Receiving.Weight = value; }

    /// <summary>net.core.netdev_max_backlog: packets that the loopback device may hold for a CPU.</summary>
    public int NetdevMaxBacklog { get => Receiving.MaxBacklog; set => Receiving.MaxBacklog = value; }

    /// <summary>What the devices' side reads of them.</summary>
    internal Devices.ReceiveLimits Receiving { get; } = new();

    /// <summary>net.core.somaxconn: the longest accept queue that listen may ask for.</summary>
    public int SoMaxConn { get; set; } = 4096;

    /// <summary>net.core.rmem_max, net.core.wmem_max: bytes that SO_RCVBUF, SO_SNDBUF may ask for, before doubling.</summary>
    public int RmemMax { get; set; } = 4 << 20;

    public int WmemMax { get; set; } = 4 << 20;

    /// <summary>net.core.rmem_default, net.core.wmem_default.</summary>
    public int RmemDefault { get; set; } = 212992;

    public int WmemDefault { get; set; } = 212992;

    /// <summary>net.core.optmem_max: bytes of notices and control data of a socket.</summary>
    public int OptmemMax { get; set; } = 131072;

    /// <summary>net.core.txrehash: a flow that times out changes its IPv6 label, and so perhaps its path.</summary>
    public int TxRehash { get; set; } = 1;

    // ---- net.ipv4.ip_* ----

    /// <summary>net.ipv4.ip_default_ttl.</summary>
    public byte IpDefaultTtl { get; set; } = 64;

    /// <summary>net.ipv4.ip_local_port_range: first and last port that the stack gives away.</summary>
    public (int Low, int High) IpLocalPortRange { get; set; } = (32768, 60999);

    /// <summary>net.ipv4.ip_autobind_reuse: when no port is free, one whose users all have SO_REUSEADDR is given away again.</summary>
    public bool IpAutobindReuse { get; set; }

    /// <summary>net.ipv4.ip_unprivileged_port_start.</summary>
    public int IpUnprivilegedPortStart { get; set; } = 1024;

    /// <summary>net.ipv4.ip_nonlocal_bind.</summary>
    public bool IpNonlocalBind { get; set; }

    /// <summary>net.ipv4.ip_early_demux, tcp_early_demux: a segment's connection is looked for before its route.</summary>
    public bool IpEarlyDemux { get; set; } = true;

    public bool TcpEarlyDemux { get; set; } = true;

    /// <summary>net.ipv6.ip_nonlocal_bind.</summary>
    public bool Ip6NonlocalBind { get; set; }

    /// <summary>net.ipv6.route.min_adv_mss.</summary>
    public int MinAdvMss6 { get; set; } = 1220;

    /// <summary>net.ipv4.ip_no_pmtu_disc.</summary>
    public int IpNoPmtuDisc { get; set; }

    /// <summary>net.ipv4.route.min_pmtu, net.ipv4.route.min_adv_mss.</summary>
    public int MinPmtu { get; set; } = 552;

    public int MinAdvMss { get; set; } = 256;

    /// <summary>net.ipv4.conf.all.arp_notify: whether a new address on an Ethernet is announced to its neighbours.</summary>
    public bool ArpNotify { get; set; }

    /// <summary>net.ipv4.neigh.default: neighbours that are asked by ARP.</summary>
    public NeighbourSysctls Neigh4 { get; } = new(lockTime: 100);

    /// <summary>net.ipv6.neigh.default: neighbours that are asked by IPv6 neighbour discovery.</summary>
    public NeighbourSysctls Neigh6 { get; } = new(lockTime: 0);

    /// <summary>net.ipv4.icmp_echo_ignore_all.</summary>
    public bool IcmpEchoIgnoreAll { get; set; }

    /// <summary>net.ipv4.icmp_ratelimit: milliseconds between ICMP errors to one address; 0 is no limit.</summary>
    public int IcmpRateLimit { get; set; } = 1000;

    /// <summary>net.ipv4.icmp_ratemask: the ICMP types that are limited.</summary>
    public int IcmpRateMask { get; set; } = 0x1818;

    /// <summary>net.ipv4.icmp_msgs_per_sec, net.ipv4.icmp_msgs_burst: the limit over all addresses.</summary>
    public int IcmpMsgsPerSec { get; set; } = 1000;

    public int IcmpMsgsBurst { get; set; } = 50;

    /// <summary>net.ipv4.ip_local_reserved_ports: ports that the stack never gives away by itself, as in "80,8080-8083".</summary>
    /// <exception cref="FormatException">It is no such list.</exception>
    public string IpLocalReservedPorts
    {
        get => _reservedPorts.ToString();
        set => _reservedPorts = PortSet.Parse(value) ?? throw new FormatException($"\"{value}\" is no list of ports.");
    }

    internal bool IsReservedPort(int port) => _reservedPorts.Contains(port);

    internal Errno SetReservedPorts(string text)
    {
        if (PortSet.Parse(text) is not { } ports)
            return Errno.EINVAL;
        _reservedPorts = ports;
        return Errno.OK;
    }

    // ---- net.ipv6 ----

    /// <summary>net.ipv6.bindv6only: new IPv6 sockets have IPV6_V6ONLY.</summary>
    public bool BindV6Only { get; set; }

    /// <summary>net.ipv6.auto_flowlabels: 0 never, 1 unless a socket will not, 2 if a socket asks, 3 always.</summary>
    public int AutoFlowLabels { get; set; } = 1;

    // ---- net.ipv4.tcp_* ----

    /// <summary>net.ipv4.tcp_timestamps: 0 off, 1 with a random offset for each connection, 2 without.</summary>
    public int TcpTimestamps { get; set; } = 1;

    public bool TcpSack { get; set; } = true;

    /// <summary>net.ipv4.tcp_pingpong_thresh: answers of the application after which its answers carry the acknowledgements.</summary>
    public int TcpPingpongThresh { get; set; } = 1;

    /// <summary>net.ipv4.tcp_reflect_tos: a connection bears the TOS that its SYN came with.</summary>
    public bool TcpReflectTos { get; set; }

    /// <summary>net.ipv4.tcp_app_win: the window keeps 1/2^n of the buffer for the application; 31 keeps nothing.</summary>
    public int TcpAppWin { get; set; } = 31;

    public bool TcpDsack { get; set; } = true;

    public bool TcpWindowScaling { get; set; } = true;

    /// <summary>net.ipv4.tcp_rmem: minimum, initial and largest receive buffer, bytes.</summary>
    public (int Min, int Default, int Max) TcpRmem { get; set; } = (4096, 131072, 33554432);

    /// <summary>net.ipv4.tcp_wmem: minimum, initial and largest send buffer, bytes.</summary>
    public (int Min, int Default, int Max) TcpWmem { get; set; } = (4096, 16384, 4194304);

    public bool TcpModerateRcvbuf { get; set; } = true;

    public bool TcpShrinkWindow { get; set; }

    public bool TcpWorkaroundSignedWindows { get; set; }

    public int TcpSynRetries { get; set; } = 6;

    public int TcpSynackRetries { get; set; } = 5;

    public int TcpRetries1 { get; set; } = 3;

    public int TcpRetries2 { get; set; } = 15;

    public int TcpOrphanRetries { get; set; }

    public int TcpMaxOrphans { get; set; } = 65536;

    public bool TcpAbortOnOverflow { get; set; }

    /// <summary>net.ipv4.tcp_syncookies: 0 off, 1 when the queue is full, 2 always.</summary>
    public int TcpSyncookies { get; set; } = 1;

    public int TcpMaxSynBacklog { get; set; } = 4096;

    /// <summary>net.ipv4.tcp_fin_timeout, seconds.</summary>
    public int TcpFinTimeout { get; set; } = 60;

    /// <summary>net.ipv4.tcp_keepalive_time, _probes, _intvl; seconds.</summary>
    public int TcpKeepaliveTime { get; set; } = 7200;

    public int TcpKeepaliveProbes { get; set; } = 9;

    public int TcpKeepaliveIntvl { get; set; } = 75;

    /// <summary>net.ipv4.tcp_tw_reuse: 0 off, 1 on, 2 for loopback only.</summary>
    public int TcpTwReuse { get; set; } = 2;

    /// <summary>net.ipv4.tcp_tw_reuse_delay, milliseconds.</summary>
    public int TcpTwReuseDelay { get; set; } = 1000;

    public bool TcpRfc1337 { get; set; }

    public int TcpMaxTwBuckets { get; set; } = 262144;

    public bool TcpStdurg { get; set; }

    /// <summary>
    /// net.ipv4.tcp_ecn: 0 off, 1 on, 2 when asked; with AccECN 3 on, 4 when asked while RFC 3168's is asked for, 5 when asked.
    /// </summary>
    public int TcpEcn { get; set; } = 2;

    /// <summary>
    /// net.ipv4.tcp_ecn_option: AccECN options are sent 0 never, 1 when something changes and as a beacon, 2 in every segment that has
    /// room, 3 even if ACKs with them seem not to arrive.
    /// </summary>
    public int TcpEcnOption { get; set; } = 2;

    /// <summary>net.ipv4.tcp_ecn_option_beacon: AccECN options for each round trip at least; 0 for none.</summary>
    public int TcpEcnOptionBeacon { get; set; } = 3;

    public bool TcpEcnFallback { get; set; } = true;

    public int TcpReordering { get; set; } = 3;

    public int TcpMaxReordering { get; set; } = 300;

    /// <summary>net.ipv4.tcp_recovery: 1 RACK; 2 static reordering window; 4 no duplicate-ACK threshold.</summary>
    public int TcpRecovery { get; set; } = 1;

    /// <summary>net.ipv4.tcp_early_retrans: 0 no loss probe, 3 and 4 loss probe.</summary>
    public int TcpEarlyRetrans { get; set; } = 3;

    public int TcpFrto { get; set; } = 2;

    public bool TcpThinLinearTimeouts { get; set; }

    public bool TcpRetransCollapse { get; set; } = true;

    public bool TcpSlowStartAfterIdle { get; set; } = true;

    public bool TcpNoMetricsSave { get; set; }

    public bool TcpNoSsthreshMetricsSave { get; set; } = true;

    /// <summary>net.ipv4.tcp_mtu_probing: 0 off, 1 after a black hole was seen, 2 always.</summary>
    public int TcpMtuProbing { get; set; }

    public int TcpBaseMss { get; set; } = 1024;

    public int TcpMinSndMss { get; set; } = 48;

    public int TcpMtuProbeFloor { get; set; } = 48;

    public int TcpProbeThreshold { get; set; } = 8;

    public int TcpProbeInterval { get; set; } = 600;

    /// <summary>net.ipv4.tcp_limit_output_bytes: what one connection may have in the layers below.</summary>
    public int TcpLimitOutputBytes { get; set; } = 4 * 1024 * 1024;

    public int TcpMinTsoSegs { get; set; } = 2;

    public int TcpTsoWinDivisor { get; set; } = 3;

    public int TcpTsoRttLog { get; set; } = 9;

    public int TcpPacingSsRatio { get; set; } = 200;

    public int TcpPacingCaRatio { get; set; } = 120;

    public bool TcpAutocorking { get; set; } = true;

    /// <summary>net.ipv4.tcp_notsent_lowat, bytes.</summary>
    public uint TcpNotsentLowat { get; set; } = uint.MaxValue;

    /// <summary>net.ipv4.tcp_min_rtt_wlen, seconds.</summary>
    public int TcpMinRttWlen { get; set; } = 300;

    /// <summary>net.ipv4.tcp_rto_min_us.</summary>
    public int TcpRtoMinUs { get; set; } = 200_000;

    /// <summary>net.ipv4.tcp_rto_max_ms.</summary>
    public int TcpRtoMaxMs { get; set; } = 120_000;

    /// <summary>net.ipv4.tcp_challenge_ack_limit: challenge ACKs per second of the whole stack.</summary>
    public int TcpChallengeAckLimit { get; set; } = int.MaxValue;

    /// <summary>net.ipv4.tcp_invalid_ratelimit: milliseconds between answers to invalid segments of a connection.</summary>
    public int TcpInvalidRatelimit { get; set; } = 500;

    /// <summary>net.ipv4.tcp_comp_sack_delay_ns, _slack_ns, _nr, _rtt_percent.</summary>
    public long TcpCompSackDelayNs { get; set; } = 1_000_000;

    public int TcpCompSackNr { get; set; } = 44;

    public int TcpCompSackRttPercent { get; set; } = 33;

    /// <summary>net.ipv4.tcp_congestion_control: the algorithm of new connections.</summary>
    public string TcpCongestionControl { get; set; } = "cubic";

    public bool TcpBacklogAckDefer { get; set; } = true;

    public int TcpSynLinearTimeouts { get; set; } = 4;

    /// <summary>net.ipv4.tcp_fastopen: 1 client, 2 server, 4 client without a cookie, 0x200 server without a cookie, 0x400 all listeners.</summary>
    public int TcpFastopen { get; set; } = 1;

    public int TcpFastopenBlackholeTimeoutSec { get; set; }

    /// <summary>
    /// net.ipv4.tcp_fastopen_key: what cookies are made with, and, after a comma, the key before it; all zeros until one is set, or
    /// drawn for the first listener that needs it.
    /// </summary>
    /// <exception cref="ArgumentException">It is not four groups of hexadecimal digits, once or twice.</exception>
    public string TcpFastopenKey
    {
        get => FastOpenKeys?.ToString() ?? "00000000-00000000-00000000-00000000";
        set
        {
            if (SetFastOpenKeys(value) != Errno.OK)
                throw new ArgumentException("A key is four groups of hexadecimal digits.", nameof(value));
        }
    }

    internal Sockets.FastOpenKeys? FastOpenKeys { get; private set; }

    internal Errno SetFastOpenKeys(string text)
    {
        if (Sockets.FastOpenKeys.Parse(text) is not { } keys)
            return Errno.EINVAL;
        FastOpenKeys = keys;
        return Errno.OK;
    }

    /// <summary>Draws a key if there is none. Linux: tcp_fastopen_init_key_once.</summary>
    internal void InitFastOpenKeys(Wire.SharedPrng random)
    {
        if (FastOpenKeys is not null)
            return;
        Span<byte> key = stackalloc byte[Sockets.FastOpenKeys.KeyLength];
        for (int i = 0; i < key.Length; i++)
            key[i] = (byte)random.Below(256u);
        FastOpenKeys = Sockets.FastOpenKeys.FromBytes(key);
    }

    /// <summary>net.ipv4.tcp_mem: pages of 4096 bytes: no limit, pressure, limit.</summary>
    public (long Low, long Pressure, long High) TcpMem
    {
        get => TcpMemory.Limits is [var low, var pressure, var high] ? (low, pressure, high) : default;
        set => TcpMemory.Limits = [value.Low, value.Pressure, value.High];
    }

    /// <summary>What TCP's buffers take, and may take.</summary>
    internal ProtoMemory TcpMemory { get; } = new() { Limits = [276480, 368640, 552960] };

    private static KeyNotFoundException Unknown(string name) => new($"There is no setting {name}.");
}
