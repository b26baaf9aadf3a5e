using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

public sealed class BufferScaleTests
{
    private const int Most = 6_291_456, AdvMss = 1460, RcvMss = 1460;

    private static BufferScale Half => new(BufferScale.Default);

    [Fact]
    public void Half_of_a_buffer_is_payload_until_segments_show_otherwise()
    {
        BufferScale scale = Half;
        Assert.Equal((65_536, 131_072), (scale.Window(131_072), scale.Space(65_536)));
        Assert.True(scale.Adapt(payload: 1448, trueSize: 2304));
        Assert.Equal(160, scale.Ratio);
        Assert.Equal(81_920, scale.Window(131_072));
        Assert.False(scale.Adapt(payload: 1448, trueSize: 2304));
    }

    [Fact]
    public void The_ratio_is_never_none_nor_all()
    {
        BufferScale scale = Half;
        scale.Adapt(1, 100_000);
        Assert.Equal(1, scale.Ratio);
        scale.Adapt(5000, 100);
        Assert.Equal(255, scale.Ratio);
    }

    [Fact]
    public void The_window_grows_by_two_segments_for_one_whose_memory_is_worth_its_payload()
    {
        Assert.Equal(2920, Half.Growth(payload: 1460, trueSize: 2304, room: 100_000, ssthresh: 30_000, AdvMss, RcvMss, Most));
        Assert.Equal(100, Half.Growth(payload: 1460, trueSize: 2304, room: 100, ssthresh: 30_000, AdvMss, RcvMss, Most));
    }

    [Fact]
    public void A_wasteful_segment_makes_it_grow_only_while_it_is_small_against_the_largest_buffer()
    {
        Assert.Equal(2920, Half.Growth(payload: 200, trueSize: 2304, room: 100_000, ssthresh: 30_000, AdvMss, RcvMss, Most));
        Assert.Equal(0, Half.Growth(payload: 200, trueSize: 2304, room: 100_000, ssthresh: 1_000_000, AdvMss, RcvMss, Most));
        Assert.Equal(0, Half.Growth(payload: 1, trueSize: 2304, room: 100_000, ssthresh: 30_000, AdvMss, RcvMss, Most));
    }

    [Fact]
    public void The_buffer_holds_twice_what_was_read_and_more_while_it_grows()
    {
        // Steady: 2 × 50,000 of payload, in twice the memory.
        Assert.Equal(200_000, Half.BufferFor(copied: 50_000, before: 50_000, beyondHole: 0, Most));
        // Doubled within a round trip: 2 × 100,000, and twice that again for the growth.
        Assert.Equal(1_200_000, Half.BufferFor(copied: 100_000, before: 50_000, beyondHole: 0, Most));
        Assert.Equal(220_000, Half.BufferFor(copied: 50_000, before: 50_000, beyondHole: 10_000, Most));
        Assert.Equal(Most, Half.BufferFor(copied: 100_000_000, before: 50_000_000, beyondHole: 0, Most));
    }
}
