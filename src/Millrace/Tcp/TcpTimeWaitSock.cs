using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// What remains of a connection after both sides have closed, or after ours has and nobody holds the socket: enough to answer late
/// segments, and to keep the 4-tuple from being used again too soon.
/// </summary>
/// <remarks>Linux: tcp_timewait_sock, inet_timewait_sock. RFC 9293 §3.6.1.</remarks>
internal class TcpTimeWaitSock : SockCommon
{
    public SeqNumber RcvNxt, SndNxt;
    public uint RcvWnd, TsRecent;

    /// <summary>Seconds of the host's clock; 0 if the connection had no timestamps.</summary>
    public int TsRecentStamp;

    /// <summary>When the connection was over, by the peer's FIN if that came last; milliseconds, modulo 2^32. Linux: tw_entry_stamp.</summary>
    public uint Entered;
    public RateLimit OutOfWindowAcks;

    /// <summary>The port, as the mini-sock counts there. Linux: tw_tb.</summary>
    public Inet.BindShare? Port;
    public bool BoundByBind;

    /// <summary>FIN_WAIT2 while the peer's FIN is still to come, then TIME_WAIT. Linux: tw_substate.</summary>
    public TcpState Substate;
    public byte RcvWndScale;

    /// <summary>What its ACKs are signed with. Linux: tw_md5_key.</summary>
    public virtual Md5Key? Key => null;

    /// <summary>The mini-sock's end has been decided. Guarded by the death row's lock.</summary>
    public bool IsDead;

    /// <summary>When it ends; the node's own field, since the row sorts by it. Linux: tw_timer.expires.</summary>
    public Micros Deadline
    {
        get => new(Expires);
        set => Expires = value.Value;
    }

    public bool HasTimestamps => TsRecentStamp != 0;

    public void SetState() => StoreState(TcpState.TimeWait);

    internal override void Fire(Cpu cpu) => throw new System.InvalidOperationException("a mini-sock's life is kept by the death row");

    protected override void OnLastPut(Cpu cpu)
    {
    }
}

/// <summary>The mini-sock of a connection whose segments are signed. A type of its own, since there can be millions of the other.</summary>
internal sealed class SignedTimeWaitSock(Md5Key key) : TcpTimeWaitSock
{
    public override Md5Key? Key => key;
}
