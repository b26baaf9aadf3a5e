using System;
using System.Runtime.CompilerServices;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// The segments that came too early, and what the receiver reports of them: up to four ranges, the newest first, and the duplicate range of a DSACK.
/// </summary>
/// <remarks>RFC 2018 §4, RFC 2883. Linux: selective_acks, duplicate_sack, tcp_sack_new_ofo_skb, tcp_sack_maybe_coalesce.</remarks>
internal sealed class SackState
{
    private Blocks _blocks;

    /// <summary>Segments that came too early. Linux: out_of_order_queue.</summary>
    public OutOfOrderQueue Queue;

    /// <summary>Ranges in the queue that are reported. Linux: num_sacks.</summary>
    public int Count { get; private set; }

    /// <summary>Whether a duplicate is to be reported, once. Linux: rx_opt.dsack.</summary>
    public bool HasDuplicate { get; private set; }

    /// <summary>The duplicate that is to be reported, or was last. Linux: duplicate_sack.</summary>
    public SeqRange LastDuplicate { get; private set; }

    public SeqRange this[int i] => _blocks[i];

    /// <summary>ACKs that were left out because more segments were expected at once. Linux: compressed_ack.</summary>
    public byte CompressedAcks;

    /// <summary>RCV.NXT when compression began, and duplicates sent before it may. Linux: compressed_ack_rcv_nxt, dup_ack_counter.</summary>
    public SeqNumber CompressedRcvNxt;
    public byte DuplicateAcks;

    /// <summary>When the compressed ACK goes; Never if none waits.</summary>
    public Sched.Micros CompressedDeadline = Sched.Micros.Never;

    /// <summary>Notes a segment that came too early. Adjacent ranges become one; the newest comes first. Linux: tcp_sack_new_ofo_skb.</summary>
    public void Add(SeqRange range)
    {
        for (int i = 0; i < Count; i++)
        {
            ref SeqRange at = ref _blocks[i];
            bool touches = range.Start <= at.End && at.Start <= range.End;
            if (!touches)
                continue;
            at = new SeqRange(SeqNumber.Min(at.Start, range.Start), SeqNumber.Max(at.End, range.End));
            MoveToFront(i);
            Coalesce();
            return;
        }
        if (Count == TcpOptions.MaxSackBlocks)
            Count--;
        for (int i = Count; i > 0; i--)
            _blocks[i] = _blocks[i - 1];
        _blocks[0] = range;
        Count++;
    }

    /// <summary>Forgets what the sequence has caught up with. Linux: tcp_sack_remove.</summary>
    public void OnAdvance(SeqNumber rcvNxt, bool queueIsEmpty)
    {
        if (queueIsEmpty)
        {
            Count = 0;
            return;
        }
        int kept = 0;
        for (int i = 0; i < Count; i++)
        {
            if (rcvNxt < _blocks[i].Start)
                _blocks[kept++] = _blocks[i];
        }
        Count = kept;
    }

    /// <summary>Notes a duplicate; one that touches what is noted already extends it. Linux: tcp_dsack_set, tcp_dsack_extend.</summary>
    public void AddDuplicate(SeqRange range)
    {
        if (HasDuplicate && LastDuplicate.Start <= range.End && range.Start <= LastDuplicate.End)
            range = new SeqRange(SeqNumber.Min(LastDuplicate.Start, range.Start), SeqNumber.Max(LastDuplicate.End, range.End));
        else if (HasDuplicate)
            return;
        HasDuplicate = true;
        LastDuplicate = range;
    }

    /// <summary>Sets the duplicate, whatever is noted.</summary>
    public void SetDuplicate(SeqRange range)
    {
        HasDuplicate = true;
        LastDuplicate = range;
    }

    public void ClearDuplicate() => HasDuplicate = false;

    /// <summary>Fills <paramref name="target"/> with what is to be reported; returns how many.</summary>
    public int Report(Span<SeqRange> target)
    {
        int n = 0;
        if (HasDuplicate && target.Length > 0)
            target[n++] = LastDuplicate;
        for (int i = 0; i < Count && n < target.Length; i++)
            target[n++] = _blocks[i];
        return n;
    }

    /// <summary>
    /// A segment has come out of order. True: its ACK is left out, for the one that follows the burst says it all; but the first three
    /// duplicates go, for the sender counts them. Linux: the end of __tcp_ack_snd_check.
    /// </summary>
    /// <param name="most">tcp_comp_sack_nr: ACKs that may be left out in a row.</param>
    public bool TryCompress(SeqNumber rcvNxt, int most)
    {
        if (CompressedAcks >= most)
            return false;
        if (CompressedRcvNxt != rcvNxt)
        {
            CompressedRcvNxt = rcvNxt;
            DuplicateAcks = 0;
        }
        if (DuplicateAcks < TcpConstants.FastRetransThreshold)
        {
            DuplicateAcks++;
            return false;
        }
        CompressedAcks++;
        return true;
    }

    /// <summary>How long the compressed ACK may wait: a part of the smaller round trip that is known, and a bound, in microseconds.</summary>
    /// <param name="receiverRtt8">Eight times the receiver's own estimate; 0 if there is none, as for <paramref name="srtt8"/>.</param>
    public static long CompressionDelay(uint receiverRtt8, uint srtt8, long boundUs, int percent)
    {
        uint rtt8 = srtt8 != 0 && (receiverRtt8 == 0 || srtt8 < receiverRtt8) ? srtt8 : receiverRtt8;
        return Math.Max(Math.Min(boundUs, (rtt8 >> 3) * percent / 100), 1);
    }

    private void MoveToFront(int index)
    {
        SeqRange block = _blocks[index];
        for (int i = index; i > 0; i--)
            _blocks[i] = _blocks[i - 1];
        _blocks[0] = block;
    }

    // The first range may have grown into others.
    private void Coalesce()
    {
        for (int i = 1; i < Count;)
        {
            SeqRange first = _blocks[0], at = _blocks[i];
            if (first.Start > at.End || at.Start > first.End)
            {
                i++;
                continue;
            }
            _blocks[0] = new SeqRange(SeqNumber.Min(first.Start, at.Start), SeqNumber.Max(first.End, at.End));
            Count--;
            for (int j = i; j < Count; j++)
                _blocks[j] = _blocks[j + 1];
        }
    }

    [InlineArray(TcpOptions.MaxSackBlocks)]
    private struct Blocks
    {
        private SeqRange _first;
    }
}
