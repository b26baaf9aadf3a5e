using Millrace.Sched;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class TailLossProbeTests
{
    private static readonly Micros RtoMin = Micros.FromMilliseconds(200), Second = Micros.FromSeconds(1);

    private static Micros Timeout(int srttMs, uint packets, Micros rto) =>
        TailLossProbe.Timeout((uint)(srttMs * 1000) << 3, packets, RtoMin, rto);

    /// <summary>RFC 8985 §7.2: 2·SRTT, and a delayed ACK's time if one packet is out.</summary>
    [Fact]
    public void The_probe_goes_after_two_round_trips()
    {
        Assert.Equal(Micros.FromMilliseconds(102), Timeout(50, packets: 5, Second));
        Assert.Equal(Micros.FromMilliseconds(300), Timeout(50, packets: 1, Second));
        Assert.Equal(Second, TailLossProbe.Timeout(0, 5, RtoMin, Micros.FromSeconds(3)));
    }

    [Fact]
    public void It_goes_no_later_than_the_timeout_unless_that_has_passed()
    {
        Assert.Equal(Micros.FromMilliseconds(250), Timeout(50, packets: 1, Micros.FromMilliseconds(250)));
        Assert.Equal(Micros.FromMilliseconds(300), Timeout(50, packets: 1, Micros.Zero));
    }

    private static TailLossProbe Sent(bool retransmit)
    {
        var probe = new TailLossProbe { IsRetransmit = retransmit };
        probe.OnSent(new SeqNumber(5000));
        return probe;
    }

    [Fact]
    public void An_ACK_below_the_probe_tells_nothing()
    {
        TailLossProbe probe = Sent(retransmit: true);
        Assert.False(probe.OnAck(new SeqNumber(4999), AckFlags.DataAcked));
        Assert.True(probe.IsOut);
    }

    [Fact]
    public void New_data_as_a_probe_cannot_repair_anything()
    {
        TailLossProbe probe = Sent(retransmit: false);
        Assert.False(probe.OnAck(new SeqNumber(5000), AckFlags.DataAcked));
        Assert.False(probe.IsOut);
    }

    /// <summary>RFC 8985 §7.4.2, case 1.</summary>
    [Fact]
    public void A_DSACK_of_the_probe_says_that_nothing_was_lost()
    {
        TailLossProbe probe = Sent(retransmit: true);
        Assert.False(probe.OnAck(new SeqNumber(5001), AckFlags.DsackTlp | AckFlags.DataAcked));
        Assert.False(probe.IsOut);
    }

    /// <summary>RFC 8985 §7.4.2: more is acknowledged, and no duplicate was reported: the probe has repaired the loss.</summary>
    [Fact]
    public void An_ACK_beyond_the_probe_without_a_DSACK_is_a_repaired_loss()
    {
        TailLossProbe probe = Sent(retransmit: true);
        Assert.False(probe.OnAck(new SeqNumber(5000), AckFlags.DataAcked));
        Assert.True(probe.IsOut);
        Assert.True(probe.OnAck(new SeqNumber(5001), AckFlags.DataAcked));
    }

    [Fact]
    public void A_duplicate_ACK_without_SACK_says_that_both_came()
    {
        TailLossProbe probe = Sent(retransmit: true);
        Assert.False(probe.OnAck(new SeqNumber(5000), AckFlags.None));
        Assert.False(probe.IsOut);
    }
}
