using System.Linq;
using CsCheck;
using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

public sealed class MinFilterTests
{
    private static readonly Gen<(uint Step, uint Value)[]> Samples = Gen.Select(Gen.UInt[0, 20], Gen.UInt[0, 1000]).Array[1, 80];

    [Fact]
    public void The_minimum_is_a_sample_of_the_window_and_no_better_than_the_best() => Samples.Sample(samples => Holds(samples, maximum: false));

    [Fact]
    public void The_maximum_is_a_sample_of_the_window_and_no_better_than_the_best() => Samples.Sample(samples => Holds(samples, maximum: true));

    [Fact]
    public void A_minimum_that_has_left_the_window_is_forgotten()
    {
        var f = new MinFilter();
        f.Reset(0, 5);
        Assert.Equal(5u, f.RunningMin(100, 50, 9));
        Assert.Equal(9u, f.RunningMin(100, 140, 12));
    }

    private static bool Holds((uint Step, uint Value)[] samples, bool maximum)
    {
        const uint window = 100;
        var f = new MinFilter();
        uint time = uint.MaxValue - 300;
        f.Reset(time, samples[0].Value);
        var seen = new System.Collections.Generic.List<(uint Time, uint Value)> { (time, samples[0].Value) };
        foreach ((uint step, uint value) in samples)
        {
            time += step;
            seen.Add((time, value));
            uint result = maximum ? f.RunningMax(window, time, value) : f.RunningMin(window, time, value);
            uint[] inWindow = [.. seen.Where(s => time - s.Time <= window).Select(s => s.Value)];
            bool possible = maximum ? result <= inWindow.Max() && result >= value : result >= inWindow.Min() && result <= value;
            if (!possible || !inWindow.Contains(result))
                return false;
        }
        return true;
    }
}
