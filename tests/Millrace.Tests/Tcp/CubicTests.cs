using Millrace.Sched;
using Millrace.Tcp.Congestion;

namespace Millrace.Tests.Tcp;

/// <summary>How fast CUBIC's window grows, from one loss to the next.</summary>
public sealed class CubicTests
{
    [Fact]
    public void A_window_after_a_loss_grows_from_what_is_acknowledged_after_it()
    {
        var cubic = new Cubic();
        Assert.Equal(7u, cubic.Reduce(10));
        // One packet fewer than makes Reno grow.
        for (int i = 1; i < 13; i++)
            cubic.Update(Micros.FromMilliseconds(50 * i), 7, 1);
        Assert.Equal(4u, cubic.Reduce(7));
        cubic.Update(Micros.FromMilliseconds(700), 4, 1);

        // At the window of the loss the cubic is flat; Reno, which began at 4, has to be counted up to 6.
        for (int i = 1; i < 18; i++)
            Assert.Equal(500u, cubic.Update(Micros.FromMilliseconds(700 + 50 * i), 5, 1));
        Assert.Equal(5u, cubic.Update(Micros.FromMilliseconds(1600), 5, 1));
    }

    // W_max = 100, the window 70: K = cbrt(30 / 0.4) = 4.217 s.
    [Theory]
    [InlineData(0, 70, 70)] // 29.99 below the plateau, cut to 29: one more than the window, 70 / 1
    [InlineData(1000, 70, 4)] // 100 − 0.4 · 3.217³ = 86.7, which is 87: 70 / 17
    [InlineData(2000, 86, 8)] // 100 − 0.4 · 2.217³ = 95.6, which is 96: 86 / 10
    [InlineData(4217, 96, 24)] // at K the plateau of 100: 96 / 4
    [InlineData(4217, 100, 10_000)]
    [InlineData(6217, 100, 33)] // 100 + 0.4 · 2³ = 103.2: 100 / 3
    [InlineData(9217, 100, 2)] // 100 + 0.4 · 5³ = 150: no faster than one for two
    public void The_window_follows_the_cubic(int milliseconds, uint window, uint packets)
    {
        var cubic = new Cubic();
        Assert.Equal(70u, cubic.Reduce(100));
        Micros start = Micros.FromSeconds(100);
        uint count = cubic.Update(start, 70, 1);
        if (milliseconds > 0)
            count = cubic.Update(start + Micros.FromMilliseconds(milliseconds), window, 1);
        Assert.Equal(packets, count);
    }

    // A second loss at 80, before the window was back at 100: the plateau is 80 · 0.85 = 68, and K = cbrt((68 − 56) / 0.4) = 3.107 s.
    [Fact]
    public void A_loss_before_the_last_plateau_lowers_the_next_below_it()
    {
        var cubic = new Cubic();
        cubic.Reduce(100);
        Assert.Equal(56u, cubic.Reduce(80));
        Micros start = Micros.FromSeconds(100);
        cubic.Update(start, 56, 1);
        Assert.Equal(4u, cubic.Update(start + Micros.FromMilliseconds(3107), 56, 1));
        Assert.Equal(6800u, cubic.Update(start + Micros.FromMilliseconds(3207), 68, 1));
    }

    [Fact]
    public void A_loss_above_it_does_not()
    {
        var cubic = new Cubic();
        cubic.Reduce(80);
        Assert.Equal(70u, cubic.Reduce(100));
        Micros start = Micros.FromSeconds(100);
        cubic.Update(start, 70, 1);
        Assert.Equal(24u, cubic.Update(start + Micros.FromMilliseconds(4217), 96, 1));
    }

    [Fact]
    public void Before_the_first_loss_it_grows_by_a_twentieth() => Assert.Equal(20u, new Cubic().Update(Micros.FromSeconds(1), 50, 1));

    [Fact]
    public void The_threshold_is_never_below_two() => Assert.Equal(2u, new Cubic().Reduce(2));

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 1)]
    [InlineData(26, 2)]
    [InlineData(27, 3)]
    [InlineData(1_000_000_000_000, 10_000)]
    public void The_cube_root_is_that_of_integers(ulong cube, uint root) => Assert.Equal(root, Cubic.CubicRoot(cube));
}
