using System;
using System.Collections.Generic;
using System.Linq;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

/// <summary>A flight of sent buffers with its scoreboard, and no connection around it. The first byte is number 1.</summary>
internal sealed class SentFlight : IDisposable
{
    private readonly TestCpu _test = new();

    public SentFlight()
    {
        Snd.Una = Snd.Nxt = new SeqNumber(1);
        Snd.MaxWnd = 100_000;
    }

    public Cpu Cpu => _test.Cpu;

    public LossRecovery Recovery { get; } = new();

    public const int Mss = 1000;

    public SendSpace Snd;
    public PacketCounts Packets;
    public DeliveryRate Rate;
    public AckContext Ack;

    public int Charged { get; private set; }

    /// <summary>A buffer of whole segments and perhaps a part, sent at a time in microseconds.</summary>
    public SkBuff Send(int bytes, long at = 1)
    {
        SkBuff skb = _test.Payload(new byte[bytes]);
        skb.TrueSize = Segmentation.Overhead + bytes;
        skb.Tcp.Seq = Snd.Nxt;
        skb.Tcp.EndSeq = Snd.Nxt += bytes;
        skb.SentTime = at;
        Segmentation.SetSegments(skb, Mss);
        Rate.OnSent(skb, Packets.Out == 0);
        Recovery.Queue.Append(skb);
        Recovery.Sent.Append(skb);
        Packets.Out += (uint)skb.Tcp.Segments;
        return skb;
    }

    public void Retransmit(SkBuff skb, long at)
    {
        skb.SentTime = at;
        skb.Tcp.Sacked |= SackedFlags.Retrans;
        Packets.Retrans += (uint)skb.Tcp.Segments;
        Recovery.Sent.Remove(skb);
        Recovery.Sent.Append(skb);
        Recovery.Undo.OnRetransmit(skb.Tcp.Segments, at);
    }

    public void Lose(SkBuff skb) => Recovery.MarkLost(Cpu, skb, ref Packets);

    /// <summary>An ACK with these blocks comes.</summary>
    public void Sack(long now, params (uint Start, uint End)[] blocks) => Sack(now, duplicate: false, blocks);

    /// <param name="duplicate">The first block is a DSACK.</param>
    public void Sack(long now, bool duplicate, params (uint Start, uint End)[] blocks)
    {
        if (Packets.Sacked == 0)
            Recovery.StartSacking();
        Ack = new AckContext { Reordered = Snd.Nxt };
        var sack = default(ReceivedSack);
        for (int i = 0; i < blocks.Length; i++)
            sack.Add(Range(blocks[i].Start, blocks[i].End), duplicate && i == 0);
        var tagger = new SackTagger(Cpu, Recovery, ref Packets, ref Rate, ref Ack, Snd, new Micros(now), minRttUs: 0);
        tagger.Walk(sack);
        Charged += tagger.Charged;
    }

    public static SeqRange Range(uint start, uint end) => new(new SeqNumber(start), new SeqNumber(end));

    /// <summary>The retransmit queue: the first byte of each buffer with its marks, S, R and L; capitals that stand for nothing are left out.</summary>
    public string Board => string.Join(' ', Walk().Select(s => $"{s.Tcp.Seq}:{s.Tcp.EndSeq}{Marks(s.Tcp.Sacked)}"));

    private IEnumerable<SkBuff> Walk()
    {
        for (SkBuff? skb = Recovery.Queue.First; skb is not null; skb = SeqTree.After(skb))
            yield return skb;
    }

    private static string Marks(SackedFlags f) => (f.HasFlag(SackedFlags.SackedAcked) ? "S" : "") + (f.HasFlag(SackedFlags.Lost) ? "L" : "")
        + (f.HasFlag(SackedFlags.SackedRetrans) ? "R" : "");

    public void Dispose() => _test.Dispose();
}
