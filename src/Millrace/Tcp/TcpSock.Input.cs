using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Input: a segment that has found its connection. RFC 9293 §3.10.7.</summary>
internal sealed partial class TcpSock
{
    /// <summary>
    /// Everything in order and nothing special: the next segment may take the fast path, if its window field is the present window.
    /// Linux: pred_flags.
    /// </summary>
    public bool FastPath;

    /// <summary>Linux: tcp_fast_path_check.</summary>
    public void CheckFastPath()
    {
        if (IsInOrder && Rcv.Wnd > 0 && ReceiveAllocated < ReceiveBuffer && UrgData == 0)
            FastPath = true;
    }

    /// <summary>
    /// A segment for an established connection. The buffer, at its TCP header, is taken over. Linux: tcp_rcv_established.
    /// </summary>
    public void ReceiveEstablished(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.tcp_rcv_established, this, skb.Tcp.Seq.Value, skb.Length);
        cpu.Trace(Tp.tcp_probe, this, skb.Length - HeaderBytes(skb), Cc.Cwnd, Snd.Wnd, Rcv.Wnd);
        RefreshTime(cpu);
        Features &= ~TcpFeatures.SawTimestamp;
        if (TryFastPath(cpu, skb, out bool predicted))
            return;
        unsafe
        {
            TcpHeader.TryParse(skb.Data, skb.LinearLength, out TcpHeader tcp);
            if ((tcp.Flags & (TcpFlags.Ack | TcpFlags.Rst | TcpFlags.Syn)) == 0)
            {
                Drop(cpu, skb, DropReason.TcpFlags);
                return;
            }
            TcpOptions options = TcpOptions.Parse(tcp.Options);
            // What was predicted is valid; it came here for memory.
            if (!predicted && !ValidateIncoming(cpu, skb, tcp, options))
                return;
            CountMarks(skb, skb.Length - tcp.HeaderLength);
            uint window = (uint)tcp.Window << Snd.WndScale;
            DropReason reason = OnAck(cpu, skb, window, options, AckFlags.SlowPath | AckFlags.UpdateTsRecent);
            if (reason is not (DropReason.None or DropReason.TcpOldAck))
            {
                Drop(cpu, skb, reason);
                return;
            }
            MeasureReceiveRtt(skb);
            ProcessUrgent(cpu, skb, tcp);
            QueueData(cpu, skb, tcp.HeaderLength);
        }
        CheckSendData(cpu);
        CheckSendAck(cpu);
        AssertInvariants();
    }

    // Bytes of the TCP header at the buffer's start. Linux: tcp_hdrlen.
    private static unsafe int HeaderBytes(SkBuff skb) => (skb.Data[12] >> 4) * 4;

    // Header prediction. RFC 7323 appendix; Linux: the fast path of tcp_rcv_established. True: the segment is dealt with. False and
    // predicted: only the memory for it has to be asked for.
    private unsafe bool TryFastPath(Cpu cpu, SkBuff skb, out bool predicted)
    {
        predicted = false;
        byte* p = skb.Data;
        int headerLength = HeaderBytes(skb);
        // ACK, with or without PSH, and nothing else; AccECN's counter must be the same too.
        if (!FastPath || headerLength != HeaderLength || (TcpFlags)((p[12] & 0xf) << 8 | p[13] & ~(int)TcpFlags.Psh) != PredictedFlags
            || skb.Tcp.Seq != Rcv.Nxt || skb.Tcp.AckSeq > Snd.Nxt || (uint)Be.Get16(p + 14) << Snd.WndScale != Snd.Wnd)
            return false;
        if (headerLength != TcpHeader.MinLength && !TryFastTimestamp(p + TcpHeader.MinLength, headerLength))
            return false;
        int length = skb.Length - headerLength;
        if (length == 0)
            return AcceptFastAck(cpu, skb);
        if (skb.Tcp.EndSeq > Rcv.WndEnd)
            return false;
        predicted = true;
        if (skb.TrueSize > ForwardAllocated)
            return false;
        if (HasTimestamps && Rcv.Nxt == Rcv.Wup)
            StoreTsRecent(cpu);
        MeasureReceiveRtt(skb);
        cpu.Mib.Inc(Mib.TcpExtTCPHPHits);
        skb.Pull(headerLength);
        CountMarks(skb, length);
        QueueReceived(cpu, skb);
        OnDataReceived(cpu, skb);
        bool checkAck = true;
        if (skb.Tcp.AckSeq != Snd.Una)
        {
            OnAck(cpu, skb, Snd.Wnd, default, AckFlags.Data);
            CheckSendData(cpu);
            checkAck = Ack.IsScheduled;
        }
        else
        {
            Snd.Wl1 = skb.Tcp.Seq;
        }
        if (checkAck)
            DecideAck(cpu, outOfOrderPossible: false);
        if (skb.IsCoalesced)
            cpu.FreeSkb(skb);
        NotifyData(cpu);
        AssertInvariants();
        return true;
    }

    private bool AcceptFastAck(Cpu cpu, SkBuff skb)
    {
        if (HasTimestamps && Rcv.Nxt == Rcv.Wup)
            StoreTsRecent(cpu);
        CountMarks(skb, 0);
        OnAck(cpu, skb, Snd.Wnd, default, AckFlags.None);
        cpu.FreeSkb(skb);
        CheckSendData(cpu);
        AttachTransfer().RcvRtt.LastTsEcr = RcvTsEcr;
        AssertInvariants();
        return true;
    }

    // Two NOPs and a timestamp, which is how everybody sends it; older than TS.Recent is looked at on the slow path.
    private unsafe bool TryFastTimestamp(byte* options, int headerLength)
    {
        const uint aligned = (uint)TcpOptionKind.Nop << 24 | (uint)TcpOptionKind.Nop << 16 | (uint)TcpOptionKind.Timestamp << 8 | 10;
        if (headerLength != TcpHeader.MinLength + TcpConstants.TimestampOptionLength || Be.Get32(options) != aligned)
            return false;
        uint value = Be.Get32(options + 4);
        if ((int)(value - TsRecent) < 0)
            return false;
        Features |= TcpFeatures.SawTimestamp;
        RcvTsVal = value;
        RcvTsEcr = Be.Get32(options + 8);
        return true;
    }

    private void ReadTimestamp(in TcpOptions options)
    {
        if (!options.HasTimestamp || !HasTimestamps)
            return;
        Features |= TcpFeatures.SawTimestamp;
        RcvTsVal = options.TsVal;
        RcvTsEcr = options.TsEcr;
    }

    private void Drop(Cpu cpu, SkBuff skb, DropReason reason)
    {
        if (reason == DropReason.TcpFlags)
            cpu.Mib.Inc(Mib.TcpInErrs);
        Devices.Drops.Free(cpu, skb, reason);
    }

    // ---- Validation ----

    /// <summary>
    /// The checks of RFC 9293 §3.10.7.4, first to fourth, with RFC 7323 before and RFC 5961 in place of the rash answers. False: the
    /// segment has been dealt with. Linux: tcp_validate_incoming.
    /// </summary>
    private bool ValidateIncoming(Cpu cpu, SkBuff skb, in TcpHeader tcp, in TcpOptions options)
    {
        cpu.Trace(Tp.tcp_validate_incoming, this, skb.Tcp.Seq.Value);
        bool rst = tcp.Has(TcpFlags.Rst), syn = tcp.Has(TcpFlags.Syn);
        ReadTimestamp(options);
        DropReason reason = CheckPaws(cpu, skb, tcp);
        if (reason != DropReason.None && !rst)
        {
            if (syn)
                return ChallengeSyn(cpu, skb);
            if (reason == DropReason.TcpRfc7323PawsAck)
            {
                cpu.Mib.Inc(Mib.TcpExtPAWSOldAck);
            }
            else
            {
                cpu.Mib.Inc(Mib.TcpExtPAWSEstab);
                if (!IsRateLimited(cpu, skb, syn, Mib.TcpExtTCPACKSkippedPAWS))
                    SendDuplicateAck(cpu, skb);
            }
            Drop(cpu, skb, reason);
            return false;
        }
        reason = Rcv.Check(skb.Tcp.Seq, skb.Tcp.EndSeq, tcp.Has(TcpFlags.Fin), ReceiveQueue.IsEmpty);
        if (reason != DropReason.None)
            return OnUnacceptable(cpu, skb, syn, rst, reason);
        if (rst)
            return OnReset(cpu, skb);
        bool reflect = syn && ReflectSyn(skb, options);
        if (syn && !IsSimultaneousSynAck(skb, tcp))
            return ChallengeSyn(cpu, skb, reflect);
        return true;
    }

    // Linux: tcp_disordered_ack_check and its use.
    private DropReason CheckPaws(Cpu cpu, SkBuff skb, in TcpHeader tcp)
    {
        if (!SawTimestamp || PassesPaws(cpu, TcpConstants.PawsWindow))
            return DropReason.None;
        SeqNumber seq = skb.Tcp.Seq;
        if (!tcp.Has(TcpFlags.Ack) || seq != skb.Tcp.EndSeq)
            return DropReason.TcpRfc7323Paws;
        if (seq != Rcv.Nxt)
            return seq < Rcv.Nxt ? DropReason.TcpRfc7323PawsAck : DropReason.TcpRfc7323Paws;
        // A pure duplicate ACK that is only a little late harms nobody.
        bool harmless = skb.Tcp.AckSeq == Snd.Una && !Snd.MayUpdateWindow(skb.Tcp.AckSeq, seq, (uint)tcp.Window << Snd.WndScale)
            && (int)(TsRecent - RcvTsVal) <= Rto.Milliseconds * 12 / 10;
        return harmless ? DropReason.None : DropReason.TcpRfc7323Paws;
    }

    private bool OnUnacceptable(Cpu cpu, SkBuff skb, bool syn, bool rst, DropReason reason)
    {
        if (rst)
        {
            if (IsResetAfterFin(skb))
            {
                Reset(cpu, skb);
                return false;
            }
        }
        else if (syn)
        {
            return ChallengeSyn(cpu, skb);
        }
        else
        {
            if (reason is DropReason.TcpInvalidSequence or DropReason.TcpInvalidEndSequence)
                cpu.Mib.Inc(Mib.TcpExtBeyondWindow);
            if (!IsRateLimited(cpu, skb, syn, Mib.TcpExtTCPACKSkippedSeq))
                SendDuplicateAck(cpu, skb);
        }
        Drop(cpu, skb, reason);
        return false;
    }

    // RFC 5961 §3.2: only an exact reset is believed; after our FIN was counted, the one before it; and the edge of what is SACKed.
    private bool OnReset(Cpu cpu, SkBuff skb)
    {
        bool exact = skb.Tcp.Seq == Rcv.Nxt || IsResetAfterFin(skb);
        if (!exact && HasSack && SackOut is { Count: > 0 } sack)
        {
            SeqNumber highest = sack[0].End;
            for (int i = 1; i < sack.Count; i++)
                highest = SeqNumber.Max(highest, sack[i].End);
            exact = skb.Tcp.Seq == highest;
        }
        // A RST instead of the data that a SYN asked for: perhaps what is on the way dislikes Fast Open.
        if (FastOpen is { SynHadOption: true } && Transfer is not { DataSegmentsIn: > 0 } && State == TcpState.Established)
            Tcp.Blackhole.Note(cpu);
        if (exact)
        {
            Reset(cpu, skb);
            return false;
        }
        SendChallengeAck(cpu);
        Drop(cpu, skb, DropReason.TcpReset);
        return false;
    }

    // Linux: tcp_reset_check.
    private bool IsResetAfterFin(SkBuff skb) =>
        skb.Tcp.Seq == Rcv.Nxt - 1 && State.IsAny(TcpStateSet.CloseWait | TcpStateSet.LastAck | TcpStateSet.Closing);

    // The second half of a simultaneous open.
    private bool IsSimultaneousSynAck(SkBuff skb, in TcpHeader tcp) =>
        State == TcpState.SynRecv && Socket is not null && tcp.Has(TcpFlags.Ack) && skb.Tcp.Seq + 1 == skb.Tcp.EndSeq
        && skb.Tcp.Seq + 1 == Rcv.Nxt && skb.Tcp.AckSeq == Snd.Nxt;

    // RFC 5961 §4.2.
    private bool ChallengeSyn(Cpu cpu, SkBuff skb, bool reflect = false)
    {
        cpu.Mib.Inc(Mib.TcpInErrs);
        cpu.Mib.Inc(Mib.TcpExtTCPSYNChallenge);
        SendChallengeAck(cpu, reflect);
        Devices.Drops.Free(cpu, skb, DropReason.TcpInvalidSyn);
        return false;
    }

    /// <summary>The connection is reset: everybody is told, and the buffer ends. Linux: tcp_reset.</summary>
    public void Reset(Cpu cpu, SkBuff skb)
    {
        EndByReset(cpu);
        cpu.FreeSkb(skb);
    }

    public void EndByReset(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_reset, this);
        cpu.Trace(Tp.tcp_receive_reset, this);
        Errno error = State switch
        {
            TcpState.SynSent => Errno.ECONNREFUSED,
            TcpState.CloseWait => Errno.EPIPE,
            _ => Errno.ECONNRESET,
        };
        if (State == TcpState.Close)
            return;
        PurgeWriteQueue(cpu);
        Tcp.Done(cpu, this, error);
    }

    // ---- Answers to the unacceptable ----

    private bool IsLastDsackAt(SeqNumber seq) => SackOut is { } sack && sack.LastDuplicate.Start == seq;
}
