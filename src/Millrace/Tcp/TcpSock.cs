using System;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using Millrace.Buffers;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// A TCP connection, or a listener. Composed of small structs that own their numbers and rules; the partial files hold the
/// orchestration: input, output, recovery, timers.
/// </summary>
/// <remarks>
/// Linux: tcp_sock. RFC 9293. Everything is touched by the owner of the socket, or under its spinlock while nobody owns it, unless it
/// says else.
/// </remarks>
internal sealed partial class TcpSock : InetConnectionSock
{
    // ---- Sequence space ----

    public SendSpace Snd;
    public ReceiveSpace Rcv;

    // ---- Segments and options ----

    /// <summary>The MSS in use, options taken off; and the one that the path's MTU allows. Linux: mss_cache, icsk_mtup.</summary>
    public int MssCache = TcpConstants.DefaultMss;

    /// <summary>The path MTU that <see cref="MssCache"/> was computed from. Linux: icsk_pmtu_cookie.</summary>
    public int PathMtu;

    /// <summary>TCP_MAXSEG; the peer's limit; what we advertise. Linux: rx_opt.user_mss, rx_opt.mss_clamp, advmss.</summary>
    public ushort UserMss, MssClamp, AdvMss;

    /// <summary>Segments of the super-packet that the send loop aims at. Linux: gso_segs.</summary>
    public ushort GsoSegments;

    /// <summary>Bytes of the TCP header with the options that every segment carries. Linux: tcp_header_len.</summary>
    public ushort HeaderLength = TcpHeader.MinLength;

    public TcpFeatures Features;
    public NagleFlags Nagle;
    public DeferredWorkFlags Deferred;

    // ---- Timestamps ----

    /// <summary>TS.Recent and when it was set, in seconds of the host's clock. Linux: ts_recent, ts_recent_stamp.</summary>
    public uint TsRecent;
    public int TsRecentStamp;

    /// <summary>TSval and TSecr of the segment at hand. Linux: rcv_tsval, rcv_tsecr.</summary>
    public uint RcvTsVal, RcvTsEcr;

    // ---- Receiving ----

    public DelayedAck Ack;

    /// <summary>Segments that came too early, and what the SACK option will say; made when the first hole appears.</summary>
    public SackState? SackOut;

    /// <summary>Whether nothing came too early.</summary>
    public bool IsInOrder => SackOut is null || SackOut.Queue.IsEmpty;

    /// <summary>Urgent data: none, expected, or the byte itself. Linux: urg_data.</summary>
    public ushort UrgData;

    public ReceiveSpaceEstimator RcvSpace;

    /// <summary>What the receive buffer's memory is worth in payload.</summary>
    public BufferScale Scale = new(BufferScale.Default);

    // ---- Sending ----

    private SkBuffHead? _writeQueue;

    /// <summary>Written and not sent yet, in order. Linux: sk_write_queue.</summary>
    public SkBuffHead WriteQueue => _writeQueue ??= new SkBuffHead();

    /// <summary>Whether the write queue is empty, without making it.</summary>
    public bool IsAllSent => _writeQueue is null || _writeQueue.IsEmpty;

    /// <summary>Null while nothing is in flight.</summary>
    public LossRecovery? Recovery;

    public CongestionWindow Cc;
    public RttEstimator Rtt;
    public MinFilter MinRtt;
    public CaState CaState;

    /// <summary>How much the path has been seen to reorder.</summary>
    public ReorderingState Reorder = new(3);

    public CongestionControl? Congestion;

    /// <summary>The packets that are out, and what the scoreboard knows of them.</summary>
    public PacketCounts Packets;

    /// <summary>What has been delivered, and how fast.</summary>
    public DeliveryRate Rate;

    /// <summary>The clock as of the event at hand. Linux: tcp_mstamp.</summary>
    public Micros Time;

    /// <summary>When data was last sent, received, acknowledged. Linux: lsndtime, rcv_tstamp.</summary>
    public Micros LastSent, LastAckReceived;

    // ---- Timers ----

    private uint _rto = (uint)TcpConstants.TimeoutInit.Value;

    public Micros Rto
    {
        get => new(_rto);
        set => _rto = (uint)value.Value;
    }

    /// <summary>Timeouts in a row; probes in a row; exponent of the backoff. Linux: icsk_retransmits, icsk_probes_out, icsk_backoff.</summary>
    public byte Retransmits, ProbesOut, Backoff;

    public TimerEvent PendingTimer;

    /// <summary>Deadlines; Never if not armed. Linux: icsk_timeout, icsk_ack.timeout, sk_timer, pacing_timer, compressed_ack_timer.</summary>
    public Micros WriteDeadline = Micros.Never, AckDeadline = Micros.Never, KeepAliveDeadline = Micros.Never;

    // ---- Options that most connections leave alone ----

    /// <summary>Options and state of few connections; made when first needed.</summary>
    public RareTcpState? Rare;

    public RareTcpState AttachRare() => Rare ??= new RareTcpState();

    /// <summary>Milliseconds; 0 for the system's. Linux: icsk_user_timeout.</summary>
    public uint UserTimeout
    {
        get => Rare?.UserTimeout ?? 0;
        set
        {
            if (value != UserTimeout)
                AttachRare().UserTimeout = value;
        }
    }

    /// <summary>Linux: icsk_syn_retries; 0 for the system's.</summary>
    public byte SynRetries
    {
        get => Rare?.SynRetries ?? 0;
        set
        {
            if (value != SynRetries)
                AttachRare().SynRetries = value;
        }
    }

    /// <summary>TCP_DEFER_ACCEPT on the listener's side is in its queue; here the retransmissions of the SYN-ACK. Linux: rskq_defer_accept.</summary>
    public byte DeferAccept
    {
        get => Rare?.DeferAccept ?? 0;
        set
        {
            if (value != DeferAccept)
                AttachRare().DeferAccept = value;
        }
    }

    /// <summary>TCP_LINGER2: seconds; 0 the system's, −1 none. Linux: linger2.</summary>
    public int Linger2
    {
        get => Rare?.Linger2 ?? 0;
        set
        {
            if (value != Linger2)
                AttachRare().Linger2 = value;
        }
    }

    /// <summary>Linux: notsent_lowat; 0 for the system's.</summary>
    public uint NotsentLowat
    {
        get => Rare?.NotsentLowat ?? 0;
        set
        {
            if (value != NotsentLowat)
                AttachRare().NotsentLowat = value;
        }
    }

    /// <summary>When the next packet may leave; Never if none waits. Linux: pacing_timer.</summary>
    public Micros PacingDeadline
    {
        get => Rare?.PacingDeadline ?? Micros.Never;
        set
        {
            if (value != PacingDeadline)
                AttachRare().PacingDeadline = value;
        }
    }

    /// <summary>When the peer's window first was zero with data to send. Linux: icsk_probes_tstamp.</summary>
    public Micros ProbesStart
    {
        get => Rare?.ProbesStart ?? Micros.Zero;
        set
        {
            if (value != ProbesStart)
                AttachRare().ProbesStart = value;
        }
    }

    /// <summary>The algorithm that the user asked for; null for the system's.</summary>
    public string? CongestionName
    {
        get => Rare?.CongestionName;
        set
        {
            if (value != CongestionName)
                AttachRare().CongestionName = value;
        }
    }

    /// <summary>TCP Fast Open; null unless it is used, or was asked for.</summary>
    public FastOpenState? FastOpen
    {
        get => Rare?.FastOpen;
        set
        {
            if (value != FastOpen)
                AttachRare().FastOpen = value;
        }
    }

    /// <summary>The search for the path's MTU; null unless it is under way, or was.</summary>
    public MtuProbe? MtuSearch
    {
        get => Rare?.MtuSearch;
        set
        {
            if (value != MtuSearch)
                AttachRare().MtuSearch = value;
        }
    }

    /// <summary>TCP_MD5SIG; null if it was never set. May be read without the lock.</summary>
    public Md5Keys? Md5Keys => Rare?.Md5Keys;

    /// <summary>What segments to the peer are signed with.</summary>
    public Md5Key? SigningKey => Rare?.Md5Keys?.Find(RemoteAddr);

    // ---- Statistics for tcp_info ----

    public TcpStatistics Stats;

    /// <summary>Null until data has come or gone.</summary>
    public Transfer? Transfer;

    public Transfer AttachTransfer() => Transfer ??= new Transfer();

    /// <summary>Counts a segment that came in. Linux: tcp_segs_in.</summary>
    public void CountIn(SkBuff skb)
    {
        uint segments = Math.Max(1u, skb.GsoSegs);
        Stats.SegmentsIn += segments;
        if (skb.Tcp.HasPayload)
            AttachTransfer().DataSegmentsIn += segments;
    }

    /// <summary>Null while nothing was lost, and nothing came too early.</summary>
    public LossStatistics? Losses;

    public LossStatistics AttachLosses() => Losses ??= new LossStatistics();

    public uint TotalRetransmits => Losses?.TotalRetransmits ?? 0;

    public TcpSock(TcpProto proto)
        : base(proto)
    {
    }

    /// <summary>The protocol, with everything that a connection shares with the others of its stack.</summary>
    public TcpProto Tcp => Unsafe.As<TcpProto>(Proto);

    /// <summary>What is done differently over IPv4 and IPv6. Linux: icsk_af_ops.</summary>
    public AfOps AfOps => Tcp.AfOpsOf(RemoteAddr);

    public override bool IsStream => true;

    public bool HasTimestamps => (Features & TcpFeatures.Timestamps) != 0;

    public bool HasSack => (Features & TcpFeatures.Sack) != 0;

    public bool SawTimestamp => (Features & TcpFeatures.SawTimestamp) != 0;

    public void SetFeature(TcpFeatures feature, bool on) => Features = on ? Features | feature : Features & ~feature;

    public uint PacketsOut => Packets.Out;

    public uint SackedOut => Packets.Sacked;

    public uint LostOut => Packets.Lost;

    public uint RetransOut => Packets.Retrans;

    public uint PacketsInFlight => Packets.InFlight;

    public uint Delivered => Rate.Delivered;

    public uint MinRttUs => MinRtt.Value == 0 && !Rtt.HasSample ? TcpConstants.UnknownRtt : MinRtt.Value;

    public bool InReduction => CaState is CaState.Cwr or CaState.Recovery;

    public uint CurrentSsthresh => Cc.CurrentSsthresh(InReduction);

    /// <summary>The first buffer to be sent. Linux: tcp_send_head.</summary>
    public SkBuff? SendHead => _writeQueue?.First;

    public bool IsRtxEmpty => Recovery is null || Recovery.Queue.IsEmpty;

    /// <summary>Linux: tcp_rtx_and_write_queues_empty.</summary>
    public bool NothingQueued => IsRtxEmpty && IsAllSent;

    public bool InUrgentMode => Snd.Up > Snd.Una && Snd.Up != Snd.Una && HasUrgent;

    private bool HasUrgent => Rare is { UrgentSent: true };

    /// <summary>Bytes written and not sent. Linux: tcp_notsent_bytes.</summary>
    public uint NotSentBytes => (uint)(Snd.Written - Snd.Nxt);

    /// <summary>The clock for this event. Linux: tcp_mstamp_refresh.</summary>
    public void RefreshTime(Cpu cpu) => Time = cpu.Now;

    /// <summary>The timestamp that a segment sent now carries. Linux: tcp_time_stamp_ms plus tsoffset.</summary>
    public uint TimestampOf(Micros time) => (uint)time.Milliseconds + TsOffset;

    /// <summary>Gives the connection what it needs while something is in flight.</summary>
    public LossRecovery AttachRecovery(Cpu cpu) => Recovery ??= Tcp.Recoveries.Take(cpu);

    /// <summary>Returns what only a connection with packets in flight needs.</summary>
    public void DetachRecovery(Cpu cpu)
    {
        if (Recovery is not { } recovery)
            return;
        Debug.Assert(recovery.Queue.IsEmpty, "nothing is in flight");
        Recovery = null;
        Tcp.Recoveries.Return(cpu, recovery);
    }

    /// <summary>Changes the state, the counters that follow it, and, for CLOSE, the tables. Linux: tcp_set_state.</summary>
    public void SetState(Cpu cpu, TcpState next)
    {
        TcpState previous = State;
        cpu.Trace(Tp.tcp_set_state, this, (long)previous, (long)next);
        Debug.Assert(TcpStateMachine.Allows(previous, next), "an arrow of RFC 9293 §3.3.2");
        switch (next)
        {
            case TcpState.Established:
                if (previous != TcpState.Established)
                    cpu.Mib.Inc(Mib.TcpCurrEstab);
                break;
            case TcpState.CloseWait:
                if (previous == TcpState.SynRecv)
                    cpu.Mib.Inc(Mib.TcpCurrEstab);
                break;
            case TcpState.Close:
                if (previous is TcpState.CloseWait or TcpState.Established)
                    cpu.Mib.Inc(Mib.TcpEstabResets);
                Tcp.Unhash(cpu, this);
                if (BindBucket is not null && !BindPortLocked)
                    Tcp.Binds.PutPort(cpu, this);
                LeaveEstablished(cpu, previous);
                break;
            default:
                LeaveEstablished(cpu, previous);
                break;
        }
        StoreState(next);
        cpu.Trace(Tp.inet_sock_set_state, this, (long)previous, (long)next);
    }

    /// <summary>
    /// Changes the state of a sock that is in no table of connections and counts as none: a listener that starts or cannot, and a child
    /// whose first state follows its listener's. Linux: inet_sk_state_store.
    /// </summary>
    public void StoreState(Cpu cpu, TcpState previous, TcpState next)
    {
        Debug.Assert(TcpStateMachine.Allows(previous, next), "an arrow of RFC 9293 §3.3.2");
        StoreState(next);
        cpu.Trace(Tp.inet_sock_set_state, this, (long)previous, (long)next);
    }

    /// <summary>What a connection has from the socket that listened for it. Linux: sk_clone_lock.</summary>
    public void CopyFromListener(TcpSock listener)
    {
        Family = listener.Family;
        Credentials = listener.Credentials;
        ReceiveBuffer = listener.ReceiveBuffer;
        SendBuffer = listener.SendBuffer;
        Flags = listener.Flags & ~(SockFlags.Dead | SockFlags.Done | SockFlags.NoSpace | SockFlags.AnyStampDemand);
        DemandStamps(listener.Flags & SockFlags.AnyStampDemand, on: true);
        Timestamping = listener.Timestamping;
        ReuseAddr = listener.ReuseAddr;
        ReusePort = listener.ReusePort;
        ReceiveTimeout = listener.ReceiveTimeout;
        SendTimeout = listener.SendTimeout;
        ReceiveLowWater = listener.ReceiveLowWater;
        PeekOffset = listener.PeekOffset;
        LingerTime = listener.LingerTime;
        Mark = listener.Mark;
        Priority = listener.Priority;
        MaxPacingRate = listener.MaxPacingRate;
        PacingRate = listener.MaxPacingRate;
        if (listener._isPacingRequested)
            OnPacingRequested();
        InetFlags = listener.InetFlags;
        Tos = listener.Tos;
        TrafficClass = listener.TrafficClass;
        Ttl = listener.Ttl;
        HopLimit = listener.HopLimit;
        MinTtl = listener.MinTtl;
        PathMtuDiscovery = listener.PathMtuDiscovery;
        PathMtuDiscovery6 = listener.PathMtuDiscovery6;
        BindAddressLocked = listener.BindAddressLocked;
        UserMss = listener.UserMss;
        Nagle = listener.Nagle & (NagleFlags.Off | NagleFlags.Cork);
        Rare = listener.Rare?.Clone();
        SeedIpId((ushort)listener.TakeIpIds(1));
    }

    public override bool MayPeekMore(int peeked, out SeqNumber seen)
    {
        seen = Rcv.Nxt;
        bool ended = Error != Errno.OK || (Shutdown & ShutdownMask.Receive) != 0 || State == TcpState.Close;
        bool atMark = UrgData != 0 && Rcv.Up == Rcv.Copied + Math.Max(PeekOffset, 0) + peeked;
        return !ended && !atMark;
    }

    private static void LeaveEstablished(Cpu cpu, TcpState previous)
    {
        if (previous is TcpState.Established or TcpState.CloseWait)
            cpu.Mib.Add(Mib.TcpCurrEstab, -1);
    }

    public override Errno StartListening(Cpu cpu) => Tcp.StartListening(cpu, this);

    protected override int MinimumBuffer(bool receive) => receive ? Tcp.Sysctls.TcpRmem.Min : Tcp.Sysctls.TcpWmem.Min;

    /// <summary>Held to at the end of every entry from outside, in debug builds.</summary>
    [Conditional("DEBUG")]
    public void AssertInvariants()
    {
        Debug.Assert(Snd.Una <= Snd.Nxt, "SND.UNA never passes SND.NXT");
        Debug.Assert(Snd.Nxt <= Snd.Written || State is TcpState.Listen or TcpState.Close, "nothing is sent that was not written");
        Debug.Assert(State == TcpState.Close || Packets.Left <= PacketsOut, "no more packets have left the network than were sent");
        Debug.Assert(State == TcpState.Close || (SackedOut <= PacketsOut && LostOut <= PacketsOut), "the scoreboard counts packets that are out");
        Debug.Assert(PacketsOut == 0 == IsRtxEmpty, "packets are out exactly while the retransmit queue holds them");
        Debug.Assert(Rcv.Copied <= Rcv.Nxt || State is TcpState.Listen or TcpState.Close, "nothing is read that has not come");
        Debug.Assert(ReceiveAllocated >= 0 && WriteQueued >= 0 && ForwardAllocated >= 0, "no account is overdrawn");
    }
}

/// <summary>What tcp_info tells and nothing else needs. Linux: the counters of tcp_sock.</summary>
internal struct TcpStatistics
{
    public ulong BytesAcked;
    public uint SegmentsIn, SegmentsOut;
}

/// <summary>The part of them that only a connection has that has met with losses or reordering. Attached at the first.</summary>
internal sealed class LossStatistics
{
    public ulong BytesRetransmitted;
    public uint TotalRetransmits, DsackDuplicates, OutOfOrderReceived;
    public ushort TotalRto, TotalRtoRecoveries;
    public uint TotalRtoTimeMs;
    public Micros RtoStart;
}
