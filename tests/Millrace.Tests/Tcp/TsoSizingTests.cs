using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

public sealed class TsoSizingTests
{
    private const int Mss = 1000;

    [Fact]
    public void A_super_packet_holds_a_millisecond_of_the_rate()
    {
        // 20 ms away: nothing more.
        Assert.Equal(20u, TsoSizing.Segments(20_480_000, 20_000, rttLog: 9, Mss, least: 2, mostSegments: 65_535));
        Assert.Equal(2u, TsoSizing.Segments(1000, 20_000, rttLog: 9, Mss, least: 2, mostSegments: 65_535));
    }

    [Fact]
    public void Nearby_it_is_larger_by_halves_for_each_512_microseconds()
    {
        Assert.Equal((uint)(TsoSizing.MaxBytes / Mss), TsoSizing.Segments(0, 100, rttLog: 9, Mss, least: 2, mostSegments: 65_535));
        Assert.Equal((uint)(TsoSizing.MaxBytes / 2 / Mss), TsoSizing.Segments(0, 600, rttLog: 9, Mss, least: 2, mostSegments: 65_535));
        Assert.Equal((uint)(TsoSizing.MaxBytes / 4 / Mss), TsoSizing.Segments(0, 1100, rttLog: 9, Mss, least: 2, mostSegments: 65_535));
    }

    [Fact]
    public void The_goal_is_whole_segments_and_changes_only_if_it_must()
    {
        ushort segments = 0;
        Assert.Equal(7000, TsoSizing.Goal(ref segments, Mss, most: 7900, mostSegments: 65_535));
        Assert.Equal(7, segments);
        Assert.Equal(7 * 1001, TsoSizing.Goal(ref segments, 1001, most: 7900, mostSegments: 65_535));
        Assert.Equal(5000, TsoSizing.Goal(ref segments, Mss, most: 5500, mostSegments: 65_535));
        Assert.Equal(Mss, TsoSizing.Goal(ref segments, Mss, most: 10, mostSegments: 65_535));
    }

    [Fact]
    public void What_may_not_be_cut_later_is_one_segment()
    {
        ushort segments = 0;
        Assert.Equal(Mss, TsoSizing.Goal(ref segments, Mss, most: 7900, mostSegments: 1));
        Assert.Equal(1u, TsoSizing.Segments(20_480_000, 20_000, rttLog: 9, Mss, least: 2, mostSegments: 1));
    }

    [Theory]
    [InlineData(9500, 20_000, 5, false, 5000)] // as many segments as may go
    [InlineData(9500, 20_000, 50, true, 9500)] // all of it, if its last small segment may go
    [InlineData(9500, 4300, 50, true, 4300)]
    public void A_buffer_is_cut_at_the_segments_and_at_the_window(int length, long window, uint most, bool isLast, int split) =>
        Assert.Equal(split, TsoSizing.SplitPoint(length, window, Mss, most, isLast, holdsPartial: false));

    [Fact]
    public void A_small_segment_that_Nagle_holds_is_not_taken_along() =>
        Assert.Equal(9000, TsoSizing.SplitPoint(9500, 20_000, Mss, 50, isLast: true, holdsPartial: true));

    [Fact]
    public void A_third_of_the_window_is_worth_sending()
    {
        Assert.False(TsoSizing.IsEnough(9_999, 50_000, isLast: true, window: 30_000, divisor: 3, Mss, maxSegments: 40));
        Assert.True(TsoSizing.IsEnough(10_000, 50_000, isLast: true, window: 30_000, divisor: 3, Mss, maxSegments: 40));
        Assert.False(TsoSizing.IsEnough(3000, 50_000, isLast: true, window: 30_000, divisor: 0, Mss, maxSegments: 40));
        Assert.True(TsoSizing.IsEnough(3001, 50_000, isLast: true, window: 30_000, divisor: 0, Mss, maxSegments: 40));
    }

    [Fact]
    public void A_full_super_packet_and_a_buffer_that_others_follow_go()
    {
        Assert.True(TsoSizing.IsEnough(5000, 50_000, isLast: true, window: 90_000, divisor: 3, Mss, maxSegments: 5));
        Assert.True(TsoSizing.IsEnough(5000, 5000, isLast: false, window: 90_000, divisor: 3, Mss, maxSegments: 40));
        Assert.False(TsoSizing.IsEnough(5000, 5000, isLast: true, window: 90_000, divisor: 3, Mss, maxSegments: 40));
    }

    [Fact]
    public void An_ACK_is_waited_for_half_a_round_trip_and_a_millisecond_at_most()
    {
        Assert.True(TsoSizing.IsAckNear(headSentTime: 0, srttUs: 1000, now: 500));
        Assert.False(TsoSizing.IsAckNear(headSentTime: 0, srttUs: 1000, now: 499));
        Assert.False(TsoSizing.IsAckNear(headSentTime: 0, srttUs: 100_000, now: 98_999));
        Assert.True(TsoSizing.IsAckNear(headSentTime: 0, srttUs: 100_000, now: 99_000));
    }
}
