using System.Diagnostics;
using Millrace.Wire;

namespace Millrace.Buffers;

/// <summary>
/// Buffers in sequence order: a list to walk, threaded through a treap to search, so that a peer who chooses where holes are cannot
/// make a step cost more than O(log n). The priorities are the buffers' own random numbers, which no peer can guess.
/// </summary>
/// <remarks>
/// Appending at the end and removing from the front, which is all that a loss-free connection does, are O(1).
/// Linux: tcp_rtx_queue, out_of_order_queue. The buffers' <see cref="SkBuffLink.Next"/> and <see cref="SkBuffLink.Prev"/> are null at
/// the ends.
/// </remarks>
internal struct SeqTree
{
    private SkBuff? _root;

    public SkBuff? First { get; private set; }

    public SkBuff? Last { get; private set; }

    public int Count { get; private set; }

    public readonly bool IsEmpty => First is null;

    public static SkBuff? After(SkBuff skb) => (SkBuff?)skb.Next;

    public static SkBuff? Before(SkBuff skb) => (SkBuff?)skb.Prev;

    public void Append(SkBuff skb) => InsertAfter(skb, Last);

    /// <summary>Inserts behind <paramref name="previous"/>; null inserts at the front. The caller keeps the order.</summary>
    public void InsertAfter(SkBuff skb, SkBuff? previous)
    {
        Debug.Assert(skb.Next is null && skb.Prev is null && skb.Parent is null, "a buffer is in one queue at a time");
        SkBuff? next = previous is null ? First : After(previous);
        if (previous is null)
            First = skb;
        else
            (skb.Prev, previous.Next) = (previous, skb);
        if (next is null)
            Last = skb;
        else
            (skb.Next, next.Prev) = (next, skb);
        Count++;

        // In order, the new node is the right child of its predecessor or, if that place is taken, the left child of its successor.
        if (previous is not null && previous.Right is null)
            Attach(skb, previous, right: true);
        else if (next is not null)
            Attach(skb, next, right: false);
        else
            _root = skb;
        while (skb.Parent is { } parent && parent.TreePriority < skb.TreePriority)
            RotateUp(skb, parent);
    }

    public void Remove(SkBuff skb)
    {
        while (skb.Left is not null || skb.Right is not null)
        {
            SkBuff child = skb.Left is null || skb.Right is not null && skb.Right.TreePriority > skb.Left.TreePriority
                ? skb.Right!
                : skb.Left;
            RotateUp(child, skb);
        }
        ReplaceChild(skb.Parent, skb, null);
        skb.Parent = null;

        var previous = Before(skb);
        var next = After(skb);
        if (previous is null)
            First = next;
        else
            previous.Next = next;
        if (next is null)
            Last = previous;
        else
            next.Prev = previous;
        skb.Next = skb.Prev = null;
        Count--;
    }

    /// <summary>The first buffer that ends behind <paramref name="seq"/>: it holds that byte, or is the first one after it.</summary>
    public readonly SkBuff? FirstEndingAfter(SeqNumber seq)
    {
        SkBuff? found = null;
        for (SkBuff? at = _root; at is not null;)
        {
            if (at.Tcp.EndSeq > seq)
            {
                found = at;
                at = at.Left;
            }
            else
            {
                at = at.Right;
            }
        }
        return found;
    }

    /// <summary>The last buffer that starts at or before <paramref name="seq"/>.</summary>
    public readonly SkBuff? LastStartingAtOrBefore(SeqNumber seq)
    {
        SkBuff? found = null;
        for (SkBuff? at = _root; at is not null;)
        {
            if (at.Tcp.Seq <= seq)
            {
                found = at;
                at = at.Right;
            }
            else
            {
                at = at.Left;
            }
        }
        return found;
    }

    private static void Attach(SkBuff skb, SkBuff parent, bool right)
    {
        skb.Parent = parent;
        if (right)
            parent.Right = skb;
        else
            parent.Left = skb;
    }

    private void ReplaceChild(SkBuff? parent, SkBuff child, SkBuff? replacement)
    {
        if (parent is null)
            _root = replacement;
        else if (parent.Left == child)
            parent.Left = replacement;
        else
            parent.Right = replacement;
        if (replacement is not null)
            replacement.Parent = parent;
    }

    private void RotateUp(SkBuff child, SkBuff parent)
    {
        SkBuff? inner;
        ReplaceChild(parent.Parent, parent, child);
        if (parent.Left == child)
        {
            inner = child.Right;
            parent.Left = inner;
            child.Right = parent;
        }
        else
        {
            inner = child.Left;
            parent.Right = inner;
            child.Left = parent;
        }
        parent.Parent = child;
        if (inner is not null)
            inner.Parent = parent;
    }
}
