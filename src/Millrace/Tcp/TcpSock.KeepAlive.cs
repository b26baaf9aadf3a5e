using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;

namespace Millrace.Tcp;

/// <summary>Keepalive, and the end of orphans. RFC 1122 §4.2.3.6.</summary>
internal sealed partial class TcpSock
{
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
        if (PacketsOut == 0 && IsAllSent)
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
}
