using System;
using System.Diagnostics;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Received data: into the receive queue, in order or later, up to the FIN.</summary>
internal sealed partial class TcpSock
{
    // Takes the data of an acceptable segment. Linux: tcp_data_queue.
    private void QueueData(Cpu cpu, SkBuff skb, int headerLength)
    {
        cpu.Trace(Tp.tcp_data_queue, this, skb.Tcp.Seq.Value, skb.Length - headerLength);
        if (skb.Tcp.Seq == skb.Tcp.EndSeq)
        {
            cpu.FreeSkb(skb);
            return;
        }
        skb.Pull(headerLength);
        SackOut?.ClearDuplicate();
        SeqNumber seq = skb.Tcp.Seq, end = skb.Tcp.EndSeq;
        if (seq == Rcv.Nxt)
        {
            bool bareFin = skb.Length == 0 && (skb.Tcp.Flags & TcpFlags.Fin) != 0;
            AcceptIntoWindow(cpu, skb, needsRoom: !bareFin);
            return;
        }
        if (end <= Rcv.Nxt)
        {
            // A retransmission of what we have: say so at once.
            cpu.Mib.Inc(Mib.TcpExtDelayedACKLost);
            AccEcn?.OnSpuriousRetransmit(IsLastDsackAt(seq));
            SetDsack(cpu, new SeqRange(seq, end));
            RefuseData(cpu, skb, DropReason.TcpOldData);
            return;
        }
        if (seq >= Rcv.WndEnd)
        {
            RefuseData(cpu, skb, DropReason.TcpOverwindow);
            return;
        }
        if (seq < Rcv.Nxt)
        {
            // Its front is old, its end is new.
            SetDsack(cpu, new SeqRange(seq, Rcv.Nxt));
            AcceptIntoWindow(cpu, skb, needsRoom: true);
            return;
        }
        QueueOutOfOrder(cpu, skb);
    }

    private void AcceptIntoWindow(Cpu cpu, SkBuff skb, bool needsRoom)
    {
        if (Rcv.Remaining > 0 || !needsRoom)
        {
            AcceptInOrder(cpu, skb);
            return;
        }
        cpu.Mib.Inc(Mib.TcpExtTCPZeroWindowDrop);
        RefuseData(cpu, skb, DropReason.TcpZeroWindow);
    }

    private void RefuseData(Cpu cpu, SkBuff skb, DropReason reason)
    {
        Ack.EnterQuickMode(Rcv.Wnd, TcpConstants.MaxQuickAcks);
        Ack.Pending |= AckPending.Scheduled;
        Devices.Drops.Free(cpu, skb, reason);
    }

    private void AcceptInOrder(Cpu cpu, SkBuff skb)
    {
        if (!TryScheduleReceive(cpu, skb.TrueSize))
        {
            // There is no memory: a zero window says so.
            Ack.Pending |= AckPending.NoMemory | AckPending.Now | AckPending.Scheduled;
            DataReady(cpu, Rcv.Nxt);
            if (!ReceiveQueue.IsEmpty && skb.Length > 0)
            {
                cpu.Mib.Inc(Mib.TcpExtTCPRcvQDrop);
                Devices.Drops.Free(cpu, skb, DropReason.ProtoMem);
                return;
            }
            ForceSchedule(skb.TrueSize);
        }
        bool fin = (skb.Tcp.Flags & TcpFlags.Fin) != 0;
        bool hasData = skb.Length > 0;
        QueueReceived(cpu, skb);
        if (hasData)
            OnDataReceived(cpu, skb);
        if (skb.IsCoalesced)
            cpu.FreeSkb(skb);
        if (fin)
            ReceiveFin(cpu);
        if (!IsInOrder)
        {
            DrainOutOfOrder(cpu);
            // RFC 5681 §4.2: a filled gap is acknowledged at once.
            if (IsInOrder)
                Ack.Pending |= AckPending.Now;
        }
        SackOut?.OnAdvance(Rcv.Nxt, IsInOrder);
        CheckFastPath();
        if (!Has(SockFlags.Dead))
            NotifyData(cpu);
    }

    /// <summary>
    /// Appends data to the receive queue, merging it into the last buffer where that needs no copy; then the buffer is marked as
    /// merged, and is still to be freed. Linux: tcp_queue_rcv.
    /// </summary>
    private void QueueReceived(Cpu cpu, SkBuff skb)
    {
        SkBuff? tail = ReceiveQueue.Last;
        bool merged = tail is not null && TryCoalesce(cpu, tail, skb);
        AdvanceRcvNxt(skb.Tcp.EndSeq);
        TraceQueued(cpu, skb, merged);
        skb.IsCoalesced = merged;
        if (merged)
            return;
        ReceiveQueue.PushLast(skb);
        ChargeReceived(skb);
    }

    // A FIN takes a number and no room.
    private void TraceQueued(Cpu cpu, SkBuff skb, bool merged)
    {
        int fin = (skb.Tcp.Flags & TcpFlags.Fin) != 0 ? 1 : 0;
        cpu.Trace(Tp.tcp_queue_rcv, this, skb.Tcp.EndSeq - skb.Tcp.Seq - fin, Rcv.Nxt - Rcv.Copied - fin, merged ? 1 : 0, fin);
    }

    // Linux: tcp_try_coalesce. As behind a TUN device there: a linear part is its buffer's own and stays where it is, but what fits into
    // the room behind one costs nothing more.
    private bool TryCoalesce(Cpu cpu, SkBuff to, SkBuff from)
    {
        if (to.Tcp.EndSeq != from.Tcp.Seq || (to.Tcp.Flags & TcpFlags.Fin) != 0)
            return false;
        if (!to.TryTakeIntoTail(from, cpu))
        {
            int gained = Math.Max(from.TrueSize - SkBuff.OverheadTrueSize, from.Length);
            if (from.LinearLength > 0 || !to.TryCoalesce(from, cpu))
                return false;
            to.TrueSize += gained;
            ReceiveAllocated += gained;
            Charge(gained);
        }
        cpu.Mib.Inc(Mib.TcpExtTCPRcvCoalesce);
        to.Tcp.EndSeq = from.Tcp.EndSeq;
        to.Tcp.AckSeq = from.Tcp.AckSeq;
        to.Tcp.Flags |= from.Tcp.Flags;
        if (from.Time != 0)
            to.Time = from.Time;
        return true;
    }

    // Linux: tcp_rcv_nxt_update.
    private void AdvanceRcvNxt(SeqNumber end)
    {
        AttachTransfer().BytesReceived += (uint)(end - Rcv.Nxt);
        Rcv.Nxt = end;
    }

    /// <summary>Tells readers, if there is enough for them. Linux: tcp_data_ready.</summary>
    private void NotifyData(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_data_ready, this, Rcv.Nxt - Rcv.Copied - (Has(SockFlags.Done) ? 1 : 0));
        if (IsReadable(ReceiveLowWater, Rcv.Copied) || Has(SockFlags.Done))
            DataReady(cpu, Rcv.Nxt);
    }

    /// <summary>Whether there is enough to read. Linux: tcp_epollin_ready, tcp_stream_is_readable.</summary>
    public bool IsReadable(int target, SeqNumber from)
    {
        int available = Rcv.Nxt - from;
        if (available <= 0)
            return false;
        return available >= target || IsReceiveBufferTight || Rcv.Remaining <= Ack.RcvMss;
    }

    // Nearly no room is left: the reader must come, whatever he waits for. Linux: tcp_rmem_pressure.
    private bool IsReceiveBufferTight
    {
        get
        {
            if (Proto.Memory.UnderPressure)
                return true;
            int threshold = ReceiveBuffer - (ReceiveBuffer >> 3);
            return ReceiveAllocated > threshold;
        }
    }

    // ---- FIN ----

    // The peer has closed its side. RFC 9293 §3.10.7.4, eighth. Linux: tcp_fin.
    private void ReceiveFin(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_fin, this);
        Ack.Pending |= AckPending.Scheduled;
        Shutdown |= ShutdownMask.Receive;
        Flags |= SockFlags.Done;
        switch (State)
        {
            case TcpState.SynRecv or TcpState.Established:
                SetState(cpu, TcpState.CloseWait);
                Ack.EnterPingPong(Tcp.Sysctls.TcpPingpongThresh);
                break;
            case TcpState.FinWait1:
                // Simultaneous close.
                SendAck(cpu);
                SetState(cpu, TcpState.Closing);
                break;
            case TcpState.FinWait2:
                SendAck(cpu);
                Tcp.EnterTimeWait(cpu, this, TcpState.TimeWait, TcpConstants.TimeWaitLength);
                break;
            case TcpState.CloseWait or TcpState.Closing or TcpState.LastAck:
                break;
            case TcpState.SynSent or TcpState.TimeWait or TcpState.Close or TcpState.Listen or TcpState.NewSynRecv:
                Debug.Fail("a FIN is taken only by a connection that can receive one");
                break;
        }
        PurgeOutOfOrder(cpu);
        // What came twice is no longer of interest to who has sent everything. Linux: tcp_sack_reset.
        SackOut?.ClearDuplicate();
        if (Has(SockFlags.Dead))
            return;
        StateChange(cpu);
    }

    // ---- Out of order ----

    // Linux: tcp_data_queue_ofo.
    private void QueueOutOfOrder(Cpu cpu, SkBuff skb)
    {
        CheckCongestionMark(cpu, skb);
        if (!TryScheduleReceive(cpu, skb.TrueSize))
        {
            cpu.Mib.Inc(Mib.TcpExtTCPOFODrop);
            DataReady(cpu, Rcv.Nxt);
            Devices.Drops.Free(cpu, skb, DropReason.ProtoMem);
            return;
        }
        MeasureReceivedMss(skb);
        FastPath = false;
        Ack.Pending |= AckPending.Scheduled;
        AttachLosses().OutOfOrderReceived += Math.Max(1u, skb.GsoSegs);
        cpu.Mib.Inc(Mib.TcpExtTCPOFOQueue);
        SeqNumber seq = skb.Tcp.Seq, end = skb.Tcp.EndSeq;
        InsertOutOfOrder(cpu, skb);
        // Even what was there already makes its block the newest.
        if (HasSack)
            AttachSack().Add(new SeqRange(seq, end));
        // What lies beyond a hole must not eat the room for what comes; but nobody pays for a connection that nobody has accepted.
        if (Socket is not null)
            GrowReceiveBuffer(RcvSpace.Space);
    }

    // Overlaps are cut away, older data wins; what a new segment covers whole is dropped.
    private void InsertOutOfOrder(Cpu cpu, SkBuff skb)
    {
        SeqNumber seq = skb.Tcp.Seq, end = skb.Tcp.EndSeq;
        Overlap overlap = OutOfOrder.Find(seq, end, out SkBuff? previous);
        if (overlap == Overlap.Whole)
        {
            cpu.Mib.Inc(Mib.TcpExtTCPOFOMerge);
            SetDsack(cpu, new SeqRange(seq, end));
            Devices.Drops.Free(cpu, skb, DropReason.TcpOfoMerge);
            return;
        }
        // Before anything is removed: what is given back then would take along what was granted for this.
        int trueSize = skb.TrueSize;
        ChargeReceived(skb);
        if (overlap != Overlap.None)
            SetDsack(cpu, new SeqRange(seq, previous!.Tcp.EndSeq));
        if (overlap == Overlap.Longer)
        {
            SkBuff covered = previous!;
            previous = SeqTree.Before(covered);
            OutOfOrder.Remove(covered);
            DropCovered(cpu, covered);
        }
        if (previous is not null && TryCoalesce(cpu, previous, skb))
        {
            UnchargeReceived(trueSize);
            cpu.FreeSkb(skb);
            skb = previous;
        }
        else
        {
            OutOfOrder.InsertAfter(skb, previous);
            GrowWindow(skb);
        }
        RemoveCovered(cpu, skb, end);
    }

    private void RemoveCovered(Cpu cpu, SkBuff skb, SeqNumber end)
    {
        SkBuff? covered;
        do
        {
            covered = OutOfOrder.TakeCovered(skb, end, out SeqRange duplicate);
            if (!duplicate.IsEmpty)
                ExtendDsack(cpu, duplicate);
            if (covered is not null)
                DropCovered(cpu, covered);
        }
        while (covered is not null);
    }

    private void DropCovered(Cpu cpu, SkBuff skb)
    {
        cpu.Mib.Inc(Mib.TcpExtTCPOFOMerge);
        DropQueued(cpu, skb, DropReason.TcpOfoMerge);
    }

    // A buffer that was charged and is in no queue any more.
    private void DropQueued(Cpu cpu, SkBuff skb, DropReason reason)
    {
        UnchargeReceived(skb.TrueSize);
        Devices.Drops.Free(cpu, skb, reason);
    }

    // What has come too early is in order now. Linux: tcp_ofo_queue.
    private void DrainOutOfOrder(Cpu cpu)
    {
        SeqNumber dsackHigh = Rcv.Nxt;
        while (OutOfOrder.TakeInOrder(Rcv.Nxt) is { } skb)
        {
            if (skb.Tcp.Seq < dsackHigh)
                ExtendDsack(cpu, new SeqRange(skb.Tcp.Seq, SeqNumber.Min(dsackHigh, skb.Tcp.EndSeq)));
            if (skb.Tcp.EndSeq <= Rcv.Nxt)
            {
                DropQueued(cpu, skb, DropReason.TcpOldData);
                continue;
            }
            bool fin = (skb.Tcp.Flags & TcpFlags.Fin) != 0;
            // The account holds it already: only the queue changes.
            int trueSize = skb.TrueSize;
            bool merged = ReceiveQueue.Last is { } tail && TryCoalesce(cpu, tail, skb);
            AdvanceRcvNxt(skb.Tcp.EndSeq);
            if (!merged)
                ReceiveQueue.PushLast(skb);
            TraceQueued(cpu, skb, merged);
            if (merged)
            {
                UnchargeReceived(trueSize);
                cpu.FreeSkb(skb);
            }
            if (fin)
            {
                // FIN purges what is left.
                ReceiveFin(cpu);
                break;
            }
        }
    }

    private void PurgeOutOfOrder(Cpu cpu)
    {
        while (SackOut?.Queue.First is { } skb)
        {
            OutOfOrder.Remove(skb);
            UnchargeReceived(skb.TrueSize);
            cpu.FreeSkb(skb);
        }
        SackOut?.OnAdvance(Rcv.Nxt, queueIsEmpty: true);
    }

    // ---- What is reported of duplicates: RFC 2883 ----

    private SackState AttachSack() => SackOut ??= new SackState();

    private ref OutOfOrderQueue OutOfOrder => ref AttachSack().Queue;

    // Linux: tcp_dsack_set.
    private void SetDsack(Cpu cpu, SeqRange range)
    {
        if (!HasSack || !Tcp.Sysctls.TcpDsack)
            return;
        cpu.Mib.Inc(range.Start < Rcv.Nxt ? Mib.TcpExtTCPDSACKOldSent : Mib.TcpExtTCPDSACKOfoSent);
        AttachSack().SetDuplicate(range);
    }

    private void ExtendDsack(Cpu cpu, SeqRange range)
    {
        if (!HasSack || !Tcp.Sysctls.TcpDsack)
            return;
        SackState sack = AttachSack();
        if (!sack.HasDuplicate)
            SetDsack(cpu, range);
        else
            sack.AddDuplicate(range);
    }
}
