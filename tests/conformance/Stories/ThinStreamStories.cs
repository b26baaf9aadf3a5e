namespace Millrace.Conformance;

/// <summary>Streams with so few segments out that duplicates never come: Linux's linear timeouts, and what decides in their place.</summary>
public sealed class ThinStreamStories
{
    private const int ThinLinearTimeouts = 16;

    private static StorySettings With(params (string Name, string Value)[] sysctls)
    {
        var settings = new StorySettings();
        foreach ((string name, string value) in sysctls)
            settings.Sysctls[name] = value;
        return settings;
    }

    [Fact]
    public void A_thin_stream_times_out_six_times_before_it_backs_off()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_thin_linear_timeouts", "1"), ("tcp_early_retrans", "0")));
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        for (int i = 0; i < 7; i++)
            tcp.SendsAfter(250, "1:1001 ack 1");
        tcp.SendsAfter(500, "1:1001 ack 1");
    }

    [Fact]
    public void A_socket_may_ask_for_it_alone()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_early_retrans", "0")));
        tcp.App.Set(Opt.Tcp, ThinLinearTimeouts, 1);
        tcp.App.Write(3000);
        tcp.SendsData(1, 3001, 1000);
        for (int i = 0; i < 3; i++)
            tcp.SendsAfter(250, "1:1001 ack 1");
    }

    [Fact]
    public void Four_segments_out_are_not_thin()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_thin_linear_timeouts", "1"), ("tcp_early_retrans", "0")));
        tcp.App.Write(4000);
        tcp.SendsData(1, 4001, 1000);
        tcp.SendsAfter(250, "1:1001 ack 1");
        tcp.SendsAfter(500, "1:1001 ack 1");
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(5, true)]
    public void The_third_duplicate_decides_at_once_unless_bit_4_of_tcp_recovery_forbids_it(int recovery, bool waits)
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_recovery", $"{recovery}")));
        tcp.App.Write(5000);
        tcp.SendsData(1, 5001, 1000);
        tcp.After(50);
        tcp.Gets("ack 1 <sack 1001:4001>");
        if (waits)
            tcp.SendsAfter(14, "1:1001 ack 1");
        else
            tcp.Sends("1:1001 ack 1");
    }

    [Fact]
    public void Reordering_that_is_seen_counts_up_to_tcp_max_reordering()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_max_reordering", "5")));
        tcp.App.Write(10_000);
        tcp.SendsData(1, 10_001, 1000);
        tcp.After(50);
        tcp.Gets("ack 1 <sack 9001:10001>", "ack 1 <sack 1001:2001 9001:10001>");
        Assert.Equal(5u, tcp.Info.Reordering);
    }

    [Fact]
    public void A_report_holds_four_blocks_without_timestamps_and_the_latest_first()
    {
        using var tcp = Story.Established(mss: 1000);
        for (int i = 1; i <= 7; i += 2)
            tcp.Gets($"{i * 1000 + 1}:{i * 1000 + 101} ack 1");
        tcp.After(20);
        Assert.Contains("sack 7001:7101 5001:5101 3001:3101 1001:1101", tcp.Drain()[^1].Options!);
    }

    [Fact]
    public void With_timestamps_it_holds_three()
    {
        using var tcp = Story.Established(mss: 1000, ts: true);
        for (int i = 1; i <= 7; i += 2)
            tcp.Gets($"{i * 1000 + 1}:{i * 1000 + 101} ack 1");
        tcp.After(20);
        Assert.Contains("sack 7001:7101 5001:5101 3001:3101", tcp.Drain()[^1].Options!);
    }
}
