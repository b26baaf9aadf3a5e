namespace Millrace.Conformance;

/// <summary>What TCP_INFO says. Linux: struct tcp_info.</summary>
public sealed class InfoStories
{
    [Fact]
    public void Bytes_and_segments_are_counted_in_both_directions()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(2500);
        tcp.Drain();
        tcp.Gets("ack 2001");
        tcp.Gets("1:1001 ack 2501");
        tcp.Drain();
        TcpInfo info = tcp.Info;
        Assert.Equal((2500ul, 2500ul, 1000ul), (info.BytesSent, info.BytesAcked, info.BytesReceived));
        Assert.Equal((3u, 1u), (info.DataSegmentsOut, info.DataSegmentsIn));
        // A FIN without data is a segment, but none of data.
        tcp.Gets("F. 1001:1001 ack 2501");
        Assert.Equal((info.SegmentsIn + 1, 1u), (tcp.Info.SegmentsIn, tcp.Info.DataSegmentsIn));
    }

    [Fact]
    public void What_is_out_lost_and_retransmitted_is_told()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(5000);
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 1 <sack 2001:5001>");
        tcp.Drain();
        TcpInfo info = tcp.Info;
        Assert.Equal((5u, 3u, 2u), (info.Unacked, info.Sacked, info.Lost));
        Assert.Equal(info.Retransmitted, info.TotalRetransmits);
        Assert.Equal(info.BytesRetransmitted, info.TotalRetransmits * 1000ul);
    }

    [Fact]
    public void Retransmissions_and_backoff_count_timeouts()
    {
        using var tcp = Story.Established(mss: 1000, settings: new StorySettings { Sysctls = { ["tcp_early_retrans"] = "0" } });
        tcp.App.Write(1000);
        tcp.Drain();
        tcp.After(330);
        tcp.Drain();
        TcpInfo info = tcp.Info;
        Assert.Equal((1, 1, 1u), (info.Retransmits, info.Backoff, info.TotalRetransmits));
        Assert.Equal(1, info.TotalRto);
    }

    [Fact]
    public void Options_tell_what_was_negotiated()
    {
        using var tcp = Story.Established(mss: 1000, ts: true);
        Assert.Equal(7, tcp.Info.Options & 7);
        Assert.Equal(7 | 7 << 4, tcp.Info.WindowScales);
    }

    [Fact]
    public void Segment_sizes_are_told()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:701 ack 1");
        tcp.Drain();
        TcpInfo info = tcp.Info;
        Assert.Equal((1000u, 1460u, 1500u), (info.SendMss, info.AdvertisedMss, info.PathMtu - (uint)(Story.Mtu(1500) - 1500)));
    }

    [Fact]
    public void Time_limited_by_the_peers_window_is_told()
    {
        using var tcp = Story.Established(mss: 1000, wscale: null, win: 1000);
        tcp.App.Write(5000);
        tcp.Drain();
        tcp.After(100);
        Assert.True(tcp.Info.ReceiveWindowLimited >= 90_000);
        Assert.True(tcp.Info.BusyTime >= 90_000);
    }

    [Fact]
    public void Times_since_data_went_and_came_are_told()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(100);
        tcp.Drain();
        tcp.After(100);
        tcp.Gets("1:101 ack 101");
        tcp.Drain();
        tcp.After(100);
        TcpInfo info = tcp.Info;
        Assert.InRange(info.LastDataSent, 190u, 320u);
        Assert.InRange(info.LastDataReceived, 90u, 220u);
        Assert.InRange(info.LastAckReceived, 90u, 220u);
    }

    [Fact]
    public void A_listener_tells_its_queue_and_its_limit()
    {
        using var tcp = Story.Listening(new StorySettings { Backlog = 5 });
        tcp.Peer.Shakes(new Peer());
        var info = new byte[TcpInfo.Length];
        tcp.Backend.GetOption(tcp.Listener.Fd, Opt.Tcp, Opt.TcpInfo, info);
        TcpInfo listener = TcpInfo.Read(info);
        Assert.Equal((10, 1u, 5u), (listener.State, listener.Unacked, listener.Sacked));
    }

    [Fact]
    public void Early_segments_are_counted()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1", "3001:4001 ack 1");
        tcp.Drain();
        Assert.Equal(2u, tcp.Info.OutOfOrderReceived);
    }

    [Fact]
    public void Dsacks_are_counted()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(5000);
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 1 <sack 1001:5001>");
        tcp.Drain();
        tcp.Gets("ack 5001", "ack 5001 <sack 1:1001>");
        Assert.Equal(1u, tcp.Info.DsackDuplicates);
    }

    [Fact]
    public void A_reset_leaves_what_was_known_of_the_packets()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(8000);
        tcp.SendsData(1, 8001, 1000);
        tcp.Gets("ack 1 <sack 4001:8001>");
        tcp.Drain();
        TcpInfo before = tcp.Info;
        Assert.Equal((8u, 4u), (before.Unacked, before.Sacked));
        tcp.Gets("R. 1:1 ack 1");
        TcpInfo after = tcp.Info;
        Assert.Equal((0u, before.Sacked, before.Lost, before.Retransmitted), (after.Unacked, after.Sacked, after.Lost, after.Retransmitted));
        Assert.NotEqual(0u, after.Lost);
    }
}
