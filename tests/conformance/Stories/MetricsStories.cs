using System;
using System.Globalization;
using System.Linq;
using Millrace.Inet;
using Millrace.Sched;

namespace Millrace.Conformance;

/// <summary>What a connection leaves to the next one between the same addresses. Linux: tcp_metrics.c.</summary>
public sealed class MetricsStories
{
    private static StorySettings Saving(params (string Name, string Value)[] sysctls)
    {
        var settings = new StorySettings { Sysctls = { ["tcp_no_metrics_save"] = "0", ["tcp_early_retrans"] = "0" } };
        foreach ((string name, string value) in sysctls)
            settings.Sysctls[name] = value;
        return settings;
    }

    private static void CloseActively(Story tcp, double rtt)
    {
        tcp.App.Close();
        tcp.Drain();
        tcp.After(rtt);
        tcp.Gets($". ack {tcp.Peer.LocalNext}", $"F. ack {tcp.Peer.LocalNext}");
        tcp.Drain();
    }

    // A connection from begin to end, after which the story's next peer knocks.
    private static void FirstConnection(Story tcp, double rtt)
    {
        tcp.Peer.Shakes(new Peer(1000, Rtt: rtt));
        tcp.Accept();
        CloseActively(tcp, rtt);
    }

    private static Flow SecondConnection(Story tcp, double rtt = 1)
    {
        Flow next = tcp.NewFlow();
        next.Shakes(new Peer(1000, Rtt: rtt));
        tcp.Accept();
        return next;
    }

    // A number of the one line that there is; 0 if it is not in it.
    private static long Metric(Story tcp, string name)
    {
        string[] words = tcp.Backend.TcpMetrics().Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        int at = Array.IndexOf(words, name);
        return at < 0 ? 0 : long.Parse(words[at + 1].AsSpan().TrimEnd("us"), CultureInfo.InvariantCulture);
    }

    private static void Near(Story tcp, double ms, long micros)
    {
        long wanted = (long)(ms * 1000), off = tcp.Backend.Tolerance(wanted);
        Assert.InRange(micros, wanted - off, wanted + off);
    }

    [Fact]
    public void A_connection_leaves_its_round_trip_and_its_window()
    {
        using Story tcp = Story.Listening(Saving());
        FirstConnection(tcp, 100);
        Near(tcp, 100, Metric(tcp, "rtt"));
        Near(tcp, 100, Metric(tcp, "rttvar"));
        Assert.Equal(10, Metric(tcp, "cwnd"));
        Assert.Equal(0, Metric(tcp, "ssthresh"));
        Assert.Contains($"source {tcp.Backend.Local}", tcp.Backend.TcpMetrics(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_connection_that_the_peer_closes_first_leaves_it_too()
    {
        using Story tcp = Story.Listening(Saving());
        tcp.Peer.Shakes(new Peer(1000, Rtt: 100));
        tcp.Accept();
        tcp.Gets("F. 1:1 ack 1");
        tcp.Drain();
        tcp.App.Close();
        tcp.Drain();
        Assert.Equal("", tcp.Backend.TcpMetrics());
        tcp.After(100);
        tcp.Gets("ack 2");
        Near(tcp, 100, Metric(tcp, "rtt"));
    }

    [Fact]
    public void A_connection_that_is_reset_leaves_nothing()
    {
        using Story tcp = Story.Listening(Saving());
        tcp.Peer.Shakes(new Peer(1000, Rtt: 100));
        tcp.Accept();
        tcp.Gets("R 1:1");
        Assert.Equal("", tcp.Backend.TcpMetrics());
    }

    [Fact]
    public void Nothing_is_left_if_that_is_not_wanted()
    {
        using Story tcp = Story.Listening(Saving(("tcp_no_metrics_save", "1")));
        FirstConnection(tcp, 100);
        Assert.Equal("", tcp.Backend.TcpMetrics());
    }

    [Fact]
    public void A_shorter_round_trip_counts_an_eighth_and_a_longer_one_at_once()
    {
        using Story tcp = Story.Listening(Saving());
        FirstConnection(tcp, 200);
        tcp.Peer.Drain();
        Flow second = SecondConnection(tcp, 40);
        tcp.App.Close();
        second.Drain();
        tcp.After(40);
        second.Gets("ack 2", "F. ack 2");
        Near(tcp, 180, Metric(tcp, "rtt"));
        Flow third = SecondConnection(tcp, 300);
        tcp.App.Close();
        third.Drain();
        tcp.After(300);
        third.Gets("ack 2", "F. ack 2");
        Near(tcp, 300, Metric(tcp, "rtt"));
    }

    [Fact]
    public void The_next_connection_starts_with_the_longer_round_trip()
    {
        using Story tcp = Story.Listening(Saving());
        FirstConnection(tcp, 300);
        Flow second = SecondConnection(tcp, 10);
        Near(tcp, 900, tcp.Info.Rto);
        tcp.App.Write(100);
        second.Sends("1:101 ack 1");
        second.SendsAfter(900, "1:101 ack 1");
    }

    [Fact]
    public void Its_own_longer_round_trip_is_not_shortened()
    {
        using Story tcp = Story.Listening(Saving());
        FirstConnection(tcp, 10);
        SecondConnection(tcp, 300);
        Near(tcp, 900, tcp.Info.Rto);
    }

    // Three duplicate ACKs bring the window down, and the connection ends in congestion avoidance.
    private static void ConnectionWithLoss(Story tcp)
    {
        tcp.Peer.Shakes(new Peer(1000, Rtt: 20));
        tcp.Accept();
        tcp.App.UseCongestion("reno");
        tcp.App.Write(10_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.After(20);
        tcp.Gets("ack 1 <sack 1001:10001, nop, nop>");
        tcp.Drain();
        tcp.After(20);
        tcp.Gets("ack 10001");
        tcp.Drain();
        for (int i = 0; i < 2; i++)
        {
            tcp.App.Write(5000);
            tcp.Drain();
            tcp.After(20);
            tcp.Gets($"ack {tcp.Peer.LocalNext}");
        }
        CloseActively(tcp, 20);
    }

    [Fact]
    public void A_threshold_that_a_loss_has_set_is_kept_if_that_is_wanted()
    {
        using Story tcp = Story.Listening(Saving(("tcp_no_ssthresh_metrics_save", "0")));
        ConnectionWithLoss(tcp);
        Assert.Equal(5, Metric(tcp, "ssthresh"));
        SecondConnection(tcp);
        Assert.Equal(5u, tcp.Info.SendSsthresh);
    }

    [Fact]
    public void By_default_no_threshold_is_kept()
    {
        using Story tcp = Story.Listening(Saving());
        ConnectionWithLoss(tcp);
        Assert.Equal(0, Metric(tcp, "ssthresh"));
        SecondConnection(tcp);
        Assert.Equal(int.MaxValue, (int)tcp.Info.SendSsthresh);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Reordering_is_known_to_the_next_connection_if_the_last_was_still_recovering(bool recovering)
    {
        using Story tcp = Story.Listening(Saving(("tcp_frto", "0")));
        tcp.Peer.Shakes(new Peer(1000, Rtt: 20));
        tcp.Accept();
        tcp.App.Write(10_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.After(20);
        tcp.Gets("ack 1 <sack 6001:7001, nop, nop>", "ack 1 <sack 1001:2001 6001:7001, nop, nop>", "ack 10001");
        tcp.Drain();
        uint seen = tcp.Info.Reordering;
        Assert.True(seen > 3);
        if (recovering)
        {
            tcp.App.Write(1000);
            tcp.Drain();
            tcp.Peer.Next(400);
            tcp.Gets("ack 11001");
        }
        CloseActively(tcp, 20);
        Assert.Equal(recovering ? seen : 0, Metric(tcp, "reordering"));
        Assert.Equal(recovering ? 6 : 19, Metric(tcp, "cwnd"));
        SecondConnection(tcp);
        Assert.Equal(recovering ? seen : 3, tcp.Info.Reordering);
    }

    [Fact]
    public void What_the_route_locks_no_connection_changes()
    {
        using Story tcp = Story.Listening(Saving(("tcp_no_ssthresh_metrics_save", "0")));
        tcp.Backend.SetRoute(new RouteMetrics
        {
            Srtt8 = Micros.FromMilliseconds(8 * 250),
            Rttvar4 = Micros.FromMilliseconds(4 * 70),
            Ssthresh = 7,
            Cwnd = 5,
            Reordering = 9,
            Locked = LearnedMetrics.Rtt | LearnedMetrics.Rttvar | LearnedMetrics.Ssthresh | LearnedMetrics.Cwnd | LearnedMetrics.Reordering,
        });
        ConnectionWithLoss(tcp);
        Assert.Equal((250_000, 70_000, 7, 5, 9),
            (Metric(tcp, "rtt"), Metric(tcp, "rttvar"), Metric(tcp, "ssthresh"), Metric(tcp, "cwnd"), Metric(tcp, "reordering")));
        Flow second = SecondConnection(tcp);
        Assert.Equal((5u, 9u), (tcp.Info.SendSsthresh, tcp.Info.Reordering));
        tcp.App.Write(20_000);
        second.SendsData(1, 5001, 1000);
    }

    [Fact]
    public void What_the_route_only_suggests_the_first_connection_changes()
    {
        using Story tcp = Story.Listening(Saving(("tcp_no_ssthresh_metrics_save", "0")));
        tcp.Backend.SetRoute(new RouteMetrics { Ssthresh = 7, Cwnd = 4 });
        FirstConnection(tcp, 1);
        Assert.Equal((7, 10), (Metric(tcp, "ssthresh"), Metric(tcp, "cwnd")));
        SecondConnection(tcp);
        Assert.Equal((7u, 10u), (tcp.Info.SendSsthresh, tcp.Info.SendCwnd));
    }

    [Fact]
    public void A_peer_that_is_known_gets_one_of_the_last_places_for_syns()
    {
        using Story tcp = Story.Listening(Saving(("tcp_syncookies", "0"), ("tcp_max_syn_backlog", "4")));
        Flow[] knocking = [.. Enumerable.Range(0, 5).Select(_ => tcp.NewFlow())];
        foreach (Flow flow in knocking)
            flow.Gets("S 0:0 win 65535 <mss 1000>");
        Assert.Equal([1, 1, 1, 1, 0], knocking.Select(static f => f.Drain().Count));
        foreach (Flow flow in knocking[..4])
            flow.Gets("R 1:1");
        FirstConnection(tcp, 5);
        knocking = [.. Enumerable.Range(0, 5).Select(_ => tcp.NewFlow())];
        foreach (Flow flow in knocking)
            flow.Gets("S 0:0 win 65535 <mss 1000>");
        Assert.Equal([1, 1, 1, 1, 1], knocking.Select(static f => f.Drain().Count));
    }

    [Fact]
    public void A_fast_open_cookie_and_its_mss_are_kept_though_nothing_else_is()
    {
        using Story tcp = Story.Connecting(
            new StorySettings { Sysctls = { ["tcp_fastopen"] = "1" } }, static app => app.Set(Opt.Tcp, Opt.FastOpenConnect, 1));
        tcp.Drain();
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 940, FO 0123456789abcdef>");
        tcp.Drain();
        Assert.Equal(940, Metric(tcp, "fo_mss"));
        Assert.Contains("fo_cookie 0123456789abcdef", tcp.Backend.TcpMetrics(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_syn_with_data_that_is_lost_is_counted()
    {
        using Story tcp = Story.Connecting(
            new StorySettings { Sysctls = { ["tcp_fastopen"] = "1" } }, static app => app.Set(Opt.Tcp, Opt.FastOpenConnect, 1));
        tcp.Drain();
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 940, FO 0123456789abcdef>");
        tcp.Drain();
        tcp.App.Close();
        tcp.Drain();
        tcp.ConnectWithData(500);
        tcp.Drain();
        tcp.Peer.Next(1100);
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 940>");
        tcp.Drain();
        Assert.Contains("fo_syn_drops 1/", tcp.Backend.TcpMetrics(), StringComparison.Ordinal);
    }
}
