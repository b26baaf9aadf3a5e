using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// What a sender keeps only while something is in flight: the retransmit queue in order of sequence and in order of sending with the
/// scoreboard's marks, RACK, the reduction, the loss probe, and what an undo would need. Attached at the first send, returned to its
/// pool when everything is acknowledged and nothing is suspicious.
/// </summary>
/// <remarks>The counts of what is marked are the connection's own, because they are read when nothing is in flight.</remarks>
internal sealed class LossRecovery
{
    /// <summary>Sent and not acknowledged, by sequence. Linux: tcp_rtx_queue.</summary>
    public SeqTree Queue;

    /// <summary>The same buffers in the order in which they were last sent, those known to be lost left out. Linux: tsorted_sent_queue.</summary>
    public SentOrder Sent;

    /// <summary>The buffer behind the highest that is SACKed; null if that is the last one sent. Linux: highest_sack.</summary>
    public SkBuff? HighestSack;

    /// <summary>Where the next look for something to retransmit begins. Linux: retransmit_skb_hint.</summary>
    public SkBuff? RetransmitHint;

    /// <summary>The SACK blocks of the last ACK, so that what it said already is not walked again. Linux: recv_sack_cache.</summary>
    public ReceivedSack LastBlocks;

    public Rack Rack;
    public Prr Prr;
    public Undo Undo;
    public TailLossProbe Probe;
    public Frto Frto;

    /// <summary>RFC 6675's RecoveryPoint: SND.NXT when the reduction began. Linux: high_seq.</summary>
    public SeqNumber RecoveryPoint;

    /// <summary>As new, for the pool.</summary>
    public void Reset()
    {
        HighestSack = RetransmitHint = null;
        LastBlocks = default;
        Rack = default;
        Prr = default;
        Undo = default;
        Probe = default;
        Frto = default;
        RecoveryPoint = default;
    }

    /// <summary>Whether anything that is out has been retransmitted. Linux: tcp_any_retrans_done.</summary>
    public bool IsAnyRetransmitted(in PacketCounts packets) =>
        packets.Retrans > 0 || (Queue.First is { } head && (head.Tcp.Sacked & SackedFlags.EverRetrans) != 0);

    // ---- The queue ----

    public void Unlink(SkBuff skb)
    {
        Queue.Remove(skb);
        Sent.Remove(skb);
    }

    /// <summary>A buffer at the front is acknowledged in full.</summary>
    public void Complete(SkBuff skb)
    {
        if (RetransmitHint == skb)
            RetransmitHint = null;
        if (HighestSack == skb)
            HighestSack = SeqTree.After(skb);
        Unlink(skb);
    }

    /// <summary>
    /// Cuts a buffer that has been sent, with its marks, and puts the rest behind it; the memory for it is to be charged. Linux:
    /// tcp_fragment on the retransmit queue.
    /// </summary>
    public void Cut(Cpu cpu, SkBuff skb, int length, int mss, SeqNumber sndNxt, ref PacketCounts packets, bool hasSack)
    {
        int before = skb.Tcp.Segments;
        SkBuff rest = Segmentation.Split(cpu, skb, length);
        Segmentation.SetSegments(skb, mss);
        Segmentation.SetSegments(rest, mss);
        if (rest.Tcp.EndSeq <= sndNxt)
        {
            int difference = before - skb.Tcp.Segments - rest.Tcp.Segments;
            if (difference != 0)
                packets.Shrink(skb.Tcp.Sacked, difference, hasSack);
        }
        Queue.InsertAfter(rest, skb);
        if (Sent.Contains(skb))
            Sent.InsertAfter(rest, skb);
    }

    /// <summary>
    /// Appends the next buffer's bytes, which goes from the queue and is to be freed. False: they cannot be. Linux: tcp_collapse_retrans.
    /// </summary>
    public bool TryCollapse(Cpu cpu, SkBuff skb, SkBuff next, ref PacketCounts packets, bool hasSack)
    {
        int bytes = next.Length;
        if (bytes > 0 && !Segmentation.TakeFront(cpu, skb, next, bytes))
            return false;
        if (HighestSack == next)
            HighestSack = SeqTree.After(next);
        Segmentation.InheritEnd(skb, next);
        skb.Tcp.EndSeq = next.Tcp.EndSeq;
        skb.Tcp.Sacked |= next.Tcp.Sacked & SackedFlags.EverRetrans;
        if (RetransmitHint == next)
            RetransmitHint = skb;
        packets.Shrink(next.Tcp.Sacked, next.Tcp.Segments, hasSack);
        Unlink(next);
        return true;
    }

    // ---- What is SACKed ----

    /// <summary>Behind the highest byte that is SACKed. Linux: tcp_highest_sack_seq.</summary>
    public SeqNumber HighestSackSeq(in PacketCounts packets, in SendSpace snd) =>
        packets.Sacked == 0 ? snd.Una : HighestSack is { } skb ? skb.Tcp.Seq : snd.Nxt;

    /// <summary>The first SACK since nothing was SACKed: what earlier blocks said came to nothing, and is looked at again.</summary>
    public void StartSacking()
    {
        HighestSack = Queue.First;
        LastBlocks = default;
    }

    // ---- What is lost ----

    /// <summary>Takes a buffer for lost, or its retransmission. Linux: tcp_mark_skb_lost.</summary>
    public void MarkLost(Cpu cpu, SkBuff skb, ref PacketCounts packets)
    {
        if ((skb.Tcp.Sacked & SackedFlags.SackedAcked) != 0)
            return;
        bool isFirst = RetransmitHint is { } hint ? skb.Tcp.Seq < hint.Tcp.Seq : packets.Retrans >= packets.Lost;
        if (isFirst)
            RetransmitHint = skb;
        uint again = packets.MarkLost(ref skb.Tcp);
        if (again > 0)
            cpu.Mib.Add(Mib.TcpExtTCPLostRetransmit, again);
    }

    /// <summary>
    /// A timeout: everything that is old enough is taken for lost; and if the receiver has thrown away what it had SACKed, all of it.
    /// True: it has. Linux: tcp_timeout_mark_lost.
    /// </summary>
    public bool MarkAllLost(Cpu cpu, long now, ref PacketCounts packets, bool hasSack)
    {
        SkBuff? head = Queue.First;
        bool reneged = head is not null && (head.Tcp.Sacked & SackedFlags.SackedAcked) != 0;
        if (reneged || !hasSack)
            packets.Sacked = 0;
        for (SkBuff? skb = head; skb is not null; skb = SeqTree.After(skb))
        {
            if (reneged)
            {
                if ((skb.Tcp.Sacked & SackedFlags.SackedAcked) != 0)
                    Sent.AppendIfAbsent(skb);
                skb.Tcp.Sacked &= ~SackedFlags.SackedAcked;
            }
            else if (skb != head && Rack.Remaining(skb.SentTime, 0, now) > 0)
            {
                continue;
            }
            MarkLost(cpu, skb, ref packets);
        }
        RetransmitHint = null;
        if (reneged)
            HighestSack = head;
        return reneged;
    }

    /// <summary>
    /// RFC 8985 §6.2 step 5: what was overtaken for longer than the window is lost. Returns how many microseconds it takes until the
    /// last of what was overtaken is; 0 if there is nothing more. Linux: tcp_rack_detect_loss.
    /// </summary>
    public long DetectLosses(Cpu cpu, long window, long now, ref PacketCounts packets)
    {
        long timeout = 0;
        for (SkBuff? skb = Sent.First; skb is not null;)
        {
            SkBuff? next = skb.TimeNext;
            bool lostAndWaiting = (skb.Tcp.Sacked & (SackedFlags.Lost | SackedFlags.SackedRetrans)) == SackedFlags.Lost;
            if (!lostAndWaiting)
            {
                if (!Rack.IsOvertaken(skb.SentTime, skb.Tcp.EndSeq))
                    break;
                long remaining = Rack.Remaining(skb.SentTime, window, now);
                if (remaining <= 0)
                {
                    MarkLost(cpu, skb, ref packets);
                    Sent.Remove(skb);
                }
                else
                {
                    timeout = Math.Max(timeout, remaining);
                }
            }
            skb = next;
        }
        return timeout;
    }

    /// <summary>Nothing was lost after all: the marks are taken off. Linux: the loop of tcp_undo_cwnd_reduction.</summary>
    public void UnmarkLost(ref PacketCounts packets)
    {
        for (SkBuff? skb = Queue.First; skb is not null; skb = SeqTree.After(skb))
        {
            if ((skb.Tcp.Sacked & SackedFlags.Lost) != 0 && (skb.Tcp.Sacked & SackedFlags.SackedAcked) == 0)
                Sent.AppendIfAbsent(skb);
            skb.Tcp.Sacked &= ~SackedFlags.Lost;
        }
        packets.Lost = 0;
        RetransmitHint = null;
    }
}
