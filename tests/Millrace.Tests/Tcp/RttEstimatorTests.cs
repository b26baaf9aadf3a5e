using CsCheck;
using Millrace.Sched;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class RttEstimatorTests
{
    private static readonly Micros RtoMin = Micros.FromMilliseconds(200);

    private static RttEstimator After(params long[] samplesMs)
    {
        var rtt = new RttEstimator();
        var seq = new SeqNumber(1);
        foreach (long ms in samplesMs)
        {
            rtt.OnSample(Micros.FromMilliseconds(ms), seq + 1, seq + 1000, RtoMin);
            seq += 1000;
        }
        return rtt;
    }

    [Fact]
    public void The_first_sample_is_the_average_and_half_of_it_the_variation()
    {
        RttEstimator rtt = After(1000);
        Assert.Equal(1_000_000, rtt.Srtt.Value);
        // RFC 6298 §2.2: SRTT + 4 × R/2.
        Assert.Equal(Micros.FromSeconds(3), rtt.Rto);
    }

    [Fact]
    public void The_variation_never_falls_below_the_least_timeout()
    {
        var many = new long[200];
        System.Array.Fill(many, 10);
        RttEstimator rtt = After(many);
        Assert.Equal(10_000, rtt.Srtt.Value);
        Assert.Equal(Micros.FromMilliseconds(210), rtt.Rto);
    }

    [Fact]
    public void One_long_sample_raises_the_timeout_at_once()
    {
        RttEstimator rtt = After(10, 10, 10, 2000);
        Assert.True(rtt.Rto > Micros.FromSeconds(2));
    }

    [Fact]
    public void A_sudden_drop_raises_it_by_an_eighth_only()
    {
        RttEstimator calm = After(500, 500, 500, 500), dropped = After(500, 500, 500, 500, 20);
        Assert.True(dropped.Rto <= calm.Rto);
    }

    [Fact]
    public void The_average_stays_within_the_samples() => Gen.Long[1, 5000].Array[1, 60].Sample(samples =>
    {
        RttEstimator rtt = After(samples);
        long low = long.MaxValue, high = 0;
        foreach (long s in samples)
        {
            low = System.Math.Min(low, s * 1000);
            high = System.Math.Max(high, s * 1000);
        }
        return rtt.Srtt.Value >= low - 8 && rtt.Srtt.Value <= high + 8 && rtt.Rto.Value >= rtt.Srtt.Value + RtoMin.Value - 1000;
    });
}
