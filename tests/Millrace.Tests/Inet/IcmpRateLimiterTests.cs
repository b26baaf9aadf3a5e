using Millrace.Icmp;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tests.Inet;

public sealed class IcmpRateLimiterTests
{
    private readonly ExternalClockHost _clock = new();
    private readonly Sysctls _sysctls = new();

    private int Allowed(IcmpRateLimiter limiter, int attempts, System.Func<int, IpAddr> to)
    {
        int allowed = 0;
        for (int i = 0; i < attempts; i++)
            allowed += limiter.Allows(to(i)) ? 1 : 0;
        return allowed;
    }

    [Fact]
    public void An_address_gets_a_burst_and_then_one_each_interval()
    {
        var limiter = new IcmpRateLimiter(_sysctls, _clock);
        IpAddr to = IpAddr.From(System.Net.IPAddress.Parse("10.0.0.9"));
        Assert.Equal(6, Allowed(limiter, 20, _ => to));
        _clock.AdvanceTo(Micros.FromMilliseconds(_sysctls.IcmpRateLimit));
        Assert.Equal(1, Allowed(limiter, 20, _ => to));
    }

    [Fact]
    public void All_addresses_together_are_limited()
    {
        var limiter = new IcmpRateLimiter(_sysctls, _clock);
        int allowed = Allowed(limiter, 100_000, i => IpAddr.From(new System.Net.IPAddress([10, (byte)(i >> 16), (byte)(i >> 8), (byte)i])));
        Assert.InRange(allowed, 1, _sysctls.IcmpMsgsBurst);
    }
}
