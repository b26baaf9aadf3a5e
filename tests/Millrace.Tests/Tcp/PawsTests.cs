using Millrace.Sched;
using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

/// <summary>RFC 7323 §5.</summary>
public sealed class PawsTests
{
    private static readonly Micros Now = Micros.FromSeconds(1000);

    [Theory]
    [InlineData(500, 500, true)]
    [InlineData(500, 501, true)]
    [InlineData(500, 499, false)]
    [InlineData(5, uint.MaxValue - 5, false)] // before the wrap
    [InlineData(uint.MaxValue - 5, 5, true)]
    public void An_older_timestamp_is_refused(uint recent, uint value, bool passes) =>
        Assert.Equal(passes, Paws.Passes(recent, Paws.Stamp(Now), value, Now, window: 0));

    [Fact]
    public void A_tick_may_be_allowed() => Assert.True(Paws.Passes(500, Paws.Stamp(Now), 499, Now, window: 1));

    /// <summary>§5.5: after 24 days the clock may have wrapped.</summary>
    [Fact]
    public void After_24_days_without_a_segment_it_says_nothing()
    {
        Micros later = Now + Micros.FromSeconds(24 * 24 * 3600);
        Assert.True(Paws.Passes(500, Paws.Stamp(Now), 1, later, window: 0));
        Assert.False(Paws.Passes(500, Paws.Stamp(Now), 1, later - Micros.FromSeconds(1), window: 0));
    }

    [Fact]
    public void The_first_second_is_a_time_too() => Assert.Equal(1, Paws.Stamp(Micros.Zero));
}
