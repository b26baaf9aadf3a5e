namespace Millrace.Conformance;

/// <summary>When the receiver acknowledges. RFC 1122 §4.2.3.2, RFC 5681 §4.2; quick ACKs, ping-pong and compression are Linux's.</summary>
public sealed class AckStories
{
    [Fact]
    public void The_first_segments_are_acknowledged_one_by_one()
    {
        using var tcp = Story.Established(mss: 1000);
        for (int i = 0; i < 8; i++)
        {
            tcp.Gets($"{1 + i * 1000}:{1001 + i * 1000} ack 1");
            tcp.Sends($"ack {1001 + i * 1000}");
        }
    }

    [Fact]
    public void A_reply_makes_the_connection_ping_pong_and_the_next_ack_waits_40_ms()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("P. 1:101 ack 1");
        tcp.Sends("ack 101");
        tcp.App.Read(100);
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 101");
        tcp.After(10);
        tcp.Gets("P. 101:201 ack 101");
        tcp.SendsAfter(40, "ack 201");
        Assert.Equal(1, tcp.Counter("TcpExtDelayedACKs"));
    }

    [Fact]
    public void A_reply_within_the_delay_carries_the_ack()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("P. 1:101 ack 1");
        tcp.Sends("ack 101");
        tcp.App.Read(100);
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 101");
        tcp.After(10);
        tcp.Gets("P. 101:201 ack 101");
        tcp.App.Read(100);
        tcp.App.Write(100);
        tcp.Sends("101:201 ack 201");
        tcp.SendsNothingFor(60);
    }

    [Fact]
    public void TCP_QUICKACK_off_delays_from_the_first_segment()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.QuickAck, 0);
        tcp.Gets("P. 1:101 ack 1");
        tcp.SendsAfter(40, "ack 101");
    }

    [Fact]
    public void A_second_full_segment_is_acknowledged_at_once_in_ping_pong_mode()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.QuickAck, 0);
        tcp.Gets("1:1001 ack 1");
        tcp.SendsNothing();
        tcp.Gets("1001:2001 ack 1");
        tcp.App.ReadAll();
        tcp.Sends("ack 2001");
    }

    [Fact]
    public void Early_data_is_acknowledged_at_once_in_ping_pong_mode()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.QuickAck, 0);
        tcp.Gets("1001:2001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>");
    }

    [Fact]
    public void A_filled_hole_is_acknowledged_at_once_in_ping_pong_mode()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.QuickAck, 0);
        tcp.Gets("1001:2001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>");
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 2001");
    }

    [Fact]
    public void From_the_fourth_duplicate_on_acks_are_compressed()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1", "2001:3001 ack 1", "3001:4001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>", "ack 1 <sack 1001:3001>", "ack 1 <sack 1001:4001>");
        tcp.Gets("4001:5001 ack 1");
        tcp.SendsAfter(1, "ack 1 <sack 1001:5001>");
    }

    [Fact]
    public void Compression_can_be_turned_off()
    {
        using var tcp = Story.Established(mss: 1000, settings: new StorySettings { Sysctls = new() { ["tcp_comp_sack_nr"] = "0" } });
        tcp.Gets("1001:2001 ack 1", "2001:3001 ack 1", "3001:4001 ack 1", "4001:5001 ack 1", "5001:6001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>", "ack 1 <sack 1001:3001>", "ack 1 <sack 1001:4001>", "ack 1 <sack 1001:5001>",
            "ack 1 <sack 1001:6001>");
    }

    [Fact]
    public void A_fin_after_data_is_acknowledged_with_the_delay()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:101 ack 1");
        tcp.Sends("ack 101");
        tcp.Gets("F. 101:101 ack 1");
        tcp.SendsAfter(40, "ack 102");
    }

    [Fact]
    public void A_fin_in_ping_pong_mode_is_acknowledged_with_the_delay()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.QuickAck, 0);
        tcp.Gets("1:101 ack 1");
        tcp.SendsAfter(40, "ack 101");
        tcp.App.Set(Opt.Tcp, Opt.QuickAck, 0);
        tcp.Gets("F. 101:101 ack 1");
        tcp.SendsAfter(40, "ack 102");
    }

    [Fact]
    public void Setting_TCP_QUICKACK_sends_the_pending_ack_when_nothing_waits_to_be_read()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.QuickAck, 0);
        tcp.Gets("1:101 ack 1");
        tcp.App.Read(100);
        tcp.SendsNothing();
        tcp.App.Set(Opt.Tcp, Opt.QuickAck, 1);
        tcp.Sends("ack 101");
    }

    [Theory]
    [InlineData("1", 1)]
    [InlineData("3", 3)]
    public void So_many_answers_make_an_exchange_interactive(string threshold, int answers)
    {
        using var tcp = Story.Established(mss: 1000, settings: new StorySettings { Sysctls = { ["tcp_pingpong_thresh"] = threshold } });
        for (int i = 0; i < answers; i++)
        {
            Assert.Equal(1, tcp.App.Get(Opt.Tcp, Opt.QuickAck));
            tcp.Gets($"{1 + i * 10}:{11 + i * 10} ack {1 + i * 10}");
            tcp.App.Read(10);
            tcp.App.Write(10);
            tcp.Drain();
            tcp.Gets($"ack {11 + i * 10}");
        }
        Assert.Equal(0, tcp.App.Get(Opt.Tcp, Opt.QuickAck));
    }
}
