using Millrace.Sched;
using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

public sealed class RetryLimitTests
{
    private static readonly Micros First = Micros.FromMilliseconds(200), Most = Micros.FromSeconds(120);

    /// <summary>tcp_retries1 = 3 and tcp_retries2 = 15, as ip-sysctl says: "924.6 seconds".</summary>
    [Theory]
    [InlineData(0, 200)]
    [InlineData(1, 600)]
    [InlineData(3, 3000)]
    [InlineData(9, 204_600)]
    [InlineData(15, 924_600)]
    public void Retries_are_a_time_of_doubled_timeouts(int retries, int milliseconds) =>
        Assert.Equal(Micros.FromMilliseconds(milliseconds), RetryLimit.Timeout(retries, First, Most));

    [Fact]
    public void Probes_go_twice_as_far_apart_up_to_the_bound()
    {
        Assert.Equal(Micros.FromMilliseconds(1600), RetryLimit.ProbeDelay(First, backoff: 3, Most));
        Assert.Equal(Most, RetryLimit.ProbeDelay(First, backoff: 10, Most));
        Assert.Equal(Most, RetryLimit.ProbeDelay(First, backoff: 255, Most));
    }

    [Fact]
    public void The_users_timeout_ends_a_delay()
    {
        Micros delay = Micros.FromSeconds(10), least = Micros.FromMilliseconds(2);
        Assert.Equal(delay, RetryLimit.ClampToUserTimeout(delay, 0, Micros.FromSeconds(99), least));
        Assert.Equal(Micros.FromSeconds(2), RetryLimit.ClampToUserTimeout(delay, 5000, Micros.FromSeconds(3), least));
        Assert.Equal(delay, RetryLimit.ClampToUserTimeout(delay, 50_000, Micros.FromSeconds(3), least));
        Assert.Equal(least, RetryLimit.ClampToUserTimeout(delay, 5000, Micros.FromSeconds(6), least));
    }
}
