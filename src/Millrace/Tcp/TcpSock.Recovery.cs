using System.Diagnostics;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Loss recovery: the scoreboard, what is lost, how fast to go on, and when it was all a mistake.</summary>
internal sealed partial class TcpSock
{
    // ---- Reductions ----

    private void SetCaState(CaState next)
    {
        Congestion?.SetState(this, next);
        CaState = next;
    }

    /// <summary>Linux: tcp_enter_recovery.</summary>
    private void EnterRecovery(Cpu cpu, bool ecnEcho)
    {
        LossRecovery recovery = Recovery!;
        if (!AnyRetransmitDone)
            recovery.Undo.FirstRetransmit = 0;
        cpu.Mib.Inc(HasSack ? Mib.TcpExtTCPSackRecovery : Mib.TcpExtTCPRenoRecovery);
        Cc.PriorSsthresh = 0;
        recovery.Undo.Start(Snd.Una, RetransOut);
        if (!InReduction)
        {
            if (!ecnEcho)
                Cc.PriorSsthresh = CurrentSsthresh;
            InitReduction();
        }
        SetCaState(CaState.Recovery);
    }

    /// <summary>The retransmit timer has expired. Linux: tcp_enter_loss.</summary>
    public void EnterLoss(Cpu cpu)
    {
        LossRecovery recovery = Recovery!;
        bool fresh = CaState < CaState.Recovery;
        if (recovery.MarkAllLost(cpu, Time.Value, ref Packets, HasSack))
        {
            cpu.Mib.Inc(Mib.TcpExtTCPSACKReneging);
            _isReneged = true;
        }
        bool reduce = CaState <= CaState.Disorder || recovery.RecoveryPoint <= Snd.Una || (CaState == CaState.Loss && Retransmits == 0);
        if (reduce)
        {
            Cc.PriorSsthresh = CurrentSsthresh;
            Cc.PriorCwnd = Cc.Cwnd;
            Cc.Ssthresh = AttachCongestion().Ssthresh(this);
            Congestion!.OnEvent(this, CaEvent.Loss);
            recovery.Undo.Start(Snd.Una, RetransOut);
        }
        Cc.Cwnd = PacketsInFlight + 1;
        Cc.Count = 0;
        Cc.Stamp = cpu.Now;
        int reordering = Tcp.Sysctls.TcpReordering;
        if (CaState <= CaState.Disorder && SackedOut >= reordering)
            Reorder.OnTimeout(reordering);
        SetCaState(CaState.Loss);
        recovery.RecoveryPoint = Snd.Nxt;
        recovery.Probe.IsOut = false;
        QueueCwr();
        recovery.Frto.IsActive = Tcp.Sysctls.TcpFrto != 0 && (fresh || Retransmits > 0);
    }

    /// <summary>SACK reneging was seen in this loss episode. Linux: is_sack_reneg.</summary>
    private bool _isReneged;

    private void MarkLost(Cpu cpu, SkBuff skb) => Recovery!.MarkLost(cpu, skb, ref Packets);

    private bool AnyRetransmitDone => Recovery is { } recovery ? recovery.IsAnyRetransmitted(Packets) : RetransOut > 0;

    // ---- RACK ----

    private long DetectLosses(Cpu cpu)
    {
        bool ignoresDupThresh = (Tcp.Sysctls.TcpRecovery & 4) != 0;
        long window = Reorder.Window(CaState >= CaState.Recovery, SackedOut, ignoresDupThresh, MinRttUs, Rtt.Srtt8 >> 3);
        return Recovery!.DetectLosses(cpu, window, Time.Value, ref Packets);
    }

    // True: the reordering timer runs now. Linux: tcp_rack_mark_lost.
    private bool MarkLostByRack(Cpu cpu)
    {
        LossRecovery recovery = Recovery!;
        if (!recovery.Rack.Advanced)
            return false;
        recovery.Rack.Advanced = false;
        long timeout = DetectLosses(cpu);
        if (timeout == 0)
            return false;
        ResetWriteTimer(cpu, TimerEvent.Reordering, new Micros(timeout) + TcpConstants.TimeoutMin, Rto);
        return true;
    }

    /// <summary>The reordering window has passed. Linux: tcp_rack_reo_timeout.</summary>
    private void OnReorderingTimeout(Cpu cpu)
    {
        if (Recovery is null)
            return;
        uint before = PacketsInFlight, lostBefore = Packets.TotalLost;
        DetectLosses(cpu);
        if (before != PacketsInFlight)
        {
            if (CaState != CaState.Recovery)
            {
                EnterRecovery(cpu, ecnEcho: false);
                if (!AttachCongestion().ControlsAll)
                    ReduceCwnd(1, Packets.TotalLost - lostBefore, unaAdvanced: false);
            }
            RetransmitLost(cpu);
        }
        if (PendingTimer != TimerEvent.Retransmit)
            RearmRto(cpu);
    }

    // DSACKs widen the window, for a while.
    private void AdaptReorderingWindow(in RateSample rate)
    {
        if ((Tcp.Sysctls.TcpRecovery & 2) == 0 && rate.PriorDelivered != 0)
            Reorder.Adapt(ref Recovery!.Rack.DsackSeen, rate.PriorDelivered, Delivered);
    }

    // ---- Without SACK ----

    private void OnRenoReordering(Cpu cpu, int addend)
    {
        Reorder.OnRenoOvertaken(PacketsOut + (uint)addend, Tcp.Sysctls.TcpMaxReordering);
        cpu.Mib.Inc(Mib.TcpExtTCPRenoReorder);
    }

    private void AddRenoSack(Cpu cpu, int duplicates, bool ecnEcho)
    {
        if (duplicates == 0)
            return;
        uint delivered = Packets.AddReno(duplicates, out bool reordered);
        if (reordered)
            OnRenoReordering(cpu, 0);
        // AccECN has counted already.
        Rate.Count(delivered, ecnEcho && IsRfc3168);
    }

    private void RemoveRenoSacks(Cpu cpu, int acked, bool ecnEcho)
    {
        Rate.Count(Packets.RemoveReno(acked, out bool reordered), ecnEcho);
        if (reordered)
            OnRenoReordering(cpu, acked);
    }

    // RFC 6582. Linux: tcp_newreno_mark_lost.
    private void MarkLostByDuplicates(Cpu cpu, bool unaAdvanced)
    {
        bool mark = (CaState < CaState.Recovery && SackedOut >= Reorder.Degree) || (CaState == CaState.Recovery && unaAdvanced);
        SkBuff? head = Recovery!.Queue.First;
        if (!mark || head is null || (head.Tcp.Sacked & SackedFlags.Lost) != 0)
            return;
        if (head.Tcp.Segments > 1 && head.Length > MssCache)
            FragmentSent(cpu, head, MssCache, MssCache);
        MarkLost(cpu, head);
    }

    // ---- The state machine ----

    private void TryKeepOpen()
    {
        CaState state = Packets.Left > 0 || AnyRetransmitDone ? CaState.Disorder : CaState.Open;
        if (CaState == state)
            return;
        SetCaState(state);
        Recovery!.RecoveryPoint = Snd.Nxt;
    }

    private void TryToOpen(Cpu cpu, AckFlags flags)
    {
        if (!AnyRetransmitDone)
            Recovery!.Undo.FirstRetransmit = 0;
        if ((flags & AckFlags.Ece) != 0)
            EnterCwr(cpu);
        if (CaState != CaState.Cwr)
            TryKeepOpen();
    }

    // Linux: tcp_check_sack_reneging.
    private bool CheckReneging(Cpu cpu, ref AckContext ack)
    {
        if (!ack.Has(AckFlags.SackReneging) || !ack.Has(AckFlags.UnaAdvanced))
            return false;
        Micros delay = Micros.Max(new Micros(Rtt.Srtt8 >> 4), Micros.FromMilliseconds(10));
        ResetWriteTimer(cpu, TimerEvent.Retransmit, delay, RtoMax);
        ack.Flags &= ~AckFlags.SetXmitTimer;
        return true;
    }

    // Linux: tcp_identify_packet_loss.
    private void IdentifyLosses(Cpu cpu, ref AckContext ack)
    {
        if (IsRtxEmpty)
            return;
        if (!HasSack)
        {
            MarkLostByDuplicates(cpu, ack.Has(AckFlags.UnaAdvanced));
            return;
        }
        uint before = RetransOut;
        if (MarkLostByRack(cpu))
            ack.Flags &= ~AckFlags.SetXmitTimer;
        if (before > RetransOut)
            ack.Flags |= AckFlags.LostRetrans;
    }

    /// <summary>
    /// An ACK that is not plainly good: finds losses, enters and leaves the states, and decides what is to be sent.
    /// Linux: tcp_fastretrans_alert.
    /// </summary>
    private void OnDubiousAck(Cpu cpu, ref AckContext ack, SeqNumber priorUna, int duplicates)
    {
        LossRecovery recovery = AttachRecovery(cpu);
        AckFlags flags = ack.Flags;
        bool ecnEcho = (flags & AckFlags.Ece) != 0;
        if (PacketsOut == 0 && SackedOut != 0)
            Packets.Sacked = 0;
        // A mark asks for the reduction: it is not undone.
        if (ecnEcho)
            Cc.PriorSsthresh = 0;
        if (CheckReneging(cpu, ref ack))
            return;
        Debug.Assert(Packets.Left <= PacketsOut, "no more packets have left the network than were sent");
        if (CaState == CaState.Open)
        {
            recovery.Undo.FirstRetransmit = 0;
        }
        else if (Snd.Una >= recovery.RecoveryPoint)
        {
            if (LeaveState(cpu))
                return;
        }
        if (CaState == CaState.Recovery)
        {
            if (!InRecovery(cpu, ref ack, priorUna, duplicates, ecnEcho))
                return;
        }
        else
        {
            if (CaState == CaState.Loss && !InLoss(cpu, ref ack, duplicates))
                return;
            if (!BeforeRecovery(cpu, ref ack, duplicates, ecnEcho))
                return;
        }
        ack.Action = RecoveryAction.RetransmitLost;
    }

    // The recovery point has been reached. True: nothing more to do with this ACK.
    private bool LeaveState(Cpu cpu)
    {
        switch (CaState)
        {
            case CaState.Cwr:
                // Held until something above it is acknowledged, so that the receiver has seen CWR.
                if (Snd.Una != Recovery!.RecoveryPoint)
                {
                    EndReduction(cpu);
                    SetCaState(CaState.Open);
                }
                return false;
            case CaState.Recovery:
                if (!HasSack)
                    Packets.Sacked = 0;
                if (TryUndoRecovery(cpu))
                    return true;
                EndReduction(cpu);
                return false;
            case CaState.Open or CaState.Disorder or CaState.Loss:
                return false;
        }
        return false;
    }

    private bool InRecovery(Cpu cpu, ref AckContext ack, SeqNumber priorUna, int duplicates, bool ecnEcho)
    {
        if (!ack.Has(AckFlags.UnaAdvanced))
        {
            if (!HasSack)
                AddRenoSack(cpu, duplicates, ecnEcho);
        }
        else if (TryUndoPartial(cpu, priorUna))
        {
            return false;
        }
        if (TryUndoDsack(cpu))
            TryToOpen(cpu, ack.Flags);
        IdentifyLosses(cpu, ref ack);
        if (CaState == CaState.Recovery)
            return true;
        // The recovery was undone; if there is a loss all the same, another begins.
        if (LostOut == 0)
            return false;
        EnterRecovery(cpu, ecnEcho);
        return true;
    }

    private bool InLoss(Cpu cpu, ref AckContext ack, int duplicates)
    {
        ProcessLoss(cpu, ref ack, duplicates);
        if (CaState != CaState.Loss)
            UpdateRtoTime(cpu);
        IdentifyLosses(cpu, ref ack);
        return CaState == CaState.Open || ack.Has(AckFlags.LostRetrans);
    }

    private bool BeforeRecovery(Cpu cpu, ref AckContext ack, int duplicates, bool ecnEcho)
    {
        if (!HasSack)
        {
            if (ack.Has(AckFlags.UnaAdvanced))
                Packets.Sacked = 0;
            AddRenoSack(cpu, duplicates, ecnEcho);
        }
        if (CaState <= CaState.Disorder)
            TryUndoDsack(cpu);
        IdentifyLosses(cpu, ref ack);
        if (LostOut == 0)
        {
            TryToOpen(cpu, ack.Flags);
            return false;
        }
        if (HandleLostMtuProbe(cpu))
            return false;
        EnterRecovery(cpu, ecnEcho);
        return true;
    }

    // After a timeout: was it spurious? Linux: tcp_process_loss.
    private void ProcessLoss(Cpu cpu, ref AckContext ack, int duplicates)
    {
        LossRecovery recovery = Recovery!;
        bool recovered = Snd.Una >= recovery.RecoveryPoint, newDataSent = Snd.Nxt > recovery.RecoveryPoint;
        if (ack.Has(AckFlags.UnaAdvanced) && TryUndoLoss(cpu, byFrto: false))
            return;
        switch (recovery.Frto.OnAck(ack.Flags, duplicates, newDataSent, recovered, !IsAllSent && Snd.WndEnd > Snd.Nxt))
        {
            case FrtoVerdict.Spurious:
                TryUndoLoss(cpu, byFrto: true);
                return;
            case FrtoVerdict.SendNew:
                recovery.RecoveryPoint = Snd.Nxt;
                ack.Action = RecoveryAction.SendNew;
                return;
            case FrtoVerdict.NothingNew:
                recovery.RecoveryPoint = Snd.Nxt;
                break;
            case FrtoVerdict.GoOn:
                break;
        }
        if (recovered)
        {
            TryUndoRecovery(cpu);
            return;
        }
        if (!HasSack)
        {
            if (Snd.Nxt > recovery.RecoveryPoint && duplicates > 0)
                AddRenoSack(cpu, duplicates, ack.Has(AckFlags.Ece));
            else if (ack.Has(AckFlags.UnaAdvanced))
                Packets.Sacked = 0;
        }
        ack.Action = RecoveryAction.RetransmitLost;
    }

    private void UpdateRtoTime(Cpu cpu)
    {
        if (Losses is not { RtoStart.Value: not 0 } losses)
            return;
        losses.TotalRtoTimeMs += (uint)(cpu.Now - losses.RtoStart).Milliseconds;
        losses.RtoStart = Micros.Zero;
    }
}
