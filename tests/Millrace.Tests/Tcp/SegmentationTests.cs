using Millrace.Buffers;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class SegmentationTests
{
    private static SkBuff Buffer(TestCpu test, string text, uint seq)
    {
        SkBuff skb = test.Payload(System.Text.Encoding.ASCII.GetBytes(text));
        skb.TrueSize = Segmentation.Overhead + skb.Length;
        skb.Tcp.Seq = new SeqNumber(seq);
        skb.Tcp.EndSeq = new SeqNumber(seq) + skb.Length;
        return skb;
    }

    private static string Text(SkBuff skb)
    {
        byte[] bytes = new byte[skb.Length];
        skb.CopyTo(0, bytes);
        return System.Text.Encoding.ASCII.GetString(bytes);
    }

    [Theory]
    [InlineData(4, 4, 1, 0)]
    [InlineData(5, 4, 2, 4)]
    [InlineData(8, 4, 2, 4)]
    [InlineData(9, 4, 3, 4)]
    public void A_buffer_makes_as_many_segments_as_its_bytes_need(int bytes, int mss, int segments, int size)
    {
        using var test = new TestCpu();
        SkBuff skb = Buffer(test, new string('x', bytes), 1);
        Assert.Equal(segments, Segmentation.SetSegments(skb, mss));
        Assert.Equal(size, skb.Tcp.SegmentSize);
        test.Cpu.FreeSkb(skb);
    }

    [Fact]
    public void The_end_of_a_buffer_goes_with_its_second_half()
    {
        using var test = new TestCpu();
        SkBuff skb = Buffer(test, "abcdefgh", 100);
        skb.Tcp.Flags = TcpFlags.Ack | TcpFlags.Psh | TcpFlags.Fin;
        skb.Tcp.Notes = BufferNotes.EndOfRecord;
        skb.Tcp.Sacked = SackedFlags.Lost;
        skb.SentTime = 77;
        (skb.Stamps, skb.StampKey) = (TransmitStamps.Acked, 107);
        SkBuff rest = Segmentation.Split(test.Cpu, skb, 3);
        Assert.Equal(("abc", "defgh"), (Text(skb), Text(rest)));
        Assert.Equal((new SeqNumber(103), new SeqNumber(103), new SeqNumber(108)), (skb.Tcp.EndSeq, rest.Tcp.Seq, rest.Tcp.EndSeq));
        Assert.Equal((TcpFlags.Ack, TcpFlags.Ack | TcpFlags.Psh | TcpFlags.Fin), (skb.Tcp.Flags, rest.Tcp.Flags));
        Assert.Equal((BufferNotes.None, BufferNotes.EndOfRecord), (skb.Tcp.Notes, rest.Tcp.Notes));
        Assert.Equal((SackedFlags.Lost, 77), (rest.Tcp.Sacked, rest.SentTime));
        Assert.Equal((TransmitStamps.None, TransmitStamps.Acked), (skb.Stamps, rest.Stamps));
        Assert.Equal((Segmentation.Overhead + 3, Segmentation.Overhead + 5), (skb.TrueSize, rest.TrueSize));
        test.Cpu.FreeSkb(skb);
        test.Cpu.FreeSkb(rest);
    }

    [Fact]
    public void Bytes_move_with_what_is_charged_for_them()
    {
        using var test = new TestCpu();
        SkBuff to = Buffer(test, "abc", 1), from = Buffer(test, "defgh", 4);
        Assert.True(Segmentation.TakeFront(test.Cpu, to, from, 2));
        Assert.Equal(("abcde", "fgh"), (Text(to), Text(from)));
        Assert.Equal((Segmentation.Overhead + 5, Segmentation.Overhead + 3), (to.TrueSize, from.TrueSize));
        test.Cpu.FreeSkb(to);
        test.Cpu.FreeSkb(from);
    }

    [Fact]
    public void Nothing_is_merged_behind_the_end_of_a_record_and_its_mark_is_inherited()
    {
        using var test = new TestCpu();
        SkBuff a = Buffer(test, "a", 1), b = Buffer(test, "b", 2), c = Buffer(test, "c", 3);
        b.Tcp.Notes = BufferNotes.EndOfRecord;
        b.Tcp.Flags = TcpFlags.Psh;
        (b.Stamps, b.StampKey) = (TransmitStamps.Acked, 2);
        Assert.True(Segmentation.MayMerge(a, b));
        Segmentation.InheritEnd(a, b);
        Assert.False(Segmentation.MayMerge(a, c));
        Assert.Equal((TcpFlags.Psh, TransmitStamps.Acked, 2u), (a.Tcp.Flags, a.Stamps, a.StampKey));
        foreach (SkBuff skb in new[] { a, b, c })
            test.Cpu.FreeSkb(skb);
    }
}
