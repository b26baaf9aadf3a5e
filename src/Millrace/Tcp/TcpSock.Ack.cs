using System;
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
        uint priorPackets = PacketsOut, priorDelivered = Delivered, priorLost = Packets.TotalLost;
        DropReason reason = Snd.CheckAck(ackSeq, Stats.BytesAcked);
        if (reason != DropReason.None)
        {
            if (reason == DropReason.TcpOldAck)
                OnOldAck(cpu, skb, options, ref ack, priorUna, priorDelivered);
            else if ((flags & AckFlags.NoChallengeAck) == 0)
                SendChallengeAck(cpu);
            return reason;
        }
        if (ackSeq > priorUna)
        {
            ack.Flags |= AckFlags.UnaAdvanced;
            Retransmits = 0;
        }
        SeqNumber priorHighest = SackedOut == 0 ? priorUna : Recovery!.HighestSackSeq(Packets, Snd);
        ack.Rate.PriorInFlight = PacketsInFlight;
        if (ack.Has(AckFlags.UpdateTsRecent) && ReplaceTsRecent(cpu, segSeq))
            ack.Flags |= AckFlags.TsProgress;
        // Not in one statement: the step itself adds to the flags.
        AckFlags updated = UpdateFromSegment(cpu, skb, window, options, ref ack, priorUna);
        ack.Flags |= updated;
        AcceptCwr(skb);
        SoftError = Errno.OK;
        ProbesOut = 0;
        LastAckReceived = Time;
        if (priorPackets == 0)
        {
            HearFeedback(skb, options, ref ack, priorDelivered);
            OnAckWithNothingOut(cpu, ref ack, priorUna, priorDelivered, ackSeq);
            return DropReason.None;
        }
        CleanRtxQueue(cpu, ref ack, priorHighest, priorUna);
        AdaptReorderingWindow(ack.Rate);
        HearFeedback(skb, options, ref ack, priorDelivered);
        if (Recovery!.Probe.IsOut)
            OnProbeAck(cpu, ackSeq, ack.Flags);
        if (IsDubious(ack.Flags))
            OnDubiousAck(cpu, ref ack, priorUna, DuplicatesIn(skb, ack.Flags));
        if (ack.Has(AckFlags.SetXmitTimer))
            SetXmitTimer(cpu);
        FinishAck(cpu, ref ack, priorDelivered, priorLost);
        return DropReason.None;
    }

    // Without SACK each duplicate counts, even those that came as one super-packet.
    private static int DuplicatesIn(SkBuff skb, AckFlags flags) =>
        (flags & (AckFlags.UnaAdvanced | AckFlags.NotDuplicate | AckFlags.DsackingAck)) == 0 ? Math.Max(1, (int)skb.GsoSegs) : 0;

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
        if (HasEcnEcho(skb))
            flags |= AckFlags.Ece;
        if (HasSack && options.SackBlockCount > 0)
        {
            ack.Flags |= flags;
            TagSacked(cpu, skb, options, ref ack, priorUna);
        }
        return flags;
    }

    // Nothing was out: the ACK may answer a probe of the closed window.
    private void OnAckWithNothingOut(Cpu cpu, ref AckContext ack, SeqNumber priorUna, uint priorDelivered, SeqNumber ackSeq)
    {
        if (ack.Has(AckFlags.DsackingAck))
        {
            OnDubiousAck(cpu, ref ack, priorUna, 0);
            CountNewlyDelivered(cpu, ack, priorDelivered);
        }
        OnProbe0Ack(cpu);
        if (Recovery is { Probe.IsOut: true })
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
        CountNewlyDelivered(cpu, ack, priorDelivered);
        TransmitRecovery(cpu, ack.Action);
    }

    private void FinishAck(Cpu cpu, ref AckContext ack, uint priorDelivered, uint priorLost)
    {
        if (ack.Has(AckFlags.ForwardProgress) || !ack.Has(AckFlags.NotDuplicate))
            Route?.Confirm(cpu.Now);
        uint delivered = CountNewlyDelivered(cpu, ack, priorDelivered);
        ack.Rate.IsAckDelayed = ack.Has(AckFlags.MaybeDelayed);
        Rate.Finish(ref ack.Rate, delivered, Packets.TotalLost - priorLost, Time.Value, MinRttUs, _isReneged);
        ControlCongestion(cpu, delivered, ref ack);
        TransmitRecovery(cpu, ack.Action);
        MaybeDetachRecovery(cpu);
    }

    // What the ACK tells of marks, and an algorithm that wants to hear of every ACK. Linux: tcp_in_ack_event.
    private void HearFeedback(SkBuff skb, in TcpOptions options, ref AckContext ack, uint priorDelivered)
    {
        ProcessAce(skb, options, ref ack, priorDelivered);
        if (Congestion is { WantsAckEvents: true })
            Congestion.OnAckEvent(this, ack.Has(AckFlags.Ece));
    }

    // Linux: tcp_newly_delivered.
    private uint CountNewlyDelivered(Cpu cpu, in AckContext ack, uint priorDelivered)
    {
        uint delivered = Rate.Delivered - priorDelivered;
        cpu.Mib.Add(Mib.TcpExtTCPDelivered, delivered);
        if (ack.Has(AckFlags.Ece))
            cpu.Mib.Add(Mib.TcpExtTCPDeliveredCE, IsRfc3168 ? delivered : ack.MarkedPackets);
        return delivered;
    }

    private void MaybeDetachRecovery(Cpu cpu)
    {
        if (PacketsOut == 0 && CaState == CaState.Open && Recovery is { Probe.IsOut: false, Undo.HasMarker: false })
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
            Recovery.Frto.IsActive = false;
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
                if (!IsAllSent)
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
    // True: the peer's clock has moved on since.
    private bool ReplaceTsRecent(Cpu cpu, SeqNumber seq)
    {
        if (!SawTimestamp || seq > Rcv.Wup || !PassesPaws(cpu, window: 0))
            return false;
        bool later = (int)(RcvTsVal - TsRecent) > 0;
        StoreTsRecent(cpu);
        return later;
    }

    private void StoreTsRecent(Cpu cpu)
    {
        TsRecent = RcvTsVal;
        TsRecentStamp = Paws.Stamp(cpu.Now);
    }

    private bool PassesPaws(Cpu cpu, int window) => Paws.Passes(TsRecent, TsRecentStamp, RcvTsVal, cpu.Now, window);
}
