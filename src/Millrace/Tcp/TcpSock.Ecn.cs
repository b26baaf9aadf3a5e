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

    /// <summary>Negotiated as RFC 3168 has it.</summary>
    Rfc3168 = 1,

    /// <summary>The next data segment carries CWR.</summary>
    QueueCwr = 2,

    /// <summary>A mark was received: every ACK echoes it until CWR comes.</summary>
    DemandCwr = 4,

    /// <summary>The peer has marked its data as ECN-capable.</summary>
    Seen = 8,

    /// <summary>Asked for in our SYN.</summary>
    Requested = 16,

    /// <summary>Accurate ECN: negotiated, and asked for in our SYN.</summary>
    AccEcn = 32,
    AccEcnRequested = 64,
}

/// <summary>Explicit congestion notification. RFC 3168 §6.1.</summary>
internal sealed partial class TcpSock
{
    public EcnFlags EcnState;

    /// <summary>Negotiated, in one way or the other. Linux: tcp_ecn_mode_any.</summary>
    public bool EcnOk => (EcnState & (EcnFlags.Rfc3168 | EcnFlags.AccEcn)) != 0;

    private bool IsRfc3168 => (EcnState & EcnFlags.Rfc3168) != 0;

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
        IsRfc3168 && (skb.Tcp.Flags & (TcpFlags.Ece | TcpFlags.Syn)) == TcpFlags.Ece;

    // Linux: tcp_ecn_queue_cwr.
    private void QueueCwr()
    {
        if (IsRfc3168)
            EcnState |= EcnFlags.QueueCwr;
    }

    // Linux: tcp_ecn_withdraw_cwr.
    private void WithdrawCwr() => EcnState &= ~EcnFlags.QueueCwr;

    // The peer has answered our echo. Linux: tcp_ecn_accept_cwr.
    private void AcceptCwr(SkBuff skb)
    {
        if (!IsRfc3168 || (skb.Tcp.Flags & TcpFlags.Cwr) == 0)
            return;
        EcnState &= ~EcnFlags.DemandCwr;
        // RFC 3168 §6.1.5: CWR may come on a retransmission that is not marked; what the marks said is acknowledged at once.
        if (skb.Tcp.Seq != skb.Tcp.EndSeq)
            Ack.Pending |= AckPending.Now;
    }

    // Looks at the mark of a segment with data. Linux: tcp_data_ecn_check.
    private void CheckCongestionMark(Cpu cpu, SkBuff skb)
    {
        if (!EcnOk)
            return;
        switch (CodepointOf(skb))
        {
            case Ecn.NotEct:
                // A retransmission, which must not be marked; if the peer marks its data at all, the receiver asks for it at once.
                if ((EcnState & EcnFlags.Seen) != 0)
                    Ack.EnterQuickMode(Rcv.Wnd, 2);
                break;
            case Ecn.Ce:
                AlgorithmOfMarks?.OnMark(this, cpu, marked: true);
                if (IsRfc3168 && (EcnState & EcnFlags.DemandCwr) == 0)
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
        if (IsAccEcn && (flags & TcpFlags.Syn) == 0)
            return MarkAccEcn(segment, flags);
        segment.Tcp.DsField = Tos;
        if (((flags & TcpFlags.Syn) != 0 || EcnOk) && AlgorithmNeedsEcn)
            segment.Tcp.DsField = (byte)((Tos & ~3) | (int)Ecn.Ect0);
        if ((flags & TcpFlags.Syn) != 0 || !IsRfc3168)
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

    // A SYN that asked for ECN and was lost is sent again without; AccECN is asked for twice. RFC 3168 §6.1.1.1, RFC 9768 §3.1.4.1.
    // Linux: tcp_ecn_clear_syn.
    private void ClearEcnOfSyn(SkBuff skb)
    {
        bool again = (EcnState & EcnFlags.AccEcnRequested) != 0 && Retransmits <= 1;
        if (Tcp.Sysctls.TcpEcnFallback && !again)
            skb.Tcp.Flags &= ~AceField.All;
    }

    // Linux: tcp_ecn_send_syn.
    private void AskForEcn(SkBuff syn)
    {
        int mode = Tcp.Sysctls.TcpEcn;
        EcnState = EcnFlags.None;
        if (mode == 3)
        {
            syn.Tcp.Flags |= AceField.All;
            EcnState = EcnFlags.AccEcnRequested;
        }
        else if (mode is 1 or 4 || AlgorithmNeedsEcn || Route is { Metrics.Ecn: true })
        {
            syn.Tcp.Flags |= TcpFlags.Ece | TcpFlags.Cwr;
            EcnState = EcnFlags.Requested;
        }
    }

    // RFC 3168 §6.1.1, RFC 9768 §3.1.2 table 2. Linux: tcp_ecn_rcv_synack.
    private void AcceptEcnSynAck(SkBuff skb, in TcpHeader tcp, in TcpOptions options)
    {
        EcnFlags asked = EcnState;
        EcnState = EcnFlags.None;
        if ((asked & (EcnFlags.Requested | EcnFlags.AccEcnRequested)) == 0)
            return;
        int ace = AceField.Of(tcp.Flags);
        bool accurate = (asked & EcnFlags.AccEcnRequested) != 0;
        if (ace == 1 || (ace == 5 && !accurate))
            EcnState = EcnFlags.Rfc3168;
        // Deviates: 6.18 takes these for AccECN from a server that was not asked for it; RFC 3168 §6.1.1 calls them no ECN.
        else if (ace is not (0 or 7) && accurate)
            AcceptAccEcnSynAck(skb, ace, options);
    }

    // The peer's SYN has crossed ours. Linux: tcp_ecn_rcv_syn.
    private void AcceptEcnSyn(SkBuff skb, in TcpHeader tcp, SkBuff? syn)
    {
        EcnFlags asked = EcnState;
        bool classic = tcp.Has(TcpFlags.Ece) && tcp.Has(TcpFlags.Cwr);
        if ((asked & EcnFlags.AccEcnRequested) != 0 && AceField.Asks(tcp.Flags))
            AcceptAccEcnSyn(skb, syn);
        else if (!classic)
            EcnState = EcnFlags.None;
    }

    /// <summary>Takes over what the handshake has settled. Linux: tcp_ecn_openreq_child.</summary>
    private void AdoptEcn(TcpRequestSock request, SkBuff skb, in TcpHeader tcp)
    {
        if (request.AccEcnOk)
            AdoptAccEcn(request, skb, tcp);
        else if (request.EcnOk)
            EcnState = EcnFlags.Rfc3168;
    }
}
