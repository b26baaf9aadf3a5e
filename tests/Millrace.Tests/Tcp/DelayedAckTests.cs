using Millrace.Sched;
using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

public sealed class DelayedAckTests
{
    private static readonly Micros NoBound = Micros.FromSeconds(9);

    private static Micros Ms(int ms) => Micros.FromMilliseconds(ms);

    [Theory]
    [InlineData(30, false, null, 30)]
    [InlineData(300, false, null, 300)]
    [InlineData(900, false, null, 500)] // RFC 1122 §4.2.3.2: less than half a second
    [InlineData(900, true, null, 200)]
    [InlineData(300, false, 100, 100)] // no longer than a round trip
    [InlineData(300, false, 5, 40)]
    [InlineData(300, false, 0, 40)] // shorter than can be measured
    public void It_waits_for_the_delay_in_use_within_bounds(int atoMs, bool interactive, int? srttMs, int delayMs)
    {
        var ack = new DelayedAck { Ato = atoMs * 1000 };
        if (interactive)
            ack.EnterPingPong(1);
        Micros srtt = srttMs is { } ms ? Ms(ms) : Micros.Never;
        Assert.Equal(Ms(delayMs), ack.Delay(srtt, NoBound, 1));
        Assert.Equal(Ms(10), ack.Delay(srtt, Ms(10), 1));
    }

    [Fact]
    public void A_delay_that_was_in_vain_ends_the_interactive_exchange_and_then_doubles()
    {
        var ack = new DelayedAck { Ato = 40_000 };
        ack.EnterPingPong(1);
        ack.OnTimeout(Ms(300), 1);
        Assert.Equal((false, 40_000), (ack.InPingPong(1), ack.Ato));
        ack.OnTimeout(Ms(300), 1);
        Assert.Equal(80_000, ack.Ato);
        ack.Ato = 200_000;
        ack.OnTimeout(Ms(300), 1);
        Assert.Equal(300_000, ack.Ato);
    }

    private static bool Segment(ref DelayedAck ack, int length, bool pushed = false) =>
        ack.OnSegment(length, advMss: 1460, headerLength: 20, plain: true, pushed);

    [Fact]
    public void The_senders_MSS_is_its_largest_segment_but_not_larger_than_asked_for()
    {
        var ack = new DelayedAck { RcvMss = 536 };
        Assert.True(Segment(ref ack, 1000));
        Assert.Equal(1000, ack.RcvMss);
        Assert.False(Segment(ref ack, 1000));
        Assert.True(Segment(ref ack, 9000));
        Assert.Equal(1460, ack.RcvMss);
    }

    [Fact]
    public void It_falls_when_two_smaller_segments_alike_come_in_a_row()
    {
        var ack = new DelayedAck { RcvMss = 1460 };
        Segment(ref ack, 1000);
        Segment(ref ack, 900);
        Assert.Equal(1460, ack.RcvMss);
        Segment(ref ack, 900);
        Assert.Equal(900, ack.RcvMss);
    }

    [Fact]
    public void A_small_segment_is_a_push_and_two_are_more()
    {
        var ack = new DelayedAck { RcvMss = 1460 };
        Segment(ref ack, 10, pushed: true);
        Assert.Equal(AckPending.Pushed, ack.Pending);
        Segment(ref ack, 10, pushed: true);
        Assert.Equal(AckPending.Pushed | AckPending.Pushed2, ack.Pending);
    }

    [Fact]
    public void A_burst_out_of_order_is_answered_three_times_and_then_in_one()
    {
        var sack = new SackState();
        for (int i = 0; i < 3; i++)
            Assert.False(sack.TryCompress(new(100), most: 44));
        Assert.True(sack.TryCompress(new(100), most: 44));
        Assert.Equal(1, sack.CompressedAcks);
        // Another hole: its first duplicates count again.
        Assert.False(sack.TryCompress(new(200), most: 44));
        Assert.False(new SackState().TryCompress(new(100), most: 0));
    }

    [Fact]
    public void The_compressed_one_waits_for_a_third_of_the_smaller_round_trip_and_a_millisecond_at_most()
    {
        Assert.Equal(330, SackState.CompressionDelay(receiverRtt8: 8 * 1000, srtt8: 0, boundUs: 1000, percent: 33));
        Assert.Equal(165, SackState.CompressionDelay(8 * 1000, 8 * 500, 1000, 33));
        Assert.Equal(1000, SackState.CompressionDelay(8 * 90_000, 8 * 90_000, 1000, 33));
        Assert.Equal(1, SackState.CompressionDelay(0, 0, 1000, 33));
    }
}
