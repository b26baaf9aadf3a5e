using System;
using System.Numerics;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;

namespace Millrace.Tcp;

/// <summary>Timers: retransmission, window probes, delayed ACKs, keepalive. RFC 6298, RFC 1122 §4.2.2.17, §4.2.3.6.</summary>
internal sealed partial class TcpSock
{
    // ---- The one node ----

    /// <summary>
    /// Sees to it that the node fires no later than <paramref name="at"/>. A node that stands earlier is left alone: re-arming later
    /// costs a store, and the node moves when it fires.
    /// </summary>
    private void ArmTimer(Cpu cpu, Micros at)
    {
        if (!IsQueued || Expires > at.Value)
            ArmNode(cpu, Tcp.Timers, at);
    }

    /// <summary>The node has fired. Linux: tcp_write_timer, tcp_delack_timer and the others.</summary>
    internal override void Fire(Cpu cpu)
    {
        cpu.BhDisable();
        Lock.Spin.Lock(cpu);
        if (Lock.IsOwned)
            Deferred |= DeferredWorkFlags.Timer;
        else
            RunTimers(cpu);
        Lock.Spin.Unlock(cpu);
        cpu.BhEnable();
        Put(cpu);
    }

    /// <summary>The earliest deadline; Never if there is none.</summary>
    private Micros EarliestDeadline
    {
        get
        {
            Micros next = PendingTimer == TimerEvent.None ? Micros.Never : WriteDeadline;
            next = Micros.Min(next, Micros.Min(AckDeadline, KeepAliveDeadline));
            next = Micros.Min(next, PacingDeadline);
            return SackOut is { } sack ? Micros.Min(next, sack.CompressedDeadline) : next;
        }
    }

    /// <summary>Does what is due. Called under the spinlock while nobody owns, or by the owner.</summary>
    internal void RunTimers(Cpu cpu)
    {
        Micros now = cpu.Now;
        if (PacingDeadline <= now)
        {
            PacingDeadline = Micros.Never;
            OnPacingTimer(cpu);
        }
        if (SackOut is { } sack && sack.CompressedDeadline <= now)
        {
            sack.CompressedDeadline = Micros.Never;
            if (sack.CompressedAcks > 0)
                SendAck(cpu);
        }
        if (AckDeadline <= now)
        {
            AckDeadline = Micros.Never;
            OnDelayedAckTimer(cpu);
        }
        if (PendingTimer != TimerEvent.None && WriteDeadline <= now)
            OnWriteTimer(cpu);
        if (KeepAliveDeadline <= now)
        {
            KeepAliveDeadline = Micros.Never;
            OnKeepAliveTimer(cpu);
        }
        RearmNode(cpu);
        AssertInvariants();
    }

    private void RearmNode(Cpu cpu)
    {
        Micros next = EarliestDeadline;
        if (next != Micros.Never)
            ArmTimer(cpu, next);
    }

    /// <summary>Disarms everything: the connection is over. Linux: tcp_clear_xmit_timers.</summary>
    public void ClearTimers(Cpu cpu)
    {
        PendingTimer = TimerEvent.None;
        WriteDeadline = AckDeadline = KeepAliveDeadline = PacingDeadline = Micros.Never;
        if (SackOut is { } sack)
            sack.CompressedDeadline = Micros.Never;
        Ack.Pending = AckPending.None;
        DisarmNode(cpu, Tcp.Timers);
    }

    // ---- Retransmit timer ----

    /// <summary>Arms the write timer for an event. Linux: tcp_reset_xmit_timer.</summary>
    private void ResetWriteTimer(Cpu cpu, TimerEvent what, Micros delay, Micros most)
    {
        if (IsPaced && what != TimerEvent.Reordering && LastWireTime > cpu.Now)
            delay += LastWireTime - cpu.Now;
        delay = Micros.Min(delay, most);
        PendingTimer = what;
        WriteDeadline = cpu.Now + delay;
        cpu.Trace(Tp.timer_start, this, (long)what, delay.Value);
        ArmTimer(cpu, WriteDeadline);
    }

    /// <summary>Starts the retransmit timer anew, or stops it if nothing is out. RFC 6298 §5. Linux: tcp_rearm_rto.</summary>
    public void RearmRto(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_rearm_rto, this, PacketsOut);
        // The timer runs for the SYN-ACK of a Fast Open child.
        if (FastOpen is { Passive: not null })
            return;
        if (PacketsOut == 0)
        {
            PendingTimer = TimerEvent.None;
            return;
        }
        Micros rto = Rto;
        // A probe or a reordering timer ran: the timeout counts from when the head was sent.
        if (PendingTimer is TimerEvent.Reordering or TimerEvent.LossProbe)
            rto = Micros.Max(RtoRemaining(), new Micros(1));
        ResetWriteTimer(cpu, TimerEvent.Retransmit, rto, RtoMax);
    }

    private void SetXmitTimer(Cpu cpu)
    {
        if (!ScheduleLossProbe(cpu, advancingRto: true))
            RearmRto(cpu);
    }

    // Linux: tcp_write_timer_handler.
    private void OnWriteTimer(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_write_timer_handler, this, (long)PendingTimer);
        if (State is TcpState.Close or TcpState.Listen)
            return;
        RefreshTime(cpu);
        TimerEvent what = PendingTimer;
        switch (what)
        {
            case TimerEvent.Reordering:
                OnReorderingTimeout(cpu);
                break;
            case TimerEvent.LossProbe:
                SendLossProbe(cpu);
                break;
            case TimerEvent.Retransmit:
                PendingTimer = TimerEvent.None;
                OnRetransmitTimer(cpu);
                break;
            case TimerEvent.Probe0:
                PendingTimer = TimerEvent.None;
                OnProbeTimer(cpu);
                break;
            case TimerEvent.None:
                break;
        }
    }

    // RFC 6298 §5.4 to §5.7. Linux: tcp_retransmit_timer.
    private void OnRetransmitTimer(Cpu cpu)
    {
        if (FastOpen is { Passive: { } request })
        {
            OnFastOpenTimer(cpu, request);
            return;
        }
        if (PacketsOut == 0 || Recovery?.Queue.First is not { } head)
            return;
        bool opening = State is TcpState.SynSent or TcpState.SynRecv;
        if (Snd.Wnd == 0 && !Has(SockFlags.Dead) && !opening)
        {
            // The peer has shrunk its window: retransmissions are probes, and the connection lives as long as it answers.
            if (HasProbedTooLong(head))
            {
                WriteError(cpu);
                return;
            }
            EnterLoss(cpu);
            Retransmit(cpu, Recovery.Queue.First!, 1);
            Route = null;
            BackOff(cpu);
            return;
        }
        cpu.Mib.Inc(Mib.TcpExtTCPTimeouts);
        if (HasTimedOut(cpu))
            return;
        if (Retransmits == 0)
            CountFailure(cpu);
        EnterLoss(cpu);
        if (Retransmits < byte.MaxValue)
            Retransmits++;
        NoteRto(cpu);
        if (Retransmit(cpu, Recovery!.Queue.First!, 1) == Errno.ENOBUFS)
        {
            // Local congestion: try again soon.
            ResetWriteTimer(cpu, TimerEvent.Retransmit, TcpConstants.ResourceProbeInterval, RtoMax);
            return;
        }
        BackOff(cpu);
    }

    private void NoteRto(Cpu cpu)
    {
        if (Stats.RtoStart == Micros.Zero)
        {
            Stats.RtoStart = cpu.Now;
            Stats.TotalRtoRecoveries++;
        }
        Stats.TotalRto++;
    }

    private void CountFailure(Cpu cpu)
    {
        switch (CaState)
        {
            case CaState.Recovery:
                cpu.Mib.Inc(HasSack ? Mib.TcpExtTCPSackRecoveryFail : Mib.TcpExtTCPRenoRecoveryFail);
                break;
            case CaState.Loss:
                cpu.Mib.Inc(Mib.TcpExtTCPLossFailures);
                break;
            case CaState.Open or CaState.Disorder or CaState.Cwr:
                if (CaState == CaState.Disorder || SackedOut > 0)
                    cpu.Mib.Inc(HasSack ? Mib.TcpExtTCPSackFailures : Mib.TcpExtTCPRenoFailures);
                break;
        }
    }

    // The next timeout is twice as long, but for thin streams and the first SYNs.
    private void BackOff(Cpu cpu)
    {
        bool thin = (Rare is { ThinLinearTimeouts: true } || Tcp.Sysctls.TcpThinLinearTimeouts) && PacketsOut < 4
            && !Cc.InInitialSlowStart;
        if (State == TcpState.Established && thin && Retransmits <= TcpConstants.ThinLinearRetries)
        {
            Backoff = 0;
            Rto = Micros.Min(Micros.Max(Rtt.Rto, RtoMin), RtoMax);
        }
        else if (State != TcpState.SynSent || Stats.TotalRto > Tcp.Sysctls.TcpSynLinearTimeouts)
        {
            Backoff++;
            Rto = Micros.Min(Rto << 1, RtoMax);
        }
        ResetWriteTimer(cpu, TimerEvent.Retransmit, ClampToUserTimeout(cpu, Rto), RtoMax);
        if (RetransmitsTimedOut(cpu, Tcp.Sysctls.TcpRetries1 + 1, Micros.Zero))
            Route = null;
    }

    // Linux: tcp_clamp_rto_to_user_timeout.
    private Micros ClampToUserTimeout(Cpu cpu, Micros rto)
    {
        if (UserTimeout == 0)
            return rto;
        Micros elapsed = cpu.Now - new Micros(Recovery!.Undo.FirstRetransmit);
        Micros remaining = Micros.FromMilliseconds(UserTimeout) - elapsed;
        return remaining.Value <= 0 ? Micros.FromMilliseconds(1) : Micros.Min(rto, remaining);
    }

    // Linux: tcp_write_timeout.
    private bool HasTimedOut(Cpu cpu)
    {
        int retries;
        bool expired = false;
        if (State is TcpState.SynSent or TcpState.SynRecv)
        {
            if (Retransmits > 0)
                Route = null;
            retries = SynRetries != 0 ? SynRetries : Tcp.Sysctls.TcpSynRetries;
            int most = State == TcpState.SynSent ? retries + Tcp.Sysctls.TcpSynLinearTimeouts : retries;
            expired = Retransmits >= most;
        }
        else
        {
            if (RetransmitsTimedOut(cpu, Tcp.Sysctls.TcpRetries1, Micros.Zero))
            {
                SuspectMtu(cpu);
                Route = null;
            }
            retries = Tcp.Sysctls.TcpRetries2;
            if (Has(SockFlags.Dead))
            {
                bool alive = Rto < RtoMax;
                retries = OrphanRetries(alive);
                bool reset = alive || !RetransmitsTimedOut(cpu, retries, Micros.Zero);
                if (Tcp.IsOutOfOrphans(cpu, this, reset))
                    return true;
            }
        }
        expired = expired || RetransmitsTimedOut(cpu, retries, Micros.FromMilliseconds(UserTimeout));
        DetectBlackhole(cpu, expired);
        if (!expired)
            return false;
        WriteError(cpu);
        return true;
    }

    // Linux: tcp_orphan_retries.
    private int OrphanRetries(bool alive)
    {
        int retries = Tcp.Sysctls.TcpOrphanRetries;
        if (SoftError != Errno.OK && !alive)
            return 0;
        return retries == 0 && alive ? 8 : retries;
    }

    // Whether retransmitting has gone on for as long as that many doublings take, or for the timeout. Linux: retransmits_timed_out.
    private bool RetransmitsTimedOut(Cpu cpu, int boundary, Micros timeout)
    {
        if (Retransmits == 0 || Recovery is null)
            return false;
        if (timeout == Micros.Zero)
        {
            Micros unit = State is TcpState.SynSent or TcpState.SynRecv ? TcpConstants.TimeoutInit : TcpConstants.RtoMin;
            int doublings = BitOperations.Log2((ulong)(RtoMax.Value / unit.Value));
            timeout = boundary <= doublings
                ? unit * ((2L << boundary) - 1)
                : unit * ((2L << doublings) - 1) + RtoMax * (boundary - doublings);
        }
        Micros elapsed = cpu.Now - new Micros(Recovery.Undo.FirstRetransmit);
        return elapsed.Milliseconds >= timeout.Milliseconds;
    }

    // Linux: tcp_rtx_probe0_timed_out.
    private bool HasProbedTooLong(SkBuff head)
    {
        if (UserTimeout != 0)
        {
            long first = Recovery!.Undo.FirstRetransmit;
            Micros since = Time - new Micros(first != 0 ? first : head.SentTime);
            return since >= Micros.FromMilliseconds(UserTimeout) && Time - LastAckReceived >= Micros.FromMilliseconds(UserTimeout);
        }
        // Two minutes without any answer from a peer that may well be gone.
        return Time - LastAckReceived > RtoMax * 2 && Retransmits > 0 && Recovery!.Undo.FirstRetransmit != 0
            && Time - new Micros(Recovery.Undo.FirstRetransmit) > RtoMax * 2;
    }

    /// <summary>The connection has failed: nothing answers. Linux: tcp_write_err.</summary>
    private void WriteError(Cpu cpu)
    {
        Errno error = SoftError != Errno.OK ? SoftError : Errno.ETIMEDOUT;
        PurgeWriteQueue(cpu);
        Tcp.Done(cpu, this, error);
        cpu.Mib.Inc(Mib.TcpExtTCPAbortOnTimeout);
    }

    // ---- Probes of a closed window ----

    private Micros ProbeBase => Micros.Max(Rto, TcpConstants.RtoMin);

    // Linux: tcp_probe0_when.
    private Micros ProbeDelay
    {
        get
        {
            int most = BitOperations.Log2((ulong)(TcpConstants.RtoMax.Value / TcpConstants.RtoMin.Value)) + 1;
            return Micros.Min(ProbeBase << Math.Min((int)Backoff, most), RtoMax);
        }
    }

    /// <summary>Starts to probe if nothing else will make the peer speak. Linux: tcp_check_probe_timer.</summary>
    public void CheckProbeTimer(Cpu cpu)
    {
        if (PacketsOut == 0 && PendingTimer == TimerEvent.None)
            ResetWriteTimer(cpu, TimerEvent.Probe0, ProbeBase, RtoMax);
    }

    // Linux: tcp_probe_timer.
    private void OnProbeTimer(Cpu cpu)
    {
        if (PacketsOut > 0 || SendHead is null)
        {
            ProbesOut = 0;
            ProbesStart = Micros.Zero;
            return;
        }
        if (ProbesStart == Micros.Zero)
        {
            ProbesStart = cpu.Now;
        }
        else if (UserTimeout != 0 && cpu.Now - ProbesStart >= Micros.FromMilliseconds(UserTimeout))
        {
            WriteError(cpu);
            return;
        }
        int most = Tcp.Sysctls.TcpRetries2;
        if (Has(SockFlags.Dead))
        {
            bool alive = Rto << Backoff < RtoMax;
            most = OrphanRetries(alive);
            if (!alive && Backoff >= most)
            {
                WriteError(cpu);
                return;
            }
            if (Tcp.IsOutOfOrphans(cpu, this, doReset: true))
                return;
        }
        if (ProbesOut >= most)
            WriteError(cpu);
        else
            SendProbe0(cpu);
    }

    // Linux: tcp_send_probe0.
    private void SendProbe0(Cpu cpu)
    {
        Errno error = WriteWakeup(cpu, Mib.TcpExtTCPWinProbe);
        if (PacketsOut > 0 || WriteQueue.IsEmpty)
        {
            ProbesOut = Backoff = 0;
            ProbesStart = Micros.Zero;
            return;
        }
        ProbesOut++;
        Micros delay = TcpConstants.ResourceProbeInterval;
        if (error != Errno.ENOBUFS)
        {
            if (Backoff < Tcp.Sysctls.TcpRetries2)
                Backoff++;
            delay = ProbeDelay;
        }
        ResetWriteTimer(cpu, TimerEvent.Probe0, ClampProbeToUserTimeout(cpu, delay), RtoMax);
    }

    // Linux: tcp_clamp_probe0_to_user_timeout.
    private Micros ClampProbeToUserTimeout(Cpu cpu, Micros delay)
    {
        if (UserTimeout == 0 || ProbesStart == Micros.Zero)
            return delay;
        Micros elapsed = Micros.Max(cpu.Now - ProbesStart, Micros.Zero);
        Micros remaining = Micros.Max(Micros.FromMilliseconds(UserTimeout) - elapsed, TcpConstants.TimeoutMin);
        return Micros.Min(remaining, delay);
    }

    // A probe has been answered. Linux: tcp_ack_probe.
    private void OnProbe0Ack(Cpu cpu)
    {
        if (SendHead is not { } head)
            return;
        if (head.Tcp.EndSeq <= Snd.WndEnd)
        {
            Backoff = 0;
            ProbesStart = Micros.Zero;
            if (PendingTimer == TimerEvent.Probe0)
                PendingTimer = TimerEvent.None;
        }
        else
        {
            ResetWriteTimer(cpu, TimerEvent.Probe0, ClampProbeToUserTimeout(cpu, ProbeDelay), RtoMax);
        }
    }

    // ---- Delayed ACK ----

    // Linux: tcp_delack_timer_handler.
    private void OnDelayedAckTimer(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_delack_timer_handler, this);
        if (State is TcpState.Close or TcpState.Listen || (Ack.Pending & AckPending.Timer) == 0)
            return;
        Ack.Pending &= ~AckPending.Timer;
        if (!Ack.IsScheduled)
            return;
        if (Ack.InPingPong)
        {
            // The answer did not come in time: no interactive exchange after all.
            Ack.ExitPingPong();
            Ack.Ato = (int)TcpConstants.AckTimeoutMin.Value;
        }
        else
        {
            Ack.Ato = (int)Math.Min((long)Ack.Ato << 1, Rto.Value);
        }
        SendAck(cpu);
        cpu.Mib.Inc(Mib.TcpExtDelayedACKs);
    }

    // ---- Keepalive, and the end of orphans ----

    private Micros KeepAliveTime => Rare is { KeepAliveTime.Value: > 0 and var t } ? new Micros(t) : Micros.FromSeconds(Tcp.Sysctls.TcpKeepaliveTime);

    private Micros KeepAliveInterval =>
        Rare is { KeepAliveInterval.Value: > 0 and var t } ? new Micros(t) : Micros.FromSeconds(Tcp.Sysctls.TcpKeepaliveIntvl);

    private int KeepAliveProbes => Rare is { KeepAliveProbes: > 0 and var n } ? n : Tcp.Sysctls.TcpKeepaliveProbes;

    /// <summary>How long a connection stays in FIN_WAIT2 after its user has gone. Linux: tcp_fin_time.</summary>
    public Micros FinTime
    {
        get
        {
            Micros timeout = Linger2 > 0 ? Micros.FromSeconds(Linger2) : Micros.FromSeconds(Tcp.Sysctls.TcpFinTimeout);
            // At least as long as a retransmitted FIN of the peer may take.
            return Micros.Max(timeout, (Rto << 2) - (Rto >> 1));
        }
    }

    /// <summary>Arms the slow timer. Linux: inet_csk_reset_keepalive_timer.</summary>
    public void ArmKeepAlive(Cpu cpu, Micros delay)
    {
        KeepAliveDeadline = cpu.Now + delay;
        ArmTimer(cpu, KeepAliveDeadline);
    }

    public override void SetKeepAlive(Cpu cpu, bool on)
    {
        if (State is TcpState.Close or TcpState.Listen)
            return;
        if (on && !Has(SockFlags.KeepOpen))
            ArmKeepAlive(cpu, KeepAliveTime);
        else if (!on)
            KeepAliveDeadline = Micros.Never;
    }

    /// <summary>TCP_KEEPIDLE changed. Linux: tcp_sock_set_keepidle_locked.</summary>
    public void OnKeepAliveTimeChanged(Cpu cpu)
    {
        if (!Has(SockFlags.KeepOpen) || State is TcpState.Close or TcpState.Listen)
            return;
        Micros idle = IdleTime(cpu);
        ArmKeepAlive(cpu, Micros.Max(KeepAliveTime - idle, Micros.Zero));
    }

    private Micros IdleTime(Cpu cpu) => Micros.Min(cpu.Now - Ack.LastReceived, cpu.Now - LastAckReceived);

    // Linux: tcp_keepalive_timer.
    private void OnKeepAliveTimer(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_keepalive_timer, this);
        RefreshTime(cpu);
        if (State == TcpState.FinWait2 && Has(SockFlags.Dead))
        {
            EndOrphan(cpu);
            return;
        }
        if (!Has(SockFlags.KeepOpen) || State is TcpState.Close or TcpState.SynSent or TcpState.Listen)
            return;
        Micros next = KeepAliveTime;
        if (PacketsOut == 0 && WriteQueue.IsEmpty)
        {
            Micros idle = IdleTime(cpu);
            if (idle < KeepAliveTime)
            {
                next = KeepAliveTime - idle;
            }
            else
            {
                bool dead = UserTimeout != 0
                    ? idle >= Micros.FromMilliseconds(UserTimeout) && ProbesOut > 0
                    : ProbesOut >= KeepAliveProbes;
                if (dead)
                {
                    SendActiveReset(cpu);
                    WriteError(cpu);
                    return;
                }
                bool sent = WriteWakeup(cpu, Mib.TcpExtTCPKeepAlive) != Errno.ENOBUFS;
                if (sent)
                    ProbesOut++;
                next = sent ? KeepAliveInterval : TcpConstants.ResourceProbeInterval;
            }
        }
        ArmKeepAlive(cpu, next);
    }

    private void EndOrphan(Cpu cpu)
    {
        if (Linger2 >= 0)
        {
            Micros rest = FinTime - TcpConstants.TimeWaitLength;
            if (rest.Value > 0)
            {
                Tcp.EnterTimeWait(cpu, this, TcpState.FinWait2, rest);
                return;
            }
        }
        SendActiveReset(cpu);
        Tcp.Done(cpu, this, Errno.OK);
    }

    /// <summary>
    /// The handshake gave no sample. If its SYN was repeated, the first timeouts are careful. RFC 6298 §5.7. Linux: tcp_init_metrics.
    /// </summary>
    public void ResetRttAfterLostSyn()
    {
        Rtt.Rttvar4 = Rtt.Mdev4 = Rtt.MdevMax4 = (uint)Micros.FromSeconds(3).Value;
        Rto = Micros.FromSeconds(3);
    }

    // ---- Pacing ----

    private void OnPacingTimer(Cpu cpu)
    {
        if (State == TcpState.Close)
            return;
        ContinueTransmit(cpu);
    }

    /// <summary>What pacing or a full layer below held back may go now. Linux: tcp_tsq_write.</summary>
    internal void ContinueTransmit(Cpu cpu)
    {
        if (!State.IsAny(TcpStateSet.Established | TcpStateSet.FinWait1 | TcpStateSet.Closing | TcpStateSet.CloseWait
            | TcpStateSet.LastAck | TcpStateSet.SynSent | TcpStateSet.SynRecv))
            return;
        RefreshTime(cpu);
        if (LostOut > RetransOut && Cc.Cwnd > PacketsInFlight)
            RetransmitLost(cpu);
        if (SendHead is not null)
            WriteXmit(cpu, CurrentMss(), Nagle, 0);
    }

    // ---- What softirq left to the owner ----

    /// <summary>Under the spinlock, by the owner who is about to let go. Linux: tcp_release_cb.</summary>
    public void RunDeferred(Cpu cpu)
    {
        while (Deferred != DeferredWorkFlags.None)
        {
            DeferredWorkFlags work = Deferred;
            Deferred = DeferredWorkFlags.None;
            if ((work & DeferredWorkFlags.SmallQueue) != 0)
                ContinueTransmit(cpu);
            if ((work & DeferredWorkFlags.Timer) != 0)
                RunTimers(cpu);
            if ((work & DeferredWorkFlags.MtuReduced) != 0)
                OnMtuReduced(cpu);
            if ((work & DeferredWorkFlags.Ack) != 0 && Ack.IsScheduled)
                SendAck(cpu);
        }
    }
}
