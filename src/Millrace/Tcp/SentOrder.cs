using Millrace.Buffers;

namespace Millrace.Tcp;

/// <summary>Sent buffers in order of their last transmission, linked by their own time links. Linux: tcp_tsorted_anchor.</summary>
internal struct SentOrder
{
    public SkBuff? First { get; private set; }

    public SkBuff? Last { get; private set; }

    public void Append(SkBuff skb)
    {
        if (Last is { } last)
        {
            last.TimeNext = skb;
            skb.TimePrev = last;
        }
        else
        {
            First = skb;
        }
        Last = skb;
    }

    public void AppendIfAbsent(SkBuff skb)
    {
        if (!Contains(skb))
            Append(skb);
    }

    /// <summary>Nothing if the buffer is not in the list.</summary>
    public void Remove(SkBuff skb)
    {
        if (skb.TimePrev is null && skb.TimeNext is null && First != skb)
            return;
        if (skb.TimePrev is null)
            First = skb.TimeNext;
        else
            skb.TimePrev.TimeNext = skb.TimeNext;
        if (skb.TimeNext is null)
            Last = skb.TimePrev;
        else
            skb.TimeNext.TimePrev = skb.TimePrev;
        skb.TimeNext = skb.TimePrev = null;
    }

    public void InsertAfter(SkBuff skb, SkBuff previous)
    {
        skb.TimePrev = previous;
        skb.TimeNext = previous.TimeNext;
        if (previous.TimeNext is null)
            Last = skb;
        else
            previous.TimeNext.TimePrev = skb;
        previous.TimeNext = skb;
    }

    public readonly bool Contains(SkBuff skb) => skb.TimePrev is not null || skb.TimeNext is not null || First == skb;
}
