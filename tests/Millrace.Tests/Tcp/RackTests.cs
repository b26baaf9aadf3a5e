using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class RackTests
{
    private static SeqNumber Seq(uint n) => new(n);

    [Fact]
    public void The_latest_that_was_sent_counts_not_the_latest_that_was_acknowledged()
    {
        var rack = default(Rack);
        rack.Advance(retransmitted: false, Seq(200), sentTime: 50, now: 150, minRttUs: 100);
        rack.Advance(retransmitted: false, Seq(100), sentTime: 40, now: 160, minRttUs: 100);
        Assert.Equal((50, Seq(200)), (rack.SentTime, rack.EndSeq));
        // The round trip is the latest one all the same.
        Assert.Equal(120u, rack.RttUs);
    }

    [Fact]
    public void Of_packets_sent_in_one_tick_the_higher_is_the_later()
    {
        Assert.True(Rack.SentAfter(10, 10, Seq(2), Seq(1)));
        Assert.False(Rack.SentAfter(10, 10, Seq(1), Seq(2)));
        Assert.True(Rack.SentAfter(11, 10, Seq(1), Seq(2)));
        Assert.True(Rack.SentAfter(10, 10, Seq(5), Seq(uint.MaxValue)));
    }

    /// <summary>RFC 8985 §6.2 step 2: sooner than the least round trip, the ACK is of the original.</summary>
    [Fact]
    public void A_retransmission_that_is_acknowledged_too_soon_says_nothing()
    {
        var rack = default(Rack);
        rack.Advance(retransmitted: true, Seq(100), sentTime: 1000, now: 1099, minRttUs: 100);
        Assert.False(rack.Advanced);
        rack.Advance(retransmitted: true, Seq(100), sentTime: 1000, now: 1100, minRttUs: 100);
        Assert.True(rack.Advanced);
        Assert.Equal(1000, rack.SentTime);
    }

    [Fact]
    public void A_packet_waits_for_a_round_trip_and_the_window_since_its_sending()
    {
        var rack = new Rack { RttUs = 1000 };
        Assert.Equal(250, rack.Remaining(sentTime: 5000, window: 250, now: 6000));
        Assert.Equal(0, rack.Remaining(sentTime: 5000, window: 250, now: 6250));
    }
}
