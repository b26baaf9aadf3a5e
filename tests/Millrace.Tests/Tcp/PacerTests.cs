using Millrace.Sched;
using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

public sealed class PacerTests
{
    private static Micros Send(ref Pacer pacer, long now, int bytes, ulong rate)
    {
        pacer.OnSent(bytes, rate, pacer.Advance(new(now)));
        return pacer.Next;
    }

    [Fact]
    public void The_rate_is_the_window_over_the_round_trip() =>
        // Ten packets of 1000 bytes in 10 ms, twice that while the window doubles.
        Assert.Equal(2_000_000ul, Pacer.Rate(mss: 1000, packets: 10, srtt8: 8 * 10_000, percent: 200));

    [Fact]
    public void The_next_segment_waits_for_as_long_as_this_one_takes()
    {
        // One megabyte a second: a microsecond a byte.
        var pacer = new Pacer { Next = new(1000) };
        Assert.Equal(2500, Send(ref pacer, now: 1000, bytes: 1500, rate: 1_000_000).Value);
        // It was sent before its time by a timer that came early: the clock goes on from where it stood.
        Assert.Equal(4000, Send(ref pacer, now: 2400, bytes: 1500, rate: 1_000_000).Value);
    }

    [Fact]
    public void Half_of_a_pause_may_be_made_up_for()
    {
        var pacer = new Pacer { Next = new(1000) };
        Assert.Equal(1000 + 100 + 1400, Send(ref pacer, now: 1100, bytes: 1500, rate: 1_000_000).Value);
        var idle = new Pacer { Next = new(1000) };
        Assert.Equal(50_000 + 750, Send(ref idle, now: 50_000, bytes: 1500, rate: 1_000_000).Value);
    }

    [Fact]
    public void Fractions_of_a_microsecond_are_not_lost()
    {
        var pacer = new Pacer { Next = new(1000) };
        for (int i = 0; i < 30; i++)
            Send(ref pacer, pacer.Next.Value, bytes: 1, rate: 3_000_000);
        Assert.InRange(pacer.Next.Value, 1009, 1010);
    }
}
