using System;
using System.Diagnostics;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>What an ACK takes off the retransmit queue or marks in it, and what is measured by it.</summary>
internal sealed partial class TcpSock
{
    // Takes off the queue what is acknowledged. Linux: tcp_clean_rtx_queue.
    private void CleanRtxQueue(Cpu cpu, ref AckContext ack, SeqNumber priorHighest, SeqNumber priorUna)
    {
        LossRecovery recovery = Recovery!;
        uint priorSacked = SackedOut;
        ack.LowestAcked = Snd.Nxt;
        SkBuff? skb;
        while ((skb = recovery.Queue.First) is not null)
        {
            int packets = skb.Tcp.Segments;
            SeqNumber start = skb.Tcp.Seq;
            if (skb.Tcp.EndSeq > Snd.Una)
            {
                if (packets == 1 || Snd.Una <= skb.Tcp.Seq)
                    break;
                packets = AckPart(cpu, skb);
                if (packets == 0)
                    break;
                ack.EndedInside = true;
            }
            // What was SACKed before has been delivered before.
            if ((skb.Tcp.Sacked & SackedFlags.SackedAcked) != 0)
                ack.DeliveredBytes -= SeqNumber.Min(skb.Tcp.EndSeq, Snd.Una) - start;
            NoteAcked(skb, packets, ref ack);
            if (ack.EndedInside)
                break;
            StampAcked(cpu, skb, priorUna);
            CompleteSent(cpu, skb);
        }
        if (skb is not null)
            StampAcked(cpu, skb, priorUna);
        ack.DeliveredBytes += Snd.Una - priorUna;
        if (skb is null)
            Transfer?.Chrono.Stop(ChronoType.Busy, cpu.Now, NothingQueued);
        if (HasUrgent && Snd.Up.IsBetween(priorUna, Snd.Una))
            Snd.Up = Snd.Una;
        if (skb is not null && (skb.Tcp.Sacked & SackedFlags.SackedAcked) != 0)
            ack.Flags |= AckFlags.SackReneging;
        MeasureAck(cpu, ref ack, skb, priorSacked, priorUna, priorHighest);
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

    private void NoteAcked(SkBuff skb, int packets, ref AckContext ack)
    {
        ack.AckedPackets += packets;
        ref TcpControlBlock tcp = ref skb.Tcp;
        SackedFlags sacked = tcp.Sacked;
        if ((sacked & SackedFlags.Retrans) != 0)
        {
            if ((sacked & SackedFlags.SackedRetrans) != 0)
                Packets.Retrans -= (uint)packets;
            ack.Flags |= AckFlags.RetransDataAcked;
        }
        else if ((sacked & SackedFlags.SackedAcked) == 0)
        {
            ack.LastAckedTime = skb.SentTime;
            if (ack.FirstAckedTime == 0)
                ack.FirstAckedTime = skb.SentTime;
            ack.LowestAcked = SeqNumber.Min(ack.LowestAcked, tcp.Seq);
            if (tcp.EndSeq <= Recovery!.RecoveryPoint)
                ack.Flags |= AckFlags.OrigSackAcked;
        }
        if ((sacked & SackedFlags.SackedAcked) != 0)
        {
            Packets.Sacked -= (uint)packets;
        }
        else if (HasSack)
        {
            Rate.Count((uint)packets, ack.Has(AckFlags.Ece));
            if (!IsSpuriousRetransmit(skb))
                AdvanceRack(skb, tcp.EndSeq, sacked);
        }
        if ((sacked & SackedFlags.Lost) != 0)
            Packets.Lost -= (uint)packets;
        Packets.Out -= (uint)packets;
        Rate.OnDelivered(skb, ref ack.Rate);
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
        Recovery!.Complete(skb);
        FreeWriteSkb(cpu, skb);
    }

    // ---- Round trip and rate ----

    private void MeasureAck(Cpu cpu, ref AckContext ack, SkBuff? head, uint priorSacked, SeqNumber priorUna, SeqNumber priorHighest)
    {
        long seqRtt = -1, sackRtt = -1, caRtt = -1;
        if (ack.FirstAckedTime != 0 && !ack.Has(AckFlags.RetransDataAcked))
        {
            seqRtt = Time.Value - ack.FirstAckedTime;
            caRtt = Time.Value - ack.LastAckedTime;
            // A lone small packet over a round trip: its ACK was probably delayed.
            if (ack.AckedPackets == 1 && !ack.EndedInside && priorSacked == 0 && Snd.Una - priorUna < MssCache && ack.Rate.PriorDelivered + 1 == Delivered
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
                RemoveRenoSacks(cpu, ack.AckedPackets, ack.Has(AckFlags.Ece));
                if (ack.Has(AckFlags.RetransDataAcked))
                    ack.Flags &= ~AckFlags.OrigSackAcked;
            }
            else if (ack.LowestAcked < priorHighest)
            {
                // A hole that was never retransmitted has been filled.
                CheckSackReordering(cpu, ack.LowestAcked, byTimestamp: false);
            }
        }
        else if (head is not null && measured && sackRtt >= 0 && sackRtt > Time.Value - head.SentTime)
        {
            // What was SACKed had been sent after the head: the timer may move on, once.
            ack.Flags |= AckFlags.SetXmitTimer;
        }
        // The algorithm begins when the handshake is over: what it learned before would be forgotten.
        if (State != TcpState.SynSent)
            AttachCongestion().OnPacketsAcked(this, cpu, new AckSample(ack.AckedPackets, ack.Rate.RttUs, ack.Rate.PriorInFlight));
    }

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

    /// <summary>Notes that the application keeps the connection from being full. Linux: tcp_rate_check_app_limited.</summary>
    public void CheckAppLimited()
    {
        bool idle = Snd.Written - Snd.Nxt < MssCache && TransmitAllocated < Segmentation.Overhead && PacketsInFlight < Cc.Cwnd && LostOut <= RetransOut;
        if (!idle)
            return;
        Rate.MarkAppLimited(PacketsInFlight);
    }

    // ---- SACK ----

    // Linux: tcp_check_sack_reordering.
    private void CheckSackReordering(Cpu cpu, SeqNumber low, bool byTimestamp)
    {
        SeqNumber highest = Recovery!.HighestSackSeq(Packets, Snd);
        if (low >= highest)
            return;
        Reorder.OnOvertaken(highest - low, MssCache, Tcp.Sysctls.TcpMaxReordering);
        cpu.Mib.Inc(byTimestamp ? Mib.TcpExtTCPTSReorder : Mib.TcpExtTCPSACKReorder);
    }

    /// <summary>Marks what the SACK blocks cover. Linux: tcp_sacktag_write_queue.</summary>
    private void TagSacked(Cpu cpu, SkBuff ackSkb, in TcpOptions options, ref AckContext ack, SeqNumber priorUna)
    {
        LossRecovery recovery = AttachRecovery(cpu);
        ack.Reordered = Snd.Nxt;
        if (SackedOut == 0)
            recovery.StartSacking();
        bool duplicate = CheckDsack(cpu, options, ref ack, ackSkb.Tcp.AckSeq, priorUna);
        // Too old to be of use, but perhaps not its blocks.
        if (priorUna - ackSkb.Tcp.AckSeq > (long)Snd.MaxWnd || PacketsOut == 0)
            return;
        var blocks = default(ReceivedSack);
        for (int i = 0; i < options.SackBlockCount; i++)
        {
            SeqRange block = options.SackBlock(i);
            bool dsack = duplicate && i == 0;
            if (!ReceivedSack.IsValid(block, dsack, Snd, recovery.Undo))
                cpu.Mib.Inc(dsack ? Mib.TcpExtTCPDSACKIgnoredNoUndo : Mib.TcpExtTCPSACKDiscard);
            // Blocks below SND.UNA say nothing, except as a DSACK.
            else if (block.End > priorUna)
                blocks.Add(block, dsack);
        }
        var tagger = new SackTagger(cpu, recovery, ref Packets, ref Rate, ref ack, Snd, Time, MinRttUs);
        tagger.Walk(blocks);
        ChargeWrite(tagger.Charged);
        if (CaState != CaState.Loss || recovery.Undo.HasMarker)
            CheckSackReordering(cpu, ack.Reordered, byTimestamp: false);
        Debug.Assert(Packets.Left <= PacketsOut, "no more packets have left the network than were sent");
    }

    // Whether the first block is a DSACK that can be true. Linux: tcp_check_dsack.
    private bool CheckDsack(Cpu cpu, in TcpOptions options, ref AckContext ack, SeqNumber ackSeq, SeqNumber priorUna)
    {
        DsackKind kind = Dsack.KindOf(options, ackSeq);
        if (kind == DsackKind.None)
            return false;
        cpu.Mib.Inc(kind == DsackKind.BelowAck ? Mib.TcpExtTCPDSACKRecv : Mib.TcpExtTCPDSACKOfoRecv);
        SeqRange first = options.SackBlock(0);
        uint duplicates = CountDsack(first, ref ack);
        if (duplicates == 0)
        {
            cpu.Mib.Inc(Mib.TcpExtTCPDSACKIgnoredDubious);
            return false;
        }
        cpu.Mib.Add(Mib.TcpExtTCPDSACKRecvSegs, duplicates);
        // A duplicate of something that is forgotten: it can only be counted.
        if (first.End <= priorUna)
            Recovery!.Undo.OnDuplicate((int)duplicates, first.End);
        return true;
    }

    // How many segments the DSACK reports; 0 if it cannot be true, because more is reported than was ever open, or was ever sent
    // again. Linux: tcp_dsack_seen.
    private uint CountDsack(SeqRange block, ref AckContext ack)
    {
        uint segments = Dsack.Segments(block, MssCache, Snd.MaxWnd);
        if (segments == 0)
            return 0;
        LossRecovery recovery = Recovery!;
        if (block.Length <= MssCache && recovery.Probe.IsOut && block.End == recovery.Probe.End)
            ack.Flags |= AckFlags.DsackTlp;
        AttachLosses().DsackDuplicates += segments;
        if (Losses!.DsackDuplicates > TotalRetransmits)
            return 0;
        Features |= TcpFeatures.DsackSeen;
        // Reordering made RACK retransmit too soon; a duplicate probe is the probe's own affair.
        if (Reorder.Seen > 0 && !ack.Has(AckFlags.DsackTlp))
            recovery.Rack.DsackSeen = true;
        ack.Flags |= AckFlags.DsackingAck;
        Rate.Count(segments, ack.Has(AckFlags.Ece));
        return segments;
    }
}
