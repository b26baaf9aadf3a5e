using System.Text;
using Millrace.Buffers;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class CompactionTests
{
    private static SkBuff Segment(TestCpu test, string text, uint seq, int trueSize)
    {
        SkBuff skb = test.Payload(Encoding.ASCII.GetBytes(text));
        skb.TrueSize = trueSize;
        skb.Tcp.Seq = new(seq);
        skb.Tcp.EndSeq = new SeqNumber(seq) + skb.Length;
        return skb;
    }

    private static string Text(SkBuff skb)
    {
        byte[] bytes = new byte[skb.Length];
        skb.CopyTo(0, bytes);
        return Encoding.ASCII.GetString(bytes);
    }

    [Fact]
    public void The_memory_around_few_bytes_is_given_up()
    {
        using var test = new TestCpu();
        SkBuff skb = Segment(test, "abc", 1, trueSize: 4096);
        Assert.Equal(4096 - SkBuff.OverheadTrueSize - 3, Compaction.Compact(test.Cpu, skb));
        Assert.Equal(SkBuff.OverheadTrueSize + 3, skb.TrueSize);
        Assert.Equal("abc", Text(skb));
        Assert.Equal(0, Compaction.Compact(test.Cpu, skb));
        test.Cpu.FreeSkb(skb);
    }

    [Fact]
    public void A_FIN_stays_as_it_came()
    {
        using var test = new TestCpu();
        SkBuff skb = Segment(test, "abc", 1, trueSize: 4096);
        skb.Tcp.Flags = TcpFlags.Fin;
        Assert.Equal(0, Compaction.Compact(test.Cpu, skb));
        test.Cpu.FreeSkb(skb);
    }

    [Fact]
    public void Neighbours_are_merged_if_there_is_no_hole_and_it_pays()
    {
        using var test = new TestCpu();
        SkBuff a = Segment(test, "abcdef", 1, 1000), b = Segment(test, "ghi", 7, 1000), hole = Segment(test, "x", 11, 1000);
        Assert.True(Compaction.ShouldMerge(a, b));
        Assert.False(Compaction.ShouldMerge(b, hole));
        b.TrueSize = 4;
        Assert.False(Compaction.ShouldMerge(a, b));
        b.TrueSize = 1000;
        b.Tcp.Flags = TcpFlags.Fin;
        Assert.False(Compaction.ShouldMerge(a, b));
        foreach (SkBuff skb in new[] { a, b, hole })
            test.Cpu.FreeSkb(skb);
    }

    [Fact]
    public void Merging_keeps_every_byte_and_frees_the_overhead()
    {
        using var test = new TestCpu();
        SkBuff a = Segment(test, "abcdef", 1, 1000), b = Segment(test, "ghi", 7, 800);
        b.Tcp.Flags = TcpFlags.Psh;
        Assert.Equal(797, Compaction.Merge(test.Cpu, a, b));
        Assert.Equal(("abcdefghi", 1003), (Text(a), a.TrueSize));
        Assert.Equal((new SeqNumber(10), TcpFlags.Psh), (a.Tcp.EndSeq, a.Tcp.Flags));
        test.Cpu.FreeSkb(a);
    }
}
