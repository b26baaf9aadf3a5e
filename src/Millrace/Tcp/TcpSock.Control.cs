using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Segments without data of their own: ACK, FIN, RST, and probes.</summary>
internal sealed partial class TcpSock
{
    /// <summary>Sends an ACK now. Linux: tcp_send_ack.</summary>
    public void SendAck(Cpu cpu) => SendAck(cpu, TcpFlags.Ack);

    private void SendAck(Cpu cpu, TcpFlags flags)
    {
        if (State == TcpState.Close)
            return;
        cpu.Trace(Tp.tcp_send_ack, this, Rcv.Nxt.Value);
        cpu.BhDisable();
        RefreshTime(cpu);
        TransmitEmpty(cpu, Snd.Acceptable, flags);
        cpu.BhEnable();
    }

    /// <summary>Acknowledges no more than up to <paramref name="rcvNxt"/>. Linux: __tcp_send_ack.</summary>
    public void SendAckOf(Cpu cpu, SeqNumber rcvNxt)
    {
        cpu.BhDisable();
        TransmitEmpty(cpu, Snd.Acceptable, TcpFlags.Ack, rcvNxt);
        cpu.BhEnable();
    }

    /// <summary>Closes the sending side: FIN on the last buffer, or in one of its own. Linux: tcp_send_fin.</summary>
    public void SendFin(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_send_fin, this);
        SkBuff? tail = WriteQueue.Last ?? (Proto.Memory.UnderPressure ? Recovery?.Queue.Last : null);
        if (tail is not null)
        {
            tail.Tcp.Flags |= TcpFlags.Fin;
            tail.Tcp.EndSeq++;
            Snd.Written++;
            if (IsAllSent)
            {
                // It went with a buffer that is out already; its retransmission will carry it.
                Snd.Nxt++;
                return;
            }
        }
        else
        {
            SkBuff skb = AllocWriteSkb(cpu, force: true)!;
            skb.Tcp.Seq = Snd.Written;
            skb.Tcp.EndSeq = Snd.Written + 1;
            skb.Tcp.Flags = TcpFlags.Ack | TcpFlags.Fin;
            QueueUnsent(cpu, skb);
            Snd.Written++;
        }
        PushPending(cpu, CurrentMss(), NagleFlags.Off);
    }

    /// <summary>Tells the peer that the connection is gone. Linux: tcp_send_active_reset.</summary>
    public void SendActiveReset(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_send_active_reset, this);
        cpu.Mib.Inc(Mib.TcpOutRsts);
        cpu.BhDisable();
        RefreshTime(cpu);
        TransmitEmpty(cpu, Snd.Acceptable, TcpFlags.Ack | TcpFlags.Rst);
        cpu.BhEnable();
        cpu.Trace(Tp.tcp_send_reset, this);
    }

    /// <summary>Sends a segment just before SND.UNA, which the peer must answer. Linux: tcp_xmit_probe_skb.</summary>
    private void SendProbeSegment(Cpu cpu, bool urgent, Mib counter)
    {
        cpu.Mib.Inc(counter);
        cpu.BhDisable();
        TransmitEmpty(cpu, urgent ? Snd.Una : Snd.Una - 1, TcpFlags.Ack);
        cpu.BhEnable();
    }

    /// <summary>
    /// Probes a closed window: with data if any fits, else with an empty segment. Linux: tcp_write_wakeup.
    /// </summary>
    private Errno WriteWakeup(Cpu cpu, Mib counter)
    {
        if (State == TcpState.Close)
            return Errno.EPIPE;
        RefreshTime(cpu);
        if (SendHead is { } skb && skb.Tcp.Seq < Snd.WndEnd)
        {
            int mss = CurrentMss();
            int room = Snd.WndEnd - skb.Tcp.Seq;
            if (Snd.Pushed < skb.Tcp.EndSeq)
                Snd.Pushed = skb.Tcp.EndSeq;
            // A window that the buffer does not fit, or that is smaller than a segment: send what fits.
            if (room < skb.Tcp.EndSeq - skb.Tcp.Seq || skb.Length > mss)
            {
                int take = Math.Min(room, mss);
                skb.Tcp.Flags |= TcpFlags.Psh;
                if (take < skb.Length)
                    FragmentUnsent(cpu, skb, take, mss);
            }
            Segmentation.SetSegments(skb, mss);
            skb.Tcp.Flags |= TcpFlags.Psh;
            cpu.BhDisable();
            Errno error = TransmitSkb(cpu, skb);
            if (error == Errno.OK)
                OnNewDataSent(cpu, skb);
            cpu.BhEnable();
            return error;
        }
        if (HasUrgent && Snd.Up.IsBetween(Snd.Una + 1, Snd.Una + 0xffff))
            SendProbeSegment(cpu, urgent: true, counter);
        SendProbeSegment(cpu, urgent: false, counter);
        return Errno.OK;
    }
}
