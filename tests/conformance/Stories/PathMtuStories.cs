namespace Millrace.Conformance;

/// <summary>A path that swallows large segments and says nothing: RFC 4821, as tcp_mtu_probing.</summary>
public sealed class PathMtuStories
{
    private static StorySettings With(params (string Name, string Value)[] sysctls)
    {
        var settings = new StorySettings { Sysctls = { ["tcp_early_retrans"] = "0" } };
        foreach ((string name, string value) in sysctls)
            settings.Sysctls[name] = value;
        return settings;
    }

    private static Story TimesOut(int probing)
    {
        Story tcp = Story.Established(mss: 1460, settings: With(("tcp_mtu_probing", $"{probing}"), ("tcp_retries1", "2")));
        tcp.App.Write(1460);
        tcp.Sends("1:1461 ack 1");
        tcp.SendsAfter(250, "1:1461 ack 1");
        tcp.SendsAfter(500, "1:1461 ack 1");
        return tcp;
    }

    [Fact]
    public void After_tcp_retries1_timeouts_segments_of_tcp_base_mss_are_tried()
    {
        using Story tcp = TimesOut(1);
        tcp.SendsAfter(1000, "1:1025 ack 1");
        tcp.Gets("ack 1025");
        tcp.Sends("1025:1461 ack 1");
        Assert.Equal(1024u, tcp.Info.SendMss);
    }

    [Fact]
    public void Without_probing_they_stay_as_large_as_they_were()
    {
        using Story tcp = TimesOut(0);
        tcp.SendsAfter(1000, "1:1461 ack 1");
    }

    // The first MSS is that of the SYN's header, which is longer by the timestamps that the peer then does not want.
    [Fact]
    public void Who_probes_from_the_start_begins_with_the_packet_of_tcp_base_mss()
    {
        using var tcp = Story.Connected(mss: 1460, settings: With(("tcp_mtu_probing", "2")));
        Assert.Equal(1036u, tcp.Info.SendMss);
    }

    // Searching between 1024 and 1460, with 12 segments let out: the first probe is half way between.
    private static Story Probing(out Segment probe)
    {
        Story tcp = Story.Connected(mss: 1460, ts: true, settings: With(("tcp_mtu_probing", "2")));
        Assert.Equal(1024u, tcp.Info.SendMss);
        tcp.App.Write(10 * 1024);
        tcp.SendsData(1, 10_241, 1024);
        tcp.After(50);
        tcp.Gets("ack 10241");
        tcp.App.Write(20 * 1024);
        probe = tcp.Peer.Next(1).Segment;
        tcp.Drain();
        tcp.After(50);
        return tcp;
    }

    [Fact]
    public void A_probe_that_arrives_makes_segments_larger()
    {
        using Story tcp = Probing(out Segment probe);
        Assert.Equal(1236, probe.Length);
        tcp.Gets($"ack {10_241 + 1236}");
        Assert.Equal(1236u, tcp.Info.SendMss);
        Assert.Equal(1, tcp.Counter("TcpExtTCPMTUPSuccess"));
    }

    [Fact]
    public void A_probe_that_alone_is_lost_costs_no_window_and_goes_in_small_segments()
    {
        using Story tcp = Probing(out Segment probe);
        long next = 10_241 + probe.Length;
        tcp.Gets($"ack 10241 <sack {next}:{next + 4096}>");
        Assert.Equal(1, tcp.Counter("TcpExtTCPMTUPFail"));
        Assert.Equal(1024u, tcp.Info.SendMss);
        Segment again = tcp.Drain()[0];
        Assert.Equal((10_241L, 1024), (again.Seq, again.Length));
        Assert.True(tcp.Info.SendCwnd >= 12, $"{tcp.Info.SendCwnd}");
    }
}
