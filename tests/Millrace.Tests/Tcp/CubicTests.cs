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
}
