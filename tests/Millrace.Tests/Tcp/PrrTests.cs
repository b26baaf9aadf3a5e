using System.Collections.Generic;
using System.Linq;
using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

public sealed class PrrTests
{
    // ACKs that deliver one packet each; what the window lets out is sent. Returns how many at each ACK.
    private static List<int> Run(int acks, uint inFlight, uint ssthresh, uint prior, bool losses = false)
    {
        var prr = default(Prr);
        prr.Start();
        var sent = new List<int>();
        for (int i = 0; i < acks; i++)
        {
            inFlight--;
            uint window = prr.Window(1, inFlight, ssthresh, prior, lossesFound: losses, unaAdvanced: true);
            uint now = window > inFlight ? window - inFlight : 0;
            prr.Out += now;
            inFlight += now;
            sent.Add((int)now);
        }
        return sent;
    }

    /// <summary>RFC 6937 §4, the first example: FlightSize 20, one loss, half the window. One packet for every two delivered.</summary>
    [Fact]
    public void The_window_shrinks_in_proportion_to_what_is_delivered()
    {
        List<int> sent = Run(acks: 16, inFlight: 19, ssthresh: 10, prior: 20);
        Assert.Equal(Enumerable.Range(0, 16).Select(i => i % 2 == 0 ? 1 : 0), sent);
    }

    /// <summary>CUBIC's reduction to 0.7: seven packets for ten.</summary>
    [Fact]
    public void Any_factor_is_met_exactly() => Assert.Equal(7, Run(acks: 10, inFlight: 100, ssthresh: 70, prior: 100).Sum());

    /// <summary>RFC 6937 §4, the second example: most of the flight is lost. Two for each delivered, as in slow start, up to the target.</summary>
    [Fact]
    public void After_many_losses_it_grows_as_in_slow_start()
    {
        List<int> sent = Run(acks: 8, inFlight: 5, ssthresh: 10, prior: 20);
        Assert.Equal([2, 2, 2, 2, 2, 1, 1, 1], sent);
    }

    /// <summary>While more losses show: packet conservation, one for one.</summary>
    [Fact]
    public void While_losses_are_found_nothing_more_is_sent_than_was_delivered() =>
        Assert.All(Run(acks: 8, inFlight: 5, ssthresh: 10, prior: 20, losses: true), n => Assert.Equal(1, n));

    [Fact]
    public void The_first_ACK_lets_the_retransmission_out()
    {
        var prr = default(Prr);
        prr.Start();
        // 1 × 1 / 100, rounded up, would do; with the target at zero nothing would.
        Assert.Equal(51u, prr.Window(1, 50, ssthresh: 0, priorCwnd: 100, lossesFound: true, unaAdvanced: false));
        prr.Out++;
        Assert.Equal(50u, prr.Window(1, 50, ssthresh: 0, priorCwnd: 100, lossesFound: true, unaAdvanced: false));
    }
}
