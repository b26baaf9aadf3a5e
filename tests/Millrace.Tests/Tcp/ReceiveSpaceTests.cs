using Millrace.Tcp;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class ReceiveSpaceTests
{
    private const int Mss = 1000;

    private static ReceiveSpace Space(byte scale = 0, uint wnd = 0, int ssthresh = 1_000_000) => new()
    {
        Nxt = new(5000),
        Wup = new(5000),
        Wnd = wnd,
        WndClamp = 1_000_000,
        Ssthresh = ssthresh,
        WndScale = scale,
    };

    // ---- RFC 9293 §3.4, table 6, as Linux reads it ----

    [Theory]
    [InlineData(5000, 6000, (int)DropReason.None)]
    [InlineData(8000, 9000, (int)DropReason.None)]
    [InlineData(4000, 5000, (int)DropReason.None)] // what was acknowledged just now: an ACK answers it elsewhere
    [InlineData(3000, 4999, (int)DropReason.TcpOldSequence)]
    [InlineData(9001, 9500, (int)DropReason.TcpInvalidSequence)]
    [InlineData(9000, 9500, (int)DropReason.TcpInvalidEndSequence)]
    [InlineData(8500, 9001, (int)DropReason.TcpInvalidEndSequence)]
    public void A_segment_must_lie_in_the_window(uint seq, uint end, int reason) =>
        Assert.Equal((DropReason)reason, Space(wnd: 4000).Check(new(seq), new(end), fin: false, nothingQueued: false));

    [Fact]
    public void What_ends_beyond_the_window_is_taken_whole_if_nothing_waits_and_a_FIN_needs_no_room()
    {
        ReceiveSpace rcv = Space(wnd: 4000);
        Assert.Equal(DropReason.None, rcv.Check(new(8500), new(9500), fin: false, nothingQueued: true));
        Assert.Equal(DropReason.None, rcv.Check(new(8500), new(9001), fin: true, nothingQueued: false));
    }

    // ---- Silly windows: RFC 9293 §3.8.6.2.2 ----

    [Fact]
    public void A_window_opens_in_whole_segments()
    {
        Assert.Equal(7000, Space().Choose(free: 7900, allowed: 8000, Mss));
        Assert.Equal(7000, Space(wnd: 6500).Choose(free: 7600, allowed: 8000, Mss));
    }

    [Fact]
    public void Less_than_a_segment_more_is_not_worth_telling() =>
        Assert.Equal(6800, Space(wnd: 6800).Choose(free: 7600, allowed: 8000, Mss));

    [Fact]
    public void Less_room_than_a_segment_or_a_sixteenth_of_the_buffer_is_none()
    {
        Assert.Equal(0, Space().Choose(free: 999, allowed: 8000, Mss));
        Assert.Equal(1000, Space().Choose(free: 1000, allowed: 8000, Mss));
        Assert.Equal(0, Space().Choose(free: 1999, allowed: 32_000, Mss));
    }

    [Fact]
    public void A_buffer_smaller_than_a_segment_offers_what_it_has() => Assert.Equal(600, Space().Choose(free: 600, allowed: 600, Mss));

    [Fact]
    public void The_threshold_bounds_it_and_a_scale_rounds_up()
    {
        Assert.Equal(3000, Space(ssthresh: 3000).Choose(free: 90_000, allowed: 100_000, Mss));
        Assert.Equal(3072, Space(scale: 7, ssthresh: 3000).Choose(free: 90_000, allowed: 100_000, Mss));
        // Where memory is short, down to a whole unit.
        Assert.Equal(1024, Space(scale: 7).Choose(free: 1100, allowed: 8000, Mss));
    }

    [Fact]
    public void A_window_that_may_shrink_follows_the_memory()
    {
        Assert.Equal(4992, Space(scale: 7).ChooseShrinking(free: 5000, allowed: 8000, Mss));
        Assert.Equal(0, Space(scale: 7).ChooseShrinking(free: 1000, allowed: 8000, Mss));
    }

    // ---- Offering ----

    [Fact]
    public void The_right_edge_never_moves_left()
    {
        ReceiveSpace rcv = Space(wnd: 4000);
        rcv.Nxt += 1000;
        Assert.Equal(3000, rcv.Offer(500, mayShrink: false, signed: false));
        Assert.Equal((3000u, new SeqNumber(6000)), (rcv.Wnd, rcv.Wup));
        Assert.Equal(500, rcv.Offer(500, mayShrink: true, signed: false));
    }

    [Fact]
    public void The_field_is_in_units_of_the_scale_and_holds_16_bits()
    {
        ReceiveSpace rcv = Space(scale: 7);
        Assert.Equal(100, rcv.Offer(12_800, mayShrink: false, signed: false));
        rcv = Space(scale: 0);
        Assert.Equal(65_535, rcv.Offer(100_000, mayShrink: false, signed: false));
        Assert.Equal(32_767, rcv.Offer(100_000, mayShrink: false, signed: true));
    }

    [Fact]
    public void Without_memory_the_window_is_closed_whatever_was_offered()
    {
        ReceiveSpace rcv = Space(wnd: 4000);
        rcv.Nxt += 1000;
        rcv.Close();
        Assert.Equal(0u, rcv.Remaining);
    }

    [Fact]
    public void A_clamp_lowers_the_threshold_to_the_window_and_a_wider_one_raises_it()
    {
        ReceiveSpace rcv = Space(wnd: 4000, ssthresh: 10_000);
        rcv.SetClamp(3000);
        Assert.Equal((3000, 3000), (rcv.WndClamp, rcv.Ssthresh));
        rcv.SetClamp(50_000);
        Assert.Equal((50_000, 4000), (rcv.WndClamp, rcv.Ssthresh));
    }

    [Fact]
    public void The_scale_is_chosen_for_what_the_buffer_may_grow_to()
    {
        var sysctls = new Sysctls();
        int clamp = 0;
        ReceiveSpace.SelectInitial(sysctls, 65_700, 1460, scaling: true, 0, ref clamp, out uint window, out byte scale);
        Assert.Equal(65_700u, window);
        Assert.True(65_535L << scale >= sysctls.TcpRmem.Max && 65_535L << (scale - 1) < sysctls.TcpRmem.Max);
        clamp = 0;
        ReceiveSpace.SelectInitial(sysctls, 65_700, 1460, scaling: false, 3, ref clamp, out window, out scale);
        Assert.Equal((4380u, 0, 65_535), (window, scale, clamp));
    }
}
