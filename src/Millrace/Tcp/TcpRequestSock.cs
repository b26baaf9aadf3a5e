using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// A connection of which only the SYN has come: what the SYN said, and the timer that repeats the answer. It stands in the established
/// table in the place that the connection will have.
/// </summary>
/// <remarks>Linux: tcp_request_sock, inet_request_sock, request_sock. Guarded by its own lock, because ACKs meet it without the listener's.</remarks>
internal sealed class TcpRequestSock : SockCommon
{
    public TcpSock Listener = null!;

    /// <summary>The peer's initial sequence number, and ours. Linux: rcv_isn, snt_isn.</summary>
    public SeqNumber RcvIsn, SndIsn;

    /// <summary>RCV.NXT. Linux: rcv_nxt.</summary>
    public SeqNumber RcvNxt;

    public uint TsRecent, RcvWnd;

    /// <summary>When the SYN-ACK was first sent; 0 if never. Linux: snt_synack.</summary>
    public Micros SynAckSent;
    public RateLimit OutOfWindowAcks;

    public int WndClamp;
    public ushort Mss;
    public byte SndWndScale, RcvWndScale;

    /// <summary>Times that the timer has expired, and SYN-ACKs repeated. Linux: num_timeout, num_retrans.</summary>
    public byte Timeouts, Retransmits;

    /// <summary>The SYN's TOS. Linux: syn_tos.</summary>
    public byte SynTos;

    public bool HasTimestamps, HasSack, HasWindowScaling, EcnOk, AccEcnOk;

    /// <summary>What the handshake has shown of AccECN so far. Linux: saw_accecn_opt, accecn_fail_mode.</summary>
    public AccEcnOptionSeen AccEcnOptionSeen;
    public AccEcnFailure AccEcnFailure;

    /// <summary>The codepoint that the latest SYN arrived with. Linux: syn_ect_rcv.</summary>
    public Ecn SynEcn;

    /// <summary>Nothing is kept: the sequence number and the timestamp say all. Linux: TCP_SYNACK_COOKIE.</summary>
    public bool IsCookie;

    /// <summary>The timestamp of a SYN-ACK that is sent at this time.</summary>
    public uint TimestampAt(Micros time)
    {
        uint now = (uint)time.Milliseconds;
        return (IsCookie ? CookieTimestamp.Encode(now, this) : now) + TsOffset;
    }

    /// <summary>The handshake's ACK has come and was ignored: DEFER_ACCEPT, or a full queue. Linux: acked.</summary>
    public bool Acked;

    private RareState? _rare;

    /// <summary>Not null: its user decides whether the SYN is answered.</summary>
    public PendingAccept? Pending
    {
        get => _rare?.Pending;
        set => (_rare ??= new RareState()).Pending = value;
    }

    /// <summary>TCP_SAVE_SYN.</summary>
    public byte[]? SavedSyn
    {
        get => _rare?.SavedSyn;
        set => (_rare ??= new RareState()).SavedSyn = value;
    }

    public Route? Route;

    public AfOps AfOps => Listener.Tcp.AfOpsOf(RemoteAddr);

    /// <summary>The first wait for an answer to the SYN-ACK; each later one is twice as long. Linux: timeout.</summary>
    public static Micros Timeout => TcpConstants.TimeoutInit;

    public void SetState() => StoreState(TcpState.NewSynRecv);

    public FlowKey Key => new(RemoteAddr, RemotePort, LocalAddr, LocalPort, BoundIfIndex);

    /// <summary>Linux: reqsk_timer_handler.</summary>
    internal override void Fire(Cpu cpu)
    {
        cpu.Trace(Tp.reqsk_timer_handler, this);
        Listener.Tcp.OnRequestTimer(cpu, this);
        Put(cpu);
    }

    public void Arm(Cpu cpu, TimerService timers, Micros at) => ArmNode(cpu, timers, at);

    public void Disarm(Cpu cpu, TimerService timers) => DisarmNode(cpu, timers);

    protected override void OnLastPut(Cpu cpu)
    {
        Listener.Put(cpu);
        Route = null;
        _rare = null;
    }

    /// <summary>What few requests have.</summary>
    private sealed class RareState
    {
        public PendingAccept? Pending;
        public byte[]? SavedSyn;
    }
}
