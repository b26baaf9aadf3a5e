using Millrace.Buffers;
using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

public sealed class DeliveryRateTests
{
    // Delivers a buffer, and ends the ACK's sample.
    private static RateSample Deliver(SentFlight f, SkBuff skb, long now, uint minRtt = 100, uint lost = 0, bool reneged = false)
    {
        var sample = default(RateSample);
        f.Rate.Count((uint)skb.Tcp.Segments, ecnEcho: false);
        f.Rate.OnDelivered(skb, ref sample);
        f.Rate.Finish(ref sample, (uint)skb.Tcp.Segments, lost, now, minRtt, reneged);
        return sample;
    }

    [Fact]
    public void The_rate_is_what_was_delivered_since_the_packet_left()
    {
        using var f = new SentFlight();
        SkBuff a = f.Send(1000, at: 1000), b = f.Send(1000, at: 1100), c = f.Send(1000, at: 1200);
        Assert.Equal((1, 1000), One(Deliver(f, a, now: 2000)));
        Assert.Equal((2, 1100), One(Deliver(f, b, now: 2100)));
        RateSample last = Deliver(f, c, now: 2200);
        Assert.Equal((3, 1200), One(last));
        Assert.Equal((3u, 1200u), (f.Rate.BestDelivered, f.Rate.BestIntervalUs));

        static (int, long) One(RateSample s) => (s.Delivered, s.IntervalUs);
    }

    [Fact]
    public void ACKs_that_come_in_a_bunch_are_no_faster_than_the_sending_was()
    {
        using var f = new SentFlight();
        SkBuff a = f.Send(1000, at: 1000);
        Deliver(f, a, now: 2000);
        SkBuff b = f.Send(1000, at: 2000);
        SkBuff c = f.Send(1000, at: 5000);
        Deliver(f, b, now: 5100);
        // ACKs of 3200 µs, since what was delivered when it left; but sending of 4000.
        RateSample sample = Deliver(f, c, now: 5200);
        Assert.Equal(4000, sample.IntervalUs);
    }

    [Fact]
    public void A_sample_shorter_than_the_least_round_trip_cannot_be()
    {
        using var f = new SentFlight();
        SkBuff a = f.Send(1000, at: 1000);
        Assert.Equal(-1, Deliver(f, a, now: 1050).IntervalUs);
        Assert.Equal(0u, f.Rate.BestDelivered);
    }

    [Fact]
    public void A_receiver_that_reneges_gives_no_sample()
    {
        using var f = new SentFlight();
        RateSample sample = Deliver(f, f.Send(1000, at: 1000), now: 2000, lost: 3, reneged: true);
        Assert.Equal((-1, -1L, 3), (sample.Delivered, sample.IntervalUs, sample.Losses));
    }

    [Fact]
    public void A_sample_that_the_application_limited_counts_only_if_it_is_better()
    {
        using var f = new SentFlight();
        Deliver(f, f.Send(1000, at: 1000), now: 2000);
        Assert.False(f.Rate.BestAppLimited);
        f.Rate.MarkAppLimited(inFlight: 0);
        RateSample slow = Deliver(f, f.Send(1000, at: 2000), now: 9000);
        Assert.True(slow.IsAppLimited);
        Assert.Equal(1000u, f.Rate.BestIntervalUs);
        // What was out when it was marked is delivered: the mark goes.
        Assert.Equal(0u, f.Rate.AppLimited);
    }

    [Fact]
    public void What_was_SACKed_is_not_sampled_again_when_it_is_acknowledged()
    {
        using var f = new SentFlight();
        SkBuff a = f.Send(1000, at: 1000);
        a.Tcp.Sacked |= SackedFlags.SackedAcked;
        var sample = default(RateSample);
        f.Rate.OnDelivered(a, ref sample);
        Assert.Equal(1000, sample.PriorTime);
        sample = default;
        f.Rate.OnDelivered(a, ref sample);
        Assert.Equal(0, sample.PriorTime);
    }

    [Fact]
    public void Marked_packets_are_counted_apart()
    {
        var rate = default(DeliveryRate);
        rate.Count(3, ecnEcho: false);
        rate.Count(2, ecnEcho: true);
        Assert.Equal((5u, 2u), (rate.Delivered, rate.DeliveredCe));
    }
}
