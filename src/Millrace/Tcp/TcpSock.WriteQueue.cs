using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>The buffers of the write queue: filled, cut and joined before they are sent, and what they cost.</summary>
internal sealed partial class TcpSock
{
    /// <summary>A buffer has been sent for the first time. Linux: tcp_event_new_data_sent.</summary>
    private void OnNewDataSent(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.tcp_event_new_data_sent, this, skb.Tcp.Seq.Value, skb.Length);
        LossRecovery recovery = AttachRecovery(cpu);
        uint before = PacketsOut;
        Snd.Nxt = skb.Tcp.EndSeq;
        WriteQueue.Remove(skb);
        recovery.Queue.Append(skb);
        recovery.HighestSack ??= skb;
        Packets.Out += (uint)skb.Tcp.Segments;
        if (before == 0 || PendingTimer == TimerEvent.LossProbe)
            RearmRto(cpu);
        cpu.Mib.Add(Mib.TcpExtTCPOrigDataSent, skb.Tcp.Segments);
        CheckSpace(cpu);
    }

    // Fills a buffer that is smaller than what may be sent from the next one. Linux: tcp_grow_skb.
    private void GrowFromNext(Cpu cpu, SkBuff skb, int missing)
    {
        if (skb == WriteQueue.Last || WriteQueue.After(skb) is not { } next)
            return;
        if (!Segmentation.MayMerge(skb, next))
            return;
        int take = Math.Min(missing, next.Length);
        if (take > 0)
            MoveFront(cpu, skb, next, take);
    }

    // Moves unsent bytes from a buffer to the one before it; one that is empty then is gone. False: they do not fit. Linux: tcp_eat_one_skb.
    private bool MoveFront(Cpu cpu, SkBuff skb, SkBuff next, int take)
    {
        if (!Segmentation.TakeFront(cpu, skb, next, take))
            return false;
        skb.Tcp.EndSeq += take;
        next.Tcp.Seq += take;
        if (next.Length == 0)
        {
            Segmentation.InheritEnd(skb, next);
            skb.Tcp.EndSeq = next.Tcp.EndSeq;
            WriteQueue.Remove(next);
            FreeWriteSkb(cpu, next);
        }
        return true;
    }

    /// <summary>Cuts a buffer that has not been sent. Linux: tso_fragment, tcp_fragment.</summary>
    private void FragmentUnsent(Cpu cpu, SkBuff skb, int length, int mss)
    {
        SkBuff rest = Segmentation.Split(cpu, skb, length);
        ChargeWrite(Segmentation.Overhead);
        WriteQueue.InsertAfter(rest, skb);
        Segmentation.SetSegments(skb, mss);
        Segmentation.SetSegments(rest, mss);
    }

    /// <summary>A buffer of the write queue, charged to the socket; null if there is no memory for it. Linux: tcp_stream_alloc_skb.</summary>
    public SkBuff? AllocWriteSkb(Cpu cpu, bool force)
    {
        if (force)
            ForceSchedule(Segmentation.Overhead);
        else if (!ScheduleSend(cpu, Segmentation.Overhead))
            return null;
        SkBuff skb = cpu.AllocSkb();
        skb.TrueSize = Segmentation.Overhead;
        skb.IpSummed = ChecksumState.Partial;
        return skb;
    }

    /// <summary>Appends a new buffer to the write queue. Linux: tcp_skb_entail.</summary>
    public void Entail(Cpu cpu, SkBuff skb)
    {
        skb.Tcp.Seq = skb.Tcp.EndSeq = Snd.Written;
        skb.Tcp.Flags = TcpFlags.Ack;
        skb.Tcp.Segments = 0;
        // It counts as sent when nobody knows, so no time is measured by it.
        if (InRepair)
            skb.Tcp.Sacked |= SackedFlags.Repaired;
        QueueUnsent(cpu, skb);
        Nagle &= ~NagleFlags.Push;
        RestartAfterIdle(cpu);
    }

    // Linux: tcp_add_write_queue_tail.
    private void QueueUnsent(Cpu cpu, SkBuff skb)
    {
        if (IsAllSent)
            AttachTransfer().Chrono.Start(ChronoType.Busy, cpu.Now);
        WriteQueue.PushLast(skb);
        WriteQueued += skb.TrueSize;
        Charge(skb.TrueSize);
    }

    // The queues' buffers hold so much more memory, or less.
    private void ChargeWrite(int bytes)
    {
        WriteQueued += bytes;
        if (bytes >= 0)
        {
            ForceSchedule(bytes);
            Charge(bytes);
        }
        else
        {
            Uncharge(-bytes);
        }
    }

    /// <summary>Ends a buffer that was queued to be sent, and its charge. Linux: tcp_wmem_free_skb.</summary>
    public void FreeWriteSkb(Cpu cpu, SkBuff skb)
    {
        WriteQueued -= skb.TrueSize;
        Uncharge(skb.TrueSize);
        cpu.FreeSkb(skb);
    }
}
