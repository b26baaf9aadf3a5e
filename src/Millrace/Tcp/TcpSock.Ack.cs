using System;
using System.Diagnostics;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>What an acknowledgement does: window, scoreboard, round trip, congestion, and what may be sent then.</summary>
internal sealed partial class TcpSock
{
    /// <summary>
    /// Works on a segment's acknowledgement. Linux: tcp_ack. A reason: the segment is not acceptable and must be dropped; but
    /// <see cref="DropReason.TcpOldAck"/> only says that the ACK was overtaken, which is no fault of what else the segment brings.
    /// </summary>
    private DropReason OnAck(Cpu cpu, SkBuff skb, uint window, in TcpOptions options, AckFlags flags)
    {
        cpu.Trace(Tp.tcp_ack, this, skb.Tcp.AckSeq.Value, (long)CaState);
        SeqNumber priorUna = Snd.Una, ackSeq = skb.Tcp.AckSeq, segSeq = skb.Tcp.Seq;
        var ack = new AckContext { Flags = flags };
        ack.Rate.PriorDelivered = 0;
        uint priorPackets = PacketsOut, priorDelivered = Delivered, priorLost = Lost;
        if (ackSeq < priorUna)
        {
            // RFC 5961 §5.2: an ACK older than any window that was ever open is a guess.
            long maxWindow = Math.Min(Snd.MaxWnd, (long)Math.Min(Stats.BytesAcked, uint.MaxValue));
            if (priorUna - ackSeq > maxWindow)
            {
                if ((flags & AckFlags.NoChallengeAck) == 0)
                    SendChallengeAck(cpu);
                return DropReason.TcpTooOldAck;
            }
            OnOldAck(cpu, skb, options, ref ack, priorUna, priorDelivered);
            return DropReason.TcpOldAck;
        }
        // RFC 9293 §3.10.7.4: an ACK for something not yet sent is answered and dropped.
        if (ackSeq > Snd.Nxt)
        {
            if ((flags & AckFlags.NoChallengeAck) == 0)
                SendChallengeAck(cpu);
            return DropReason.TcpAckUnsentData;
        }
        if (ackSeq > priorUna)
        {
            ack.Flags |= AckFlags.UnaAdvanced;
            Retransmits = 0;
        }
        SeqNumber priorHighest = HighestSackSeq;
        ack.Rate.PriorInFlight = PacketsInFlight;
        if (ack.Has(AckFlags.UpdateTsRecent))
            ReplaceTsRecent(cpu, segSeq);
        // Not in one statement: the step itself adds to the flags.
        AckFlags updated = UpdateFromSegment(cpu, skb, window, options, ref ack, priorUna);
        ack.Flags |= updated;
        SoftError = Errno.OK;
        ProbesOut = 0;
        LastAckReceived = Time;
        if (priorPackets == 0)
        {
            OnAckWithNothingOut(cpu, ref ack, priorUna, priorDelivered, ackSeq);
            return DropReason.None;
        }
        CleanRtxQueue(cpu, ref ack, priorHighest, priorUna);
        AdaptReorderingWindow(ack.Rate);
        if (Congestion is { WantsAckEvents: true })
            Congestion.OnAckEvent(this, ack.Has(AckFlags.Ece));
        if (Recovery!.ProbeOut)
            OnProbeAck(cpu, ackSeq, ack.Flags);
        if (IsDubious(ack.Flags))
        {
            int duplicates = (ack.Flags & (AckFlags.UnaAdvanced | AckFlags.NotDuplicate | AckFlags.DsackingAck)) == 0
                ? Math.Max(1, (int)skb.GsoSegs)
                : 0;
            OnDubiousAck(cpu, ref ack, priorUna, duplicates);
        }
        if (ack.Has(AckFlags.SetXmitTimer))
            SetXmitTimer(cpu);
        FinishAck(cpu, ref ack, priorDelivered, priorLost);
        return DropReason.None;
    }

    private AckFlags UpdateFromSegment(Cpu cpu, SkBuff skb, uint window, in TcpOptions options, ref AckContext ack, SeqNumber priorUna)
    {
        SeqNumber ackSeq = skb.Tcp.AckSeq, segSeq = skb.Tcp.Seq;
        if ((ack.Flags & (AckFlags.SlowPath | AckFlags.UnaAdvanced)) == AckFlags.UnaAdvanced)
        {
            // The fast path: the window is the same, and only the left edge moves.
            Snd.Wl1 = segSeq;
            AdvanceUna(ackSeq);
            cpu.Mib.Inc(Mib.TcpExtTCPHPAcks);
            return AckFlags.WindowUpdate;
        }
        AckFlags flags = AckFlags.None;
        if (segSeq != skb.Tcp.EndSeq)
            flags |= AckFlags.Data;
        else
            cpu.Mib.Inc(Mib.TcpExtTCPPureAcks);
        flags |= UpdateWindow(cpu, ackSeq, segSeq, window);
        if (HasSack && options.SackBlockCount > 0)
        {
            ack.Flags |= flags;
            TagSacked(cpu, skb, options, ref ack, priorUna);
        }
        if (HasEcnEcho(skb))
            flags |= AckFlags.Ece;
        return flags;
    }

    // Nothing was out: the ACK may answer a probe of the closed window.
    private void OnAckWithNothingOut(Cpu cpu, ref AckContext ack, SeqNumber priorUna, uint priorDelivered, SeqNumber ackSeq)
    {
        if (ack.Has(AckFlags.DsackingAck))
        {
            OnDubiousAck(cpu, ref ack, priorUna, 0);
            cpu.Mib.Add(Mib.TcpExtTCPDelivered, Delivered - priorDelivered);
        }
        OnProbe0Ack(cpu);
        if (Recovery is { ProbeOut: true })
            OnProbeAck(cpu, ackSeq, ack.Flags);
        MaybeDetachRecovery(cpu);
    }

    // It is old, but may carry SACK blocks.
    private void OnOldAck(Cpu cpu, SkBuff skb, in TcpOptions options, ref AckContext ack, SeqNumber priorUna, uint priorDelivered)
    {
        if (!HasSack || options.SackBlockCount == 0 || Recovery is null)
            return;
        ack.Rate.PriorInFlight = PacketsInFlight;
        TagSacked(cpu, skb, options, ref ack, priorUna);
        OnDubiousAck(cpu, ref ack, priorUna, 0);
        cpu.Mib.Add(Mib.TcpExtTCPDelivered, Delivered - priorDelivered);
        TransmitRecovery(cpu, ack.Action);
    }

    private void FinishAck(Cpu cpu, ref AckContext ack, uint priorDelivered, uint priorLost)
    {
        uint delivered = Delivered - priorDelivered;
        cpu.Mib.Add(Mib.TcpExtTCPDelivered, delivered);
        ack.Rate.IsAckDelayed = ack.Has(AckFlags.MaybeDelayed);
        GenerateRate(ref ack.Rate, delivered, (int)(Lost - priorLost));
        ControlCongestion(cpu, delivered, ref ack);
        TransmitRecovery(cpu, ack.Action);
        MaybeDetachRecovery(cpu);
    }

    private void MaybeDetachRecovery(Cpu cpu)
    {
        if (PacketsOut == 0 && CaState == CaState.Open && Recovery is { ProbeOut: false, Undo.HasMarker: false })
            DetachRecovery(cpu);
    }

    private bool IsDubious(AckFlags flags) =>
        (flags & AckFlags.NotDuplicate) == 0 || (flags & AckFlags.CaAlert) != 0 || CaState != CaState.Open;

    // Linux: tcp_xmit_recovery.
    private void TransmitRecovery(Cpu cpu, RecoveryAction action)
    {
        if (action == RecoveryAction.None || State == TcpState.SynSent)
            return;
        if (action == RecoveryAction.SendNew)
        {
            PushPending(cpu, CurrentMss(), NagleFlags.Off);
            if (Recovery is null || Snd.Nxt > Recovery.RecoveryPoint)
                return;
            Recovery.InFrto = false;
        }
        RetransmitLost(cpu);
    }

    // ---- Window ----

    // Linux: tcp_snd_una_update.
    private void AdvanceUna(SeqNumber ack)
    {
        Stats.BytesAcked += (uint)(ack - Snd.Una);
        Snd.Una = ack;
    }

    // Linux: tcp_ack_update_window.
    private AckFlags UpdateWindow(Cpu cpu, SeqNumber ack, SeqNumber segSeq, uint window)
    {
        AckFlags flags = AckFlags.None;
        if (Snd.MayUpdateWindow(ack, segSeq, window))
        {
            flags |= AckFlags.WindowUpdate;
            Snd.Wl1 = segSeq;
            if (Snd.Wnd != window)
            {
                Snd.Wnd = window;
                FastPath = false;
                CheckFastPath();
                if (!WriteQueue.IsEmpty)
                    RestartAfterIdle(cpu);
                if (window > Snd.MaxWnd)
                {
                    Snd.MaxWnd = window;
                    SyncMss(PathMtu);
                }
            }
        }
        AdvanceUna(ack);
        return flags;
    }

    // ---- Timestamps ----

    // RFC 7323 §4.3: only a segment that spans the last ACK's sequence may set TS.Recent. Linux: tcp_replace_ts_recent.
    private void ReplaceTsRecent(Cpu cpu, SeqNumber seq)
    {
        if (!SawTimestamp || seq > Rcv.Wup)
            return;
        if (PassesPaws(cpu, window: 0))
            StoreTsRecent(cpu);
    }

    private void StoreTsRecent(Cpu cpu)
    {
        TsRecent = RcvTsVal;
        TsRecentStamp = (int)(cpu.Now.Value / 1_000_000) + 1;
    }

    /// <summary>Whether the segment's timestamp is not older than the window allows. RFC 7323 §5. Linux: tcp_paws_check.</summary>
    private bool PassesPaws(Cpu cpu, int window)
    {
        if ((int)(TsRecent - RcvTsVal) <= window)
            return true;
        int now = (int)(cpu.Now.Value / 1_000_000) + 1;
        return now - TsRecentStamp >= TcpConstants.Paws24Days || TsRecent == 0;
    }

    // ---- Round trip ----

    // Linux: tcp_ack_update_rtt.
    private bool UpdateRtt(Cpu cpu, ref AckContext ack, long seqRtt, long sackRtt, long caRtt)
    {
        if (seqRtt < 0)
            seqRtt = sackRtt;
        if (seqRtt < 0 && SawTimestamp && RcvTsEcr != 0 && ack.Has(AckFlags.Acked))
            seqRtt = caRtt = TimestampRtt(1);
        ack.Rate.RttUs = caRtt;
        if (seqRtt < 0)
            return false;
        UpdateMinRtt(cpu, caRtt, ack.Flags);
        Rtt.OnSample(new Micros(seqRtt), Snd.Una, Snd.Nxt, RtoMin);
        SetRto();
        Backoff = 0;
        return true;
    }

    /// <summary>Linux: tcp_set_rto, tcp_bound_rto.</summary>
    private void SetRto() => Rto = Micros.Min(Rtt.Rto, RtoMax);

    public Micros RtoMin => Rare is { RtoMin.Value: > 0 and var min } ? new Micros(min)
        : Route is { Metrics.RtoMin: > 0 and var ms } ? Micros.FromMilliseconds(ms)
        : new Micros(Tcp.Sysctls.TcpRtoMinUs);

    public Micros RtoMax => Rare is { RtoMax.Value: > 0 and var max } ? new Micros(max) : Micros.FromMilliseconds(Tcp.Sysctls.TcpRtoMaxMs);

    // Linux: tcp_update_rtt_min.
    private void UpdateMinRtt(Cpu cpu, long rtt, AckFlags flags)
    {
        if ((flags & AckFlags.MaybeDelayed) != 0 && rtt > MinRttUs)
            return;
        uint window = (uint)Tcp.Sysctls.TcpMinRttWlen * 1000;
        uint value = rtt > 0 ? (uint)Math.Min(rtt, uint.MaxValue) : 1000;
        uint now = (uint)cpu.Now.Milliseconds;
        if (!_hasMinRtt)
        {
            _hasMinRtt = true;
            MinRtt.Reset(now, value);
            return;
        }
        MinRtt.RunningMin(window, now, value);
    }

    private bool _hasMinRtt;

    // The round trip that the echoed timestamp shows, in microseconds; −1 if it cannot be. Linux: tcp_rtt_tsopt_us.
    private long TimestampRtt(int minimumMs)
    {
        uint delta = TimestampOf(Time) - RcvTsEcr;
        if (delta >= int.MaxValue / 1000)
            return -1;
        return Math.Max(delta, (uint)minimumMs) * 1000L;
    }

    // ---- Delivery rate ----

    private void CountDelivered(uint packets, bool ecnEcho)
    {
        Delivered += packets;
        if (ecnEcho)
            DeliveredCe += packets;
    }

    // Linux: tcp_rate_skb_sent.
    private void NoteRate(SkBuff skb)
    {
        if (PacketsOut == 0)
            FirstTxTime = DeliveredTime = skb.SentTime;
        ref TcpControlBlock tcp = ref skb.Tcp;
        tcp.FirstTxTime = FirstTxTime;
        tcp.DeliveredTime = DeliveredTime;
        tcp.Delivered = Delivered;
        tcp.DeliveredCe = DeliveredCe;
        if (AppLimited != 0)
            tcp.Notes |= BufferNotes.AppLimited;
        else
            tcp.Notes &= ~BufferNotes.AppLimited;
    }

    // Linux: tcp_rate_skb_delivered.
    private void NoteDelivered(SkBuff skb, ref RateSample rate)
    {
        ref TcpControlBlock tcp = ref skb.Tcp;
        if (tcp.DeliveredTime == 0)
            return;
        if (rate.PriorDelivered == 0 || Rack.SentAfter(skb.SentTime, FirstTxTime, tcp.EndSeq, new SeqNumber(rate.LastEndSeq)))
        {
            rate.PriorDeliveredCe = tcp.DeliveredCe;
            rate.PriorDelivered = tcp.Delivered;
            rate.PriorTime = tcp.DeliveredTime;
            rate.IsAppLimited = (tcp.Notes & BufferNotes.AppLimited) != 0;
            rate.IsRetrans = (tcp.Sacked & SackedFlags.Retrans) != 0;
            rate.LastEndSeq = tcp.EndSeq.Value;
            FirstTxTime = skb.SentTime;
            rate.IntervalUs = FirstTxTime - tcp.FirstTxTime;
        }
        if ((tcp.Sacked & SackedFlags.SackedAcked) != 0)
            tcp.DeliveredTime = 0;
    }

    // Linux: tcp_rate_gen.
    private void GenerateRate(ref RateSample rate, uint delivered, int lost)
    {
        if (AppLimited != 0 && (int)(Delivered - AppLimited) > 0)
            AppLimited = 0;
        if (delivered > 0)
            DeliveredTime = Time.Value;
        rate.AckedSacked = delivered;
        rate.Losses = lost;
        if (rate.PriorTime == 0 || _isReneged)
        {
            rate.Delivered = -1;
            rate.IntervalUs = -1;
            return;
        }
        rate.Delivered = (int)(Delivered - rate.PriorDelivered);
        rate.DeliveredCe = (int)(DeliveredCe - rate.PriorDeliveredCe);
        rate.SendIntervalUs = rate.IntervalUs;
        rate.IntervalUs = Math.Max(rate.IntervalUs, Time.Value - rate.PriorTime);
        if (rate.IntervalUs < MinRttUs)
        {
            rate.IntervalUs = -1;
            return;
        }
        if (!rate.IsAppLimited || (ulong)rate.Delivered * RateIntervalUs >= (ulong)RateDelivered * (ulong)rate.IntervalUs)
        {
            RateDelivered = (uint)rate.Delivered;
            RateIntervalUs = (uint)Math.Min(rate.IntervalUs, uint.MaxValue);
            RateAppLimited = rate.IsAppLimited;
        }
    }

    /// <summary>Notes that the application keeps the connection from being full. Linux: tcp_rate_check_app_limited.</summary>
    public void CheckAppLimited()
    {
        bool idle = Snd.Written - Snd.Nxt < MssCache && TransmitAllocated < TxOverhead && PacketsInFlight < Cc.Cwnd && LostOut <= RetransOut;
        if (!idle)
            return;
        uint limited = Delivered + PacketsInFlight;
        AppLimited = limited != 0 ? limited : 1;
    }

    // ---- The retransmit queue ----

    // Takes off the queue what is acknowledged. Linux: tcp_clean_rtx_queue.
    private void CleanRtxQueue(Cpu cpu, ref AckContext ack, SeqNumber priorHighest, SeqNumber priorUna)
    {
        LossRecovery recovery = Recovery!;
        uint priorSacked = SackedOut;
        SeqNumber reordered = Snd.Nxt;
        long firstTime = 0, lastTime = 0;
        int acked = 0;
        bool whole = true, ecnEcho = ack.Has(AckFlags.Ece);
        SkBuff? skb;
        while ((skb = recovery.Queue.First) is not null)
        {
            int packets = skb.Tcp.Segments;
            if (skb.Tcp.EndSeq > Snd.Una)
            {
                if (packets == 1 || Snd.Una <= skb.Tcp.Seq)
                    break;
                packets = AckPart(cpu, skb);
                if (packets == 0)
                    break;
                whole = false;
            }
            NoteAcked(cpu, skb, packets, ref ack, ref reordered, ref firstTime, ref lastTime, ecnEcho);
            acked += packets;
            if (!whole)
                break;
            StampAcked(cpu, skb, priorUna);
            CompleteSent(cpu, skb);
        }
        if (skb is not null)
            StampAcked(cpu, skb, priorUna);
        if (skb is null)
            Stats.Chrono.Stop(ChronoType.Busy, cpu.Now, NothingQueued);
        if (HasUrgent && Snd.Up.IsBetween(priorUna, Snd.Una))
            Snd.Up = Snd.Una;
        if (skb is not null && (skb.Tcp.Sacked & SackedFlags.SackedAcked) != 0)
            ack.Flags |= AckFlags.SackReneging;
        MeasureAck(cpu, ref ack, skb, firstTime, lastTime, acked, whole, priorSacked, priorUna, reordered, priorHighest);
    }

    // Linux: tcp_ack_tstamp.
    private void StampAcked(Cpu cpu, SkBuff skb, SeqNumber priorUna)
    {
        var key = new SeqNumber(skb.StampKey);
        if ((skb.Stamps & TransmitStamps.Acked) != 0 && key >= priorUna && key < Snd.Una)
            OnTransmitStamp(skb, TransmitStamps.Acked, cpu);
    }

    // The front of a buffer is acknowledged. Returns the packets. Linux: tcp_tso_acked.
    private int AckPart(Cpu cpu, SkBuff skb)
    {
        int before = skb.Tcp.Segments;
        TrimHead(cpu, skb, Snd.Una - skb.Tcp.Seq);
        return before - skb.Tcp.Segments;
    }

    private void NoteAcked(Cpu cpu, SkBuff skb, int packets, ref AckContext ack, ref SeqNumber reordered, ref long firstTime,
        ref long lastTime, bool ecnEcho)
    {
        ref TcpControlBlock tcp = ref skb.Tcp;
        SackedFlags sacked = tcp.Sacked;
        if ((sacked & SackedFlags.Retrans) != 0)
        {
            if ((sacked & SackedFlags.SackedRetrans) != 0)
                RetransOut -= (uint)packets;
            ack.Flags |= AckFlags.RetransDataAcked;
        }
        else if ((sacked & SackedFlags.SackedAcked) == 0)
        {
            lastTime = skb.SentTime;
            if (firstTime == 0)
                firstTime = lastTime;
            if (tcp.Seq < reordered)
                reordered = tcp.Seq;
            if (tcp.EndSeq <= Recovery!.RecoveryPoint)
                ack.Flags |= AckFlags.OrigSackAcked;
        }
        if ((sacked & SackedFlags.SackedAcked) != 0)
        {
            SackedOut -= (uint)packets;
        }
        else if (HasSack)
        {
            CountDelivered((uint)packets, ecnEcho);
            if (!IsSpuriousRetransmit(skb))
                AdvanceRack(skb, tcp.EndSeq, sacked);
        }
        if ((sacked & SackedFlags.Lost) != 0)
            LostOut -= (uint)packets;
        PacketsOut -= (uint)packets;
        NoteDelivered(skb, ref ack.Rate);
        if ((tcp.Flags & TcpFlags.Syn) == 0)
        {
            ack.Flags |= AckFlags.DataAcked;
        }
        else
        {
            ack.Flags |= AckFlags.SynAcked;
            Recovery!.Undo.FirstRetransmit = 0;
        }
    }

    // Retransmitted, and acknowledged with a timestamp from before that: the original has arrived. Linux: tcp_skb_spurious_retrans.
    private bool IsSpuriousRetransmit(SkBuff skb) =>
        (skb.Tcp.Sacked & SackedFlags.Retrans) != 0 && SawTimestamp && RcvTsEcr != 0
        && (int)(RcvTsEcr - TimestampOf(new Micros(skb.SentTime))) < 0;

    private void AdvanceRack(SkBuff skb, SeqNumber endSeq, SackedFlags sacked) =>
        Recovery!.Rack.Advance((sacked & SackedFlags.Retrans) != 0, endSeq, skb.SentTime, Time.Value, MinRttUs);

    // A sent buffer is acknowledged in full.
    private void CompleteSent(Cpu cpu, SkBuff skb)
    {
        LossRecovery recovery = Recovery!;
        if (recovery.RetransmitHint == skb)
            recovery.RetransmitHint = null;
        if (recovery.HighestSack == skb)
            recovery.HighestSack = SeqTree.After(skb);
        UnlinkSent(skb);
        FreeWriteSkb(cpu, skb);
    }

    private void MeasureAck(Cpu cpu, ref AckContext ack, SkBuff? head, long firstTime, long lastTime, int acked, bool whole,
        uint priorSacked, SeqNumber priorUna, SeqNumber reordered, SeqNumber priorHighest)
    {
        long seqRtt = -1, sackRtt = -1, caRtt = -1;
        if (firstTime != 0 && !ack.Has(AckFlags.RetransDataAcked))
        {
            seqRtt = Time.Value - firstTime;
            caRtt = Time.Value - lastTime;
            // A lone small packet over a round trip: its ACK was probably delayed.
            if (acked == 1 && whole && priorSacked == 0 && Snd.Una - priorUna < MssCache && ack.Rate.PriorDelivered + 1 == Delivered
                && (ack.Flags & (AckFlags.CaAlert | AckFlags.SynAcked)) == 0)
                ack.Flags |= AckFlags.MaybeDelayed;
        }
        if (ack.FirstSackTime != 0)
        {
            sackRtt = Time.Value - ack.FirstSackTime;
            caRtt = Time.Value - ack.LastSackTime;
        }
        bool measured = UpdateRtt(cpu, ref ack, seqRtt, sackRtt, caRtt);
        if (ack.Has(AckFlags.Acked))
        {
            ack.Flags |= AckFlags.SetXmitTimer;
            OnMtuProbeAcked(cpu);
            if (!HasSack)
            {
                RemoveRenoSacks(cpu, acked, ack.Has(AckFlags.Ece));
                if (ack.Has(AckFlags.RetransDataAcked))
                    ack.Flags &= ~AckFlags.OrigSackAcked;
            }
            else if (reordered < priorHighest)
            {
                // A hole that was never retransmitted has been filled.
                CheckSackReordering(cpu, reordered, byTimestamp: false);
            }
        }
        else if (head is not null && measured && sackRtt >= 0 && sackRtt > Time.Value - head.SentTime)
        {
            // What was SACKed had been sent after the head: the timer may move on, once.
            ack.Flags |= AckFlags.SetXmitTimer;
        }
        AttachCongestion().OnPacketsAcked(this, cpu, new AckSample(acked, ack.Rate.RttUs, ack.Rate.PriorInFlight));
    }

    // ---- SACK ----

    /// <summary>Behind the highest byte that is SACKed. Linux: tcp_highest_sack_seq.</summary>
    private SeqNumber HighestSackSeq => SackedOut == 0 ? Snd.Una : Recovery!.HighestSack is { } skb ? skb.Tcp.Seq : Snd.Nxt;

    // Linux: tcp_check_sack_reordering.
    private void CheckSackReordering(Cpu cpu, SeqNumber low, bool byTimestamp)
    {
        SeqNumber highest = HighestSackSeq;
        if (low >= highest)
            return;
        int metric = highest - low, mss = MssCache;
        if (metric > Reordering * mss && mss > 0)
            Reordering = (ushort)Math.Min((metric + mss - 1) / mss, Tcp.Sysctls.TcpMaxReordering);
        ReorderingSeen = (byte)Math.Min(ReorderingSeen + 1, byte.MaxValue);
        cpu.Mib.Inc(byTimestamp ? Mib.TcpExtTCPTSReorder : Mib.TcpExtTCPSACKReorder);
    }

    /// <summary>Marks what the SACK blocks cover. Linux: tcp_sacktag_write_queue.</summary>
    private void TagSacked(Cpu cpu, SkBuff ackSkb, in TcpOptions options, ref AckContext ack, SeqNumber priorUna)
    {
        LossRecovery recovery = AttachRecovery(cpu);
        int count = Math.Min(options.SackBlockCount, TcpOptions.MaxSackBlocks);
        ack.Reordered = Snd.Nxt;
        if (SackedOut == 0)
        {
            recovery.HighestSack = recovery.Queue.First;
            // What earlier blocks said came to nothing: it is looked at again.
            recovery.SackBlocks = default;
        }
        bool duplicate = CheckDsack(cpu, options, ref ack, ackSkb.Tcp.AckSeq, priorUna, count);
        // Too old to be of use, but perhaps not its blocks.
        if (priorUna - ackSkb.Tcp.AckSeq > (long)Snd.MaxWnd || PacketsOut == 0)
            return;
        Span<SeqRange> blocks = stackalloc SeqRange[TcpOptions.MaxSackBlocks];
        int first = 0, used = 0;
        for (int i = 0; i < count; i++)
        {
            SeqRange block = options.SackBlock(i);
            bool dsack = duplicate && i == 0;
            if (!IsValidBlock(dsack, block))
            {
                CountInvalid(cpu, dsack);
                if (i == 0)
                    first = -1;
                continue;
            }
            // Blocks below SND.UNA say nothing, except as a DSACK.
            if (block.End <= priorUna)
            {
                if (i == 0)
                    first = -1;
                continue;
            }
            blocks[used++] = block;
        }
        WalkBlocks(cpu, blocks[..used], duplicate && first == 0, ref ack);
        RememberBlocks(blocks[..used]);
        if (CaState != CaState.Loss || recovery.Undo.HasMarker)
            CheckSackReordering(cpu, ack.Reordered, byTimestamp: false);
        Debug.Assert(LeftOut <= PacketsOut, "no more packets have left the network than were sent");
    }

    private static void CountInvalid(Cpu cpu, bool dsack)
    {
        if (dsack)
            cpu.Mib.Inc(Mib.TcpExtTCPDSACKIgnoredNoUndo);
        else
            cpu.Mib.Inc(Mib.TcpExtTCPSACKDiscard);
    }

    private void WalkBlocks(Cpu cpu, Span<SeqRange> blocks, bool firstIsDuplicate, ref AckContext ack)
    {
        if (blocks.IsEmpty)
            return;
        SeqRange duplicate = firstIsDuplicate ? blocks[0] : default;
        // Sorted by start, so that one walk serves all.
        for (int i = 1; i < blocks.Length; i++)
        {
            for (int j = i; j > 0 && blocks[j].Start < blocks[j - 1].Start; j--)
                (blocks[j], blocks[j - 1]) = (blocks[j - 1], blocks[j]);
        }
        for (int i = 0; i < blocks.Length; i++)
        {
            SeqRange block = blocks[i];
            bool isDuplicate = firstIsDuplicate && block == duplicate;
            bool nextIsDuplicate = firstIsDuplicate && i + 1 < blocks.Length && blocks[i + 1] == duplicate;
            if (isDuplicate)
            {
                WalkBlock(cpu, block, default, dsack: true, ref ack);
                continue;
            }
            WalkNewParts(cpu, block, nextIsDuplicate ? duplicate : default, ref ack);
        }
    }

    // What an earlier ACK SACKed already is skipped; only what is new in the block is walked. Linux: the use of recv_sack_cache.
    private void WalkNewParts(Cpu cpu, SeqRange block, SeqRange nextDuplicate, ref AckContext ack)
    {
        SeqNumber from = block.Start;
        ref LossRecovery.SackCache cache = ref Recovery!.SackBlocks;
        for (int i = 0; i < TcpOptions.MaxSackBlocks && from < block.End; i++)
        {
            SeqRange known = cache[i];
            bool overlaps = !known.IsEmpty && known.Start < block.End && from < known.End && nextDuplicate.IsEmpty;
            if (!overlaps)
                continue;
            if (from < known.Start)
                WalkBlock(cpu, new SeqRange(from, known.Start), nextDuplicate, dsack: false, ref ack);
            from = SeqNumber.Max(from, known.End);
        }
        // The walk goes on from there, but a buffer counts if the whole block covers it.
        if (from < block.End)
            WalkBlock(cpu, block, nextDuplicate, dsack: false, ref ack, from);
    }

    private void RememberBlocks(ReadOnlySpan<SeqRange> blocks)
    {
        ref LossRecovery.SackCache cache = ref Recovery!.SackBlocks;
        for (int i = 0; i < TcpOptions.MaxSackBlocks; i++)
            cache[i] = i < blocks.Length ? blocks[i] : default;
    }

    // RFC 2883 §4: the first block lies below the ACK, or inside the second. Linux: tcp_check_dsack.
    private bool CheckDsack(Cpu cpu, in TcpOptions options, ref AckContext ack, SeqNumber ackSeq, SeqNumber priorUna, int count)
    {
        SeqRange first = options.SackBlock(0);
        if (first.Start < ackSeq)
        {
            cpu.Mib.Inc(Mib.TcpExtTCPDSACKRecv);
        }
        else if (count > 1)
        {
            SeqRange second = options.SackBlock(1);
            if (first.End > second.End || first.Start < second.Start)
                return false;
            cpu.Mib.Inc(Mib.TcpExtTCPDSACKOfoRecv);
        }
        else
        {
            return false;
        }
        uint duplicates = CountDsack(first, ref ack);
        if (duplicates == 0)
        {
            cpu.Mib.Inc(Mib.TcpExtTCPDSACKIgnoredDubious);
            return false;
        }
        cpu.Mib.Add(Mib.TcpExtTCPDSACKRecvSegs, duplicates);
        ref Undo undo = ref Recovery!.Undo;
        // A duplicate of something that is forgotten: it can only be counted.
        if (undo.HasMarker && undo.Retransmits > 0 && first.End <= priorUna && first.End > undo.Marker)
            undo.Retransmits = Math.Max(0, undo.Retransmits - (int)duplicates);
        return true;
    }

    // How many segments the DSACK reports; 0 if it cannot be true, because more is reported than was ever open, or was ever sent
    // again. Linux: tcp_dsack_seen.
    private uint CountDsack(SeqRange block, ref AckContext ack)
    {
        if (block.Start >= block.End || block.Length > Snd.MaxWnd)
            return 0;
        LossRecovery recovery = Recovery!;
        uint segments = 1;
        if (block.Length > MssCache)
            segments = (uint)((block.Length + MssCache - 1) / MssCache);
        else if (recovery.ProbeOut && block.End == recovery.ProbeEnd)
            ack.Flags |= AckFlags.DsackTlp;
        Stats.DsackDuplicates += segments;
        if (Stats.DsackDuplicates > Stats.TotalRetransmits)
            return 0;
        Features |= TcpFeatures.DsackSeen;
        // Reordering made RACK retransmit too soon; a duplicate probe is the probe's own affair.
        if (ReorderingSeen > 0 && !ack.Has(AckFlags.DsackTlp))
            recovery.Rack.DsackSeen = true;
        ack.Flags |= AckFlags.DsackingAck;
        CountDelivered(segments, ack.Has(AckFlags.Ece));
        return segments;
    }

    /// <summary>
    /// Whether a block can be about what is out, or about what was. RFC 2018 §8; a block outside is a lie or too old.
    /// Linux: tcp_is_sackblock_valid.
    /// </summary>
    private bool IsValidBlock(bool dsack, SeqRange block)
    {
        if (block.End > Snd.Nxt || block.Start >= block.End)
            return false;
        if (block.Start >= Snd.Nxt)
            return false;
        // One that starts at the left edge would have moved it: it makes no sense.
        if (block.Start > Snd.Una)
            return true;
        Undo? undo = Recovery?.Undo;
        if (!dsack || undo is not { HasMarker: true } u)
            return false;
        if (block.End > Snd.Una)
            return false;
        if (block.Start >= u.Marker)
            return true;
        return block.End > u.Marker && block.Start >= block.End - Snd.MaxWnd;
    }

    // Marks the buffers of one range. Linux: tcp_sacktag_walk.
    private void WalkBlock(Cpu cpu, SeqRange range, SeqRange nextDuplicate, bool dsack, ref AckContext ack, SeqNumber? from = null)
    {
        LossRecovery recovery = Recovery!;
        SkBuff? skb = recovery.Queue.FirstEndingAfter(from ?? range.Start);
        while (skb is not null && skb.Tcp.Seq < range.End)
        {
            bool isDuplicate = dsack;
            int inside = 0;
            if (!nextDuplicate.IsEmpty && skb.Tcp.Seq < nextDuplicate.End)
            {
                inside = MatchToRange(cpu, skb, nextDuplicate);
                isDuplicate |= inside > 0;
            }
            if (inside <= 0)
            {
                SkBuff? shifted = TryShift(cpu, skb, range, isDuplicate, ref ack);
                if (shifted is not null)
                {
                    if (shifted != skb)
                    {
                        skb = SeqTree.After(shifted);
                        continue;
                    }
                    inside = 0;
                }
                else
                {
                    inside = MatchToRange(cpu, skb, range);
                }
            }
            if (inside < 0)
                break;
            if (inside > 0)
            {
                skb.Tcp.Sacked = TagOne(skb, skb.Tcp.Sacked, skb.Tcp.Seq, skb.Tcp.EndSeq, isDuplicate, skb.Tcp.Segments, ref ack);
                NoteDelivered(skb, ref ack.Rate);
                if ((skb.Tcp.Sacked & SackedFlags.SackedAcked) != 0)
                    recovery.Sent.Remove(skb);
                if (skb.Tcp.Seq >= HighestSackSeqForWalk())
                    recovery.HighestSack = SeqTree.After(skb);
            }
            skb = SeqTree.After(skb);
        }
    }

    private SeqNumber HighestSackSeqForWalk() => Recovery!.HighestSack is { } skb ? skb.Tcp.Seq : Snd.Nxt;

    // Whether the buffer lies inside the range: 1 it does, 0 it does not, −1 stop. A buffer of several segments is cut at the range's
    // edge, on a segment's boundary. Linux: tcp_match_skb_to_sack.
    private int MatchToRange(Cpu cpu, SkBuff skb, SeqRange range)
    {
        bool inside = range.Start <= skb.Tcp.Seq && range.End >= skb.Tcp.EndSeq;
        if (inside || skb.Tcp.Segments <= 1 || skb.Tcp.EndSeq <= range.Start)
            return inside ? 1 : 0;
        int mss = skb.Tcp.SegmentSize;
        inside = range.Start <= skb.Tcp.Seq;
        int length;
        if (!inside)
        {
            length = Math.Max(range.Start - skb.Tcp.Seq, mss);
        }
        else
        {
            length = range.End - skb.Tcp.Seq;
            if (length < mss)
                return -1;
        }
        if (length > mss)
        {
            int rounded = length / mss * mss;
            if (!inside && rounded < length)
                rounded += mss;
            length = rounded;
        }
        if (length >= skb.Length && !inside)
            return 0;
        if (length < skb.Length)
            FragmentSent(cpu, skb, length, mss);
        return inside ? 1 : 0;
    }

    // Linux: tcp_sacktag_one.
    private SackedFlags TagOne(SkBuff skb, SackedFlags sacked, SeqNumber start, SeqNumber end, bool dsack, int packets, ref AckContext ack)
    {
        LossRecovery recovery = Recovery!;
        uint count = (uint)packets;
        if (dsack && (sacked & SackedFlags.Retrans) != 0)
        {
            ref Undo undo = ref recovery.Undo;
            if (undo.HasMarker && undo.Retransmits > 0 && end > undo.Marker)
                undo.Retransmits = Math.Max(0, undo.Retransmits - packets);
            if ((sacked & SackedFlags.SackedAcked) != 0 && start < ack.Reordered)
                ack.Reordered = start;
        }
        if (end <= Snd.Una)
            return sacked;
        if ((sacked & SackedFlags.SackedAcked) == 0)
        {
            AdvanceRack(skb, end, sacked);
            if ((sacked & SackedFlags.SackedRetrans) != 0)
            {
                // If it was not thought lost, the retransmission is believed to be still on its way.
                if ((sacked & SackedFlags.Lost) != 0)
                {
                    sacked &= ~(SackedFlags.Lost | SackedFlags.SackedRetrans);
                    LostOut -= count;
                    RetransOut -= count;
                }
            }
            else
            {
                if ((sacked & SackedFlags.Retrans) == 0)
                {
                    // A hole that was never retransmitted is filled after higher data: it was overtaken.
                    if (start < HighestSackSeq && start < ack.Reordered)
                        ack.Reordered = start;
                    if (end <= recovery.RecoveryPoint)
                        ack.Flags |= AckFlags.OrigSackAcked;
                    if (ack.FirstSackTime == 0)
                        ack.FirstSackTime = skb.SentTime;
                    ack.LastSackTime = skb.SentTime;
                }
                if ((sacked & SackedFlags.Lost) != 0)
                {
                    sacked &= ~SackedFlags.Lost;
                    LostOut -= count;
                }
            }
            sacked |= SackedFlags.SackedAcked;
            ack.Flags |= AckFlags.DataSacked;
            SackedOut += count;
            CountDelivered(count, ack.Has(AckFlags.Ece));
        }
        if (dsack && (sacked & SackedFlags.SackedRetrans) != 0)
        {
            sacked &= ~SackedFlags.SackedRetrans;
            RetransOut -= count;
        }
        return sacked;
    }

    // Moves what is newly SACKed into the SACKed buffer before it, so that a long SACKed range is one buffer. Returns null to go the
    // ordinary way, the same buffer to pass it by, another to go on from there. Linux: tcp_shift_skb_data.
    private SkBuff? TryShift(Cpu cpu, SkBuff skb, SeqRange range, bool dsack, ref AckContext ack)
    {
        bool retransmittedNotLost = (skb.Tcp.Sacked & (SackedFlags.Lost | SackedFlags.SackedRetrans)) == SackedFlags.SackedRetrans;
        SkBuff? previous = SeqTree.Before(skb);
        if ((!dsack && retransmittedNotLost) || skb.Tcp.EndSeq <= Snd.Una || previous is null
            || (previous.Tcp.Sacked & SackedFlags.TagBits) != SackedFlags.SackedAcked || !MayMerge(previous, skb))
            return ShiftFallback(cpu);
        int mss, length, packets;
        bool inside = range.Start <= skb.Tcp.Seq && range.End >= skb.Tcp.EndSeq;
        if (inside)
        {
            length = skb.Length;
            packets = skb.Tcp.Segments;
            mss = SegmentLength(skb);
            if (mss != SegmentLength(previous))
                return ShiftFallback(cpu);
        }
        else
        {
            if (skb.Tcp.EndSeq <= range.Start || skb.Tcp.Segments <= 1)
                return skb;
            if (range.Start > skb.Tcp.Seq)
                return ShiftFallback(cpu);
            length = range.End - skb.Tcp.Seq;
            mss = skb.Tcp.SegmentSize;
            if (mss != SegmentLength(previous))
                return ShiftFallback(cpu);
            if (length < mss)
                return skb;
            packets = length / mss;
            length = packets * mss;
        }
        if (skb.Tcp.Seq + length <= Snd.Una || !Shift(cpu, previous, skb, length))
            return ShiftFallback(cpu);
        if (!AfterShift(cpu, previous, skb, packets, length, mss, dsack, ref ack))
            return previous;
        // The hole is filled: the SACKed buffer behind it may follow.
        SkBuff? next = SeqTree.After(previous);
        bool mayFollow = next is not null && (next.Tcp.Sacked & SackedFlags.TagBits) == SackedFlags.SackedAcked
            && SegmentLength(next) == mss && MayMerge(previous, next);
        if (mayFollow && Shift(cpu, previous, next!, next!.Length))
            AfterShift(cpu, previous, next, next.Tcp.Segments, next.Tcp.EndSeq - next.Tcp.Seq, mss, dsack: false, ref ack);
        return previous;
    }

    private static SkBuff? ShiftFallback(Cpu cpu)
    {
        cpu.Mib.Inc(Mib.TcpExtTCPSackShiftFallback);
        return null;
    }

    // Linux: tcp_skb_seglen.
    private static int SegmentLength(SkBuff skb) => skb.Tcp.Segments == 1 ? skb.Length : skb.Tcp.SegmentSize;

    private static bool Shift(Cpu cpu, SkBuff to, SkBuff from, int length)
    {
        const int maxLength = 1 << 24;
        if (to.Length + length >= maxLength || to.Tcp.Segments + from.Tcp.Segments > ushort.MaxValue)
            return false;
        if (!to.TakeFront(from, length, cpu))
            return false;
        to.TrueSize += length;
        from.TrueSize -= length;
        return true;
    }

    // Linux: tcp_shifted_skb. True: the source is gone.
    private bool AfterShift(Cpu cpu, SkBuff to, SkBuff from, int packets, int shifted, int mss, bool dsack, ref AckContext ack)
    {
        LossRecovery recovery = Recovery!;
        SeqNumber start = from.Tcp.Seq, end = start + shifted;
        TagOne(from, from.Tcp.Sacked, start, end, dsack, packets, ref ack);
        NoteDelivered(from, ref ack.Rate);
        to.Tcp.EndSeq += shifted;
        from.Tcp.Seq += shifted;
        to.Tcp.Segments += packets;
        from.Tcp.Segments -= packets;
        if (to.Tcp.SegmentSize == 0)
            to.Tcp.SegmentSize = mss;
        if (from.Tcp.Segments <= 1)
            from.Tcp.SegmentSize = 0;
        to.Tcp.Sacked |= from.Tcp.Sacked & SackedFlags.EverRetrans;
        if (from.Length > 0)
        {
            cpu.Mib.Inc(Mib.TcpExtTCPSackShifted);
            return false;
        }
        if (recovery.RetransmitHint == from)
            recovery.RetransmitHint = to;
        to.Tcp.Flags |= from.Tcp.Flags;
        to.Tcp.Notes |= from.Tcp.Notes & BufferNotes.EndOfRecord;
        MergeStamps(to, from);
        if ((from.Tcp.Flags & TcpFlags.Fin) != 0)
            to.Tcp.EndSeq = from.Tcp.EndSeq;
        if (recovery.HighestSack == from)
            recovery.HighestSack = SeqTree.After(from);
        to.Tcp.DeliveredTime = 0;
        UnlinkSent(from);
        FreeWriteSkb(cpu, from);
        cpu.Mib.Inc(Mib.TcpExtTCPSackMerged);
        return true;
    }
}
