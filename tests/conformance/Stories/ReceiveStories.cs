namespace Millrace.Conformance;

/// <summary>Segments that arrive: in order, early, late, twice, beyond the window. RFC 9293 §3.10.7.4, RFC 2018, RFC 2883.</summary>
public sealed class ReceiveStories
{
    [Fact]
    public void Early_data_is_kept_and_reported()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>");
        tcp.App.ReadFails(Errno.EAGAIN);
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 2001");
        tcp.App.Read(2000);
    }

    [Fact]
    public void Without_sack_early_data_is_answered_with_a_plain_duplicate_ack()
    {
        using var tcp = Story.Established(mss: 1000, sack: false);
        tcp.Gets("1001:2001 ack 1");
        tcp.Sends("ack 1");
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 2001");
    }

    [Fact]
    public void The_newest_block_is_reported_first()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>");
        tcp.Gets("5001:6001 ack 1");
        tcp.Sends("ack 1 <sack 5001:6001 1001:2001>");
        tcp.Gets("3001:4001 ack 1");
        tcp.Sends("ack 1 <sack 3001:4001 5001:6001 1001:2001>");
    }

    [Fact]
    public void Blocks_that_touch_become_one()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1", "3001:4001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>", "ack 1 <sack 3001:4001 1001:2001>");
        tcp.Gets("2001:3001 ack 1");
        tcp.Sends("ack 1 <sack 1001:4001>");
    }

    [Fact]
    public void Up_to_four_blocks_fit_beside_no_timestamp()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1", "3001:4001 ack 1", "5001:6001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>",
            "ack 1 <sack 3001:4001 1001:2001>",
            "ack 1 <sack 5001:6001 3001:4001 1001:2001>");
        tcp.Gets("7001:8001 ack 1");
        tcp.SendsAfter(1, "ack 1 <sack 7001:8001 5001:6001 3001:4001 1001:2001>");
        tcp.Gets("9001:10001 ack 1");
        tcp.SendsAfter(1, "ack 1 <sack 9001:10001 7001:8001 5001:6001 3001:4001>");
    }

    [Fact]
    public void Three_blocks_fit_beside_a_timestamp()
    {
        using var tcp = Story.Established(mss: 1000, ts: true);
        tcp.Gets("1001:1101 ack 1", "3001:3101 ack 1", "5001:5101 ack 1");
        tcp.Sends("ack 1 <sack 1001:1101>", "ack 1 <sack 3001:3101 1001:1101>", "ack 1 <sack 5001:5101 3001:3101 1001:1101>");
        tcp.Gets("7001:7101 ack 1");
        tcp.SendsAfter(1, "ack 1 <sack 7001:7101 5001:5101 3001:3101>");
    }

    [Fact]
    public void The_ack_that_fills_the_only_hole_carries_no_blocks()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1", "2001:3001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>", "ack 1 <sack 1001:3001>");
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 3001 <>");
    }

    [Fact]
    public void Filling_the_first_of_two_holes_keeps_the_second_reported()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1", "3001:4001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>", "ack 1 <sack 3001:4001 1001:2001>");
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 2001 <sack 3001:4001>");
    }

    [Fact]
    public void A_duplicate_below_the_window_is_reported_by_dsack()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 1001");
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 1001 <sack 1:1001>");
        Assert.Equal(1, tcp.Counter("TcpExtTCPDSACKOldSent"));
    }

    [Fact]
    public void A_duplicate_of_early_data_is_reported_by_dsack_before_its_block()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1", "1001:2001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>", "ack 1 <sack 1001:2001 1001:2001>");
        Assert.Equal(1, tcp.Counter("TcpExtTCPDSACKOfoSent"));
    }

    [Fact]
    public void A_segment_that_overlaps_what_was_read_is_taken_from_where_it_is_new()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 1001");
        tcp.Gets("501:1501 ack 1");
        tcp.Sends("ack 1501 <sack 501:1001>");
        tcp.App.Read(1500);
    }

    [Fact]
    public void In_order_data_that_overlaps_early_data_reports_only_what_came_twice()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("501:1501 ack 1", "1001:2001 ack 1");
        tcp.Sends("ack 1 <sack 501:1501>", "ack 1 <sack 1001:1501 501:2001>");
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 2001 <sack 501:1001>");
        tcp.App.Read(2000);
    }

    [Fact]
    public void Early_data_that_comes_again_makes_its_block_the_newest()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1", "3001:4001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>", "ack 1 <sack 3001:4001 1001:2001>");
        tcp.Gets("1201:1301 ack 1");
        tcp.Sends("ack 1 <sack 1201:1301 1001:2001 3001:4001>");
    }

    [Fact]
    public void Dsack_can_be_turned_off()
    {
        using var tcp = Story.Established(mss: 1000, settings: new StorySettings { Sysctls = new() { ["tcp_dsack"] = "0" } });
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 1001");
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 1001 <>");
    }

    [Fact]
    public void Early_segments_that_overlap_are_kept_once()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1", "1501:2501 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>", "ack 1 <sack 1501:2001 1001:2501>");
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 2501");
        tcp.App.Read(2500);
    }

    [Fact]
    public void An_early_segment_that_covers_another_replaces_it()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1201:1401 ack 1", "1001:2001 ack 1");
        tcp.Sends("ack 1 <sack 1201:1401>", "ack 1 <sack 1201:1401 1001:2001>");
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 2001");
        tcp.App.Read(2000);
    }

    [Fact]
    public void A_segment_beyond_the_window_is_only_acknowledged()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1000001:1001001 ack 1");
        tcp.Sends("ack 1");
        tcp.App.ReadFails(Errno.EAGAIN);
    }

    [Fact]
    public void Out_of_window_segments_are_answered_at_most_twice_a_second()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("-2000:-2000 ack 1", "-2000:-2000 ack 1");
        tcp.Sends("ack 1");
        tcp.After(600);
        tcp.Gets("-2000:-2000 ack 1");
        tcp.Sends("ack 1");
        Assert.Equal(1, tcp.Counter("TcpExtTCPACKSkippedSeq"));
    }

    [Fact]
    public void Two_full_segments_are_acknowledged_at_once()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:1001 ack 1", "1001:2001 ack 1");
        tcp.Sends("ack 1001", "ack 2001");
    }

    [Fact]
    public void A_segment_without_ack_is_dropped()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("P 1:1001");
        tcp.SendsNothing();
        tcp.App.ReadFails(Errno.EAGAIN);
    }

    [Fact]
    public void An_ack_of_data_never_sent_is_challenged_and_its_data_dropped()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:1001 ack 5001");
        tcp.Sends("ack 1");
        tcp.App.ReadFails(Errno.EAGAIN);
    }

    [Fact]
    public void A_wrong_checksum_is_dropped_and_counted()
    {
        using var tcp = Story.Established(mss: 1000);
        byte[] packet = tcp.Peer.Packet("1:1001 ack 1");
        packet[^1] ^= 0x55;
        tcp.Injects(packet, "1:1001 ack 1 with a wrong checksum");
        tcp.SendsNothingFor(50);
        tcp.App.ReadFails(Errno.EAGAIN);
        Assert.Equal(1, tcp.Counter("TcpInCsumErrors"));
        Assert.Equal(1, tcp.Counter("TcpInErrs"));
    }

    [Fact]
    public void A_header_length_below_five_words_is_dropped_and_counted()
    {
        using var tcp = Story.Established(mss: 1000);
        byte[] packet = tcp.Peer.Packet("1:101 ack 1");
        int tcpStart = packet.Length - 100 - 20;
        packet[tcpStart + 12] = 0x40;
        tcp.Injects(packet, "1:101 ack 1 with a header of 16 bytes");
        tcp.SendsNothingFor(50);
        Assert.Equal(1, tcp.Counter("TcpInErrs"));
    }

    [Fact]
    public void Data_after_shutdown_of_the_reading_side_is_still_acknowledged()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Shutdown(Shut.Rd);
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 1001");
        tcp.App.Read(1000);
        tcp.App.ReadsEof();
    }

    [Fact]
    public void A_read_is_short_at_what_is_there()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:301 ack 1", "301:501 ack 1");
        Assert.Equal(500, tcp.App.TryRead(4000).Value);
    }

    [Fact]
    public void A_peek_leaves_the_bytes()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:301 ack 1");
        Assert.Equal(100, tcp.App.TryRead(100, MessageFlags.Peek).Value);
        tcp.App.Read(300);
    }

    [Fact]
    public void MSG_TRUNC_discards_without_copying()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:1001 ack 1");
        Assert.Equal(400, tcp.App.TryRead(400, MessageFlags.Truncate).Value);
        tcp.App.Skip(400);
        tcp.App.Read(600);
    }

    [Fact]
    public void SO_RCVLOWAT_keeps_a_socket_unreadable_until_there_is_enough()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.RcvLowat, 1500);
        tcp.Gets("1:1001 ack 1");
        Assert.False(tcp.App.IsReadable);
        tcp.Gets("1001:2001 ack 1");
        Assert.True(tcp.App.IsReadable);
    }

    [Fact]
    public void SIOCINQ_counts_what_can_be_read()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:701 ack 1");
        Assert.Equal(700, tcp.App.Ioctl(Opt.SiocInq));
        tcp.App.Read(300);
        Assert.Equal(400, tcp.App.Ioctl(Opt.SiocInq));
    }

    [Fact]
    public void TCP_INQ_tells_with_each_read_what_is_left()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.Inq, 1);
        tcp.Gets("1:701 ack 1");
        Assert.Equal((300, 400), tcp.App.ReadWithInq(300));
        Assert.Equal((400, 0), tcp.App.ReadWithInq(1000));
    }
}
