using System.Text;

namespace Millrace.Conformance;

/// <summary>How the window grows and shrinks. RFC 5681, RFC 6928, RFC 7661, RFC 9438, RFC 9406.</summary>
public sealed class CongestionStories
{
    private static StorySettings With(params (string Name, string Value)[] sysctls)
    {
        var settings = new StorySettings();
        foreach ((string name, string value) in sysctls)
            settings.Sysctls[name] = value;
        return settings;
    }

    private static void UseReno(App app) => app.UseCongestion("reno");

    [Fact]
    public void Slow_start_adds_what_is_acknowledged()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(100_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.After(50);
        tcp.Gets("ack 2001");
        tcp.SendsData(10_001, 14_001, 1000);
        Assert.Equal(12u, tcp.Info.SendCwnd);
        tcp.Gets("ack 4001");
        tcp.SendsData(14_001, 18_001, 1000);
        Assert.Equal(14u, tcp.Info.SendCwnd);
    }

    [Fact]
    public void A_window_that_is_not_used_does_not_grow()
    {
        using var tcp = Story.Established(mss: 1000);
        for (int i = 0; i < 4; i++)
        {
            tcp.App.Write(1000);
            tcp.Sends($"{1 + i * 1000}:{1001 + i * 1000} ack 1");
            tcp.After(10);
            tcp.Gets($"ack {1001 + i * 1000}");
        }
        Assert.Equal(10u, tcp.Info.SendCwnd);
    }

    [Fact]
    public void An_idle_time_brings_the_window_back_to_the_initial_one()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(20_000);
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 10001");
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 20001");
        Assert.True(tcp.Info.SendCwnd >= 20);
        tcp.After(1500);
        tcp.App.Write(30_000);
        tcp.SendsData(20_001, 30_001, 1000);
    }

    [Fact]
    public void Idle_restart_can_be_turned_off()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_slow_start_after_idle", "0")));
        tcp.App.Write(20_000);
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 10001");
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 20001");
        uint before = tcp.Info.SendCwnd;
        tcp.After(1500);
        tcp.App.Write(30_000);
        Assert.Equal((int)before, tcp.Drain().Count);
    }

    [Fact]
    public void Cubic_reduces_to_seven_tenths()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(10_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.After(50);
        tcp.Gets("ack 1 <sack 1001:10001>");
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 10001");
        Assert.Equal(7u, tcp.Info.SendCwnd);
    }

    [Fact]
    public void Reno_reduces_to_half()
    {
        using var tcp = Story.Established(mss: 1000, prepare: UseReno);
        tcp.App.Write(10_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.After(50);
        tcp.Gets("ack 1 <sack 1001:10001>");
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 10001");
        Assert.Equal(5u, tcp.Info.SendCwnd);
    }

    [Fact]
    public void Reno_grows_by_one_segment_a_round_trip_after_a_loss()
    {
        using var tcp = Story.Established(mss: 1000, prepare: UseReno);
        tcp.App.Write(100_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.After(50);
        tcp.Gets("ack 1 <sack 1001:10001>");
        tcp.Drain();
        tcp.After(50);
        tcp.Gets($"ack {tcp.Peer.LocalNext}");
        uint cwnd = tcp.Info.SendCwnd;
        for (int round = 0; round < 3; round++)
        {
            tcp.Drain();
            tcp.After(50);
            tcp.Gets($"ack {tcp.Peer.LocalNext}");
        }
        Assert.InRange(tcp.Info.SendCwnd, cwnd + 2, cwnd + 4);
    }

    [Fact]
    public void The_algorithm_can_be_asked_for_and_changed()
    {
        using var tcp = Story.Established(prepare: UseReno);
        var name = new byte[16];
        tcp.Backend.GetOption(tcp.App.Fd, Opt.Tcp, Opt.Congestion, name);
        Assert.Equal("reno", Encoding.ASCII.GetString(name).TrimEnd('\0'));
        Assert.Equal(0, tcp.App.TrySet(Opt.Tcp, Opt.Congestion, Encoding.ASCII.GetBytes("cubic")).Value);
    }

    [Fact]
    public void An_unknown_algorithm_is_not_found()
    {
        using var tcp = Story.Established();
        Assert.Equal(Errno.ENOENT, tcp.App.TrySet(Opt.Tcp, Opt.Congestion, Encoding.ASCII.GetBytes("nonesuch")).Error);
    }

    [Fact]
    public void A_timeout_sets_the_threshold_to_seven_tenths_of_the_window()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_early_retrans", "0")));
        tcp.App.Write(10_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.SendsAfter(250, "1:1001 ack 1");
        Assert.Equal(7u, tcp.Info.SendSsthresh);
        Assert.Equal(1u, tcp.Info.SendCwnd);
    }

    [Fact]
    public void A_second_timeout_does_not_lower_the_threshold_again()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_early_retrans", "0")));
        tcp.App.Write(10_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.SendsAfter(250, "1:1001 ack 1");
        tcp.SendsAfter(500, "1:1001 ack 1");
        Assert.Equal(7u, tcp.Info.SendSsthresh);
    }

    [Fact]
    public void SO_MAX_PACING_RATE_spaces_segments_after_the_first_ten()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.MaxPacingRate, 100_000);
        tcp.App.Write(10_000);
        Assert.Equal(10, tcp.Drain().Count);
        tcp.After(50);
        tcp.Gets("ack 10001");
        tcp.App.Write(10_000);
        int atOnce = tcp.Drain().Count;
        Assert.InRange(atOnce, 1, 4);
        tcp.After(95);
        Assert.Equal(10 - atOnce, tcp.Drain().Count);
    }

    [Fact]
    public void Delivered_segments_are_counted_once()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(5000);
        tcp.SendsData(1, 5001, 1000);
        tcp.After(50);
        tcp.Gets("ack 2001 <sack 3001:4001>", "ack 5001");
        // The handshake counts as one.
        Assert.Equal(6u, tcp.Info.Delivered);
    }

    [Fact]
    public void Round_trip_and_variation_follow_rfc_6298()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.After(50);
        tcp.Gets("ack 1001");
        Assert.InRange(tcp.Info.Rtt, 50_000u, 75_000u);
        Assert.InRange(tcp.Info.MinRtt, 50_000u, 75_000u);
    }
}
