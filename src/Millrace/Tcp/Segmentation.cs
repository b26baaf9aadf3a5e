using System.Diagnostics;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// Cutting and joining buffers that are to be sent or have been, with all that is noted on them. Queues and the account of the socket's memory
/// are the caller's.
/// </summary>
internal static class Segmentation
{
    /// <summary>What a buffer without payload is charged. Linux: the truesize of tcp_stream_alloc_skb.</summary>
    public const int Overhead = 896;

    /// <summary>How many segments the buffer makes. Linux: tcp_set_skb_tso_segs.</summary>
    public static int SetSegments(SkBuff skb, int mss)
    {
        ref TcpControlBlock tcp = ref skb.Tcp;
        if (skb.Length <= mss)
        {
            tcp.SegmentSize = 0;
            tcp.Segments = 1;
        }
        else
        {
            tcp.SegmentSize = mss;
            tcp.Segments = (skb.Length + mss - 1) / mss;
        }
        return tcp.Segments;
    }

    /// <summary>Payload of the segments that the buffer makes. Linux: tcp_skb_seglen.</summary>
    public static int SegmentLength(SkBuff skb) => skb.Tcp.Segments == 1 ? skb.Length : skb.Tcp.SegmentSize;

    /// <summary>Whether the bytes of two neighbours may become one buffer. Linux: tcp_skb_can_collapse.</summary>
    public static bool MayMerge(SkBuff to, SkBuff from) =>
        (to.Tcp.Notes & BufferNotes.EndOfRecord) == 0 && to.ZeroCopy is null && from.ZeroCopy is null;

    /// <summary>Moves bytes from a buffer's front to the end of the one before it, and what is charged for them. False: they do not fit.</summary>
    public static bool TakeFront(Cpu cpu, SkBuff to, SkBuff from, int bytes)
    {
        if (!to.TakeFront(from, bytes, cpu))
            return false;
        to.TrueSize += bytes;
        from.TrueSize -= bytes;
        return true;
    }

    /// <summary>What is noted on the end of a buffer that is merged away is noted on the one it is merged into. Linux: tcp_skb_collapse_tstamp.</summary>
    public static void InheritEnd(SkBuff to, SkBuff from)
    {
        to.Tcp.Flags |= from.Tcp.Flags;
        to.Tcp.Notes |= from.Tcp.Notes & BufferNotes.EndOfRecord;
        if (from.Stamps == TransmitStamps.None)
            return;
        to.Stamps |= from.Stamps;
        to.StampKey = from.StampKey;
    }

    /// <summary>
    /// Cuts a buffer in two; the second half is returned, in no queue, and costs <see cref="Overhead"/> more. FIN, PSH and the end of a
    /// record go with it. Linux: tcp_fragment, tso_fragment.
    /// </summary>
    public static SkBuff Split(Cpu cpu, SkBuff skb, int length)
    {
        Debug.Assert(length > 0 && length < skb.Length, "both halves have bytes");
        SkBuff rest = cpu.AllocSkb();
        int moved = skb.Length - length;
        rest.TrueSize = Overhead + moved;
        skb.SplitTo(rest, length, cpu);
        skb.TrueSize -= moved;
        ref TcpControlBlock a = ref skb.Tcp, b = ref rest.Tcp;
        b.Seq = a.Seq + length;
        b.EndSeq = a.EndSeq;
        a.EndSeq = b.Seq;
        b.Flags = a.Flags;
        a.Flags &= ~(TcpFlags.Fin | TcpFlags.Psh);
        b.Sacked = a.Sacked;
        b.Notes = a.Notes;
        a.Notes &= ~BufferNotes.EndOfRecord;
        if (skb.Stamps != TransmitStamps.None && new SeqNumber(skb.StampKey) >= b.Seq)
        {
            (rest.Stamps, rest.StampKey) = (skb.Stamps, skb.StampKey);
            skb.Stamps = TransmitStamps.None;
        }
        b.FirstTxTime = a.FirstTxTime;
        b.DeliveredTime = a.DeliveredTime;
        b.Delivered = a.Delivered;
        b.DeliveredCe = a.DeliveredCe;
        rest.SentTime = skb.SentTime;
        rest.IpSummed = ChecksumState.Partial;
        if (skb.ZeroCopy is { } notice)
        {
            notice.Hold();
            rest.ZeroCopy = notice;
        }
        return rest;
    }
}
