using System;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>State and options of a connection that most connections never have. Attached when first used.</summary>
internal sealed class RareTcpState
{
    /// <summary>Urgent data has been sent and may not be acknowledged. Linux: urg_mode.</summary>
    public bool UrgentSent;

    /// <summary>TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT; 0 for the system's. Linux: keepalive_time and its kin.</summary>
    public Micros KeepAliveTime, KeepAliveInterval;
    public byte KeepAliveProbes;

    /// <summary>TCP_RTO_MAX_MS, TCP_RTO_MIN_US, TCP_DELACK_MAX_US; zero for the system's.</summary>
    public Micros RtoMax, RtoMin, DelayedAckMax;

    /// <summary>TCP_MD5SIG; null until the first key, and then the connection sends no more super-packets. Linux: md5sig_info.</summary>
    public Md5Keys? Md5Keys;

    /// <summary>TCP_INQ: the bytes left are told with each receive.</summary>
    public bool ReportInq;

    /// <summary>TCP_SAVE_SYN and what it saved.</summary>
    public byte SaveSyn;
    public byte[]? SavedSyn;

    /// <summary>TCP_THIN_LINEAR_TIMEOUTS, TCP_THIN_DUPACK.</summary>
    public bool ThinLinearTimeouts;

    /// <summary>TCP_CONGESTION; null for the system's.</summary>
    public string? CongestionName;

    public FastOpenState? FastOpen;

    public MtuProbe? MtuSearch;

    /// <summary>TCP_USER_TIMEOUT in milliseconds, TCP_NOTSENT_LOWAT, TCP_LINGER2 in seconds, TCP_SYNCNT, TCP_DEFER_ACCEPT.</summary>
    public uint UserTimeout, NotsentLowat;
    public int Linger2;
    public byte SynRetries, DeferAccept;

    /// <summary>The number of the next send without copying, and the memory of its notices. Linux: sk_zckey, sk_omem_alloc.</summary>
    public uint ZeroCopyKey;
    public int NoticeMemory;

    /// <summary>When the next packet may leave; Never if none waits. Linux: pacing_timer.</summary>
    public Micros PacingDeadline = Micros.Never;

    /// <summary>When the peer's window first was zero with data to send. Linux: icsk_probes_tstamp.</summary>
    public Micros ProbesStart;

    /// <summary>TCP_REPAIR, TCP_REPAIR_QUEUE.</summary>
    public bool InRepair;
    public RepairQueue RepairQueue;

    /// <summary>What an accepted connection has from its listener.</summary>
    public RareTcpState Clone() => new()
    {
        KeepAliveTime = KeepAliveTime,
        KeepAliveInterval = KeepAliveInterval,
        KeepAliveProbes = KeepAliveProbes,
        RtoMax = RtoMax,
        RtoMin = RtoMin,
        DelayedAckMax = DelayedAckMax,
        ReportInq = ReportInq,
        ThinLinearTimeouts = ThinLinearTimeouts,
        CongestionName = CongestionName,
        FastOpen = FastOpen?.CloneForChild(),
        UserTimeout = UserTimeout,
        SynRetries = SynRetries,
        Linger2 = Linger2,
        NotsentLowat = NotsentLowat,
        InRepair = InRepair,
        RepairQueue = RepairQueue,
    };

    /// <summary>The MTU that an ICMP error told while the socket was owned. Linux: mtu_info.</summary>
    public int PendingMtu;
}

/// <summary>Linux: rcvq_space.</summary>
internal struct ReceiveSpaceEstimator
{
    /// <summary>Bytes that the application read in the last round trip.</summary>
    public int Space;
    public SeqNumber Seq;
    public Micros Time;
}

/// <summary>The receiver's own estimate of the round trip, for the growth of its buffer. Linux: rcv_rtt_est.</summary>
internal struct ReceiveRtt
{
    /// <summary>Eight times the estimate, microseconds; 0 for none.</summary>
    public uint Rtt8;
    public SeqNumber Seq;
    public Micros Time;
    public uint LastTsEcr;

    /// <summary>Linux: tcp_rcv_rtt_update. A sample by windows may only lower the estimate; one by timestamps is averaged.</summary>
    public void Update(long sampleUs, bool byWindow)
    {
        long m = sampleUs;
        if (m == 0)
            m = 1;
        uint estimate = Rtt8;
        if (estimate == 0)
        {
            Rtt8 = (uint)Math.Min(m << 3, uint.MaxValue);
            return;
        }
        if (byWindow)
        {
            m <<= 3;
            if (m < estimate)
                Rtt8 = (uint)m;
            return;
        }
        m -= estimate >> 3;
        Rtt8 = (uint)Math.Clamp(estimate + m, 1, uint.MaxValue);
    }
}

/// <summary>What holds a sender up. Linux: enum tcp_chrono.</summary>
internal enum ChronoType : byte
{
    None,
    Busy,
    ReceiveWindow,
    SendBuffer,
}

/// <summary>How long the sender was busy, and what it waited for. The gravest reason that holds is the one that counts.</summary>
/// <remarks>Linux: tcp_chrono_start, tcp_chrono_stop.</remarks>
internal struct Chrono
{
    private Micros _since;
    private Micros _busy, _rwnd, _sndbuf;

    public ChronoType Type { get; private set; }

    public void Start(ChronoType type, Micros now)
    {
        if (type > Type)
            Set(type, now);
    }

    /// <summary>Ends a reason; what remains is being busy, if anything is queued.</summary>
    public void Stop(ChronoType type, Micros now, bool nothingQueued)
    {
        if (nothingQueued)
            Set(ChronoType.None, now);
        else if (type == Type)
            Set(ChronoType.Busy, now);
    }

    /// <summary>Busy in all, and of that limited by the peer's window and by the send buffer. Linux: tcp_get_info_chrono_stats.</summary>
    public readonly (Micros Busy, Micros ReceiveWindow, Micros SendBuffer) Read(Micros now)
    {
        Micros running = Type == ChronoType.None ? Micros.Zero : now - _since;
        Micros rwnd = _rwnd + (Type == ChronoType.ReceiveWindow ? running : Micros.Zero);
        Micros sndbuf = _sndbuf + (Type == ChronoType.SendBuffer ? running : Micros.Zero);
        Micros busy = _busy + (Type == ChronoType.Busy ? running : Micros.Zero);
        return (busy + rwnd + sndbuf, rwnd, sndbuf);
    }

    private void Set(ChronoType type, Micros now)
    {
        Micros running = now - _since;
        switch (Type)
        {
            case ChronoType.Busy:
                _busy += running;
                break;
            case ChronoType.ReceiveWindow:
                _rwnd += running;
                break;
            case ChronoType.SendBuffer:
                _sndbuf += running;
                break;
            case ChronoType.None:
                break;
        }
        _since = now;
        Type = type;
    }
}
