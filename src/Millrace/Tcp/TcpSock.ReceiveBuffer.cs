using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>The receive buffer: what is measured of the sender, how window and buffer grow by it, and what goes when it is full.</summary>
internal sealed partial class TcpSock
{
    /// <summary>Data has come: what it tells of the sender's segments, its rhythm, and its need for window. Linux: tcp_event_data_recv.</summary>
    private void OnDataReceived(Cpu cpu, SkBuff skb)
    {
        MeasureReceivedMss(skb);
        MeasureReceiveRttByWindow();
        Ack.OnDataReceived(Time, Rto, Rcv.Wnd);
        CheckCongestionMark(cpu, skb);
        if (skb.Tcp.EndSeq - skb.Tcp.Seq >= 128)
            GrowWindow(skb);
    }

    private void MeasureReceivedMss(SkBuff skb)
    {
        int payload = skb.Tcp.EndSeq - skb.Tcp.Seq - ((skb.Tcp.Flags & TcpFlags.Fin) != 0 ? 1 : 0);
        int length = skb.GsoSize > 0 ? skb.GsoSize : payload;
        bool plain = (skb.Tcp.Flags & ~(TcpFlags.Ack | TcpFlags.Psh)) == 0, pushed = (skb.Tcp.Flags & TcpFlags.Psh) != 0;
        if (!Ack.OnSegment(length, AdvMss, HeaderLength, plain, pushed) || !Scale.Adapt(payload, skb.TrueSize))
            return;
        Rcv.WndClamp = Scale.Window(ReceiveBuffer);
        RcvSpace.Space = Math.Min(RcvSpace.Space, Rcv.WndClamp);
    }

    // The window opens as segments come whose memory it can hold.
    private void GrowWindow(SkBuff skb)
    {
        int room = Math.Min(Rcv.WndClamp, FreeReceiveSpace) - Rcv.Ssthresh;
        if (room <= 0)
            return;
        if (Proto.Memory.UnderPressure)
        {
            ClampReceiveThreshold();
            return;
        }
        int growth = Scale.Growth(skb.Tcp.EndSeq - skb.Tcp.Seq, skb.TrueSize, room, Rcv.Ssthresh, AdvMss, Ack.RcvMss, Tcp.Sysctls.TcpRmem.Max);
        if (growth == 0)
            return;
        Rcv.Ssthresh += growth;
        Ack.Quick |= 1;
    }

    /// <summary>Eight times the receiver's own estimate of the round trip, microseconds; 0 for none.</summary>
    public uint ReceiveRtt8 => Transfer?.RcvRtt.Rtt8 ?? 0;

    // Linux: tcp_rcv_rtt_measure: the time that a window's worth of data takes.
    private void MeasureReceiveRttByWindow()
    {
        ref ReceiveRtt estimate = ref AttachTransfer().RcvRtt;
        if (estimate.Time != Micros.Zero)
        {
            if (Rcv.Nxt < estimate.Seq)
                return;
            estimate.Update(Math.Max((Time - estimate.Time).Value, 1), byWindow: true);
        }
        estimate.Seq = Rcv.Nxt + Rcv.Wnd;
        estimate.Time = Time;
    }

    // Linux: tcp_rcv_rtt_measure_ts: the time since the timestamp that the sender echoes.
    private void MeasureReceiveRtt(SkBuff skb)
    {
        ref ReceiveRtt estimate = ref AttachTransfer().RcvRtt;
        if (!SawTimestamp || RcvTsEcr == estimate.LastTsEcr)
            return;
        estimate.LastTsEcr = RcvTsEcr;
        if (skb.Tcp.EndSeq - skb.Tcp.Seq < Ack.RcvMss || RcvTsEcr == 0)
            return;
        long delta = TimestampRtt(0);
        if (delta > 0)
            estimate.Update(delta, byWindow: false);
    }

    // ---- Memory ----

    // Whether the receive queues may take so much more; prunes if that helps. Linux: tcp_try_rmem_schedule.
    private bool TryScheduleReceive(Cpu cpu, int trueSize)
    {
        if (CanIngest && ScheduleReceive(cpu, trueSize))
            return true;
        if (!PruneQueue(cpu))
            return false;
        while (!(CanIngest && ScheduleReceive(cpu, trueSize)))
        {
            if (!PruneOutOfOrder(cpu))
                return false;
        }
        return true;
    }

    // A segment that fits only in part is taken whole, so that the buffer may be exceeded by one. Linux: tcp_can_ingest.
    private bool CanIngest => ReceiveAllocated <= ReceiveBuffer;

    // Linux: tcp_prune_queue. False: there still is no room.
    private bool PruneQueue(Cpu cpu)
    {
        cpu.Mib.Inc(Mib.TcpExtPruneCalled);
        if (ReceiveAllocated >= ReceiveBuffer)
            ClampReceiveWindow();
        else if (Proto.Memory.UnderPressure)
            ClampReceiveThreshold();
        if (ReceiveAllocated <= ReceiveBuffer)
            return true;
        Collapse(cpu);
        if (ReceiveAllocated <= ReceiveBuffer)
            return true;
        PruneOutOfOrder(cpu);
        if (ReceiveAllocated <= ReceiveBuffer)
            return true;
        // The peer sends more than it was offered: the fast path would let it in.
        cpu.Mib.Inc(Mib.TcpExtRcvPruned);
        FastPath = false;
        return false;
    }

    // Linux: tcp_clamp_window.
    private void ClampReceiveWindow()
    {
        Ack.Quick = 0;
        int max = Tcp.Sysctls.TcpRmem.Max;
        if (ReceiveBuffer < max && !Has(SockFlags.RcvBufLocked) && !Proto.Memory.UnderPressure
            && Proto.Memory.Allocated < Proto.Memory.Limits[0])
            ReceiveBuffer = Math.Min(ReceiveAllocated, max);
        if (ReceiveAllocated > ReceiveBuffer)
            Rcv.Ssthresh = Math.Min(Rcv.WndClamp, 2 * AdvMss);
    }

    // Gives up early data, the furthest first, an eighth of the buffer at a time. Linux: tcp_prune_ofo_queue.
    private bool PruneOutOfOrder(Cpu cpu)
    {
        if (IsInOrder)
            return false;
        int goal = ReceiveBuffer >> 3;
        while (OutOfOrder.Last is { } last)
        {
            goal -= last.TrueSize;
            OutOfOrder.Remove(last);
            DropQueued(cpu, last, DropReason.TcpOfoQueuePrune);
            if (goal <= 0 && ReceiveAllocated <= ReceiveBuffer && !Proto.Memory.UnderPressure)
                break;
            if (goal <= 0)
                goal = ReceiveBuffer >> 3;
        }
        cpu.Mib.Inc(Mib.TcpExtOfoPruned);
        // The report would promise what is gone.
        SackOut = IsInOrder ? null : new SackState { Queue = OutOfOrder };
        return true;
    }

    // Copies small buffers together, so that their overhead is gone. Linux: tcp_collapse.
    private void Collapse(Cpu cpu)
    {
        for (SkBuff? skb = ReceiveQueue.First; skb is not null; skb = ReceiveQueue.After(skb))
        {
            CountCollapsed(cpu, Compaction.Compact(cpu, skb));
            while (ReceiveQueue.After(skb) is { } next && Compaction.ShouldMerge(skb, next))
            {
                ReceiveQueue.Remove(next);
                CountCollapsed(cpu, Compaction.Merge(cpu, skb, next));
            }
        }
        for (SkBuff? skb = SackOut?.Queue.First; skb is not null; skb = SeqTree.After(skb))
        {
            CountCollapsed(cpu, Compaction.Compact(cpu, skb));
            while (SeqTree.After(skb) is { } next && Compaction.ShouldMerge(skb, next))
            {
                OutOfOrder.Remove(next);
                CountCollapsed(cpu, Compaction.Merge(cpu, skb, next));
            }
        }
    }

    private void CountCollapsed(Cpu cpu, int freed)
    {
        if (freed == 0)
            return;
        cpu.Mib.Inc(Mib.TcpExtTCPRcvCollapsed);
        UnchargeReceived(freed);
    }

    // ---- Growth ----

    /// <summary>Makes room for what the application reads in a round trip.</summary>
    public void GrowReceiveBuffer(int copied)
    {
        int before = RcvSpace.Space;
        RcvSpace.Space = copied;
        if (!Tcp.Sysctls.TcpModerateRcvbuf || Has(SockFlags.RcvBufLocked))
            return;
        int beyondHole = SackOut?.Queue.Last is { } last ? last.Tcp.EndSeq - Rcv.Nxt : 0;
        int space = Scale.BufferFor(copied, before, beyondHole, Tcp.Sysctls.TcpRmem.Max);
        if (space <= ReceiveBuffer)
            return;
        ReceiveBuffer = space;
        Rcv.WndClamp = Scale.Window(ReceiveBuffer);
    }

    /// <summary>SO_RCVLOWAT: the buffer must be able to hold what the reader waits for. Linux: tcp_set_rcvlowat.</summary>
    public override Errno SetReceiveLowWater(Cpu cpu, int bytes)
    {
        int most = Has(SockFlags.RcvBufLocked) ? ReceiveBuffer >> 1 : Tcp.Sysctls.TcpRmem.Max >> 1;
        bytes = Math.Min(bytes, most);
        ReceiveLowWater = Math.Max(bytes, 1);
        if (State is not (TcpState.Close or TcpState.Listen))
            NotifyData(cpu);
        if (Has(SockFlags.RcvBufLocked))
            return Errno.OK;
        int space = Scale.Space(bytes);
        if (space > ReceiveBuffer)
        {
            ReceiveBuffer = space;
            Rcv.WndClamp = Math.Max(Rcv.WndClamp, bytes);
        }
        return Errno.OK;
    }

    /// <summary>TCP_WINDOW_CLAMP. Linux: tcp_set_window_clamp.</summary>
    public Errno SetWindowClamp(int bytes)
    {
        if (bytes != 0)
        {
            Rcv.SetClamp(Math.Max(bytes, MinReceiveBuffer / 2));
            return Errno.OK;
        }
        if (State != TcpState.Close)
            return Errno.EINVAL;
        Rcv.WndClamp = 0;
        return Errno.OK;
    }

    // ---- The window that we offer ----

    /// <summary>Payload that there is room for. Linux: tcp_space.</summary>
    public int FreeReceiveSpace => Scale.Window(ReceiveBuffer - Lock.BacklogBytes - ReceiveAllocated);

    /// <summary>Linux: tcp_full_space.</summary>
    public int FullReceiveSpace => Scale.Window(ReceiveBuffer);

    // Linux: tcp_adjust_rcv_ssthresh.
    private void ClampReceiveThreshold() => Rcv.Ssthresh = Math.Min(Rcv.Ssthresh, 4 * AdvMss);

    /// <summary>The window to offer now.</summary>
    public int ChooseWindow()
    {
        int free = FreeReceiveSpace, allowed = FullReceiveSpace, full = Math.Min(Rcv.WndClamp, allowed);
        if (full <= 0 && Ack.RcvMss > full)
            return 0;
        bool mayShrink = Tcp.Sysctls.TcpShrinkWindow;
        if ((mayShrink ? free >> Rcv.WndScale << Rcv.WndScale : free) < full >> 1)
        {
            Ack.Quick = 0;
            if (Proto.Memory.UnderPressure)
                ClampReceiveThreshold();
        }
        return mayShrink ? Rcv.ChooseShrinking(free, allowed, Ack.RcvMss) : Rcv.Choose(free, allowed, Ack.RcvMss);
    }

    /// <summary>The window field of the next segment; notes what was offered.</summary>
    private ushort SelectWindow(Cpu cpu)
    {
        if ((Ack.Pending & AckPending.NoMemory) != 0)
        {
            FastPath = false;
            Rcv.Close();
            return 0;
        }
        uint before = Rcv.Wnd, window = (uint)ChooseWindow();
        bool mayShrink = Tcp.Sysctls.TcpShrinkWindow && Rcv.WndScale != 0;
        if (window == 0 && !mayShrink && Rcv.Remaining > 0)
            cpu.Mib.Inc(Mib.TcpExtTCPWantZeroWindowAdv);
        ushort field = Rcv.Offer(window, mayShrink, Tcp.Sysctls.TcpWorkaroundSignedWindows);
        if (field == 0)
        {
            FastPath = false;
            if (before != 0)
                cpu.Mib.Inc(Mib.TcpExtTCPToZeroWindowAdv);
        }
        else if (before == 0)
        {
            cpu.Mib.Inc(Mib.TcpExtTCPFromZeroWindowAdv);
        }
        return field;
    }
}
