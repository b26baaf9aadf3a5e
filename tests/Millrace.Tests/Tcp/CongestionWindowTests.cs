using Millrace.Sched;
using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

public sealed class CongestionWindowTests
{
    private static CongestionWindow Window(uint cwnd, uint ssthresh) => new() { Cwnd = cwnd, Ssthresh = ssthresh, Clamp = uint.MaxValue };

    /// <summary>RFC 5681 §3.1: in slow start by every packet, up to the threshold; what is left counts for congestion avoidance.</summary>
    [Fact]
    public void Slow_start_ends_at_the_threshold()
    {
        CongestionWindow cc = Window(10, 14);
        Assert.Equal(0u, cc.SlowStart(3));
        Assert.Equal(4u, cc.SlowStart(5));
        Assert.Equal(14u, cc.Cwnd);
        Assert.False(cc.InSlowStart);
    }

    [Fact]
    public void In_congestion_avoidance_it_grows_by_one_packet_a_window()
    {
        CongestionWindow cc = Window(10, 5);
        for (int i = 0; i < 9; i++)
            cc.Additive(10, 1);
        Assert.Equal(10u, cc.Cwnd);
        cc.Additive(10, 1);
        Assert.Equal(11u, cc.Cwnd);
    }

    [Fact]
    public void A_window_is_used_if_it_kept_something_from_being_sent_or_half_of_it_was_out_in_slow_start()
    {
        CongestionWindow cc = Window(10, 100);
        cc.NoteUsage(una: new(1), nxt: new(1000), packetsOut: 5, limited: false);
        Assert.False(cc.IsUsed);
        cc.NoteUsage(una: new(500), nxt: new(2000), packetsOut: 6, limited: false);
        Assert.True(cc.IsUsed);
        // Less, in the same window of usage: the most counts.
        cc.NoteUsage(una: new(600), nxt: new(2000), packetsOut: 1, limited: false);
        Assert.True(cc.IsUsed);
        cc.NoteUsage(una: new(2000), nxt: new(3000), packetsOut: 1, limited: false);
        Assert.False(cc.IsUsed);
        cc.NoteUsage(una: new(2100), nxt: new(3000), packetsOut: 1, limited: true);
        Assert.True(cc.IsUsed);
    }

    [Fact]
    public void What_the_application_did_not_use_is_given_up_by_halves()
    {
        CongestionWindow cc = Window(40, 20);
        cc.Used = 20;
        cc.Decay(initial: 10, cc.CurrentSsthresh(inReduction: false));
        Assert.Equal((30u, 30u, 0u), (cc.Cwnd, cc.Ssthresh, cc.Used));
        cc.Decay(initial: 10, cc.CurrentSsthresh(inReduction: false));
        Assert.Equal(20u, cc.Cwnd);
        cc = Window(8, 20);
        cc.Decay(initial: 10, 20);
        Assert.Equal(8u, cc.Cwnd);
    }

    /// <summary>RFC 5681 §4.1 lets it fall to the restart window at once; here it is halved for each timeout.</summary>
    [Fact]
    public void An_idle_time_halves_the_window_for_each_timeout_down_to_the_initial_one()
    {
        Micros rto = Micros.FromMilliseconds(200);
        CongestionWindow cc = Window(80, 20);
        cc.Restart(rto * 2 + new Micros(1), rto, initial: 10, cc.CurrentSsthresh(inReduction: false));
        Assert.Equal((20u, 60u), (cc.Cwnd, cc.Ssthresh));
        cc = Window(80, 20);
        cc.Restart(rto * 1000, rto, initial: 10, 60);
        Assert.Equal(10u, cc.Cwnd);
        cc = Window(4, 20);
        cc.Restart(rto * 1000, rto, initial: 10, 20);
        Assert.Equal(4u, cc.Cwnd);
    }

    [Fact]
    public void A_reduction_keeps_its_threshold()
    {
        CongestionWindow cc = Window(40, 20);
        Assert.Equal((30u, 20u), (cc.CurrentSsthresh(inReduction: false), cc.CurrentSsthresh(inReduction: true)));
    }
}
