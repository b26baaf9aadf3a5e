using System;
using System.Diagnostics;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Sending again: what is lost, and the probe of the tail.</summary>
internal sealed partial class TcpSock
{
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
        if (error == Errno.OK)
        {
            skb.Tcp.Sacked |= SackedFlags.Retrans;
            Packets.Retrans += (uint)skb.Tcp.Segments;
        }
        Recovery!.Undo.OnRetransmit(skb.Tcp.Segments, skb.SentTime);
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
        if (!FitToWindow(cpu, skb, segments))
            return Errno.EAGAIN;
        if ((skb.Tcp.Flags & (TcpFlags.Syn | TcpFlags.Ece | TcpFlags.Cwr)) == (TcpFlags.Syn | TcpFlags.Ece | TcpFlags.Cwr))
            ClearEcnOfSyn(skb);
        segments = skb.Tcp.Segments;
        cpu.Mib.Add(Mib.TcpRetransSegs, segments);
        if ((skb.Tcp.Flags & TcpFlags.Syn) != 0)
            cpu.Mib.Inc(Mib.TcpExtTCPSynRetrans);
        LossStatistics losses = AttachLosses();
        losses.TotalRetransmits += (uint)segments;
        losses.BytesRetransmitted += (ulong)skb.Length;
        Errno error = TransmitSkb(cpu, skb);
        // Whether or not it went: its send time is ambiguous from now on.
        skb.Tcp.Sacked |= SackedFlags.EverRetrans;
        cpu.Trace(Tp.tcp_retransmit_skb, this, skb.Tcp.Seq.Value, skb.Length, (long)State, (long)error);
        if (error != Errno.OK)
            cpu.Mib.Add(Mib.TcpExtTCPRetransFail, segments);
        return error;
    }

    // Cuts or fills a buffer for as many segments as may go again. False: the peer's window has no room for it.
    private bool FitToWindow(Cpu cpu, SkBuff skb, int segments)
    {
        int mss = CurrentMss();
        int window = Snd.WndEnd - skb.Tcp.Seq;
        if (window <= 0)
        {
            // The peer has shrunk its window: only the first segment goes, as a probe.
            if (skb.Tcp.Seq != Snd.Una)
                return false;
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
            Segmentation.SetSegments(skb, mss);
            if (before != skb.Tcp.Segments)
                Packets.Shrink(skb.Tcp.Sacked, before - skb.Tcp.Segments, HasSack);
        }
        return true;
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
            Segmentation.SetSegments(skb, skb.Tcp.SegmentSize);
            Debug.Assert(before >= skb.Tcp.Segments, "fewer bytes make no more segments");
        }
    }

    /// <summary>Cuts a buffer that has been sent, with its marks. Linux: tcp_fragment on the retransmit queue.</summary>
    private void FragmentSent(Cpu cpu, SkBuff skb, int length, int mss)
    {
        Recovery!.Cut(cpu, skb, length, mss, Snd.Nxt, ref Packets, HasSack);
        ChargeWrite(Segmentation.Overhead);
    }

    // Small neighbours are sent again as one segment. Linux: tcp_retrans_try_collapse.
    private void CollapseWithNext(Cpu cpu, SkBuff skb, int space)
    {
        if (!Tcp.Sysctls.TcpRetransCollapse || (skb.Tcp.Flags & TcpFlags.Syn) != 0)
            return;
        space -= skb.Length;
        while (SeqTree.After(skb) is { } next)
        {
            bool may = next.Tcp.Segments <= 1 && (next.Tcp.Sacked & SackedFlags.SackedAcked) == 0 && Segmentation.MayMerge(skb, next);
            space -= next.Length;
            if (!may || space < 0 || next.Tcp.EndSeq > Snd.WndEnd || !Recovery!.TryCollapse(cpu, skb, next, ref Packets, HasSack))
                break;
            FreeWriteSkb(cpu, next);
        }
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
            if (Segmentation.SegmentLength(skb) > mss)
                MarkLost(cpu, skb);
        }
        recovery.RetransmitHint = null;
        if (LostOut == 0)
            return;
        if (!HasSack)
            Packets.LimitReno();
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
        Micros timeout = TailLossProbe.Timeout(Rtt.Srtt8, PacketsOut, RtoMin, advancingRto ? Rto : RtoRemaining());
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
        if (!recovery.Probe.IsOut && TrySendProbe(cpu, recovery, mss))
        {
            recovery.Probe.OnSent(Snd.Nxt);
            cpu.Mib.Inc(Mib.TcpExtTCPLossProbes);
            // The retransmit timer starts anew.
            PendingTimer = TimerEvent.None;
        }
        RearmRto(cpu);
    }

    private bool TrySendProbe(Cpu cpu, LossRecovery recovery, int mss)
    {
        recovery.Probe.IsRetransmit = false;
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
        recovery.Probe.IsRetransmit = error == Errno.OK;
        return error == Errno.OK;
    }

    // What the ACK tells about the probe.
    private void OnProbeAck(Cpu cpu, SeqNumber ackSeq, AckFlags flags)
    {
        if (!Recovery!.Probe.OnAck(ackSeq, flags))
            return;
        InitReduction();
        SetCaState(CaState.Cwr);
        EndReduction(cpu);
        TryKeepOpen();
        cpu.Mib.Inc(Mib.TcpExtTCPLossProbeRecovery);
    }
}
