using Millrace.Tcp;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class SendSpaceTests
{
    private static SendSpace Snd => new() { Una = new(1000), Nxt = new(3000), Wl1 = new(500), Wnd = 4000, MaxWnd = 4000 };

    /// <summary>RFC 9293 §3.10.7.4: SND.WL1 keeps an old segment from changing the window.</summary>
    [Theory]
    [InlineData(1001, 400, 100, true)] // a newer ACK
    [InlineData(1000, 501, 100, true)] // newer data
    [InlineData(1000, 499, 9000, false)]
    [InlineData(1000, 500, 9000, true)] // the same segment with a wider window
    [InlineData(1000, 500, 3000, false)]
    [InlineData(1000, 500, 0, true)]
    public void An_old_segment_does_not_change_the_window(uint ack, uint seq, uint window, bool may) =>
        Assert.Equal(may, Snd.MayUpdateWindow(new(ack), new(seq), window));

    /// <summary>RFC 1122 §4.2.3.4, with Minshall's amendment: only another small segment holds one back.</summary>
    [Fact]
    public void A_small_segment_waits_for_one_that_is_out()
    {
        SendSpace snd = Snd;
        Assert.False(snd.NagleHolds(NagleFlags.None, packetsOut: 2));
        snd.Small = new(3000);
        Assert.True(snd.NagleHolds(NagleFlags.None, packetsOut: 2));
        Assert.False(snd.NagleHolds(NagleFlags.None, packetsOut: 0));
        Assert.False(snd.NagleHolds(NagleFlags.Off, packetsOut: 2));
        snd.Una = new(3000);
        Assert.False(snd.NagleHolds(NagleFlags.None, packetsOut: 2));
    }

    [Fact]
    public void A_cork_holds_even_the_first() => Assert.True(Snd.NagleHolds(NagleFlags.Cork, packetsOut: 0));

    [Theory]
    [InlineData(64_000, 1460, 1460)]
    [InlineData(2000, 1460, 1000)] // two fit
    [InlineData(300, 1460, 300)] // a tiny window is filled
    [InlineData(20, 1460, 48)]
    [InlineData(0, 1460, 1460)] // nothing is known yet
    public void A_segment_is_no_larger_than_half_of_the_largest_window(uint maxWnd, int size, int bounded) =>
        Assert.Equal(bounded, new SendSpace { MaxWnd = maxWnd }.BoundToHalfWindow(size, headerLength: 20));

    [Fact]
    public void Without_data_a_segment_says_SND_NXT_unless_the_window_has_shrunk_below_it()
    {
        SendSpace snd = Snd;
        Assert.Equal(new SeqNumber(3000), snd.Acceptable);
        snd.Wnd = 1500;
        Assert.Equal(new SeqNumber(2500), snd.Acceptable);
        // Less than one unit of the scale is rounding.
        snd.WndScale = 9;
        Assert.Equal(new SeqNumber(3000), snd.Acceptable);
        snd.Wnd = 1488;
        Assert.Equal(new SeqNumber(2488), snd.Acceptable);
    }

    /// <summary>RFC 5961 §5.2.</summary>
    [Theory]
    [InlineData(3001, 50_000, (int)DropReason.TcpAckUnsentData)]
    [InlineData(3000, 50_000, (int)DropReason.None)]
    [InlineData(1000, 50_000, (int)DropReason.None)]
    [InlineData(999, 50_000, (int)DropReason.TcpOldAck)]
    [InlineData(unchecked((uint)-3000), 50_000, (int)DropReason.TcpOldAck)]
    [InlineData(unchecked((uint)-3001), 50_000, (int)DropReason.TcpTooOldAck)] // older than the largest window
    [InlineData(899, 100, (int)DropReason.TcpTooOldAck)] // from before the connection
    public void An_acknowledgement_lies_between_the_oldest_window_and_what_was_sent(uint ack, ulong acked, int reason) =>
        Assert.Equal((DropReason)reason, Snd.CheckAck(new(ack), acked));
}
