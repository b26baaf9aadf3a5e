using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>When the receiver answers: acknowledgements at once, delayed, compressed, and limited where they may feed a loop.</summary>
internal sealed partial class TcpSock
{
    // Linux: tcp_ack_snd_check.
    private void CheckSendAck(Cpu cpu)
    {
        if (Ack.IsScheduled)
            DecideAck(cpu, outOfOrderPossible: true);
    }

    /// <summary>Acknowledge now, later, or, while segments come out of order, in fewer ACKs. Linux: __tcp_ack_snd_check.</summary>
    private void DecideAck(Cpu cpu, bool outOfOrderPossible)
    {
        cpu.Trace(Tp.__tcp_ack_snd_check, this, Ack.Quick, Ack.PingPong);
        bool moreThanOneSegment = Rcv.Nxt - Rcv.Wup > Ack.RcvMss
            && (Rcv.Nxt - Rcv.Copied < ReceiveLowWater || ChooseWindow() >= Rcv.Wnd);
        if (moreThanOneSegment || Ack.InQuickMode(Route?.Metrics.QuickAck == true, Tcp.Sysctls.TcpPingpongThresh) || (Ack.Pending & AckPending.Now) != 0)
        {
            // The owner of the socket works off a backlog: one ACK at the end will do.
            if (Lock.IsOwned && Tcp.Sysctls.TcpBacklogAckDefer)
            {
                Deferred |= DeferredWorkFlags.Ack;
                return;
            }
            SendAck(cpu);
            return;
        }
        if (!outOfOrderPossible || IsInOrder)
        {
            SendDelayedAck(cpu);
            return;
        }
        CompressAck(cpu);
    }

    // A burst of SACKs is compressed into one after a part of the round trip.
    private void CompressAck(Cpu cpu)
    {
        if (!HasSack || SackOut is not { } sack || !sack.TryCompress(Rcv.Nxt, Tcp.Sysctls.TcpCompSackNr))
        {
            SendAck(cpu);
            return;
        }
        if (sack.CompressedDeadline != Micros.Never)
            return;
        long delay = SackState.CompressionDelay(ReceiveRtt8, Rtt.Srtt8, Tcp.Sysctls.TcpCompSackDelayNs / 1000, Tcp.Sysctls.TcpCompSackRttPercent);
        sack.CompressedDeadline = cpu.Now + new Micros(delay);
        ArmTimer(cpu, sack.CompressedDeadline);
    }

    // Linux: tcp_send_delayed_ack.
    private void SendDelayedAck(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_send_delayed_ack, this, Ack.Ato);
        Micros limit = Rare is { DelayedAckMax.Value: > 0 } rare ? rare.DelayedAckMax : TcpConstants.DelayedAckMax;
        Micros delay = Ack.Delay(Rtt.HasSample ? Rtt.Srtt : Micros.Never, limit, Tcp.Sysctls.TcpPingpongThresh);
        // No delay is known before the first data: the next tick.
        Micros deadline = cpu.Now + Micros.Max(delay, TcpConstants.Jiffy);
        if ((Ack.Pending & AckPending.Timer) != 0)
        {
            // About to expire anyway.
            if (AckDeadline <= cpu.Now + delay / 4)
            {
                SendAck(cpu);
                return;
            }
            deadline = Micros.Min(deadline, AckDeadline);
        }
        Ack.Pending |= AckPending.Scheduled | AckPending.Timer;
        AckDeadline = deadline;
        ArmTimer(cpu, deadline);
    }

    // ---- Answers to the unacceptable ----

    private RateLimit _outOfWindowAcks;

    // A limited number of answers to segments that may be part of a loop. RFC 5961 §7. Linux: tcp_oow_rate_limited.
    private bool IsRateLimited(Cpu cpu, SkBuff skb, bool syn, Mib counter) =>
        (skb.Tcp.Seq == skb.Tcp.EndSeq || syn) && IsAnswerLimited(cpu, counter);

    private bool IsAnswerLimited(Cpu cpu, Mib counter) => _outOfWindowAcks.IsLimited(cpu, Tcp.Sysctls, counter);

    // RFC 5961 §7: limited for the connection, and for the stack. Linux: tcp_send_challenge_ack.
    private void SendChallengeAck(Cpu cpu, bool reflect = false)
    {
        if (IsAnswerLimited(cpu, Mib.TcpExtTCPACKSkippedChallenge) || !Tcp.TakeChallenge(cpu))
            return;
        cpu.Mib.Inc(Mib.TcpExtTCPChallengeACK);
        SendReflectingAck(cpu, reflect);
    }

    // Linux: tcp_send_dupack.
    private void SendDuplicateAck(Cpu cpu, SkBuff skb)
    {
        if (skb.Tcp.Seq != skb.Tcp.EndSeq && skb.Tcp.Seq < Rcv.Nxt)
        {
            cpu.Mib.Inc(Mib.TcpExtDelayedACKLost);
            Ack.EnterQuickMode(Rcv.Wnd, TcpConstants.MaxQuickAcks);
            AccEcn?.OnSpuriousRetransmit(IsLastDsackAt(skb.Tcp.Seq));
            if (HasSack && Tcp.Sysctls.TcpDsack)
                SetDsack(cpu, new SeqRange(skb.Tcp.Seq, SeqNumber.Min(skb.Tcp.EndSeq, Rcv.Nxt)));
        }
        SendAck(cpu);
    }
}
