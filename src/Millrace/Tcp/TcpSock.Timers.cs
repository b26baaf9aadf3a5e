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
        Lock.Lock(cpu);
        if (Lock.IsOwned)
            Deferred |= DeferredWorkFlags.Timer;
        else
            RunTimers(cpu);
        Lock.Unlock(cpu);
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
        if (IsPaced && what != TimerEvent.Reordering && Pace.Next > cpu.Now)
            delay += Pace.Next - cpu.Now;
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
        Ack.OnTimeout(Rto, Tcp.Sysctls.TcpPingpongThresh);
        SendAck(cpu);
        cpu.Mib.Inc(Mib.TcpExtDelayedACKs);
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
