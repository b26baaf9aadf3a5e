using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;

namespace Millrace.Tcp;

/// <summary>Probes of a closed window. RFC 1122 §4.2.2.17.</summary>
internal sealed partial class TcpSock
{
    private Micros ProbeBase => Micros.Max(Rto, TcpConstants.RtoMin);

    private Micros ProbeDelay => RetryLimit.ProbeDelay(ProbeBase, Backoff, RtoMax);

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
        if (PacketsOut > 0 || IsAllSent)
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

    private Micros ClampProbeToUserTimeout(Cpu cpu, Micros delay) => ProbesStart == Micros.Zero
        ? delay
        : RetryLimit.ClampToUserTimeout(delay, UserTimeout, Micros.Max(cpu.Now - ProbesStart, Micros.Zero), TcpConstants.TimeoutMin);

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
}
