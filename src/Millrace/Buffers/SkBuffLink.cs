using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Millrace.Buffers;

/// <summary>A node of a circular list of buffers: a buffer, or the list's head, which is the sentinel.</summary>
internal abstract class SkBuffLink
{
    internal SkBuffLink? Next, Prev;
}

/// <summary>
/// A queue of buffers: a circular list whose head is the sentinel, so that no operation has a special case at the ends. Guarded
/// by whatever guards its owner.
/// </summary>
/// <remarks>Linux: sk_buff_head.</remarks>
internal sealed class SkBuffHead : SkBuffLink
{
    public SkBuffHead() => Next = Prev = this;

    /// <summary>Buffers in the queue. Linux: qlen.</summary>
    public int Count { get; private set; }

    public bool IsEmpty => Next == this;

    /// <summary>Linux: skb_peek.</summary>
    public SkBuff? First => AsBuffer(Next!);

    /// <summary>Linux: skb_peek_tail.</summary>
    public SkBuff? Last => AsBuffer(Prev!);

    /// <summary>The buffer behind <paramref name="skb"/>, or null at the end. Linux: skb_queue_next.</summary>
    public SkBuff? After(SkBuff skb) => AsBuffer(skb.Next!);

    /// <summary>Linux: __skb_queue_tail.</summary>
    public void PushLast(SkBuff skb) => Insert(skb, Prev!, this);

    /// <summary>Linux: __skb_queue_head.</summary>
    public void PushFirst(SkBuff skb) => Insert(skb, this, Next!);

    public void InsertAfter(SkBuff skb, SkBuff previous) => Insert(skb, previous, previous.Next!);

    /// <summary>Linux: __skb_unlink.</summary>
    public void Remove(SkBuff skb)
    {
        Debug.Assert(skb.Next is not null, "a buffer is unlinked from the queue that holds it");
        skb.Prev!.Next = skb.Next;
        skb.Next!.Prev = skb.Prev;
        skb.Next = skb.Prev = null;
        Count--;
    }

    /// <summary>Linux: __skb_dequeue.</summary>
    public SkBuff? PopFirst()
    {
        SkBuff? first = First;
        if (first is not null)
            Remove(first);
        return first;
    }

    /// <summary>Moves all of <paramref name="other"/> to the end of this queue, in order. Linux: skb_queue_splice_tail_init.</summary>
    public void TakeAll(SkBuffHead other)
    {
        if (other.IsEmpty)
            return;
        Prev!.Next = other.Next;
        other.Next!.Prev = Prev;
        other.Prev!.Next = this;
        Prev = other.Prev;
        Count += other.Count;
        other.Next = other.Prev = other;
        other.Count = 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private SkBuff? AsBuffer(SkBuffLink link) => link == this ? null : Unsafe.As<SkBuff>(link);

    private void Insert(SkBuff skb, SkBuffLink previous, SkBuffLink next)
    {
        Debug.Assert(skb.Next is null, "a buffer is in one queue at a time");
        skb.Prev = previous;
        skb.Next = next;
        previous.Next = skb;
        next.Prev = skb;
        Count++;
    }
}
