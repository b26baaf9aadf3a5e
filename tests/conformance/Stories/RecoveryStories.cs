namespace Millrace.Conformance;

/// <summary>What is lost, what goes again, and when it was a mistake. RFC 6675, RFC 6937, RFC 8985, RFC 3522, RFC 3708, RFC 3042.</summary>
public sealed class RecoveryStories
{
    private static Story Sending(int segments, bool ts = false, bool sack = true, params (string Name, string Value)[] sysctls)
    {
        var settings = new StorySettings();
        foreach ((string name, string value) in sysctls)
            settings.Sysctls[name] = value;
        Story tcp = Story.Established(mss: ts ? 1012 : 1000, ts: ts, sack: sack, settings: settings);
        tcp.App.Write(segments * 1000);
        tcp.SendsData(1, 1 + segments * 1000, 1000);
        tcp.After(50);
        return tcp;
    }

    [Fact]
    public void One_sack_of_many_segments_is_enough()
    {
        using Story tcp = Sending(5);
        tcp.Gets("ack 1 <sack 2001:5001>");
        tcp.Sends("1:1001 ack 1", "1001:2001 ack 1");
        Assert.Equal(3, tcp.Info.CongestionState);
        Assert.Equal(1, tcp.Counter("TcpExtTCPSackRecovery"));
    }

    [Fact]
    public void Two_holes_are_filled_in_order()
    {
        using Story tcp = Sending(8);
        tcp.Gets("ack 1 <sack 1001:2001>", "ack 1 <sack 3001:4001 1001:2001>", "ack 1 <sack 3001:5001 1001:2001>");
        tcp.Sends("1:1001 ack 1");
        tcp.Gets("ack 1 <sack 3001:7001 1001:2001>");
        tcp.Sends("2001:3001 ack 1");
    }

    [Fact]
    public void A_lone_sack_waits_a_quarter_of_the_round_trip_for_reordering()
    {
        using Story tcp = Sending(4);
        tcp.Gets("ack 1 <sack 1001:2001>");
        tcp.SendsNothing();
        Assert.Equal(1, tcp.Info.CongestionState);
        tcp.SendsAfter(14, "1:1001 ack 1");
        Assert.Equal(3, tcp.Info.CongestionState);
    }

    [Fact]
    public void Reordering_within_the_window_costs_nothing()
    {
        using Story tcp = Sending(4);
        tcp.Gets("ack 1 <sack 1001:2001>");
        tcp.SendsNothing();
        tcp.Gets("ack 2001");
        Assert.Equal(0, tcp.Info.CongestionState);
        Assert.Equal(0u, tcp.Info.TotalRetransmits);
        Assert.Equal(1, tcp.Counter("TcpExtTCPSACKReorder"));
    }

    [Fact]
    public void Limited_transmit_sends_a_new_segment_for_each_of_two_duplicates()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(12_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.After(50);
        tcp.Gets("ack 1 <sack 1001:2001>");
        tcp.Sends("10001:11001 ack 1");
        tcp.Gets("ack 1 <sack 1001:3001>");
        tcp.Sends("11001:12001 ack 1");
    }

    [Fact]
    public void Without_sack_the_third_duplicate_retransmits()
    {
        using Story tcp = Sending(5, sack: false);
        tcp.Gets("ack 1", "ack 1");
        tcp.SendsNothing();
        tcp.Gets("ack 1");
        tcp.Sends("1:1001 ack 1");
        Assert.Equal(1, tcp.Counter("TcpExtTCPRenoRecovery"));
    }

    [Fact]
    public void Newreno_retransmits_the_next_hole_at_a_partial_ack()
    {
        using Story tcp = Sending(6, sack: false);
        tcp.Gets("ack 1", "ack 1", "ack 1");
        tcp.Sends("1:1001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 2001");
        tcp.Sends("2001:3001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 6001");
        tcp.App.Write(1000);
        tcp.Sends("6001:7001 ack 1");
        tcp.Gets("ack 7001");
        Assert.Equal(0, tcp.Info.CongestionState);
    }

    [Fact]
    public void Recovery_ends_when_everything_sent_before_it_is_acknowledged()
    {
        using Story tcp = Sending(5);
        tcp.Gets("ack 1 <sack 1001:5001>");
        tcp.Sends("1:1001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 5001");
        Assert.Equal(0, tcp.Info.CongestionState);
        Assert.Equal(7u, tcp.Info.SendCwnd);
        Assert.Equal(7u, tcp.Info.SendSsthresh);
    }

    [Fact]
    public void Proportional_rate_reduction_sends_seven_for_ten_delivered()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(30_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.After(50);
        tcp.Gets("ack 1 <sack 1001:4001>");
        tcp.Sends("1:1001 ack 1");
        long sent = 0;
        for (int i = 4; i < 10; i++)
        {
            tcp.Gets($"ack 1 <sack 1001:{1001 + i * 1000}>");
            sent += tcp.Drain().Count;
        }
        Assert.Equal(6, sent);
    }

    [Fact]
    public void A_lost_retransmission_is_found_by_what_was_sent_later()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(20_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.After(50);
        tcp.Gets("ack 1 <sack 1001:10001>");
        Assert.Equal(1, tcp.Drain()[0].Seq);
        tcp.After(60);
        tcp.Gets("ack 1 <sack 1001:11001>");
        Assert.Contains(tcp.Drain(), static s => s.Seq == 1);
        Assert.Equal(1, tcp.Counter("TcpExtTCPLostRetransmit"));
    }

    [Fact]
    public void A_dsack_of_every_retransmission_undoes_the_reduction()
    {
        using Story tcp = Sending(5);
        tcp.Gets("ack 1 <sack 1001:5001>");
        tcp.Sends("1:1001 ack 1");
        tcp.Gets("ack 5001");
        Assert.Equal(7u, tcp.Info.SendCwnd);
        tcp.Gets("ack 5001 <sack 1:1001>");
        Assert.Equal(10u, tcp.Info.SendCwnd);
        Assert.Equal(1, tcp.Counter("TcpExtTCPDSACKUndo"));
    }

    [Fact]
    public void An_old_echo_undoes_the_reduction()
    {
        using Story tcp = Sending(5, ts: true);
        long original = tcp.Peer.FirstDataTimestamp;
        tcp.Gets("ack 1 <sack 1001:5001>");
        tcp.Sends("1:1001 ack 1");
        tcp.After(5);
        tcp.Gets($"ack 5001 <nop, nop, ts val 2000 ecr {original}>");
        Assert.Equal(10u, tcp.Info.SendCwnd);
        Assert.Equal(1, tcp.Counter("TcpExtTCPFullUndo"));
    }

    [Fact]
    public void A_real_loss_is_not_undone()
    {
        using Story tcp = Sending(5, ts: true);
        tcp.Gets("ack 1 <sack 1001:5001>");
        tcp.Sends("1:1001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 5001");
        Assert.Equal(7u, tcp.Info.SendCwnd);
        Assert.Equal(0, tcp.Counter("TcpExtTCPFullUndo"));
    }

    [Fact]
    public void A_sack_block_beyond_what_was_sent_is_discarded()
    {
        using Story tcp = Sending(4);
        tcp.Gets("ack 1 <sack 9001:10001>");
        tcp.SendsNothing();
        Assert.Equal(0u, tcp.Info.Sacked);
        Assert.Equal(1, tcp.Counter("TcpExtTCPSACKDiscard"));
    }

    [Fact]
    public void A_sack_block_that_starts_at_the_left_edge_makes_no_sense_and_is_discarded()
    {
        using Story tcp = Sending(4);
        tcp.Gets("ack 1 <sack 1:1001>");
        tcp.SendsNothing();
        Assert.Equal(0u, tcp.Info.Sacked);
        Assert.Equal(1, tcp.Counter("TcpExtTCPSACKDiscard"));
    }

    [Fact]
    public void A_reversed_sack_block_is_discarded()
    {
        using Story tcp = Sending(4);
        tcp.Gets("ack 1 <sack 3001:2001>");
        tcp.SendsNothing();
        Assert.Equal(0u, tcp.Info.Sacked);
    }

    [Fact]
    public void Overlapping_sack_blocks_count_each_segment_once()
    {
        using Story tcp = Sending(6);
        tcp.Gets("ack 1 <sack 1001:3001 2001:4001>");
        Assert.Equal(3u, tcp.Info.Sacked);
    }

    [Fact]
    public void Half_a_segment_in_a_sack_block_does_not_count()
    {
        using Story tcp = Sending(4);
        tcp.Gets("ack 1 <sack 1001:1501>");
        Assert.Equal(0u, tcp.Info.Sacked);
    }

    [Fact]
    public void A_block_that_grows_to_a_whole_segment_counts_then()
    {
        using Story tcp = Sending(3);
        tcp.Gets("ack 1 <sack 2601:3001>");
        Assert.Equal(0u, tcp.Info.Sacked);
        tcp.Gets("ack 1 <sack 2001:3001>");
        Assert.Equal(1u, tcp.Info.Sacked);
    }

    [Fact]
    public void A_block_that_grows_at_its_front_counts_for_the_segment_that_it_covers_now()
    {
        using Story tcp = Sending(6);
        tcp.Gets("ack 1 <sack 4001:5001 2601:3001>");
        Assert.Equal(1u, tcp.Info.Sacked);
        tcp.Gets("ack 1 <sack 2001:5001>");
        Assert.Equal(2u, tcp.Info.Sacked);
    }

    [Fact]
    public void A_receiver_that_throws_away_what_it_sacked_is_believed_after_a_while()
    {
        using Story tcp = Sending(5);
        tcp.Gets("ack 1 <sack 1001:5001>");
        tcp.Sends("1:1001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 1001");
        tcp.SendsNothing();
        (Segment again, double _) = tcp.Peer.Next(500);
        Assert.Equal(1001, again.Seq);
        Assert.Equal(1, tcp.Counter("TcpExtTCPSACKReneging"));
    }

    [Fact]
    public void The_retransmission_queue_stops_at_the_peers_window()
    {
        using var tcp = Story.Established(mss: 1000, wscale: null, win: 5000);
        tcp.App.Write(8000);
        tcp.SendsData(1, 5001, 1000);
        tcp.After(50);
        tcp.Gets("ack 1 win 5000 <sack 1001:4001>");
        tcp.Sends("1:1001 ack 1");
    }

    [Fact]
    public void Seen_reordering_widens_the_duplicate_threshold()
    {
        using Story tcp = Sending(8);
        tcp.Gets("ack 1 <sack 1001:2001>");
        tcp.Gets("ack 1 <sack 1001:3001>");
        tcp.Gets("ack 3001");
        Assert.True(tcp.Info.ReorderingSeen > 0);
    }

    [Fact]
    public void Tcp_reordering_sets_the_duplicate_threshold()
    {
        using Story tcp = Sending(8, false, false, ("tcp_reordering", "5"));
        tcp.Gets("ack 1", "ack 1", "ack 1", "ack 1");
        tcp.SendsNothing();
        tcp.Gets("ack 1");
        tcp.Sends("1:1001 ack 1");
    }
}
