namespace Millrace.Conformance;

/// <summary>What is sent, and what is held back: Nagle, cork, windows small and closed. RFC 896, RFC 1122 §4.2.3.3-4, RFC 9293 §3.8.6.</summary>
public sealed class SendStories
{
    [Fact]
    public void Data_is_cut_into_full_segments_and_the_last_of_each_burst_is_pushed()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(2500);
        tcp.Sends(". 1:1001 ack 1", "P. 1001:2001 ack 1", "P. 2001:2501 ack 1");
    }

    [Fact]
    public void Nagle_holds_a_small_segment_while_another_is_out()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 1");
        tcp.App.Write(100);
        tcp.App.Write(100);
        tcp.SendsNothing();
        tcp.Gets("ack 101");
        tcp.Sends("101:301 ack 1");
    }

    [Fact]
    public void Nagle_lets_full_segments_go()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 1");
        tcp.App.Write(1500);
        tcp.Sends("101:1101 ack 1");
        tcp.Gets("ack 101");
        tcp.Sends("1101:1601 ack 1");
    }

    [Fact]
    public void TCP_NODELAY_sends_small_segments_at_once()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.NoDelay, 1);
        tcp.App.Write(100);
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 1", "101:201 ack 1");
    }

    [Fact]
    public void Setting_TCP_NODELAY_sends_what_nagle_holds()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 1");
        tcp.App.Write(100);
        tcp.SendsNothing();
        tcp.App.Set(Opt.Tcp, Opt.NoDelay, 1);
        tcp.Sends("101:201 ack 1");
    }

    [Fact]
    public void TCP_CORK_holds_partial_segments_until_it_is_taken_out()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.Cork, 1);
        tcp.App.Write(1500);
        tcp.Sends("1:1001 ack 1");
        tcp.SendsNothing();
        tcp.App.Set(Opt.Tcp, Opt.Cork, 0);
        tcp.Sends("1001:1501 ack 1");
    }

    [Fact]
    public void A_cork_leaks_after_200_ms()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.Cork, 1);
        tcp.App.Write(500);
        tcp.SendsNothing();
        tcp.Gets("ack 1");
        tcp.SendsAfter(250, "P. 1:501 ack 1");
    }

    [Fact]
    public void MSG_MORE_holds_until_a_write_without_it()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(300, MessageFlags.More);
        tcp.SendsNothing();
        tcp.App.Write(300);
        tcp.Sends("1:601 ack 1");
    }

    [Fact]
    public void MSG_EOR_keeps_later_bytes_out_of_the_segment()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.Cork, 1);
        tcp.App.Write(300, MessageFlags.EndOfRecord);
        tcp.App.Write(300);
        tcp.App.Set(Opt.Tcp, Opt.NoDelay, 1);
        tcp.App.Set(Opt.Tcp, Opt.Cork, 0);
        tcp.Sends("1:301 ack 1", "301:601 ack 1");
    }

    [Fact]
    public void TCP_MAXSEG_bounds_the_segments()
    {
        using var tcp = Story.Established(mss: 1000, prepare: static app => app.Set(Opt.Tcp, Opt.MaxSeg, 700));
        tcp.App.Write(1400);
        tcp.Sends("1:701 ack 1", "701:1401 ack 1");
    }

    [Fact]
    public void TCP_MAXSEG_is_offered_to_the_peer()
    {
        using var tcp = Story.Listening(prepare: static app => app.Set(Opt.Tcp, Opt.MaxSeg, 700));
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <mss 700>");
    }

    [Fact]
    public void No_more_is_sent_than_the_window_takes()
    {
        using var tcp = Story.Established(mss: 1000, wscale: null, win: 2000);
        tcp.App.Write(5000);
        tcp.Sends("1:1001 ack 1", "1001:2001 ack 1");
        tcp.Gets("ack 1001 win 2000");
        tcp.Sends("2001:3001 ack 1");
    }

    [Fact]
    public void A_window_of_less_than_a_segment_is_not_used_while_data_is_out()
    {
        using var tcp = Story.Established(mss: 1000, wscale: null, win: 2000);
        tcp.App.Write(5000);
        tcp.Sends("1:1001 ack 1", "1001:2001 ack 1");
        tcp.Gets("ack 1001 win 1500");
        tcp.SendsNothing();
        tcp.Gets("ack 2001 win 2000");
        tcp.Sends("2001:3001 ack 1", "3001:4001 ack 1");
    }

    [Fact]
    public void Segments_are_no_larger_than_half_the_largest_window()
    {
        using var tcp = Story.Established(mss: 1460, wscale: null, win: 1000);
        tcp.App.Write(1000);
        tcp.Sends("1:501 ack 1", "501:1001 ack 1");
    }

    [Fact]
    public void A_closed_window_is_probed_with_growing_intervals()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 1001 win 0");
        tcp.App.Write(1000);
        tcp.SendsNothing();
        tcp.SendsAfter(250, ". 1000:1000 ack 1");
        tcp.Gets("ack 1001 win 0");
        tcp.SendsAfter(500, ". 1000:1000 ack 1");
        tcp.Gets("ack 1001 win 0");
        tcp.SendsAfter(1000, ". 1000:1000 ack 1");
        Assert.Equal(3, tcp.Counter("TcpExtTCPWinProbe"));
    }

    [Fact]
    public void An_opened_window_ends_probing_at_once()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 1001 win 0");
        tcp.App.Write(1000);
        tcp.SendsAfter(250, ". 1000:1000 ack 1");
        tcp.Gets("ack 1001 win 100");
        tcp.Sends("1001:2001 ack 1");
    }

    [Fact]
    public void A_window_too_small_for_a_segment_is_used_when_the_probe_timer_ends()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 1001 win 4");
        tcp.App.Write(1000);
        tcp.SendsNothing();
        tcp.SendsAfter(250, "1001:1513 ack 1");
    }

    [Fact]
    public void A_window_update_does_not_need_new_acknowledgment()
    {
        using var tcp = Story.Established(mss: 1000, wscale: null, win: 1000);
        tcp.App.Write(500);
        tcp.Sends("1:501 ack 1");
        tcp.Gets("ack 501 win 0");
        tcp.App.Write(500);
        tcp.SendsNothing();
        tcp.Gets("ack 501 win 1000");
        tcp.Sends("501:1001 ack 1");
    }

    [Fact]
    public void An_old_ack_does_not_shrink_the_window()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.Gets("ack 1001 win 1024");
        tcp.Gets("1:1 ack 1 win 0");
        tcp.App.Write(1000);
        tcp.Sends("1001:2001 ack 1");
    }

    [Fact]
    public void The_initial_window_is_ten_segments()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(20_000);
        tcp.SendsData(1, 10_001, 1000);
    }

    [Fact]
    public void The_application_is_writable_again_when_a_third_is_free()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.SndBuf, 20_000);
        int written = tcp.App.TryWrite(100_000).Value;
        Assert.InRange(written, 20_000, 99_000);
        Assert.False(tcp.App.IsWritable);
        while (tcp.Peer.LocalNext <= written)
        {
            tcp.Drain();
            tcp.Gets($"ack {tcp.Peer.LocalNext}");
        }
        Assert.True(tcp.App.IsWritable);
    }

    [Fact]
    public void TCP_NOTSENT_LOWAT_bounds_what_is_writable_beyond_the_window()
    {
        using var tcp = Story.Established(mss: 1000, win: 1280);
        tcp.App.Set(Opt.Tcp, Opt.NotsentLowat, 2000);
        tcp.App.Write(1000);
        Assert.True(tcp.App.IsWritable);
        tcp.App.Write(1500);
        Assert.False(tcp.App.IsWritable);
        Assert.True(tcp.Info.NotSentBytes > 1000);
    }

    [Fact]
    public void SIOCOUTQ_counts_unacknowledged_and_unsent_bytes()
    {
        using var tcp = Story.Established(mss: 1000, win: 1280);
        tcp.App.Write(3000);
        Assert.Equal(3000, tcp.App.Ioctl(Opt.SiocOutq));
        Assert.Equal(1720, tcp.App.Ioctl(Opt.SiocOutqNsd));
    }

    [Fact]
    public void The_push_bit_marks_half_a_window_at_the_latest()
    {
        using var tcp = Story.Established(mss: 1000, wscale: null, win: 8000);
        tcp.App.Set(Opt.Tcp, Opt.Cork, 1);
        tcp.App.Write(8000);
        Assert.Contains(tcp.Drain(), static s => s.Has('P'));
    }
}
