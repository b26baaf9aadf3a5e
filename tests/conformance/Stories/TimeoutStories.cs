namespace Millrace.Conformance;

/// <summary>The retransmission timer, tail loss probes, and what ends a connection that nobody answers. RFC 6298, RFC 8985 §7, RFC 5682.</summary>
public sealed class TimeoutStories
{
    private static StorySettings NoProbe(params (string Name, string Value)[] more)
    {
        var settings = new StorySettings { Sysctls = { ["tcp_early_retrans"] = "0" } };
        foreach ((string name, string value) in more)
            settings.Sysctls[name] = value;
        return settings;
    }

    [Fact]
    public void The_timeout_is_the_round_trip_plus_at_least_200_ms()
    {
        using var tcp = Story.Established(mss: 1000, settings: NoProbe());
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 1");
        tcp.SendsAfter(250, "1:101 ack 1");
        Assert.Equal(1, tcp.Counter("TcpExtTCPTimeouts"));
    }

    [Fact]
    public void Each_timeout_doubles_the_next()
    {
        using var tcp = Story.Established(mss: 1000, settings: NoProbe());
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 1");
        tcp.SendsAfter(250, "1:101 ack 1");
        tcp.SendsAfter(500, "1:101 ack 1");
        tcp.SendsAfter(1000, "1:101 ack 1");
        Assert.Equal(3, tcp.Info.Backoff);
    }

    [Fact]
    public void An_ack_of_new_data_ends_the_backoff()
    {
        using var tcp = Story.Established(mss: 1000, ts: true, settings: NoProbe());
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 1");
        tcp.SendsAfter(250, "1:101 ack 1");
        tcp.SendsAfter(500, "1:101 ack 1");
        tcp.Gets("ack 101");
        Assert.Equal(0, tcp.Info.Backoff);
        tcp.App.Write(100);
        tcp.Sends("101:201 ack 1");
        Assert.InRange(tcp.Info.Rto, 200_000u, 350_000u);
    }

    [Fact]
    public void After_a_timeout_the_window_is_one_segment()
    {
        using var tcp = Story.Established(mss: 1000, settings: NoProbe());
        tcp.App.Write(4000);
        tcp.SendsData(1, 4001, 1000);
        tcp.SendsAfter(250, "1:1001 ack 1");
        Assert.Equal(1u, tcp.Info.SendCwnd);
        Assert.Equal(4, tcp.Info.CongestionState);
    }

    [Fact]
    public void After_a_timeout_slow_start_sends_what_is_lost()
    {
        using var tcp = Story.Established(mss: 1000, sack: false, settings: NoProbe(("tcp_frto", "0")));
        tcp.App.Write(4000);
        tcp.SendsData(1, 4001, 1000);
        tcp.SendsAfter(250, "1:1001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 1001");
        tcp.Sends("1001:2001 ack 1", "2001:3001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 3001");
        tcp.Sends("3001:4001 ack 1");
    }

    [Fact]
    public void A_lone_segment_is_probed_when_its_ack_is_late()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.SendsAfter(250, "1:1001 ack 1");
        Assert.Equal(1, tcp.Counter("TcpExtTCPLossProbes"));
        Assert.Equal(0, tcp.Counter("TcpExtTCPTimeouts"));
    }

    [Fact]
    public void The_last_segment_of_several_is_probed_after_two_round_trips()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(3000);
        tcp.SendsData(1, 3001, 1000);
        tcp.SendsAfter(102, "2001:3001 ack 1");
        Assert.Equal(1, tcp.Counter("TcpExtTCPLossProbes"));
    }

    [Fact]
    public void A_probe_carries_new_data_if_there_is_some()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(12_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.SendsAfter(102, "10001:11001 ack 1");
    }

    [Fact]
    public void Only_one_probe_goes_before_the_timeout()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(3000);
        tcp.SendsData(1, 3001, 1000);
        tcp.SendsAfter(102, "2001:3001 ack 1");
        tcp.SendsAfter(250, "1:1001 ack 1");
        Assert.Equal(1, tcp.Counter("TcpExtTCPTimeouts"));
    }

    [Fact]
    public void A_sack_of_the_probe_shows_the_loss_and_starts_recovery()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(3000);
        tcp.SendsData(1, 3001, 1000);
        tcp.SendsAfter(102, "2001:3001 ack 1");
        tcp.After(60);
        tcp.Gets("ack 1 <sack 2001:3001>");
        tcp.Sends("1:1001 ack 1");
        Assert.Equal(3, tcp.Info.CongestionState);
    }

    [Fact]
    public void A_probe_that_repaired_the_tail_costs_the_window()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(3000);
        tcp.SendsData(1, 3001, 1000);
        tcp.After(50);
        tcp.Gets("ack 2001");
        (Segment probe, double _) = tcp.Peer.Next(300);
        Assert.Equal(2001, probe.Seq);
        tcp.After(50);
        tcp.Gets("ack 3001");
        Assert.Equal(0, tcp.Counter("TcpExtTCPLossProbeRecovery"));
        tcp.App.Write(1000);
        tcp.Sends("3001:4001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 4001");
        Assert.Equal(1, tcp.Counter("TcpExtTCPLossProbeRecovery"));
        Assert.InRange(tcp.Info.SendCwnd, 7u, 8u);
    }

    [Fact]
    public void A_dsack_of_the_probe_shows_that_it_was_needless()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(2000);
        tcp.SendsData(1, 2001, 1000);
        (Segment probe, double _) = tcp.Peer.Next(300);
        Assert.Equal(1001, probe.Seq);
        tcp.Gets("ack 2001", "ack 2001 <sack 1001:2001>");
        tcp.App.Write(1000);
        tcp.Sends("2001:3001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 3001");
        Assert.Equal(0, tcp.Counter("TcpExtTCPLossProbeRecovery"));
        Assert.True(tcp.Info.SendCwnd >= 10);
    }

    [Fact]
    public void Frto_sends_new_data_first_and_undoes_the_timeout_when_it_was_spurious()
    {
        using var tcp = Story.Established(mss: 1000, settings: NoProbe());
        tcp.App.Write(4000);
        tcp.SendsData(1, 4001, 1000);
        tcp.SendsAfter(250, "1:1001 ack 1");
        tcp.App.Write(4000);
        tcp.SendsNothing();
        tcp.Gets("ack 1001");
        tcp.Sends("4001:5001 ack 1", "5001:6001 ack 1");
        tcp.Gets("ack 2001");
        Assert.Equal(1, tcp.Counter("TcpExtTCPSpuriousRTOs"));
        Assert.True(tcp.Info.SendCwnd >= 10);
        Assert.Equal(0, tcp.Info.CongestionState);
    }

    [Fact]
    public void Timestamps_undo_a_spurious_timeout_at_once()
    {
        using var tcp = Story.Established(mss: 1000, ts: true, settings: NoProbe());
        tcp.App.Write(1976);
        tcp.SendsData(1, 1977, 988);
        tcp.SendsAfter(250, "1:989 ack 1");
        tcp.After(5);
        long original = tcp.Peer.FirstDataTimestamp;
        tcp.Gets($"ack 989 <nop, nop, ts val 2000 ecr {original}>");
        Assert.Equal(0, tcp.Info.CongestionState);
        Assert.Equal(10u, tcp.Info.SendCwnd);
        Assert.Equal(1, tcp.Counter("TcpExtTCPLossUndo"));
    }

    [Fact]
    public void A_timeout_that_the_echo_does_not_excuse_is_not_undone()
    {
        using var tcp = Story.Established(mss: 1000, ts: true, settings: NoProbe());
        tcp.App.Write(1976);
        tcp.SendsData(1, 1977, 988);
        tcp.SendsAfter(250, "1:989 ack 1");
        tcp.After(50);
        tcp.Gets("ack 989");
        tcp.Sends("989:1977 ack 1");
        Assert.Equal(4, tcp.Info.CongestionState);
        Assert.Equal(0, tcp.Counter("TcpExtTCPLossUndo"));
    }

    [Fact]
    public void TCP_USER_TIMEOUT_ends_a_connection_that_is_not_answered()
    {
        using var tcp = Story.Established(mss: 1000, settings: NoProbe());
        tcp.App.Set(Opt.Tcp, Opt.UserTimeout, 1000);
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 1");
        tcp.SendsAfter(250, "1:101 ack 1");
        tcp.SendsAfter(500, "1:101 ack 1");
        tcp.SendsNothingFor(700);
        Assert.Equal(Errno.ETIMEDOUT, tcp.App.TakeError());
        Assert.Equal(1, tcp.Counter("TcpExtTCPAbortOnTimeout"));
    }

    [Fact]
    public void Tcp_retries2_bounds_retransmission()
    {
        using var tcp = Story.Established(mss: 1000, settings: NoProbe(("tcp_retries2", "2")));
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 1");
        tcp.SendsAfter(250, "1:101 ack 1");
        tcp.SendsAfter(500, "1:101 ack 1");
        tcp.SendsNothingFor(1200);
        Assert.Equal(Errno.ETIMEDOUT, tcp.App.TakeError());
    }

    [Fact]
    public void A_retransmission_takes_small_neighbours_along()
    {
        using var tcp = Story.Established(mss: 1000, settings: NoProbe());
        tcp.App.Set(Opt.Tcp, Opt.NoDelay, 1);
        tcp.App.Write(200);
        tcp.App.Write(200);
        tcp.App.Write(200);
        tcp.Sends("1:201 ack 1", "201:401 ack 1", "401:601 ack 1");
        tcp.SendsAfter(250, "1:601 ack 1");
    }

    [Fact]
    public void What_is_acknowledged_in_part_is_retransmitted_from_there()
    {
        using var tcp = Story.Established(mss: 1000, settings: NoProbe());
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.Gets("ack 501");
        (Segment again, double _) = tcp.Peer.Next(400);
        Assert.Equal((501, 500), (again.Seq, again.Length));
    }

    [Fact]
    public void Keepalive_probes_below_the_left_edge_and_gives_up()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.KeepAlive, 1);
        tcp.App.Set(Opt.Tcp, Opt.KeepIdle, 1);
        tcp.App.Set(Opt.Tcp, Opt.KeepIntvl, 1);
        tcp.App.Set(Opt.Tcp, Opt.KeepCnt, 2);
        tcp.SendsAfter(1000, ". 0:0 ack 1");
        tcp.SendsAfter(1000, ". 0:0 ack 1");
        tcp.SendsAfter(1000, "R. 1:1 ack 1");
        Assert.Equal(Errno.ETIMEDOUT, tcp.App.TakeError());
        Assert.Equal(2, tcp.Counter("TcpExtTCPKeepAlive"));
    }

    [Fact]
    public void An_answered_keepalive_starts_the_idle_time_again()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.KeepAlive, 1);
        tcp.App.Set(Opt.Tcp, Opt.KeepIdle, 1);
        tcp.App.Set(Opt.Tcp, Opt.KeepIntvl, 1);
        tcp.App.Set(Opt.Tcp, Opt.KeepCnt, 1);
        tcp.SendsAfter(1000, ". 0:0 ack 1");
        tcp.Gets("ack 1");
        tcp.SendsAfter(1000, ". 0:0 ack 1");
        tcp.Gets("ack 1");
        Assert.Equal((byte)1, tcp.Info.State);
    }

    [Fact]
    public void A_keepalive_of_the_peer_is_acknowledged()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:1 ack 1", "0:0 ack 1");
        tcp.Sends("ack 1");
    }
}
