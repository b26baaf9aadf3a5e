using System;
using System.Diagnostics;
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
        if (OutOfOrder.IsEmpty && Rcv.Wnd > 0 && ReceiveAllocated < ReceiveBuffer && UrgData == 0)
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
        RcvRtt.LastTsEcr = RcvTsEcr;
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
        reason = CheckSequence(skb.Tcp.Seq, skb.Tcp.EndSeq, tcp.Has(TcpFlags.Fin));
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

    // RFC 9293 §3.4, as Linux reads it: what ends beyond the window is taken whole if nothing waits to be read; a FIN needs no room.
    // Linux: tcp_sequence.
    private DropReason CheckSequence(SeqNumber seq, SeqNumber end, bool fin)
    {
        if (end < Rcv.Wup)
            return DropReason.TcpOldSequence;
        SeqNumber edge = Rcv.WndEnd;
        if (end - (fin ? 1 : 0) <= edge)
            return DropReason.None;
        if (seq > edge)
            return DropReason.TcpInvalidSequence;
        return ReceiveQueue.IsEmpty ? DropReason.None : DropReason.TcpInvalidEndSequence;
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
        if (FastOpen is { SynHadOption: true } && Stats.DataSegmentsIn == 0 && State == TcpState.Established)
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

    private Micros _lastOutOfWindowAck = Micros.Never;

    // A limited number of answers to segments that may be part of a loop. RFC 5961 §7. Linux: tcp_oow_rate_limited.
    private bool IsRateLimited(Cpu cpu, SkBuff skb, bool syn, Mib counter) =>
        (skb.Tcp.Seq == skb.Tcp.EndSeq || syn) && IsAnswerLimited(cpu, counter);

    private bool IsAnswerLimited(Cpu cpu, Mib counter) => RateLimit.IsLimited(cpu, Tcp.Sysctls, ref _lastOutOfWindowAck, counter);

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

    private SackState AttachSack() => SackOut ??= new SackState();

    private bool IsLastDsackAt(SeqNumber seq) => SackOut is { } sack && sack.LastDuplicate.Start == seq;

    // Linux: tcp_dsack_set.
    private void SetDsack(Cpu cpu, SeqRange range)
    {
        if (!HasSack || !Tcp.Sysctls.TcpDsack)
            return;
        cpu.Mib.Inc(range.Start < Rcv.Nxt ? Mib.TcpExtTCPDSACKOldSent : Mib.TcpExtTCPDSACKOfoSent);
        AttachSack().SetDuplicate(range);
    }

    private void ExtendDsack(Cpu cpu, SeqRange range)
    {
        if (!HasSack || !Tcp.Sysctls.TcpDsack)
            return;
        SackState sack = AttachSack();
        if (!sack.HasDuplicate)
            SetDsack(cpu, range);
        else
            sack.AddDuplicate(range);
    }

    // ---- Data ----

    // Takes the data of an acceptable segment. Linux: tcp_data_queue.
    private void QueueData(Cpu cpu, SkBuff skb, int headerLength)
    {
        cpu.Trace(Tp.tcp_data_queue, this, skb.Tcp.Seq.Value, skb.Length - headerLength);
        if (skb.Tcp.Seq == skb.Tcp.EndSeq)
        {
            cpu.FreeSkb(skb);
            return;
        }
        skb.Pull(headerLength);
        SackOut?.ClearDuplicate();
        SeqNumber seq = skb.Tcp.Seq, end = skb.Tcp.EndSeq;
        if (seq == Rcv.Nxt)
        {
            bool bareFin = skb.Length == 0 && (skb.Tcp.Flags & TcpFlags.Fin) != 0;
            if (Rcv.Remaining == 0 && !bareFin)
            {
                cpu.Mib.Inc(Mib.TcpExtTCPZeroWindowDrop);
                RefuseData(cpu, skb, DropReason.TcpZeroWindow);
                return;
            }
            AcceptInOrder(cpu, skb);
            return;
        }
        if (end <= Rcv.Nxt)
        {
            // A retransmission of what we have: say so at once.
            cpu.Mib.Inc(Mib.TcpExtDelayedACKLost);
            AccEcn?.OnSpuriousRetransmit(IsLastDsackAt(seq));
            SetDsack(cpu, new SeqRange(seq, end));
            RefuseData(cpu, skb, DropReason.TcpOldData);
            return;
        }
        if (seq >= Rcv.WndEnd)
        {
            RefuseData(cpu, skb, DropReason.TcpOverwindow);
            return;
        }
        if (seq < Rcv.Nxt)
        {
            // Its front is old, its end is new.
            SetDsack(cpu, new SeqRange(seq, Rcv.Nxt));
            if (Rcv.Remaining == 0)
            {
                cpu.Mib.Inc(Mib.TcpExtTCPZeroWindowDrop);
                RefuseData(cpu, skb, DropReason.TcpZeroWindow);
                return;
            }
            AcceptInOrder(cpu, skb);
            return;
        }
        QueueOutOfOrder(cpu, skb);
    }

    private void RefuseData(Cpu cpu, SkBuff skb, DropReason reason)
    {
        Ack.EnterQuickMode(Rcv.Wnd, TcpConstants.MaxQuickAcks);
        Ack.Pending |= AckPending.Scheduled;
        Devices.Drops.Free(cpu, skb, reason);
    }

    private void AcceptInOrder(Cpu cpu, SkBuff skb)
    {
        if (!TryScheduleReceive(cpu, skb.TrueSize))
        {
            // There is no memory: a zero window says so.
            Ack.Pending |= AckPending.NoMemory | AckPending.Now | AckPending.Scheduled;
            DataReady(cpu, Rcv.Nxt);
            if (!ReceiveQueue.IsEmpty && skb.Length > 0)
            {
                cpu.Mib.Inc(Mib.TcpExtTCPRcvQDrop);
                Devices.Drops.Free(cpu, skb, DropReason.ProtoMem);
                return;
            }
            ForceSchedule(skb.TrueSize);
        }
        bool fin = (skb.Tcp.Flags & TcpFlags.Fin) != 0;
        bool hasData = skb.Length > 0;
        QueueReceived(cpu, skb);
        if (hasData)
            OnDataReceived(cpu, skb);
        if (skb.IsCoalesced)
            cpu.FreeSkb(skb);
        if (fin)
            ReceiveFin(cpu);
        if (!OutOfOrder.IsEmpty)
        {
            DrainOutOfOrder(cpu);
            // RFC 5681 §4.2: a filled gap is acknowledged at once.
            if (OutOfOrder.IsEmpty)
                Ack.Pending |= AckPending.Now;
        }
        SackOut?.OnAdvance(Rcv.Nxt, OutOfOrder.IsEmpty);
        CheckFastPath();
        if (!Has(SockFlags.Dead))
            NotifyData(cpu);
    }

    /// <summary>
    /// Appends data to the receive queue, merging it into the last buffer where that needs no copy; then the buffer is marked as
    /// merged, and is still to be freed. Linux: tcp_queue_rcv.
    /// </summary>
    private void QueueReceived(Cpu cpu, SkBuff skb)
    {
        SkBuff? tail = ReceiveQueue.Last;
        bool merged = tail is not null && TryCoalesce(cpu, tail, skb);
        AdvanceRcvNxt(skb.Tcp.EndSeq);
        TraceQueued(cpu, skb, merged);
        skb.IsCoalesced = merged;
        if (merged)
            return;
        ReceiveQueue.PushLast(skb);
        ChargeReceived(skb);
    }

    // A FIN takes a number and no room.
    private void TraceQueued(Cpu cpu, SkBuff skb, bool merged)
    {
        int fin = (skb.Tcp.Flags & TcpFlags.Fin) != 0 ? 1 : 0;
        cpu.Trace(Tp.tcp_queue_rcv, this, skb.Tcp.EndSeq - skb.Tcp.Seq - fin, Rcv.Nxt - Rcv.Copied - fin, merged ? 1 : 0, fin);
    }

    // Linux: tcp_try_coalesce.
    private bool TryCoalesce(Cpu cpu, SkBuff to, SkBuff from)
    {
        if (to.Tcp.EndSeq != from.Tcp.Seq || (to.Tcp.Flags & TcpFlags.Fin) != 0)
            return false;
        int length = from.Length;
        int gained = Math.Max(from.TrueSize - SkBuff.OverheadTrueSize, length);
        if (!to.TryCoalesce(from, cpu))
            return false;
        to.TrueSize += gained;
        ReceiveAllocated += gained;
        Charge(gained);
        cpu.Mib.Inc(Mib.TcpExtTCPRcvCoalesce);
        to.Tcp.EndSeq = from.Tcp.EndSeq;
        to.Tcp.AckSeq = from.Tcp.AckSeq;
        to.Tcp.Flags |= from.Tcp.Flags;
        if (from.Time != 0)
            to.Time = from.Time;
        return true;
    }

    // Linux: tcp_rcv_nxt_update.
    private void AdvanceRcvNxt(SeqNumber end)
    {
        Stats.BytesReceived += (uint)(end - Rcv.Nxt);
        Rcv.Nxt = end;
    }

    /// <summary>Tells readers, if there is enough for them. Linux: tcp_data_ready.</summary>
    private void NotifyData(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_data_ready, this, Rcv.Nxt - Rcv.Copied - (Has(SockFlags.Done) ? 1 : 0));
        if (IsReadable(ReceiveLowWater, Rcv.Copied) || Has(SockFlags.Done))
            DataReady(cpu, Rcv.Nxt);
    }

    /// <summary>Whether there is enough to read. Linux: tcp_epollin_ready, tcp_stream_is_readable.</summary>
    public bool IsReadable(int target, SeqNumber from)
    {
        int available = Rcv.Nxt - from;
        if (available <= 0)
            return false;
        return available >= target || IsReceiveBufferTight || Rcv.Remaining <= Ack.RcvMss;
    }

    // Nearly no room is left: the reader must come, whatever he waits for. Linux: tcp_rmem_pressure.
    private bool IsReceiveBufferTight
    {
        get
        {
            if (Proto.Memory.UnderPressure)
                return true;
            int threshold = ReceiveBuffer - (ReceiveBuffer >> 3);
            return ReceiveAllocated > threshold;
        }
    }

    /// <summary>Data has come: what it tells of the sender's segments, its rhythm, and its need for window. Linux: tcp_event_data_recv.</summary>
    private void OnDataReceived(Cpu cpu, SkBuff skb)
    {
        MeasureReceivedMss(skb);
        MeasureReceiveRttByWindow();
        Ack.OnDataReceived(Time, Rto, Rcv.Wnd);
        CheckCongestionMark(cpu, skb);
        if (skb.Tcp.EndSeq - skb.Tcp.Seq >= 128)
            GrowWindow(skb);
    }

    // Linux: tcp_measure_rcv_mss.
    private void MeasureReceivedMss(SkBuff skb)
    {
        int last = Ack.LastSegment;
        Ack.LastSegment = 0;
        int payload = skb.Tcp.EndSeq - skb.Tcp.Seq - ((skb.Tcp.Flags & TcpFlags.Fin) != 0 ? 1 : 0);
        int length = skb.GsoSize > 0 ? skb.GsoSize : payload;
        bool pushed = (skb.Tcp.Flags & TcpFlags.Psh) != 0;
        if (length >= Ack.RcvMss)
        {
            if (length != Ack.RcvMss)
                AdaptScaling(payload, skb.TrueSize);
            Ack.RcvMss = (ushort)Math.Min(length, AdvMss);
            if (pushed)
                Ack.Pending |= AckPending.Pushed;
            return;
        }
        int withHeader = length + HeaderLength;
        bool plain = (skb.Tcp.Flags & ~(TcpFlags.Ack | TcpFlags.Psh)) == 0;
        if (withHeader >= TcpConstants.DefaultMss + TcpHeader.MinLength
            || (withHeader >= TcpConstants.MinMss + TcpHeader.MinLength && plain && !pushed))
        {
            Ack.LastSegment = (ushort)length;
            if (length == last)
            {
                Ack.RcvMss = (ushort)length;
                return;
            }
        }
        if ((Ack.Pending & AckPending.Pushed) != 0)
            Ack.Pending |= AckPending.Pushed2;
        Ack.Pending |= AckPending.Pushed;
    }

    // How much of a buffer's memory is payload, as the segments show it.
    private void AdaptScaling(int payload, int trueSize)
    {
        byte before = ScalingRatio;
        ScalingRatio = (byte)Math.Clamp(((long)payload << 8) / Math.Max(trueSize, 1), 1, 255);
        if (before == ScalingRatio)
            return;
        Rcv.WndClamp = WindowFromSpace(ReceiveBuffer);
        if (Rcv.WndClamp < RcvSpace.Space)
            RcvSpace.Space = Rcv.WndClamp;
    }

    // Linux: tcp_grow_window: the window opens as segments come whose memory it can hold.
    private void GrowWindow(SkBuff skb)
    {
        int room = Math.Min(Rcv.WndClamp, FreeReceiveSpace) - Rcv.Ssthresh;
        if (room <= 0)
            return;
        if (Proto.Memory.UnderPressure)
        {
            ClampReceiveThreshold();
            return;
        }
        int payload = skb.Tcp.EndSeq - skb.Tcp.Seq;
        int increase = WindowFromSpace(skb.TrueSize) <= payload ? 2 * AdvMss : ProbeWindowGrowth(skb.TrueSize, payload);
        if (increase == 0)
            return;
        increase = Math.Max(increase, 2 * payload);
        Rcv.Ssthresh += Math.Min(room, increase);
        Ack.Quick |= 1;
    }

    // Linux: __tcp_grow_window.
    private int ProbeWindowGrowth(int trueSize, int payload)
    {
        int size = WindowFromSpace(trueSize) >> 1;
        int window = WindowFromSpace(Tcp.Sysctls.TcpRmem.Max) >> 1;
        while (Rcv.Ssthresh <= window)
        {
            if (size <= payload)
                return 2 * Ack.RcvMss;
            size >>= 1;
            window >>= 1;
        }
        return 0;
    }

    // Linux: tcp_rcv_rtt_measure: the time that a window's worth of data takes.
    private void MeasureReceiveRttByWindow()
    {
        if (RcvRtt.Time != Micros.Zero)
        {
            if (Rcv.Nxt < RcvRtt.Seq)
                return;
            RcvRtt.Update(Math.Max((Time - RcvRtt.Time).Value, 1), byWindow: true);
        }
        RcvRtt.Seq = Rcv.Nxt + Rcv.Wnd;
        RcvRtt.Time = Time;
    }

    // Linux: tcp_rcv_rtt_measure_ts: the time since the timestamp that the sender echoes.
    private void MeasureReceiveRtt(SkBuff skb)
    {
        if (!SawTimestamp || RcvTsEcr == RcvRtt.LastTsEcr)
            return;
        RcvRtt.LastTsEcr = RcvTsEcr;
        if (skb.Tcp.EndSeq - skb.Tcp.Seq < Ack.RcvMss || RcvTsEcr == 0)
            return;
        long delta = TimestampRtt(0);
        if (delta > 0)
            RcvRtt.Update(delta, byWindow: false);
    }

    // ---- FIN ----

    // The peer has closed its side. RFC 9293 §3.10.7.4, eighth. Linux: tcp_fin.
    private void ReceiveFin(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_fin, this);
        Ack.Pending |= AckPending.Scheduled;
        Shutdown |= ShutdownMask.Receive;
        Flags |= SockFlags.Done;
        switch (State)
        {
            case TcpState.SynRecv or TcpState.Established:
                SetState(cpu, TcpState.CloseWait);
                Ack.EnterPingPong();
                break;
            case TcpState.FinWait1:
                // Simultaneous close.
                SendAck(cpu);
                SetState(cpu, TcpState.Closing);
                break;
            case TcpState.FinWait2:
                SendAck(cpu);
                Tcp.EnterTimeWait(cpu, this, TcpState.TimeWait, TcpConstants.TimeWaitLength);
                break;
            case TcpState.CloseWait or TcpState.Closing or TcpState.LastAck:
                break;
            case TcpState.SynSent or TcpState.TimeWait or TcpState.Close or TcpState.Listen or TcpState.NewSynRecv:
                Debug.Fail("a FIN is taken only by a connection that can receive one");
                break;
        }
        PurgeOutOfOrder(cpu);
        // What came twice is no longer of interest to who has sent everything. Linux: tcp_sack_reset.
        SackOut?.ClearDuplicate();
        if (Has(SockFlags.Dead))
            return;
        StateChange(cpu);
    }

    // ---- Out of order ----

    // Linux: tcp_data_queue_ofo.
    private void QueueOutOfOrder(Cpu cpu, SkBuff skb)
    {
        CheckCongestionMark(cpu, skb);
        if (!TryScheduleReceive(cpu, skb.TrueSize))
        {
            cpu.Mib.Inc(Mib.TcpExtTCPOFODrop);
            DataReady(cpu, Rcv.Nxt);
            Devices.Drops.Free(cpu, skb, DropReason.ProtoMem);
            return;
        }
        MeasureReceivedMss(skb);
        FastPath = false;
        Ack.Pending |= AckPending.Scheduled;
        Stats.OutOfOrderReceived += Math.Max(1u, skb.GsoSegs);
        cpu.Mib.Inc(Mib.TcpExtTCPOFOQueue);
        SeqNumber seq = skb.Tcp.Seq, end = skb.Tcp.EndSeq;
        InsertOutOfOrder(cpu, skb);
        // Even what was there already makes its block the newest.
        if (HasSack)
            AttachSack().Add(new SeqRange(seq, end));
        // What lies beyond a hole must not eat the room for what comes; but nobody pays for a connection that nobody has accepted.
        if (Socket is not null)
            GrowReceiveBuffer(RcvSpace.Space);
    }

    // Overlaps are cut away, older data wins; what a new segment covers whole is dropped.
    private void InsertOutOfOrder(Cpu cpu, SkBuff skb)
    {
        SeqNumber seq = skb.Tcp.Seq, end = skb.Tcp.EndSeq;
        SkBuff? previous = OutOfOrder.Last is { } last && last.Tcp.Seq <= seq ? last : OutOfOrder.LastStartingAtOrBefore(seq);
        if (previous is not null && seq < previous.Tcp.EndSeq)
        {
            if (end <= previous.Tcp.EndSeq)
            {
                cpu.Mib.Inc(Mib.TcpExtTCPOFOMerge);
                SetDsack(cpu, new SeqRange(seq, end));
                Devices.Drops.Free(cpu, skb, DropReason.TcpOfoMerge);
                return;
            }
        }
        // Before anything is removed: what is given back then would take along what was granted for this.
        int trueSize = skb.TrueSize;
        ChargeReceived(skb);
        if (previous is not null && seq < previous.Tcp.EndSeq)
        {
            if (seq > previous.Tcp.Seq)
            {
                SetDsack(cpu, new SeqRange(seq, previous.Tcp.EndSeq));
            }
            else
            {
                // Same start, longer end: the new one takes its place.
                SetDsack(cpu, new SeqRange(seq, previous.Tcp.EndSeq));
                cpu.Mib.Inc(Mib.TcpExtTCPOFOMerge);
                SkBuff covered = previous;
                previous = SeqTree.Before(covered);
                RemoveOutOfOrder(cpu, covered, DropReason.TcpOfoMerge);
            }
        }
        bool merged = previous is not null && TryCoalesce(cpu, previous, skb);
        SkBuff current;
        if (merged)
        {
            UnchargeReceived(trueSize);
            cpu.FreeSkb(skb);
            current = previous!;
        }
        else
        {
            OutOfOrder.InsertAfter(skb, previous);
            GrowWindow(skb);
            current = skb;
        }
        RemoveCovered(cpu, current, end);
    }

    private void RemoveCovered(Cpu cpu, SkBuff skb, SeqNumber end)
    {
        while (SeqTree.After(skb) is { } next)
        {
            if (end <= next.Tcp.Seq)
                break;
            if (end < next.Tcp.EndSeq)
            {
                ExtendDsack(cpu, new SeqRange(next.Tcp.Seq, end));
                break;
            }
            ExtendDsack(cpu, new SeqRange(next.Tcp.Seq, next.Tcp.EndSeq));
            cpu.Mib.Inc(Mib.TcpExtTCPOFOMerge);
            RemoveOutOfOrder(cpu, next, DropReason.TcpOfoMerge);
        }
    }

    private void RemoveOutOfOrder(Cpu cpu, SkBuff skb, DropReason reason)
    {
        OutOfOrder.Remove(skb);
        UnchargeReceived(skb.TrueSize);
        Devices.Drops.Free(cpu, skb, reason);
    }

    // What has come too early is in order now. Linux: tcp_ofo_queue.
    private void DrainOutOfOrder(Cpu cpu)
    {
        SeqNumber dsackHigh = Rcv.Nxt;
        while (OutOfOrder.First is { } skb && skb.Tcp.Seq <= Rcv.Nxt)
        {
            if (skb.Tcp.Seq < dsackHigh)
            {
                SeqNumber duplicateEnd = SeqNumber.Min(dsackHigh, skb.Tcp.EndSeq);
                ExtendDsack(cpu, new SeqRange(skb.Tcp.Seq, duplicateEnd));
            }
            OutOfOrder.Remove(skb);
            if (skb.Tcp.EndSeq <= Rcv.Nxt)
            {
                UnchargeReceived(skb.TrueSize);
                Devices.Drops.Free(cpu, skb, DropReason.TcpOldData);
                continue;
            }
            bool fin = (skb.Tcp.Flags & TcpFlags.Fin) != 0;
            // The account holds it already: only the queue changes.
            int trueSize = skb.TrueSize;
            SkBuff? tail = ReceiveQueue.Last;
            SeqNumber end = skb.Tcp.EndSeq;
            bool merged = tail is not null && MoveOutOfOrder(cpu, tail, skb, trueSize);
            AdvanceRcvNxt(end);
            if (!merged)
                ReceiveQueue.PushLast(skb);
            TraceQueued(cpu, skb, merged);
            if (merged)
                cpu.FreeSkb(skb);
            if (fin)
            {
                ReceiveFin(cpu);
                // FIN purges what is left.
                break;
            }
        }
    }

    private bool MoveOutOfOrder(Cpu cpu, SkBuff tail, SkBuff skb, int trueSize)
    {
        if (!TryCoalesce(cpu, tail, skb))
            return false;
        UnchargeReceived(trueSize);
        return true;
    }

    private void PurgeOutOfOrder(Cpu cpu)
    {
        while (OutOfOrder.First is { } skb)
        {
            OutOfOrder.Remove(skb);
            UnchargeReceived(skb.TrueSize);
            cpu.FreeSkb(skb);
        }
        SackOut?.OnAdvance(Rcv.Nxt, queueIsEmpty: true);
    }

    // ---- Memory ----

    // Whether the receive queues may take so much more; prunes if that helps. Linux: tcp_try_rmem_schedule.
    private bool TryScheduleReceive(Cpu cpu, int trueSize)
    {
        if (CanIngest && ScheduleReceive(cpu, trueSize))
            return true;
        if (!PruneQueue(cpu))
            return false;
        while (!(CanIngest && ScheduleReceive(cpu, trueSize)))
        {
            if (!PruneOutOfOrder(cpu))
                return false;
        }
        return true;
    }

    // A segment that fits only in part is taken whole, so that the buffer may be exceeded by one. Linux: tcp_can_ingest.
    private bool CanIngest => ReceiveAllocated <= ReceiveBuffer;

    // Linux: tcp_prune_queue. False: there still is no room.
    private bool PruneQueue(Cpu cpu)
    {
        cpu.Mib.Inc(Mib.TcpExtPruneCalled);
        if (ReceiveAllocated >= ReceiveBuffer)
            ClampReceiveWindow();
        else if (Proto.Memory.UnderPressure)
            ClampReceiveThreshold();
        if (ReceiveAllocated <= ReceiveBuffer)
            return true;
        Collapse(cpu);
        if (ReceiveAllocated <= ReceiveBuffer)
            return true;
        PruneOutOfOrder(cpu);
        if (ReceiveAllocated <= ReceiveBuffer)
            return true;
        // The peer sends more than it was offered: the fast path would let it in.
        cpu.Mib.Inc(Mib.TcpExtRcvPruned);
        FastPath = false;
        return false;
    }

    // Linux: tcp_clamp_window.
    private void ClampReceiveWindow()
    {
        Ack.Quick = 0;
        int max = Tcp.Sysctls.TcpRmem.Max;
        if (ReceiveBuffer < max && !Has(SockFlags.RcvBufLocked) && !Proto.Memory.UnderPressure
            && Proto.Memory.Allocated < Proto.Memory.Limits[0])
            ReceiveBuffer = Math.Min(ReceiveAllocated, max);
        if (ReceiveAllocated > ReceiveBuffer)
            Rcv.Ssthresh = Math.Min(Rcv.WndClamp, 2 * AdvMss);
    }

    // Gives up early data, the furthest first, an eighth of the buffer at a time. Linux: tcp_prune_ofo_queue.
    private bool PruneOutOfOrder(Cpu cpu)
    {
        if (OutOfOrder.IsEmpty)
            return false;
        int goal = ReceiveBuffer >> 3;
        bool any = false;
        while (OutOfOrder.Last is { } last)
        {
            goal -= last.TrueSize;
            RemoveOutOfOrder(cpu, last, DropReason.TcpOfoQueuePrune);
            any = true;
            if (goal <= 0 && ReceiveAllocated <= ReceiveBuffer && !Proto.Memory.UnderPressure)
                break;
            if (goal <= 0)
                goal = ReceiveBuffer >> 3;
        }
        if (!any)
            return false;
        cpu.Mib.Inc(Mib.TcpExtOfoPruned);
        // The report would promise what is gone.
        SackOut = null;
        return true;
    }

    // Copies small buffers together, so that their overhead is gone. Linux: tcp_collapse.
    private void Collapse(Cpu cpu)
    {
        for (SkBuff? skb = ReceiveQueue.First; skb is not null; skb = ReceiveQueue.After(skb))
        {
            Compact(cpu, skb);
            while (ReceiveQueue.After(skb) is { } next && ShouldCollapse(skb, next) && skb.FragmentCount < SkBuff.MaxFragments - 1)
            {
                ReceiveQueue.Remove(next);
                MergeByCopy(cpu, skb, next);
            }
        }
        for (SkBuff? skb = OutOfOrder.First; skb is not null; skb = SeqTree.After(skb))
        {
            Compact(cpu, skb);
            while (SeqTree.After(skb) is { } next && ShouldCollapse(skb, next) && skb.FragmentCount < SkBuff.MaxFragments - 1)
            {
                OutOfOrder.Remove(next);
                MergeByCopy(cpu, skb, next);
            }
        }
    }

    // A buffer of few bytes in large pages: its bytes move, and the pages go.
    private void Compact(Cpu cpu, SkBuff skb)
    {
        int waste = skb.TrueSize - SkBuff.OverheadTrueSize - skb.Length;
        if (waste <= 0 || (skb.Tcp.Flags & (TcpFlags.Fin | TcpFlags.Syn)) != 0)
            return;
        cpu.Mib.Inc(Mib.TcpExtTCPRcvCollapsed);
        cpu.Compact(skb);
        skb.TrueSize -= waste;
        UnchargeReceived(waste);
    }

    private static bool ShouldCollapse(SkBuff skb, SkBuff next) =>
        skb.Tcp.EndSeq == next.Tcp.Seq && (skb.Tcp.Flags & (TcpFlags.Fin | TcpFlags.Syn)) == 0
        && (next.Tcp.Flags & (TcpFlags.Fin | TcpFlags.Syn)) == 0 && next.TrueSize > next.Length + (next.Length >> 1);

    private void MergeByCopy(Cpu cpu, SkBuff to, SkBuff from)
    {
        cpu.Mib.Inc(Mib.TcpExtTCPRcvCollapsed);
        int length = from.Length;
        byte[] bytes = System.Buffers.ArrayPool<byte>.Shared.Rent(length);
        from.CopyTo(0, bytes.AsSpan(0, length));
        cpu.AppendCopy(to, bytes.AsSpan(0, length));
        System.Buffers.ArrayPool<byte>.Shared.Return(bytes);
        UnchargeReceived(from.TrueSize);
        to.TrueSize += length;
        ReceiveAllocated += length;
        ForceSchedule(length);
        Charge(length);
        to.Tcp.EndSeq = from.Tcp.EndSeq;
        to.Tcp.Flags |= from.Tcp.Flags;
        cpu.FreeSkb(from);
    }

    /// <summary>
    /// Makes room for what the application reads in a round trip, doubled because this is always one round trip late, and more while
    /// it grows. Linux: tcp_rcvbuf_grow.
    /// </summary>
    public void GrowReceiveBuffer(int copied)
    {
        long before = Math.Max(RcvSpace.Space, 1);
        RcvSpace.Space = copied;
        if (!Tcp.Sysctls.TcpModerateRcvbuf || Has(SockFlags.RcvBufLocked))
            return;
        long window = (long)copied << 1;
        window += (long)((ulong)window * (ulong)(copied - before) / (ulong)before) << 1;
        if (OutOfOrder.Last is { } last)
            window += last.Tcp.EndSeq - Rcv.Nxt;
        long space = Math.Min((Math.Min(window, int.MaxValue) << 8) / ScalingRatio, Tcp.Sysctls.TcpRmem.Max);
        if (space <= ReceiveBuffer)
            return;
        ReceiveBuffer = (int)space;
        Rcv.WndClamp = WindowFromSpace(ReceiveBuffer);
    }

    /// <summary>SO_RCVLOWAT: the buffer must be able to hold what the reader waits for. Linux: tcp_set_rcvlowat.</summary>
    public override Errno SetReceiveLowWater(Cpu cpu, int bytes)
    {
        int most = Has(SockFlags.RcvBufLocked) ? ReceiveBuffer >> 1 : Tcp.Sysctls.TcpRmem.Max >> 1;
        bytes = Math.Min(bytes, most);
        ReceiveLowWater = Math.Max(bytes, 1);
        if (State is not (TcpState.Close or TcpState.Listen))
            NotifyData(cpu);
        if (Has(SockFlags.RcvBufLocked))
            return Errno.OK;
        int space = SpaceFromWindow(bytes);
        if (space > ReceiveBuffer)
        {
            ReceiveBuffer = space;
            Rcv.WndClamp = Math.Max(Rcv.WndClamp, bytes);
        }
        return Errno.OK;
    }

    /// <summary>TCP_WINDOW_CLAMP. Linux: tcp_set_window_clamp.</summary>
    public Errno SetWindowClamp(int bytes)
    {
        const int least = MinReceiveBuffer / 2;
        if (bytes == 0)
        {
            if (State != TcpState.Close)
                return Errno.EINVAL;
            Rcv.WndClamp = 0;
            return Errno.OK;
        }
        int clamp = Math.Max(bytes, least);
        if (clamp == Rcv.WndClamp)
            return Errno.OK;
        int threshold = (int)Math.Min(Rcv.Wnd, (uint)clamp);
        Rcv.Ssthresh = clamp < Rcv.WndClamp ? Math.Min(Rcv.Ssthresh, threshold) : Math.Max(threshold, Rcv.Ssthresh);
        Rcv.WndClamp = clamp;
        return Errno.OK;
    }

    // ---- What follows a segment ----

    /// <summary>Sends what the ACK has made possible. Linux: tcp_data_snd_check.</summary>
    public void CheckSendData(Cpu cpu)
    {
        PushPendingFrames(cpu);
        CheckSpace(cpu);
    }

    /// <summary>Wakes writers if a third of the buffer is free. Linux: tcp_check_space, tcp_new_space.</summary>
    public void CheckSpace(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_check_space, this);
        if (!Has(SockFlags.NoSpace))
            return;
        if (MayExpandSendBuffer())
        {
            ExpandSendBuffer();
            Cc.Stamp = cpu.Now;
        }
        WriteSpace(cpu);
        if (!Has(SockFlags.NoSpace))
            Stats.Chrono.Stop(ChronoType.SendBuffer, cpu.Now, NothingQueued);
    }

    /// <summary>Linux: sk_stream_write_space.</summary>
    public override void WriteSpace(Cpu cpu)
    {
        if (!IsWriteable || Socket is null)
            return;
        Flags &= ~SockFlags.NoSpace;
        WakeWriters(cpu);
    }

    /// <summary>Whether a third of the send buffer is free. Linux: __sk_stream_is_writeable.</summary>
    public bool IsWriteable => SendBuffer - WriteQueued >= WriteQueued >> 1 && IsBelowNotSentMark(1);

    /// <summary>Linux: sk_stream_memory_free.</summary>
    public bool HasSendRoom => WriteQueued < SendBuffer && IsBelowNotSentMark(0);

    // Linux: tcp_stream_memory_free.
    private bool IsBelowNotSentMark(int shift)
    {
        uint mark = NotsentLowat != 0 ? NotsentLowat : Tcp.Sysctls.TcpNotsentLowat;
        return (ulong)NotSentBytes << shift < mark;
    }

    // Linux: tcp_should_expand_sndbuf.
    private bool MayExpandSendBuffer()
    {
        if (Has(SockFlags.SendBufLocked) || Proto.Memory.UnderPressure || Proto.Memory.Allocated >= Proto.Memory.Limits[0])
            return false;
        return PacketsInFlight < Cc.Cwnd;
    }

    /// <summary>Two windows' worth of segments, as cubic needs it. Linux: tcp_sndbuf_expand.</summary>
    public void ExpandSendBuffer()
    {
        int segment = Math.Max(Math.Max(MssClamp, MssCache), 0) + 320 + 320;
        int perMss = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)segment) + 256;
        uint segments = Math.Max(Math.Max(TcpConstants.InitialCwnd, Cc.Cwnd), (uint)Reorder.Degree + 1);
        uint expand = Congestion?.SendBufferExpansion(this) is > 0 and var asked ? asked : 2;
        long wanted = (long)perMss * segments * expand;
        if (SendBuffer < wanted)
            SendBuffer = (int)Math.Min(wanted, Tcp.Sysctls.TcpWmem.Max);
    }

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
        if (moreThanOneSegment || Ack.InQuickMode(Route?.Metrics.QuickAck == true) || (Ack.Pending & AckPending.Now) != 0)
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
        if (!outOfOrderPossible || OutOfOrder.IsEmpty)
        {
            SendDelayedAck(cpu);
            return;
        }
        CompressAck(cpu);
    }

    // A burst of SACKs is compressed into one after a part of the round trip. Linux: the end of __tcp_ack_snd_check.
    private void CompressAck(Cpu cpu)
    {
        if (!HasSack || SackOut is not { } sack || sack.CompressedAcks >= Tcp.Sysctls.TcpCompSackNr)
        {
            SendAck(cpu);
            return;
        }
        if (sack.CompressedRcvNxt != Rcv.Nxt)
        {
            sack.CompressedRcvNxt = Rcv.Nxt;
            sack.DuplicateAcks = 0;
        }
        if (sack.DuplicateAcks < TcpConstants.FastRetransThreshold)
        {
            sack.DuplicateAcks++;
            SendAck(cpu);
            return;
        }
        sack.CompressedAcks++;
        if (sack.CompressedDeadline != Micros.Never)
            return;
        uint rtt8 = RcvRtt.Rtt8;
        if (Rtt.Srtt8 != 0 && (rtt8 == 0 || Rtt.Srtt8 < rtt8))
            rtt8 = Rtt.Srtt8;
        long delay = Math.Min(Tcp.Sysctls.TcpCompSackDelayNs / 1000, (rtt8 >> 3) * Tcp.Sysctls.TcpCompSackRttPercent / 100);
        sack.CompressedDeadline = cpu.Now + new Micros(Math.Max(delay, 1));
        ArmTimer(cpu, sack.CompressedDeadline);
    }

    // Linux: tcp_send_delayed_ack.
    private void SendDelayedAck(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_send_delayed_ack, this, Ack.Ato);
        Micros delay = new(Ack.Ato);
        if (delay > TcpConstants.DelayedAckMin)
        {
            Micros most = Micros.FromMilliseconds(500);
            if (Ack.InPingPong || (Ack.Pending & AckPending.Pushed) != 0)
                most = TcpConstants.DelayedAckMax;
            if (Rtt.HasSample)
                most = Micros.Min(most, Micros.Max(Rtt.Srtt, TcpConstants.DelayedAckMin));
            delay = Micros.Min(delay, most);
        }
        Micros limit = Rare is { DelayedAckMax.Value: > 0 } rare ? rare.DelayedAckMax : TcpConstants.DelayedAckMax;
        delay = Micros.Min(delay, limit);
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

    // ---- Urgent data ----

    internal const ushort UrgentValid = 0x100, UrgentNotYet = 0x200, UrgentRead = 0x400;

    // RFC 9293 §3.8.5, RFC 6093. Linux: tcp_urg.
    private void ProcessUrgent(Cpu cpu, SkBuff skb, in TcpHeader tcp)
    {
        if (tcp.Has(TcpFlags.Urg))
            CheckUrgent(cpu, skb, tcp.UrgentPointer);
        if (UrgData != UrgentNotYet)
            return;
        long offset = Rcv.Up - skb.Tcp.Seq + (tcp.Has(TcpFlags.Syn) ? 1 : 0);
        int at = (int)offset + tcp.HeaderLength;
        if (offset < 0 || at >= skb.Length)
            return;
        Span<byte> one = stackalloc byte[1];
        skb.CopyTo(at, one);
        UrgData = (ushort)(UrgentValid | one[0]);
        if (!Has(SockFlags.Dead))
            DataReady(cpu, Rcv.Nxt);
    }

    // Linux: tcp_check_urg.
    private void CheckUrgent(Cpu cpu, SkBuff skb, ushort pointer)
    {
        uint distance = pointer;
        if (distance != 0 && !Tcp.Sysctls.TcpStdurg)
            distance--;
        SeqNumber up = skb.Tcp.Seq + distance;
        // What is read, or to come in order before, or known: nothing new.
        if (Rcv.Copied > up || up < Rcv.Nxt)
            return;
        if (UrgData != 0 && up <= Rcv.Up)
            return;
        // Two urgent bytes in a row: the reader has passed the first one's place, which is data now.
        if (Rcv.Up == Rcv.Copied && UrgData != 0 && !Has(SockFlags.UrgInline) && Rcv.Copied != Rcv.Nxt)
        {
            Rcv.Copied++;
            if (ReceiveQueue.First is { } first && Rcv.Copied >= first.Tcp.EndSeq)
            {
                ReceiveQueue.Remove(first);
                UnchargeReceived(first.TrueSize);
                cpu.FreeSkb(first);
            }
        }
        UrgData = UrgentNotYet;
        Rcv.Up = up;
        FastPath = false;
    }
}
