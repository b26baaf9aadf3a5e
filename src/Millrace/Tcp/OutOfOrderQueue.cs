using Millrace.Buffers;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>How a segment lies to what starts at or before it in the queue.</summary>
internal enum Overlap : byte
{
    /// <summary>Apart, or just behind.</summary>
    None,

    /// <summary>All of it is there.</summary>
    Whole,

    /// <summary>Its front is there.</summary>
    Front,

    /// <summary>Same start, longer: it takes the other's place.</summary>
    Longer,
}

/// <summary>
/// Segments that came too early, in order of sequence. No byte is in it twice but where the front of a buffer lies under the end of the
/// one before it.
/// </summary>
/// <remarks>RFC 9293 §3.10.7.4, seventh. Linux: out_of_order_queue, tcp_data_queue_ofo. What its buffers cost is the caller's account.</remarks>
internal struct OutOfOrderQueue
{
    private SeqTree _tree;

    public readonly bool IsEmpty => _tree.IsEmpty;

    public readonly SkBuff? First => _tree.First;

    public readonly SkBuff? Last => _tree.Last;

    /// <summary>Where a segment goes.</summary>
    /// <param name="previous">The buffer that it goes behind, if it does not take its place; null: to the front.</param>
    public readonly Overlap Find(SeqNumber seq, SeqNumber end, out SkBuff? previous)
    {
        // Mostly it is the newest.
        previous = _tree.Last is { } last && last.Tcp.Seq <= seq ? last : _tree.LastStartingAtOrBefore(seq);
        if (previous is null || seq >= previous.Tcp.EndSeq)
            return Overlap.None;
        if (end <= previous.Tcp.EndSeq)
            return Overlap.Whole;
        return seq > previous.Tcp.Seq ? Overlap.Front : Overlap.Longer;
    }

    public void InsertAfter(SkBuff skb, SkBuff? previous) => _tree.InsertAfter(skb, previous);

    public void Remove(SkBuff skb) => _tree.Remove(skb);

    /// <summary>
    /// What lies behind a buffer whose data now goes up to <paramref name="end"/> and is there twice: a buffer that is covered whole is
    /// taken off the queue and returned; one that is covered in part stays. Empty: nothing is.
    /// </summary>
    public SkBuff? TakeCovered(SkBuff skb, SeqNumber end, out SeqRange duplicate)
    {
        duplicate = default;
        if (SeqTree.After(skb) is not { } next || end <= next.Tcp.Seq)
            return null;
        duplicate = new SeqRange(next.Tcp.Seq, SeqNumber.Min(end, next.Tcp.EndSeq));
        if (end < next.Tcp.EndSeq)
            return null;
        _tree.Remove(next);
        return next;
    }

    /// <summary>Takes the first buffer if it is in order now; null if there is none, or if the hole is still there. Linux: tcp_ofo_queue.</summary>
    public SkBuff? TakeInOrder(SeqNumber rcvNxt)
    {
        if (_tree.First is not { } skb || skb.Tcp.Seq > rcvNxt)
            return null;
        _tree.Remove(skb);
        return skb;
    }
}
