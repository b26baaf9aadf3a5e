using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

public sealed class ReorderingStateTests
{
    private const uint MinRtt = 40_000, Srtt = 100_000;

    [Fact]
    public void The_distance_is_counted_in_packets_and_never_falls_by_itself()
    {
        var r = new ReorderingState(3);
        r.OnOvertaken(bytes: 2500, mss: 1000, most: 300);
        Assert.Equal((3, 1), (r.Degree, r.Seen));
        r.OnOvertaken(bytes: 7100, mss: 1000, most: 300);
        Assert.Equal((8, 2), (r.Degree, r.Seen));
        r.OnOvertaken(bytes: 4000, mss: 1000, most: 300);
        Assert.Equal(8, r.Degree);
        r.OnOvertaken(bytes: 900_000, mss: 1000, most: 300);
        Assert.Equal(300, r.Degree);
        r.OnTimeout(usual: 3);
        Assert.Equal(3, r.Degree);
    }

    /// <summary>RFC 8985 §6.2 step 4.</summary>
    [Fact]
    public void On_a_path_that_does_not_reorder_the_window_closes_after_three_SACKs()
    {
        var r = new ReorderingState(3);
        Assert.Equal(10_000, r.Window(inRecovery: false, sacked: 2, ignoresDupThresh: false, MinRtt, Srtt));
        Assert.Equal(0, r.Window(inRecovery: false, sacked: 3, ignoresDupThresh: false, MinRtt, Srtt));
        Assert.Equal(10_000, r.Window(inRecovery: false, sacked: 3, ignoresDupThresh: true, MinRtt, Srtt));
        Assert.Equal(0, r.Window(inRecovery: true, sacked: 0, ignoresDupThresh: true, MinRtt, Srtt));
        r.OnOvertaken(1000, 1000, 300);
        Assert.Equal(10_000, r.Window(inRecovery: true, sacked: 9, ignoresDupThresh: false, MinRtt, Srtt));
    }

    [Fact]
    public void Each_round_trip_with_a_DSACK_widens_the_window_by_a_quarter_up_to_the_smoothed_round_trip()
    {
        var r = new ReorderingState(3);
        bool dsack = true;
        r.Adapt(ref dsack, priorDelivered: 10, delivered: 20);
        Assert.False(dsack);
        Assert.Equal(20_000, r.Window(false, 0, false, MinRtt, Srtt));
        // Sent before the last step: the same round trip.
        dsack = true;
        r.Adapt(ref dsack, priorDelivered: 19, delivered: 25);
        Assert.False(dsack);
        Assert.Equal(2, r.Steps);
        for (uint i = 1; i < 20; i++)
        {
            dsack = true;
            r.Adapt(ref dsack, priorDelivered: 20 * i, delivered: 20 * (i + 1));
        }
        Assert.Equal(Srtt, r.Window(false, 0, false, MinRtt, Srtt));
    }

    [Fact]
    public void Sixteen_recoveries_without_a_DSACK_bring_it_back()
    {
        var r = new ReorderingState(3);
        bool dsack = true;
        r.Adapt(ref dsack, 10, 20);
        for (int i = 0; i < 15; i++)
            r.OnRecovered();
        r.OnDsackUndo();
        r.OnRecovered();
        r.Adapt(ref dsack, 30, 40);
        Assert.Equal(2, r.Steps);
        r.OnRecovered();
        r.Adapt(ref dsack, 50, 60);
        Assert.Equal(1, r.Steps);
    }

    [Fact]
    public void Duplicate_ACKs_beyond_the_flight_say_how_far_it_was()
    {
        var r = new ReorderingState(3);
        r.OnRenoOvertaken(packets: 7, most: 300);
        Assert.Equal((7, 1), (r.Degree, r.Seen));
    }
}
