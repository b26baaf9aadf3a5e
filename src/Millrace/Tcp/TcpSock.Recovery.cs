using System;
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

    /// <summary>The algorithm of this connection, with its state; made when it is first asked.</summary>
    public CongestionControl AttachCongestion()
    {
        if (Congestion is null)
        {
            Congestion = Tcp.Congestions.Create(CongestionName ?? Tcp.Sysctls.TcpCongestionControl);
            Congestion.Init(this);
        }
        return Congestion;
    }

    /// <summary>The algorithm that the user asked for; null for the system's.</summary>
    public string? CongestionName;

    /// <summary>TCP_CONGESTION, on a connection in any state. Linux: tcp_set_congestion_control, tcp_reinit_congestion_control.</summary>
    public void ChangeCongestion(string name)
    {
        CongestionName = name;
        if (Congestion is { } old)
        {
            if (old.Name == name)
                return;
            old.Release(this);
            Congestion = null;
        }
        if (State is not (TcpState.Close or TcpState.Listen))
            AttachCongestion();
    }

    /// <summary>Linux: tcp_init_cwnd_reduction.</summary>
    private void InitReduction()
    {
        LossRecovery recovery = Recovery!;
        recovery.RecoveryPoint = Snd.Nxt;
        recovery.ProbeOut = false;
        Cc.Count = 0;
        Cc.PriorCwnd = Cc.Cwnd;
        recovery.Prr.Start();
        Cc.Ssthresh = AttachCongestion().Ssthresh(this);
        QueueCwr();
    }

    /// <summary>Linux: tcp_end_cwnd_reduction.</summary>
    private void EndReduction(Cpu cpu)
    {
        if (AttachCongestion().ControlsAll)
            return;
        if (Cc.Ssthresh < TcpConstants.InfiniteSsthresh && (CaState == CaState.Cwr || Recovery!.Undo.HasMarker))
        {
            Cc.Cwnd = Cc.Ssthresh;
            Cc.Stamp = cpu.Now;
        }
        Congestion!.OnEvent(this, CaEvent.CompleteCwr);
    }

    /// <summary>Reduces the window for a mark or a local drop. Linux: tcp_enter_cwr.</summary>
    public void EnterCwr(Cpu cpu)
    {
        Cc.PriorSsthresh = 0;
        if (CaState >= CaState.Cwr)
            return;
        AttachRecovery(cpu).Undo.HasMarker = false;
        InitReduction();
        SetCaState(CaState.Cwr);
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
        MarkAllLost(cpu);
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
        // So many duplicates and still a timeout: reordering was overestimated.
        int reordering = Tcp.Sysctls.TcpReordering;
        if (CaState <= CaState.Disorder && SackedOut >= reordering)
            Reordering = (ushort)Math.Min(Reordering, reordering);
        SetCaState(CaState.Loss);
        recovery.RecoveryPoint = Snd.Nxt;
        recovery.ProbeOut = false;
        QueueCwr();
        recovery.InFrto = Tcp.Sysctls.TcpFrto != 0 && (fresh || Retransmits > 0);
    }

    // Everything that is old enough is taken for lost; and if the receiver has thrown away what it had SACKed, all of it.
    // Linux: tcp_timeout_mark_lost.
    private void MarkAllLost(Cpu cpu)
    {
        LossRecovery recovery = Recovery!;
        SkBuff? head = recovery.Queue.First;
        bool reneged = head is not null && (head.Tcp.Sacked & SackedFlags.SackedAcked) != 0;
        if (reneged)
        {
            cpu.Mib.Inc(Mib.TcpExtTCPSACKReneging);
            SackedOut = 0;
            _isReneged = true;
        }
        else if (!HasSack)
        {
            SackedOut = 0;
        }
        for (SkBuff? skb = head; skb is not null; skb = SeqTree.After(skb))
        {
            if (reneged)
            {
                if ((skb.Tcp.Sacked & SackedFlags.SackedAcked) != 0)
                    ReturnToSentOrder(skb);
                skb.Tcp.Sacked &= ~SackedFlags.SackedAcked;
            }
            else if (skb != head && RackTimeout(skb, 0) > 0)
            {
                continue;
            }
            MarkLost(cpu, skb);
        }
        recovery.RetransmitHint = null;
        if (reneged)
            recovery.HighestSack = head;
    }

    /// <summary>SACK reneging was seen in this loss episode. Linux: is_sack_reneg.</summary>
    private bool _isReneged;

    private void ReturnToSentOrder(SkBuff skb)
    {
        if (!Recovery!.Sent.Contains(skb))
            Recovery.Sent.Append(skb);
    }

    /// <summary>Linux: tcp_mark_skb_lost.</summary>
    private void MarkLost(Cpu cpu, SkBuff skb)
    {
        ref TcpControlBlock tcp = ref skb.Tcp;
        if ((tcp.Sacked & SackedFlags.SackedAcked) != 0)
            return;
        LossRecovery recovery = Recovery!;
        uint count = (uint)tcp.Segments;
        if ((recovery.RetransmitHint is null && RetransOut >= LostOut)
            || (recovery.RetransmitHint is { } hint && tcp.Seq < hint.Tcp.Seq))
            recovery.RetransmitHint = skb;
        if ((tcp.Sacked & SackedFlags.Lost) == 0)
        {
            LostOut += count;
            tcp.Sacked |= SackedFlags.Lost;
            Lost += count;
        }
        else if ((tcp.Sacked & SackedFlags.SackedRetrans) != 0)
        {
            // The retransmission is lost as well.
            tcp.Sacked &= ~SackedFlags.SackedRetrans;
            RetransOut -= count;
            cpu.Mib.Add(Mib.TcpExtTCPLostRetransmit, count);
            Lost += count;
        }
    }

    /// <summary>Whether anything that is out has been retransmitted. Linux: tcp_any_retrans_done.</summary>
    private bool AnyRetransmitDone =>
        RetransOut > 0 || (Recovery?.Queue.First is { } head && (head.Tcp.Sacked & SackedFlags.EverRetrans) != 0);

    // ---- RACK ----

    /// <summary>Microseconds until the buffer may be taken for lost; not positive: it is. Linux: tcp_rack_skb_timeout.</summary>
    private long RackTimeout(SkBuff skb, long window) => Recovery!.Rack.RttUs + window - (Time.Value - skb.SentTime);

    // How long a packet may be overtaken before it counts as lost. RFC 8985 §6.2 step 4. Linux: tcp_rack_reo_wnd.
    private long ReorderingWindow()
    {
        if (ReorderingSeen == 0)
        {
            if (CaState >= CaState.Recovery)
                return 0;
            if (SackedOut >= Reordering && (Tcp.Sysctls.TcpRecovery & 4) == 0)
                return 0;
        }
        return Math.Min((long)(MinRttUs >> 2) * RackSteps, Rtt.Srtt8 >> 3);
    }

    // RFC 8985 §6.2 step 5. Returns how long until the next packet may be found lost; 0 if none can. Linux: tcp_rack_detect_loss.
    private long DetectLosses(Cpu cpu)
    {
        LossRecovery recovery = Recovery!;
        long window = ReorderingWindow(), timeout = 0;
        for (SkBuff? skb = recovery.Sent.First; skb is not null;)
        {
            SkBuff? next = skb.TimeNext;
            bool lostAndWaiting = (skb.Tcp.Sacked & (SackedFlags.Lost | SackedFlags.SackedRetrans)) == SackedFlags.Lost;
            if (!lostAndWaiting)
            {
                if (!Rack.SentAfter(recovery.Rack.SentTime, skb.SentTime, recovery.Rack.EndSeq, skb.Tcp.EndSeq))
                    break;
                long remaining = RackTimeout(skb, window);
                if (remaining <= 0)
                {
                    MarkLost(cpu, skb);
                    recovery.Sent.Remove(skb);
                }
                else
                {
                    timeout = Math.Max(timeout, remaining);
                }
            }
            skb = next;
        }
        return timeout;
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
        uint before = PacketsInFlight, lostBefore = Lost;
        DetectLosses(cpu);
        if (before != PacketsInFlight)
        {
            if (CaState != CaState.Recovery)
            {
                EnterRecovery(cpu, ecnEcho: false);
                if (!AttachCongestion().ControlsAll)
                    ReduceCwnd(1, Lost - lostBefore, unaAdvanced: false);
            }
            RetransmitLost(cpu);
        }
        if (PendingTimer != TimerEvent.Retransmit)
            RearmRto(cpu);
    }

    // RFC 8985 §6.2 step 4: DSACKs widen the window, for a while. Linux: tcp_rack_update_reo_wnd.
    private void AdaptReorderingWindow(in RateSample rate)
    {
        if ((Tcp.Sysctls.TcpRecovery & 2) != 0 || rate.PriorDelivered == 0)
            return;
        ref Rack rack = ref Recovery!.Rack;
        if ((int)(rate.PriorDelivered - _rackLastDelivered) < 0)
            rack.DsackSeen = false;
        if (rack.DsackSeen)
        {
            RackSteps = (byte)Math.Min(0xff, RackSteps + 1);
            rack.DsackSeen = false;
            _rackLastDelivered = Delivered;
            RackPersist = TcpConstants.RackRecoveryThreshold;
        }
        else if (RackPersist == 0)
        {
            RackSteps = 1;
        }
    }

    /// <summary>Packets delivered when the reordering window was last adapted. Linux: rack.last_delivered.</summary>
    private uint _rackLastDelivered;

    // ---- Without SACK ----

    // A duplicate ACK stands for a packet that has left the network. Linux: tcp_limit_reno_sacked.
    private bool LimitRenoSacked()
    {
        uint holes = Math.Min(Math.Max(LostOut, 1), PacketsOut);
        if (SackedOut + holes <= PacketsOut)
            return false;
        SackedOut = PacketsOut - holes;
        return true;
    }

    private void CheckRenoReordering(Cpu cpu, int addend)
    {
        if (!LimitRenoSacked())
            return;
        Reordering = (ushort)Math.Min(PacketsOut + addend, Tcp.Sysctls.TcpMaxReordering);
        ReorderingSeen = (byte)Math.Min(ReorderingSeen + 1, byte.MaxValue);
        cpu.Mib.Inc(Mib.TcpExtTCPRenoReorder);
    }

    private void AddRenoSack(Cpu cpu, int duplicates, bool ecnEcho)
    {
        if (duplicates == 0)
            return;
        uint before = SackedOut;
        SackedOut += (uint)duplicates;
        CheckRenoReordering(cpu, 0);
        if (SackedOut > before)
            CountDelivered(SackedOut - before, ecnEcho);
    }

    private void RemoveRenoSacks(Cpu cpu, int acked, bool ecnEcho)
    {
        if (acked > 0)
        {
            CountDelivered((uint)Math.Max(acked - (int)SackedOut, 1), ecnEcho);
            SackedOut = acked - 1 >= SackedOut ? 0 : SackedOut - (uint)(acked - 1);
        }
        CheckRenoReordering(cpu, acked);
    }

    // RFC 6582. Linux: tcp_newreno_mark_lost.
    private void MarkLostByDuplicates(Cpu cpu, bool unaAdvanced)
    {
        bool mark = (CaState < CaState.Recovery && SackedOut >= Reordering) || (CaState == CaState.Recovery && unaAdvanced);
        SkBuff? head = Recovery!.Queue.First;
        if (!mark || head is null || (head.Tcp.Sacked & SackedFlags.Lost) != 0)
            return;
        if (head.Tcp.Segments > 1 && head.Length > MssCache)
            FragmentSent(cpu, head, MssCache, MssCache);
        MarkLost(cpu, head);
    }

    // ---- Undo ----

    private bool MayUndo => Recovery!.Undo is { HasMarker: true } undo && (undo.Retransmits == 0 || IsPacketDelayed);

    // Whether what was acknowledged is the original, late, and not the retransmission. RFC 3522. Linux: tcp_packet_delayed.
    private bool IsPacketDelayed
    {
        get
        {
            long first = Recovery!.Undo.FirstRetransmit;
            if (first == 0)
                return State != TcpState.SynSent;
            return SawTimestamp && RcvTsEcr != 0 && (int)(RcvTsEcr - TimestampOf(new Micros(first))) < 0;
        }
    }

    /// <summary>Linux: tcp_undo_cwnd_reduction.</summary>
    private void UndoReduction(Cpu cpu, bool unmarkLost)
    {
        LossRecovery recovery = Recovery!;
        if (unmarkLost)
        {
            for (SkBuff? skb = recovery.Queue.First; skb is not null; skb = SeqTree.After(skb))
            {
                if ((skb.Tcp.Sacked & SackedFlags.Lost) != 0 && (skb.Tcp.Sacked & SackedFlags.SackedAcked) == 0)
                    ReturnToSentOrder(skb);
                skb.Tcp.Sacked &= ~SackedFlags.Lost;
            }
            LostOut = 0;
            recovery.RetransmitHint = null;
        }
        if (Cc.PriorSsthresh != 0)
        {
            Cc.Cwnd = AttachCongestion().UndoCwnd(this);
            if (Cc.PriorSsthresh > Cc.Ssthresh)
            {
                Cc.Ssthresh = Cc.PriorSsthresh;
                WithdrawCwr();
            }
        }
        Cc.Stamp = cpu.Now;
        recovery.Undo.HasMarker = false;
        recovery.Rack.Advanced = true;
    }

    // Without SACK the old state is held until something above the recovery point is acknowledged. RFC 6582 §4.
    private bool HoldsStateForReno()
    {
        if (Snd.Una != Recovery!.RecoveryPoint || HasSack)
            return false;
        if (!AnyRetransmitDone)
            Recovery.Undo.FirstRetransmit = 0;
        return true;
    }

    // The recovery point is acknowledged. True: the state is held. Linux: tcp_try_undo_recovery.
    private bool TryUndoRecovery(Cpu cpu)
    {
        if (MayUndo)
        {
            bool fromLoss = CaState == CaState.Loss;
            UndoReduction(cpu, unmarkLost: false);
            cpu.Mib.Inc(fromLoss ? Mib.TcpExtTCPLossUndo : Mib.TcpExtTCPFullUndo);
        }
        else if (RackPersist > 0)
        {
            RackPersist--;
        }
        if (HoldsStateForReno())
            return true;
        SetCaState(CaState.Open);
        _isReneged = false;
        return false;
    }

    // Every retransmission was answered by a DSACK: none was needed. Linux: tcp_try_undo_dsack.
    private bool TryUndoDsack(Cpu cpu)
    {
        if (Recovery!.Undo is not { HasMarker: true, Retransmits: 0 })
            return false;
        RackPersist = (byte)Math.Min(TcpConstants.RackRecoveryThreshold, RackPersist + 1);
        UndoReduction(cpu, unmarkLost: false);
        cpu.Mib.Inc(Mib.TcpExtTCPDSACKUndo);
        return true;
    }

    // Linux: tcp_try_undo_loss.
    private bool TryUndoLoss(Cpu cpu, bool byFrto)
    {
        if (!byFrto && !MayUndo)
            return false;
        UndoReduction(cpu, unmarkLost: true);
        cpu.Mib.Inc(Mib.TcpExtTCPLossUndo);
        if (byFrto)
            cpu.Mib.Inc(Mib.TcpExtTCPSpuriousRTOs);
        Retransmits = 0;
        if (HoldsStateForReno())
            return true;
        if (byFrto || HasSack)
        {
            SetCaState(CaState.Open);
            _isReneged = false;
        }
        return true;
    }

    // A hole was filled by the original. True: go on sending, but take nothing more for lost. Linux: tcp_try_undo_partial.
    private bool TryUndoPartial(Cpu cpu, SeqNumber priorUna)
    {
        if (!Recovery!.Undo.HasMarker || !IsPacketDelayed)
            return false;
        CheckSackReordering(cpu, priorUna, byTimestamp: true);
        if (RetransOut > 0)
            return true;
        if (!AnyRetransmitDone)
            Recovery.Undo.FirstRetransmit = 0;
        UndoReduction(cpu, unmarkLost: true);
        cpu.Mib.Inc(Mib.TcpExtTCPPartialUndo);
        TryKeepOpen();
        return false;
    }

    // ---- The state machine ----

    private void TryKeepOpen()
    {
        CaState state = LeftOut > 0 || AnyRetransmitDone ? CaState.Disorder : CaState.Open;
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
            SackedOut = 0;
        // A mark asks for the reduction: it is not undone.
        if (ecnEcho)
            Cc.PriorSsthresh = 0;
        if (CheckReneging(cpu, ref ack))
            return;
        Debug.Assert(LeftOut <= PacketsOut, "no more packets have left the network than were sent");
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
                    SackedOut = 0;
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
                SackedOut = 0;
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

    // After a timeout: was it spurious? RFC 5682 §3.1. Linux: tcp_process_loss.
    private void ProcessLoss(Cpu cpu, ref AckContext ack, int duplicates)
    {
        LossRecovery recovery = Recovery!;
        bool recovered = Snd.Una >= recovery.RecoveryPoint;
        if (ack.Has(AckFlags.UnaAdvanced) && TryUndoLoss(cpu, byFrto: false))
            return;
        if (recovery.InFrto)
        {
            // Step 3b: data that was never retransmitted has arrived.
            if (ack.Has(AckFlags.OrigSackAcked) && TryUndoLoss(cpu, byFrto: true))
                return;
            if (Snd.Nxt > recovery.RecoveryPoint)
            {
                // Step 3a: the loss was real.
                if (ack.Has(AckFlags.DataSacked) || duplicates > 0)
                    recovery.InFrto = false;
            }
            else if (ack.Has(AckFlags.UnaAdvanced) && !recovered)
            {
                // Step 2b: new data, to see.
                recovery.RecoveryPoint = Snd.Nxt;
                if (!WriteQueue.IsEmpty && Snd.WndEnd > Snd.Nxt)
                {
                    ack.Action = RecoveryAction.SendNew;
                    return;
                }
                recovery.InFrto = false;
            }
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
                SackedOut = 0;
        }
        ack.Action = RecoveryAction.RetransmitLost;
    }

    private void UpdateRtoTime(Cpu cpu)
    {
        if (Stats.RtoStart == Micros.Zero)
            return;
        Stats.TotalRtoTimeMs += (uint)(cpu.Now - Stats.RtoStart).Milliseconds;
        Stats.RtoStart = Micros.Zero;
    }

    // ---- The window ----

    // Linux: tcp_cwnd_reduction.
    private void ReduceCwnd(uint delivered, uint newlyLost, bool unaAdvanced)
    {
        if (delivered == 0 || Cc.PriorCwnd == 0)
            return;
        Cc.Cwnd = Recovery!.Prr.Window(delivered, PacketsInFlight, Cc.Ssthresh, Cc.PriorCwnd, newlyLost > 0, unaAdvanced);
    }

    // Linux: tcp_cong_control.
    private void ControlCongestion(Cpu cpu, uint delivered, ref AckContext ack)
    {
        CongestionControl congestion = AttachCongestion();
        if (congestion.ControlsAll)
        {
            congestion.Control(this, cpu, ack.Rate);
            return;
        }
        if (InReduction)
        {
            ReduceCwnd(delivered, (uint)Math.Max(ack.Rate.Losses, 0), ack.Has(AckFlags.UnaAdvanced));
        }
        else
        {
            // Without reordering, only in-order delivery makes the window grow. RFC 5681 §3.1.
            AckFlags needed = Reordering > Tcp.Sysctls.TcpReordering ? AckFlags.ForwardProgress : AckFlags.DataAcked;
            if (ack.Has(needed))
            {
                congestion.CongestionAvoidance(this, cpu, delivered);
                Cc.Stamp = cpu.Now;
            }
        }
        UpdatePacingRate();
    }

    /// <summary>Linux: tcp_update_pacing_rate.</summary>
    private void UpdatePacingRate()
    {
        ulong ratio = (ulong)(Cc.Cwnd < Cc.Ssthresh / 2 ? Tcp.Sysctls.TcpPacingSsRatio : Tcp.Sysctls.TcpPacingCaRatio);
        ulong rate = (ulong)MssCache * (1_000_000 / 100 << 3) * ratio * Math.Max(Cc.Cwnd, PacketsOut);
        if (Rtt.Srtt8 != 0)
            rate /= Rtt.Srtt8;
        PacingRate = Math.Min(rate, MaxPacingRate);
    }

    // Linux: tcp_cwnd_validate. RFC 7661's concern: a window that is not used says nothing.
    private void ValidateCwnd(Cpu cpu, bool limited)
    {
        if (Snd.Una >= Cc.UsageEnd || limited || (!Cc.IsLimited && PacketsOut > Cc.MaxPacketsOut))
        {
            Cc.IsLimited = limited;
            Cc.MaxPacketsOut = PacketsOut;
            Cc.UsageEnd = Snd.Nxt;
        }
        if (IsCwndLimited)
        {
            Cc.Used = 0;
            Cc.Stamp = cpu.Now;
            return;
        }
        Cc.Used = Math.Max(Cc.Used, PacketsOut);
        if (Tcp.Sysctls.TcpSlowStartAfterIdle && cpu.Now - Cc.Stamp >= Rto && Congestion is not { ControlsAll: true })
            OnApplicationLimited(cpu);
        if (WriteQueue.IsEmpty && Socket is not null && Has(Sockets.SockFlags.NoSpace)
            && State is TcpState.Established or TcpState.CloseWait)
            Stats.Chrono.Start(ChronoType.SendBuffer, cpu.Now);
    }

    // Linux: tcp_cwnd_application_limited.
    private void OnApplicationLimited(Cpu cpu)
    {
        if (CaState == CaState.Open && Socket is not null && !Has(Sockets.SockFlags.NoSpace))
        {
            uint used = Math.Max(Cc.Used, InitialCwnd);
            if (used < Cc.Cwnd)
            {
                Cc.Ssthresh = CurrentSsthresh;
                Cc.Cwnd = (Cc.Cwnd + used) >> 1;
            }
            Cc.Used = 0;
        }
        Cc.Stamp = cpu.Now;
    }

    /// <summary>Linux: tcp_init_cwnd.</summary>
    public uint InitialCwnd => Route is { Metrics.InitCwnd: > 0 and var cwnd } ? (uint)cwnd : TcpConstants.InitialCwnd;

    /// <summary>After an idle time the window starts again, halved for each timeout that has passed. RFC 5681 §4.1. Linux: tcp_cwnd_restart.</summary>
    private void RestartAfterIdle(Cpu cpu)
    {
        if (!Tcp.Sysctls.TcpSlowStartAfterIdle || PacketsOut > 0 || Congestion is { ControlsAll: true })
            return;
        long idle = (cpu.Now - LastSent).Value;
        if (idle <= Rto.Value)
            return;
        uint restart = InitialCwnd, cwnd = Cc.Cwnd;
        Congestion?.OnEvent(this, CaEvent.CwndRestart);
        Cc.Ssthresh = CurrentSsthresh;
        restart = Math.Min(restart, cwnd);
        while ((idle -= Rto.Value) > 0 && cwnd > restart)
            cwnd >>= 1;
        Cc.Cwnd = Math.Max(cwnd, restart);
        Cc.Stamp = cpu.Now;
        Cc.Used = 0;
    }

    // ---- Retransmitting ----

    /// <summary>Sends again what is known to be lost, as far as the window goes. Linux: tcp_xmit_retransmit_queue.</summary>
    private void RetransmitLost(Cpu cpu)
    {
        if (PacketsOut == 0)
            return;
        LossRecovery recovery = Recovery!;
        cpu.BhDisable();
        SkBuff? head = recovery.Queue.First, hole = null;
        bool rearm = false;
        uint maxSegments = TsoSegments(CurrentMss());
        for (SkBuff? skb = recovery.RetransmitHint ?? head; skb is not null; skb = SeqTree.After(skb))
        {
            if (MustPace(cpu))
                break;
            if (hole is null)
                recovery.RetransmitHint = skb;
            long room = (long)Cc.Cwnd - PacketsInFlight;
            if (room <= 0 || RetransOut >= LostOut)
                break;
            SackedFlags sacked = skb.Tcp.Sacked;
            if ((sacked & SackedFlags.Lost) == 0)
            {
                if (hole is null && (sacked & (SackedFlags.SackedRetrans | SackedFlags.SackedAcked)) == 0)
                    hole = skb;
                continue;
            }
            if ((sacked & (SackedFlags.SackedAcked | SackedFlags.SackedRetrans)) != 0)
                continue;
            if (IsSmallQueueFull(skb, isRetransmit: true))
                break;
            if (Retransmit(cpu, skb, (int)Math.Min(room, maxSegments)) != Errno.OK)
                break;
            cpu.Mib.Add(CaState == CaState.Loss ? Mib.TcpExtTCPSlowStartRetrans : Mib.TcpExtTCPFastRetrans, skb.Tcp.Segments);
            if (InReduction)
                recovery.Prr.Out += (uint)skb.Tcp.Segments;
            if (skb == head && PendingTimer != TimerEvent.Reordering)
                rearm = true;
        }
        if (rearm)
            ResetWriteTimer(cpu, TimerEvent.Retransmit, Rto, RtoMax);
        cpu.BhEnable();
    }

    /// <summary>Sends a buffer again and notes it on the scoreboard. Linux: tcp_retransmit_skb.</summary>
    private Errno Retransmit(Cpu cpu, SkBuff skb, int segments)
    {
        Errno error = SendAgain(cpu, skb, segments);
        LossRecovery recovery = Recovery!;
        if (error == Errno.OK)
        {
            skb.Tcp.Sacked |= SackedFlags.Retrans;
            RetransOut += (uint)skb.Tcp.Segments;
        }
        if (recovery.Undo.FirstRetransmit == 0)
            recovery.Undo.FirstRetransmit = Math.Max(skb.SentTime, 1);
        recovery.Undo.Retransmits = Math.Max(recovery.Undo.Retransmits, 0) + skb.Tcp.Segments;
        return error;
    }

    // Linux: __tcp_retransmit_skb.
    private Errno SendAgain(Cpu cpu, SkBuff skb, int segments)
    {
        // A probe that is out among retransmissions tells nothing.
        MtuSearch?.Size = 0;
        if (skb.Tcp.Seq < Snd.Una)
            TrimAcked(cpu, skb);
        if (CheckRoute(Tcp.Routes) is null)
            return Errno.EHOSTUNREACH;
        int mss = CurrentMss();
        int window = Snd.WndEnd - skb.Tcp.Seq;
        if (window <= 0)
        {
            // The peer has shrunk its window: only the first segment goes, as a probe.
            if (skb.Tcp.Seq != Snd.Una)
                return Errno.EAGAIN;
            window = mss;
        }
        int length = mss * segments;
        if (length > window)
            length = Math.Max(window / mss * mss, Math.Min(window, mss));
        if (skb.Length > length)
        {
            FragmentSent(cpu, skb, length, mss);
        }
        else
        {
            int before = skb.Tcp.Segments;
            int room = Math.Min(window, mss);
            if (skb.Length < room)
                CollapseWithNext(cpu, skb, room);
            SetSegments(skb, mss);
            if (before != skb.Tcp.Segments)
                AdjustPacketCount(skb, before - skb.Tcp.Segments);
        }
        if ((skb.Tcp.Flags & (TcpFlags.Syn | TcpFlags.Ece | TcpFlags.Cwr)) == (TcpFlags.Syn | TcpFlags.Ece | TcpFlags.Cwr))
            ClearEcnOfSyn(skb);
        segments = skb.Tcp.Segments;
        cpu.Mib.Add(Mib.TcpRetransSegs, segments);
        if ((skb.Tcp.Flags & TcpFlags.Syn) != 0)
            cpu.Mib.Inc(Mib.TcpExtTCPSynRetrans);
        Stats.TotalRetransmits += (uint)segments;
        Stats.BytesRetransmitted += (ulong)skb.Length;
        Errno error = TransmitSkb(cpu, skb);
        // Whether or not it went: its send time is ambiguous from now on.
        skb.Tcp.Sacked |= SackedFlags.EverRetrans;
        cpu.Trace(Tp.tcp_retransmit_skb, this, skb.Tcp.Seq.Value, skb.Length, (long)State, (long)error);
        if (error != Errno.OK)
            cpu.Mib.Add(Mib.TcpExtTCPRetransFail, segments);
        return error;
    }

    private void TrimAcked(Cpu cpu, SkBuff skb)
    {
        if ((skb.Tcp.Flags & TcpFlags.Syn) != 0)
        {
            skb.Tcp.Flags &= ~TcpFlags.Syn;
            skb.Tcp.Seq++;
        }
        int acked = Snd.Una - skb.Tcp.Seq;
        if (acked > 0)
            TrimHead(cpu, skb, acked);
    }

    /// <summary>Drops acknowledged bytes from the front of a buffer. Linux: tcp_trim_head.</summary>
    private void TrimHead(Cpu cpu, SkBuff skb, int bytes)
    {
        bytes = Math.Min(bytes, skb.Length);
        skb.DropFront(bytes, cpu);
        skb.TrueSize -= bytes;
        WriteQueued -= bytes;
        Uncharge(bytes);
        skb.Tcp.Seq += bytes;
        if (skb.Tcp.SegmentSize > 0)
        {
            int before = skb.Tcp.Segments;
            SetSegments(skb, skb.Tcp.SegmentSize);
            Debug.Assert(before >= skb.Tcp.Segments, "fewer bytes make no more segments");
        }
    }

    /// <summary>Cuts a buffer that has been sent, with its marks, and puts the rest behind it. Linux: tcp_fragment on the retransmit queue.</summary>
    private void FragmentSent(Cpu cpu, SkBuff skb, int length, int mss)
    {
        LossRecovery recovery = Recovery!;
        int before = skb.Tcp.Segments;
        SkBuff rest = Split(cpu, skb, length);
        SetSegments(skb, mss);
        SetSegments(rest, mss);
        if (rest.Tcp.EndSeq <= Snd.Nxt)
        {
            int difference = before - skb.Tcp.Segments - rest.Tcp.Segments;
            if (difference != 0)
                AdjustPacketCount(skb, difference);
        }
        recovery.Queue.InsertAfter(rest, skb);
        if (recovery.Sent.Contains(skb))
            recovery.Sent.InsertAfter(rest, skb);
    }

    // The number of packets that a buffer makes has changed by −difference. Linux: tcp_adjust_pcount.
    private void AdjustPacketCount(SkBuff skb, int difference)
    {
        PacketsOut -= (uint)difference;
        if ((skb.Tcp.Sacked & SackedFlags.SackedAcked) != 0)
            SackedOut -= (uint)difference;
        if ((skb.Tcp.Sacked & SackedFlags.SackedRetrans) != 0)
            RetransOut -= (uint)difference;
        if ((skb.Tcp.Sacked & SackedFlags.Lost) != 0)
            LostOut -= (uint)difference;
        // Without SACK the count is of packets, not of buffers.
        if (!HasSack && SackedOut > 0)
            SackedOut -= (uint)Math.Min((int)SackedOut, difference);
    }

    // Small neighbours are sent again as one segment. Linux: tcp_retrans_try_collapse.
    private void CollapseWithNext(Cpu cpu, SkBuff skb, int space)
    {
        if (!Tcp.Sysctls.TcpRetransCollapse || (skb.Tcp.Flags & TcpFlags.Syn) != 0)
            return;
        space -= skb.Length;
        while (SeqTree.After(skb) is { } next)
        {
            bool may = next.Tcp.Segments <= 1 && (next.Tcp.Sacked & SackedFlags.SackedAcked) == 0 && MayMerge(skb, next);
            space -= next.Length;
            if (!may || space < 0 || next.Tcp.EndSeq > Snd.WndEnd || !CollapseOne(cpu, skb, next))
                break;
        }
    }

    // Linux: tcp_collapse_retrans.
    private bool CollapseOne(Cpu cpu, SkBuff skb, SkBuff next)
    {
        LossRecovery recovery = Recovery!;
        int bytes = next.Length;
        if (bytes > 0 && !skb.TakeFront(next, bytes, cpu))
            return false;
        skb.TrueSize += bytes;
        next.TrueSize -= bytes;
        if (recovery.HighestSack == next)
            recovery.HighestSack = SeqTree.After(next);
        skb.Tcp.EndSeq = next.Tcp.EndSeq;
        skb.Tcp.Flags |= next.Tcp.Flags;
        skb.Tcp.Sacked |= next.Tcp.Sacked & SackedFlags.EverRetrans;
        skb.Tcp.Notes |= next.Tcp.Notes & BufferNotes.EndOfRecord;
        MergeStamps(skb, next);
        if (recovery.RetransmitHint == next)
            recovery.RetransmitHint = skb;
        AdjustPacketCount(next, next.Tcp.Segments);
        UnlinkSent(next);
        FreeWriteSkb(cpu, next);
        return true;
    }

    private void UnlinkSent(SkBuff skb)
    {
        Recovery!.Queue.Remove(skb);
        Recovery.Sent.Remove(skb);
    }

    /// <summary>
    /// The path's MTU has fallen: everything that is too large goes again in smaller pieces, and the window stays. Linux: tcp_simple_retransmit.
    /// </summary>
    public void SimpleRetransmit(Cpu cpu)
    {
        if (Recovery is not { } recovery)
            return;
        // A SYN whose data did not fit goes again alone, at once.
        int mss = State == TcpState.SynSent && FastOpen is { SynHadData: true } ? -1 : CurrentMss();
        for (SkBuff? skb = recovery.Queue.First; skb is not null; skb = SeqTree.After(skb))
        {
            int segment = skb.Tcp.Segments == 1 ? skb.Length : skb.Tcp.SegmentSize;
            if (segment > mss)
                MarkLost(cpu, skb);
        }
        recovery.RetransmitHint = null;
        if (LostOut == 0)
            return;
        if (!HasSack)
            LimitRenoSacked();
        RetransmitWithoutCongestion(cpu);
    }

    // What is lost goes again, though the network is not to blame. Linux: tcp_non_congestion_loss_retransmit.
    private void RetransmitWithoutCongestion(Cpu cpu)
    {
        LossRecovery recovery = Recovery!;
        if (CaState != CaState.Loss)
        {
            recovery.RecoveryPoint = Snd.Nxt;
            Cc.Ssthresh = CurrentSsthresh;
            Cc.PriorSsthresh = 0;
            recovery.Undo.HasMarker = false;
            SetCaState(CaState.Loss);
        }
        RetransmitLost(cpu);
    }

    // ---- Tail loss probe: RFC 8985 §7 ----

    /// <summary>Arms the loss probe if one may go. Linux: tcp_schedule_loss_probe.</summary>
    private bool ScheduleLossProbe(Cpu cpu, bool advancingRto)
    {
        int early = Tcp.Sysctls.TcpEarlyRetrans;
        if (FastOpen is { Passive: not null } || early is not (3 or 4) || PacketsOut == 0 || !HasSack || CaState is not (CaState.Open or CaState.Cwr))
            return false;
        Micros timeout = TcpConstants.TimeoutInit;
        if (Rtt.HasSample)
        {
            // 2·SRTT; and with one packet out, the time that its ACK may be delayed.
            timeout = new Micros(Rtt.Srtt8 >> 2);
            timeout = (timeout + (PacketsOut == 1 ? RtoMin : TcpConstants.TimeoutMin)).CeilingToMillisecond;
        }
        Micros rto = advancingRto ? Rto : RtoRemaining();
        if (rto.Value > 0)
            timeout = Micros.Min(timeout, rto.CeilingToMillisecond);
        ResetWriteTimer(cpu, TimerEvent.LossProbe, timeout, RtoMax);
        return true;
    }

    // Until the head of the queue times out. Linux: tcp_rto_delta_us.
    private Micros RtoRemaining() =>
        Recovery?.Queue.First is { } head ? new Micros(head.SentTime) + Rto - Time : Rto;

    // Linux: tcp_send_loss_probe.
    private void SendLossProbe(Cpu cpu)
    {
        LossRecovery recovery = Recovery!;
        int mss = CurrentMss();
        if (!recovery.ProbeOut && TrySendProbe(cpu, recovery, mss))
        {
            recovery.ProbeEnd = Snd.Nxt;
            recovery.ProbeOut = true;
            cpu.Mib.Inc(Mib.TcpExtTCPLossProbes);
            // The retransmit timer starts anew.
            PendingTimer = TimerEvent.None;
        }
        RearmRto(cpu);
    }

    private bool TrySendProbe(Cpu cpu, LossRecovery recovery, int mss)
    {
        recovery.ProbeWasRetransmit = false;
        if (SendHead is { } fresh && FitsWindow(fresh, mss))
        {
            uint before = PacketsOut;
            WriteXmit(cpu, mss, NagleFlags.Off, 2);
            return PacketsOut > before;
        }
        SkBuff? last = recovery.Queue.Last;
        if (last is null)
            return false;
        int segments = last.Tcp.Segments;
        if (segments > 1 && last.Length > (segments - 1) * mss)
        {
            FragmentSent(cpu, last, (segments - 1) * mss, mss);
            last = SeqTree.After(last)!;
        }
        cpu.BhDisable();
        Errno error = SendAgain(cpu, last, 1);
        cpu.BhEnable();
        recovery.ProbeWasRetransmit = error == Errno.OK;
        return error == Errno.OK;
    }

    // What the ACK tells about the probe. RFC 8985 §7.4. Linux: tcp_process_tlp_ack.
    private void OnProbeAck(Cpu cpu, SeqNumber ackSeq, AckFlags flags)
    {
        LossRecovery recovery = Recovery!;
        if (ackSeq < recovery.ProbeEnd)
            return;
        if (!recovery.ProbeWasRetransmit || (flags & AckFlags.DsackTlp) != 0)
        {
            recovery.ProbeOut = false;
        }
        else if (ackSeq > recovery.ProbeEnd)
        {
            // The probe has repaired a loss, which must not go unpunished.
            InitReduction();
            SetCaState(CaState.Cwr);
            EndReduction(cpu);
            TryKeepOpen();
            cpu.Mib.Inc(Mib.TcpExtTCPLossProbeRecovery);
        }
        else if ((flags & (AckFlags.UnaAdvanced | AckFlags.NotDuplicate | AckFlags.DataSacked)) == 0)
        {
            recovery.ProbeOut = false;
        }
    }
}
