using System;
using System.Buffers.Binary;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

/// <summary>The examples of RFC 2883.</summary>
public sealed class DsackTests
{
    private static DsackKind KindOf(uint ack, params (uint Start, uint End)[] blocks)
    {
        byte[] bytes = new byte[8 * blocks.Length];
        for (int i = 0; i < blocks.Length; i++)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(8 * i), blocks[i].Start);
            BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(8 * i + 4), blocks[i].End);
        }
        return Dsack.KindOf(new TcpOptions { SackBlocks = bytes }, new SeqNumber(ack));
    }

    [Fact]
    public void A_duplicate_segment_is_reported_below_the_ACK() =>
        Assert.Equal(DsackKind.BelowAck, KindOf(4000, (3000, 3500))); // §4.1.1

    [Fact]
    public void A_duplicate_while_something_is_missing_comes_first() =>
        Assert.Equal(DsackKind.BelowAck, KindOf(4000, (3000, 3500), (4500, 5000))); // §4.1.2

    [Fact]
    public void A_duplicate_of_what_waits_lies_inside_the_second_block() =>
        Assert.Equal(DsackKind.OutOfOrder, KindOf(4000, (5000, 5500), (4500, 6000))); // §4.2.1

    [Fact]
    public void Blocks_apart_report_no_duplicate()
    {
        Assert.Equal(DsackKind.None, KindOf(4000, (5000, 5500), (6000, 6500)));
        Assert.Equal(DsackKind.None, KindOf(4000, (5000, 5500), (5100, 6500)));
        Assert.Equal(DsackKind.None, KindOf(4000, (5000, 5500)));
    }

    [Theory]
    [InlineData(3000, 3500, 1)]
    [InlineData(3000, 4000, 1)]
    [InlineData(3000, 4001, 2)]
    [InlineData(3000, 6500, 4)]
    [InlineData(3000, 3000, 0)]
    [InlineData(3500, 3000, 0)]
    [InlineData(3000, 63_001, 0)] // more than ever was in a window
    public void It_counts_segments(uint start, uint end, uint segments) =>
        Assert.Equal(segments, Dsack.Segments(SentFlight.Range(start, end), mss: 1000, maxWnd: 60_000));
}
