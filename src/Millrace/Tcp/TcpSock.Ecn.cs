using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>ECN's state of a connection. Linux: TCP_ECN_*.</summary>
[Flags]
internal enum EcnFlags : byte
{
    None = 0,

    /// <summary>Negotiated.</summary>
    Ok = 1,

    /// <summary>The next data segment carries CWR.</summary>
    QueueCwr = 2,

    /// <summary>A mark was received: every ACK echoes it until CWR comes.</summary>
    DemandCwr = 4,

    /// <summary>The peer has marked its data as ECN-capable.</summary>
    Seen = 8,

    /// <summary>Asked for in our SYN.</summary>
    Requested = 16,
}

/// <summary>Explicit congestion notification. RFC 3168 §6.1.</summary>
internal sealed partial class TcpSock
{
    public EcnFlags EcnState;

    public bool EcnOk => (EcnState & EcnFlags.Ok) != 0;

    /// <summary>Whether ACKs echo a mark from now on.</summary>
    public void EchoMark(bool on) => EcnState = on ? EcnState | EcnFlags.DemandCwr : EcnState & ~EcnFlags.DemandCwr;

    /// <summary>
    /// Whether the connection's algorithm lives by marks: then every packet may be marked, control packets and retransmissions too.
    /// Linux: tcp_ca_needs_ecn.
    /// </summary>
    public bool AlgorithmNeedsEcn =>
        Congestion?.NeedsEcn ?? Tcp.Congestions.NeedsEcn(CongestionName ?? Tcp.Sysctls.TcpCongestionControl);

    // A receiver that has sent nothing yet has no algorithm; one that lives by marks has work to do all the same.
    private CongestionControl? AlgorithmOfMarks => AlgorithmNeedsEcn ? AttachCongestion() : Congestion;

    private bool HasEcnEcho(SkBuff skb) =>
        EcnOk && (skb.Tcp.Flags & (TcpFlags.Ece | TcpFlags.Syn)) == TcpFlags.Ece;

    // Linux: tcp_ecn_queue_cwr.
    private void QueueCwr()
    {
        if (EcnOk)
            EcnState |= EcnFlags.QueueCwr;
    }

    // Linux: tcp_ecn_withdraw_cwr.
    private void WithdrawCwr() => EcnState &= ~EcnFlags.QueueCwr;

    // The peer has answered our echo. Linux: tcp_ecn_accept_cwr.
    private void AcceptCwr(SkBuff skb)
    {
        if ((skb.Tcp.Flags & TcpFlags.Cwr) == 0)
            return;
        EcnState &= ~EcnFlags.DemandCwr;
        // RFC 3168 §6.1.5: CWR may come on a retransmission that is not marked; what the marks said is acknowledged at once.
        if (skb.Tcp.Seq != skb.Tcp.EndSeq)
            Ack.Pending |= AckPending.Now;
    }

    // Looks at the mark of a segment with data. Linux: tcp_ecn_check_ce.
    private void CheckCongestionMark(Cpu cpu, SkBuff skb)
    {
        if (!EcnOk)
            return;
        AcceptCwr(skb);
        switch ((Ecn)(skb.Tcp.DsField & 3))
        {
            case Ecn.NotEct:
                // A retransmission, which must not be marked; if the peer marks its data at all, the receiver asks for it at once.
                if ((EcnState & EcnFlags.Seen) != 0)
                    Ack.EnterQuickMode(Rcv.Wnd, 2);
                break;
            case Ecn.Ce:
                AlgorithmOfMarks?.OnMark(this, cpu, marked: true);
                if ((EcnState & EcnFlags.DemandCwr) == 0)
                {
                    // The sender should hear of it soon.
                    Ack.EnterQuickMode(Rcv.Wnd, 2);
                    EcnState |= EcnFlags.DemandCwr;
                }
                EcnState |= EcnFlags.Seen;
                break;
            case Ecn.Ect0 or Ecn.Ect1:
                AlgorithmOfMarks?.OnMark(this, cpu, marked: false);
                EcnState |= EcnFlags.Seen;
                break;
        }
    }

    // Gives an outgoing segment its ECN field and flags. Linux: tcp_ecn_send.
    private TcpFlags MarkEcn(SkBuff segment, TcpFlags flags, int payload)
    {
        segment.Tcp.DsField = Tos;
        if (((flags & TcpFlags.Syn) != 0 || EcnOk) && AlgorithmNeedsEcn)
            segment.Tcp.DsField = (byte)((Tos & ~3) | (int)Ecn.Ect0);
        if ((flags & TcpFlags.Syn) != 0 || !EcnOk)
            return flags;
        // New data only: a retransmission must not be marked, or its loss of the mark would not be noticed. RFC 3168 §6.1.5.
        if (payload > 0 && segment.Tcp.Seq >= Snd.Nxt)
        {
            segment.Tcp.DsField = (byte)((Tos & ~3) | (int)Ecn.Ect0);
            if ((EcnState & EcnFlags.QueueCwr) != 0)
            {
                EcnState &= ~EcnFlags.QueueCwr;
                flags |= TcpFlags.Cwr;
                segment.Tcp.Flags |= TcpFlags.Cwr;
            }
        }
        if ((EcnState & EcnFlags.DemandCwr) != 0)
            flags |= TcpFlags.Ece;
        return flags;
    }

    // A SYN that asked for ECN and was lost is sent again without. RFC 3168 §6.1.1.1. Linux: tcp_ecn_clear_syn.
    private void ClearEcnOfSyn(SkBuff skb)
    {
        if (Tcp.Sysctls.TcpEcnFallback)
            skb.Tcp.Flags &= ~(TcpFlags.Ece | TcpFlags.Cwr);
    }

    /// <summary>Whether a SYN asks for ECN. Linux: tcp_ecn_send_syn.</summary>
    private bool WantsEcn => Tcp.Sysctls.TcpEcn == 1 || AlgorithmNeedsEcn || Route is { Metrics.Ecn: true };
}
