using System.Linq;

namespace Millrace.Conformance;

/// <summary>How fast, and in how large packets, a connection sends. Linux: tcp_update_pacing_rate, tcp_tso_autosize, tcp_tso_should_defer.</summary>
public sealed class PacingStories
{
    private static StorySettings With(params (string Name, string Value)[] sysctls)
    {
        var settings = new StorySettings { Offload = true };
        foreach ((string name, string value) in sysctls)
            settings.Sysctls[name] = value;
        return settings;
    }

    // Ten segments out in 50 ms: 200 kB/s, times what the setting says.
    [Theory]
    [InlineData("200", 400_000)]
    [InlineData("100", 200_000)]
    public void In_slow_start_the_rate_is_the_window_over_the_round_trip_times_tcp_pacing_ss_ratio(string ratio, int rate)
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_pacing_ss_ratio", ratio)));
        tcp.App.Write(10_000);
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 1001");
        // One more is in the window by now.
        Assert.InRange(tcp.Info.PacingRate, (ulong)(rate * 0.95), (ulong)(rate * 1.12));
    }

    [Theory]
    [InlineData("120", 168_000)]
    [InlineData("300", 420_000)]
    public void Above_half_the_threshold_it_is_times_tcp_pacing_ca_ratio(string ratio, int rate)
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_pacing_ca_ratio", ratio)));
        tcp.App.Write(10_000);
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 1 <sack 1001:10001>");
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 10001");
        Assert.Equal(7u, tcp.Info.SendCwnd);
        Assert.InRange(tcp.Info.PacingRate, (ulong)(rate * 0.9), (ulong)(rate * 1.05));
    }

    [Theory]
    [InlineData("2", 2000)]
    [InlineData("4", 4000)]
    public void A_slow_connection_sends_packets_of_tcp_min_tso_segs(string least, int length)
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_min_tso_segs", least)));
        tcp.App.Set(Opt.Socket, Opt.MaxPacingRate, 1_000_000);
        tcp.App.Write(8000);
        Assert.All(tcp.Drain(), s => Assert.Equal(length, s.Length));
    }

    [Fact]
    public void A_fast_one_sends_as_much_as_it_may_at_once()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_tso_rtt_log", "0")));
        tcp.App.Set(Opt.Socket, Opt.MaxPacingRate, 1 << 30);
        tcp.App.Write(10_000);
        Assert.True(tcp.Drain().Max(static s => s.Length) >= 2000);
    }

    [Fact]
    public void A_small_segment_waits_for_a_small_one_but_not_for_full_ones()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(2000);
        tcp.SendsData(1, 2001, 1000);
        tcp.App.Write(100);
        tcp.Sends("2001:2101 ack 1");
        tcp.App.Write(100);
        tcp.SendsNothing();
        tcp.Gets("ack 2001");
        tcp.SendsNothing();
        tcp.Gets("ack 2101");
        tcp.Sends("2101:2201 ack 1");
    }

    [Fact]
    public void A_cork_holds_even_what_nagle_would_let_go_and_no_full_segment()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.NoDelay, 1);
        tcp.App.Set(Opt.Tcp, Opt.Cork, 1);
        tcp.App.Write(1300);
        tcp.Sends("1:1001 ack 1");
        tcp.App.Set(Opt.Tcp, Opt.Cork, 0);
        tcp.Sends("1001:1301 ack 1");
    }
}
