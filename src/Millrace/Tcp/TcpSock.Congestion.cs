using System;
using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>The congestion window: which algorithm rules it, when it is reduced, and what it is worth when it was not used.</summary>
internal sealed partial class TcpSock
{
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

    // ---- Reductions ----

    /// <summary>Linux: tcp_init_cwnd_reduction.</summary>
    private void InitReduction()
    {
        LossRecovery recovery = Recovery!;
        recovery.RecoveryPoint = Snd.Nxt;
        recovery.Probe.IsOut = false;
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

    // Linux: tcp_cwnd_reduction.
    private void ReduceCwnd(uint delivered, uint newlyLost, bool unaAdvanced)
    {
        if (delivered == 0 || Cc.PriorCwnd == 0)
            return;
        Cc.Cwnd = Recovery!.Prr.Window(delivered, PacketsInFlight, Cc.Ssthresh, Cc.PriorCwnd, newlyLost > 0, unaAdvanced);
    }

    // ---- Growth and disuse ----

    // Linux: tcp_cong_control.
    private void ControlCongestion(Cpu cpu, uint delivered, ref AckContext ack)
    {
        // One that controls all starts with the connection; another is not needed before something is acknowledged.
        if (Congestion is { ControlsAll: true } congestion)
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
            AckFlags needed = Reorder.Degree > Tcp.Sysctls.TcpReordering ? AckFlags.ForwardProgress : AckFlags.DataAcked;
            if (ack.Has(needed))
            {
                AttachCongestion().CongestionAvoidance(this, cpu, delivered);
                Cc.Stamp = cpu.Now;
            }
        }
        UpdatePacingRate();
    }

    /// <summary>Linux: tcp_update_pacing_rate.</summary>
    private void UpdatePacingRate()
    {
        int percent = Cc.Cwnd < Cc.Ssthresh / 2 ? Tcp.Sysctls.TcpPacingSsRatio : Tcp.Sysctls.TcpPacingCaRatio;
        PacingRate = Math.Min(Pacer.Rate(MssCache, Math.Max(Cc.Cwnd, PacketsOut), Rtt.Srtt8, percent), MaxPacingRate);
    }

    private void ValidateCwnd(Cpu cpu, bool limited)
    {
        Cc.NoteUsage(Snd.Una, Snd.Nxt, PacketsOut, limited);
        if (Cc.IsUsed)
        {
            Cc.Used = 0;
            Cc.Stamp = cpu.Now;
            return;
        }
        Cc.Used = Math.Max(Cc.Used, PacketsOut);
        if (Tcp.Sysctls.TcpSlowStartAfterIdle && cpu.Now - Cc.Stamp >= Rto && Congestion is not { ControlsAll: true })
            OnApplicationLimited(cpu);
        if (IsAllSent && Socket is not null && Has(Sockets.SockFlags.NoSpace)
            && State is TcpState.Established or TcpState.CloseWait)
            AttachTransfer().Chrono.Start(ChronoType.SendBuffer, cpu.Now);
    }

    private void OnApplicationLimited(Cpu cpu)
    {
        if (CaState == CaState.Open && Socket is not null && !Has(Sockets.SockFlags.NoSpace))
            Cc.Decay(InitialCwnd, CurrentSsthresh);
        Cc.Stamp = cpu.Now;
    }

    /// <summary>Linux: tcp_init_cwnd.</summary>
    public uint InitialCwnd =>
        Math.Min(Route is { Metrics.InitCwnd: > 0 and var cwnd } ? (uint)cwnd : TcpConstants.InitialCwnd, Cc.Clamp);

    // After an idle time the window starts again.
    private void RestartAfterIdle(Cpu cpu)
    {
        if (!Tcp.Sysctls.TcpSlowStartAfterIdle || PacketsOut > 0 || Congestion is { ControlsAll: true })
            return;
        Micros idle = cpu.Now - LastSent;
        if (idle <= Rto)
            return;
        Congestion?.OnEvent(this, CaEvent.CwndRestart);
        Cc.Restart(idle, Rto, InitialCwnd, CurrentSsthresh);
        Cc.Stamp = cpu.Now;
    }
}
