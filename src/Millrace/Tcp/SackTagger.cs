using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// Marks on the scoreboard what the SACK blocks of one ACK cover. Lives as long as the ACK is worked on, and borrows what it changes.
/// </summary>
/// <remarks>RFC 2018 §5, RFC 6675 §4. Linux: tcp_sacktag_walk, tcp_sacktag_one, tcp_shift_skb_data.</remarks>
internal ref struct SackTagger
{
    private readonly Cpu _cpu;
    private readonly LossRecovery _recovery;
    private readonly ref PacketCounts _packets;
    private readonly ref DeliveryRate _rate;
    private readonly ref AckContext _ack;
    private readonly ref readonly SendSpace _snd;
    private readonly long _now;
    private readonly uint _minRttUs;

    /// <param name="now">When the ACK came, microseconds.</param>
    /// <param name="minRttUs">The least round trip: a retransmission is not SACKed sooner.</param>
    public SackTagger(Cpu cpu, LossRecovery recovery, ref PacketCounts packets, ref DeliveryRate rate, ref AckContext ack, in SendSpace snd,
        Micros now, uint minRttUs)
    {
        _cpu = cpu;
        _recovery = recovery;
        _packets = ref packets;
        _rate = ref rate;
        _ack = ref ack;
        _snd = ref snd;
        _now = now.Value;
        _minRttUs = minRttUs;
    }

    /// <summary>By how much the memory of the queue has grown, bytes: what was cut costs, what was merged away costs no more.</summary>
    public int Charged { readonly get; private set; }

    // ---- Ranges ----

    /// <summary>Marks what is new in the blocks, and remembers them.</summary>
    public void Walk(in ReceivedSack blocks)
    {
        for (int i = 0; i < blocks.Count; i++)
        {
            if (blocks.IsDuplicate(i))
                WalkRange(blocks[i], blocks[i].Start, default, dsack: true);
            else
                WalkNewParts(blocks[i], blocks.IsDuplicate(i + 1) ? blocks[i + 1] : default);
        }
        _recovery.LastBlocks = blocks;
    }

    // What an earlier ACK SACKed already is skipped. Linux: the use of recv_sack_cache.
    private void WalkNewParts(SeqRange block, SeqRange nextDuplicate)
    {
        SeqNumber from = block.Start;
        ref ReceivedSack last = ref _recovery.LastBlocks;
        for (int i = 0; i < last.Count && from < block.End && nextDuplicate.IsEmpty; i++)
        {
            SeqRange known = last[i];
            if (known.IsEmpty || known.Start >= block.End || from >= known.End)
                continue;
            if (from < known.Start)
                WalkRange(new SeqRange(from, known.Start), from, nextDuplicate, dsack: false);
            from = SeqNumber.Max(from, known.End);
        }
        // The walk goes on from there, but a buffer counts if the whole block covers it.
        if (from < block.End)
            WalkRange(block, from, nextDuplicate, dsack: false);
    }

    // Linux: tcp_sacktag_walk.
    private void WalkRange(SeqRange range, SeqNumber from, SeqRange nextDuplicate, bool dsack)
    {
        SkBuff? skb = _recovery.Queue.FirstEndingAfter(from);
        while (skb is not null && skb.Tcp.Seq < range.End)
        {
            bool isDuplicate = dsack;
            int inside = 0;
            if (!nextDuplicate.IsEmpty && skb.Tcp.Seq < nextDuplicate.End)
            {
                inside = MatchToRange(skb, nextDuplicate);
                isDuplicate |= inside > 0;
            }
            if (inside <= 0)
            {
                SkBuff? shifted = TryShift(skb, range, isDuplicate);
                if (shifted is not null && shifted != skb)
                {
                    skb = SeqTree.After(shifted);
                    continue;
                }
                inside = shifted is not null ? 0 : MatchToRange(skb, range);
            }
            if (inside < 0)
                break;
            if (inside > 0)
                Tag(skb, isDuplicate);
            skb = SeqTree.After(skb);
        }
    }

    // Whether the buffer lies inside the range: 1 it does, 0 it does not, −1 stop. A buffer of several segments is cut at the range's
    // edge, on a segment's boundary. Linux: tcp_match_skb_to_sack.
    private int MatchToRange(SkBuff skb, SeqRange range)
    {
        bool inside = range.Start <= skb.Tcp.Seq && range.End >= skb.Tcp.EndSeq;
        if (inside || skb.Tcp.Segments <= 1 || skb.Tcp.EndSeq <= range.Start)
            return inside ? 1 : 0;
        int mss = skb.Tcp.SegmentSize;
        inside = range.Start <= skb.Tcp.Seq;
        int length;
        if (!inside)
        {
            length = Math.Max(range.Start - skb.Tcp.Seq, mss);
        }
        else
        {
            length = range.End - skb.Tcp.Seq;
            if (length < mss)
                return -1;
        }
        if (length > mss)
        {
            int rounded = length / mss * mss;
            if (!inside && rounded < length)
                rounded += mss;
            length = rounded;
        }
        if (length >= skb.Length && !inside)
            return 0;
        if (length < skb.Length)
        {
            _recovery.Cut(_cpu, skb, length, mss, _snd.Nxt, ref _packets, hasSack: true);
            Charged += Segmentation.Overhead;
        }
        return inside ? 1 : 0;
    }

    // ---- Marks ----

    private void Tag(SkBuff skb, bool dsack)
    {
        skb.Tcp.Sacked = TagOne(skb, skb.Tcp.Sacked, new SeqRange(skb.Tcp.Seq, skb.Tcp.EndSeq), dsack, skb.Tcp.Segments);
        _rate.OnDelivered(skb, ref _ack.Rate);
        if ((skb.Tcp.Sacked & SackedFlags.SackedAcked) != 0)
            _recovery.Sent.Remove(skb);
        SeqNumber highest = _recovery.HighestSack is { } behind ? behind.Tcp.Seq : _snd.Nxt;
        if (skb.Tcp.Seq >= highest)
            _recovery.HighestSack = SeqTree.After(skb);
    }

    // Counts a range of a buffer as SACKed, and returns the buffer's new marks. Linux: tcp_sacktag_one.
    private readonly SackedFlags TagOne(SkBuff skb, SackedFlags sacked, SeqRange range, bool dsack, int packets)
    {
        uint count = (uint)packets;
        if (dsack && (sacked & SackedFlags.Retrans) != 0)
        {
            _recovery.Undo.OnDuplicate(packets, range.End);
            if ((sacked & SackedFlags.SackedAcked) != 0)
                NoteReordered(range.Start);
        }
        if (range.End <= _snd.Una)
            return sacked;
        if ((sacked & SackedFlags.SackedAcked) == 0)
        {
            _recovery.Rack.Advance((sacked & SackedFlags.Retrans) != 0, range.End, skb.SentTime, _now, _minRttUs);
            sacked = UntagLost(skb, sacked, range, count) | SackedFlags.SackedAcked;
            _ack.Flags |= AckFlags.DataSacked;
            _ack.DeliveredBytes += range.Length;
            _packets.Sacked += count;
            _rate.Count(count, _ack.Has(AckFlags.Ece));
        }
        if (dsack && (sacked & SackedFlags.SackedRetrans) != 0)
        {
            sacked &= ~SackedFlags.SackedRetrans;
            _packets.Retrans -= count;
        }
        return sacked;
    }

    // What has arrived is not lost.
    private readonly SackedFlags UntagLost(SkBuff skb, SackedFlags sacked, SeqRange range, uint count)
    {
        bool lost = (sacked & SackedFlags.Lost) != 0;
        if ((sacked & SackedFlags.SackedRetrans) != 0)
        {
            // If it was not thought lost, the retransmission is believed to be still on its way.
            if (!lost)
                return sacked;
            _packets.Lost -= count;
            _packets.Retrans -= count;
            return sacked & ~(SackedFlags.Lost | SackedFlags.SackedRetrans);
        }
        if ((sacked & SackedFlags.Retrans) == 0)
            NoteOriginal(skb, range);
        if (!lost)
            return sacked;
        _packets.Lost -= count;
        return sacked & ~SackedFlags.Lost;
    }

    // It was never retransmitted: its arrival tells of the path.
    private readonly void NoteOriginal(SkBuff skb, SeqRange range)
    {
        // A hole that is filled after higher data: it was overtaken.
        if (range.Start < _recovery.HighestSackSeq(_packets, _snd))
            NoteReordered(range.Start);
        if (range.End <= _recovery.RecoveryPoint)
            _ack.Flags |= AckFlags.OrigSackAcked;
        if (_ack.FirstSackTime == 0)
            _ack.FirstSackTime = skb.SentTime;
        _ack.LastSackTime = skb.SentTime;
    }

    private readonly void NoteReordered(SeqNumber seq) => _ack.Reordered = SeqNumber.Min(_ack.Reordered, seq);

    // ---- Shifting ----

    // Moves what is newly SACKed into the SACKed buffer before it, so that a long SACKed range is one buffer. Returns null to go the
    // ordinary way, the same buffer to pass it by, another to go on from there. Linux: tcp_shift_skb_data.
    private SkBuff? TryShift(SkBuff skb, SeqRange range, bool dsack)
    {
        bool retransmittedNotLost = (skb.Tcp.Sacked & (SackedFlags.Lost | SackedFlags.SackedRetrans)) == SackedFlags.SackedRetrans;
        SkBuff? previous = SeqTree.Before(skb);
        if ((!dsack && retransmittedNotLost) || skb.Tcp.EndSeq <= _snd.Una || previous is null
            || (previous.Tcp.Sacked & SackedFlags.TagBits) != SackedFlags.SackedAcked || !Segmentation.MayMerge(previous, skb))
            return Fallback();
        int mss = Segmentation.SegmentLength(previous), packets = skb.Tcp.Segments, length = skb.Length;
        bool inside = range.Start <= skb.Tcp.Seq && range.End >= skb.Tcp.EndSeq;
        if (inside)
        {
            if (mss != Segmentation.SegmentLength(skb))
                return Fallback();
        }
        else
        {
            if (skb.Tcp.EndSeq <= range.Start || packets <= 1)
                return skb;
            if (range.Start > skb.Tcp.Seq || mss != skb.Tcp.SegmentSize)
                return Fallback();
            packets = (range.End - skb.Tcp.Seq) / mss;
            length = packets * mss;
            if (packets == 0)
                return skb;
        }
        if (skb.Tcp.Seq + length <= _snd.Una || !Shift(previous, skb, length))
            return Fallback();
        if (OnShifted(previous, skb, packets, length, mss, dsack))
            ShiftNext(previous, mss);
        return previous;
    }

    // The hole is filled: the SACKed buffer behind it may follow.
    private void ShiftNext(SkBuff skb, int mss)
    {
        if (SeqTree.After(skb) is not { } next || (next.Tcp.Sacked & SackedFlags.TagBits) != SackedFlags.SackedAcked
            || Segmentation.SegmentLength(next) != mss || !Segmentation.MayMerge(skb, next) || !Shift(skb, next, next.Length))
            return;
        OnShifted(skb, next, next.Tcp.Segments, next.Tcp.EndSeq - next.Tcp.Seq, mss, dsack: false);
    }

    private readonly SkBuff? Fallback()
    {
        _cpu.Mib.Inc(Mib.TcpExtTCPSackShiftFallback);
        return null;
    }

    private readonly bool Shift(SkBuff to, SkBuff from, int length)
    {
        const int maxLength = 1 << 24;
        return to.Length + length < maxLength && to.Tcp.Segments + from.Tcp.Segments <= ushort.MaxValue
            && Segmentation.TakeFront(_cpu, to, from, length);
    }

    // Linux: tcp_shifted_skb. True: the source is gone.
    private bool OnShifted(SkBuff to, SkBuff from, int packets, int shifted, int mss, bool dsack)
    {
        SeqNumber start = from.Tcp.Seq;
        TagOne(from, from.Tcp.Sacked, new SeqRange(start, start + shifted), dsack, packets);
        _rate.OnDelivered(from, ref _ack.Rate);
        to.Tcp.EndSeq += shifted;
        from.Tcp.Seq += shifted;
        to.Tcp.Segments += packets;
        from.Tcp.Segments -= packets;
        if (to.Tcp.SegmentSize == 0)
            to.Tcp.SegmentSize = mss;
        if (from.Tcp.Segments <= 1)
            from.Tcp.SegmentSize = 0;
        to.Tcp.Sacked |= from.Tcp.Sacked & SackedFlags.EverRetrans;
        if (from.Length > 0)
        {
            _cpu.Mib.Inc(Mib.TcpExtTCPSackShifted);
            return false;
        }
        if (_recovery.RetransmitHint == from)
            _recovery.RetransmitHint = to;
        Segmentation.InheritEnd(to, from);
        if ((from.Tcp.Flags & TcpFlags.Fin) != 0)
            to.Tcp.EndSeq = from.Tcp.EndSeq;
        if (_recovery.HighestSack == from)
            _recovery.HighestSack = SeqTree.After(from);
        to.Tcp.DeliveredTime = 0;
        _recovery.Unlink(from);
        Charged -= from.TrueSize;
        _cpu.FreeSkb(from);
        _cpu.Mib.Inc(Mib.TcpExtTCPSackMerged);
        return true;
    }
}
