namespace Millrace.Conformance;

/// <summary>Accurate ECN on the side that was opened. RFC 9768.</summary>
public sealed class AccEcnServerStories
{
    private const string Syn = "SEWA 0:0 win 65535 <mss 1012, sackOK, nop, wscale 7>";

    private const string SynAck = "S.W 0:0 ack 1 <mss 1460, ECN e1b 1 ceb 0 e0b 1, nop, nop, nop, sackOK, nop, wscale 7>";

    private const string BareSynAck = "S.W 0:0 ack 1 <mss 1460, sackOK, wscale 7>";

    private const string ThirdAck = "[ect0] .W 1:1 ack 1 win 1024 <ECN e0b 1 ceb 0 e1b 1, nop>";

    private static StorySettings Settings(string mode = "3", string option = "2") => new()
    {
        Sysctls = { ["tcp_ecn"] = mode, ["tcp_ecn_option"] = option, ["tcp_early_retrans"] = "0" },
    };

    private static Story Agreed(string option = "2", string thirdAck = ThirdAck)
    {
        Story tcp = Story.Listening(Settings(option: option));
        tcp.Gets(Syn);
        tcp.Sends(option == "0" ? BareSynAck : SynAck);
        tcp.After(50);
        tcp.Gets(thirdAck);
        tcp.Accept();
        tcp.App.Set(Opt.Tcp, Opt.NoDelay, 1);
        return tcp;
    }

    [Fact]
    public void The_answer_tells_how_the_syn_arrived()
    {
        foreach ((string arrived, string told) in new[] { ("", "S.W"), ("[ect1] ", "S.EW"), ("[ect0] ", "S.A"), ("[ce] ", "S.WA") })
        {
            using Story tcp = Story.Listening(Settings(option: "0"));
            tcp.Gets(arrived + Syn);
            tcp.Sends($"{told} 0:0 ack 1 <...>");
        }
    }

    [Fact]
    public void Flags_that_nobody_has_defined_yet_ask_for_it_too()
    {
        foreach (string flags in new[] { "SE", "SW", "SA", "SEA", "SWA" })
        {
            using Story tcp = Story.Listening(Settings(option: "0"));
            tcp.Gets($"{flags} 0:0 win 65535 <mss 1012>");
            tcp.Sends("S.W 0:0 ack 1 <mss 1460>");
        }
    }

    [Fact]
    public void Whoever_asks_for_the_classic_kind_or_for_none_gets_that()
    {
        foreach ((string asked, string told) in new[] { ("SEW", "S.E"), ("S", "S.") })
        {
            using Story tcp = Story.Listening(Settings());
            tcp.Gets($"{asked} 0:0 win 65535 <mss 1012>");
            tcp.Sends($"{told} 0:0 ack 1 <mss 1460>");
        }
    }

    [Fact]
    public void A_server_that_knows_only_the_classic_kind_answers_with_it()
    {
        foreach ((string mode, string told) in new[] { ("0", "S."), ("1", "S.E"), ("2", "S.E") })
        {
            using Story tcp = Story.Listening(Settings(mode, "0"));
            tcp.Gets("SEWA 0:0 win 65535 <mss 1012>");
            tcp.Sends($"{told} 0:0 ack 1 <mss 1460>");
        }
    }

    [Fact]
    public void A_marked_syn_that_asks_for_more_than_is_known_gets_the_classic_kind()
    {
        using Story tcp = Story.Listening(Settings("1", "0"));
        tcp.Gets("[ect0] SEWA 0:0 win 65535 <mss 1012>");
        tcp.Sends("S.E 0:0 ack 1 <mss 1460>");
    }

    [Fact]
    public void Modes_3_4_and_5_all_agree()
    {
        foreach (string mode in new[] { "3", "4", "5" })
        {
            using Story tcp = Story.Listening(Settings(mode));
            tcp.Gets(Syn);
            tcp.Sends(SynAck);
        }
    }

    [Fact]
    public void The_option_stands_in_the_padding_if_room_is_short()
    {
        using Story tcp = Story.Listening(Settings());
        tcp.Gets("SEWA 0:0 win 65535 <mss 1012, sackOK, ts val 1 ecr 0, nop, wscale 7>");
        tcp.Sends("S.W 0:0 ack 1 <mss 1460, sackOK, ts val 100 ecr 1, ECN e1b 1 ceb 0 e0b 1, nop, nop, wscale 7>");
    }

    [Fact]
    public void The_first_data_is_capable_and_starts_from_five()
    {
        using Story tcp = Agreed();
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 1:101 ack 1 <ECN e1b 1 ceb 0 e0b 1>");
        Assert.Equal(0u, tcp.Info.DeliveredCe);
        Assert.Equal(2, tcp.Info.AccEcnOptionSeen);
    }

    [Fact]
    public void A_marked_third_ack_counts()
    {
        using Story tcp = Agreed(thirdAck: "[ce] .W 1:1 ack 1 win 1024 <ECN e0b 1 ceb 0 e1b 1, nop>");
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.WA 1:101 ack 1 <ECN e1b 1 ceb 0 e0b 1>");
        Assert.Equal(1u, tcp.Info.ReceivedCe);
    }

    [Fact]
    public void Data_may_come_in_the_place_of_a_third_ack_that_was_lost()
    {
        using Story tcp = Story.Listening(Settings());
        tcp.Gets(Syn);
        tcp.Sends(SynAck);
        tcp.After(50);
        tcp.Gets("[ce] P.EA 1:1001 ack 1 win 1024 <ECN e0b 1 ceb 0 e1b 1, nop>");
        tcp.Sends("[ect0] .WA ack 1001 <ECN e1b 1 ceb 1000 e0b 1>");
        tcp.Accept();
        Assert.Equal(0u, tcp.Info.DeliveredCe);
        tcp.Gets("[ce] P.EA 1001:2001 ack 1");
        tcp.Sends("[ect0] .EWA ack 2001 <ECN e1b 1 ceb 2000 e0b 1>");
    }

    [Fact]
    public void A_third_ack_that_comes_twice_tells_nothing()
    {
        using Story tcp = Agreed();
        tcp.Gets(ThirdAck);
        Assert.Equal(0u, tcp.Info.DeliveredCe);
        Assert.Equal(0, tcp.Info.AccEcnFailMode);
    }

    [Fact]
    public void A_third_ack_without_flags_ends_marking_and_the_reading_of_options_but_not_the_telling()
    {
        using Story tcp = Agreed(thirdAck: "[ect0] . 1:1 ack 1 win 1024 <ECN e0b 1 ceb 0 e1b 1, nop>");
        tcp.App.Write(100);
        tcp.Sends("P.EA 1:101 ack 1 <ECN e1b 1 ceb 0 e0b 1>");
        Assert.Equal(10, tcp.Info.AccEcnFailMode);
        tcp.Gets("[ce] P.EA 1:101 ack 101");
        tcp.Sends(".WA ack 101 <ECN e1b 1 ceb 100 e0b 1>");
    }

    [Fact]
    public void A_third_ack_that_tells_the_impossible_ends_marking()
    {
        using Story tcp = Agreed(thirdAck: "[ect0] .A 1:1 ack 1 win 1024");
        tcp.App.Write(100);
        tcp.Sends("P.EA 1:101 ack 1");
        Assert.Equal(2, tcp.Info.AccEcnFailMode);
    }

    [Fact]
    public void Without_the_fallback_everything_is_believed()
    {
        StorySettings settings = Settings(option: "0");
        settings.Sysctls["tcp_ecn_fallback"] = "0";
        using Story tcp = Story.Listening(settings);
        tcp.Gets(Syn);
        tcp.Sends(BareSynAck);
        tcp.Gets("[ect0] .WA 1:1 ack 1 win 1024");
        tcp.Accept();
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 1:101 ack 1");
        Assert.Equal(1u, tcp.Info.DeliveredCe);
    }

    [Fact]
    public void An_algorithm_that_lives_by_marks_marks_its_syn_ack_and_hears_of_it()
    {
        using Story tcp = Story.Listening(Settings(option: "0"), static listener => listener.UseCongestion("dctcp"));
        tcp.Gets(Syn);
        tcp.Sends("[ect0] " + BareSynAck);
        tcp.Gets("[ect0] .WA 1:1 ack 1 win 1024");
        tcp.Accept();
        Assert.Equal(1u, tcp.Info.DeliveredCe);
        Assert.Equal(0, tcp.Info.AccEcnFailMode);
    }

    [Fact]
    public void A_syn_ack_goes_again_without_the_option_and_then_without_flags()
    {
        using Story tcp = Story.Listening(Settings());
        tcp.Gets(Syn);
        tcp.Sends(SynAck);
        tcp.SendsAfter(1000, BareSynAck);
        tcp.SendsAfter(2000, "S. 0:0 ack 1 <mss 1460, sackOK, wscale 7>");
        // AccECN it is all the same, but what the flags may not pass is not marked.
        tcp.Gets(ThirdAck);
        tcp.Accept();
        tcp.App.Write(100);
        tcp.Sends("P.EA 1:101 ack 1 <ECN e1b 1 ceb 0 e0b 1>");
        Assert.Equal(1, tcp.Info.AccEcnFailMode);
    }

    [Fact]
    public void One_repetition_costs_nothing()
    {
        using Story tcp = Story.Listening(Settings());
        tcp.Gets(Syn);
        tcp.Sends(SynAck);
        tcp.SendsAfter(1000, BareSynAck);
        tcp.Gets(ThirdAck);
        tcp.Accept();
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 1:101 ack 1 <ECN e1b 1 ceb 0 e0b 1>");
    }

    [Fact]
    public void The_latest_syn_is_the_one_that_is_told_of()
    {
        using Story tcp = Story.Listening(Settings());
        tcp.Gets(Syn);
        tcp.Sends(SynAck);
        tcp.After(100);
        tcp.Gets("[ce] " + Syn);
        tcp.Sends("S.WA 0:0 ack 1 <mss 1460, sackOK, wscale 7>");
    }

    [Fact]
    public void A_syn_that_comes_again_without_flags_ends_marking()
    {
        using Story tcp = Story.Listening(Settings());
        tcp.Gets(Syn);
        tcp.Sends(SynAck);
        tcp.After(100);
        tcp.Gets("S 0:0 win 65535 <mss 1012, sackOK, nop, wscale 7>");
        tcp.Sends(BareSynAck);
        tcp.Gets(ThirdAck);
        tcp.Accept();
        tcp.App.Write(100);
        tcp.Sends("P.EA 1:101 ack 1 <ECN e1b 1 ceb 0 e0b 1>");
    }

    [Fact]
    public void An_option_that_first_comes_with_data_is_believed()
    {
        using Story tcp = Agreed(thirdAck: "[ect0] .W 1:1 ack 1 win 1024");
        tcp.App.Write(1000);
        tcp.Sends("[ect0] P.EA 1:1001 ack 1");
        tcp.Gets("[ect0] .EA 1:1 ack 1001 <ECN e0b 1001 ceb 0 e1b 1>");
        Assert.Equal(2, tcp.Info.AccEcnOptionSeen);
        Assert.Equal(1000u, tcp.Info.DeliveredE0Bytes);
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 1001:1101 ack 1 <ECN e1b 1 ceb 0 e0b 1>");
    }

    [Fact]
    public void A_zeroed_option_in_the_third_ack_is_not_read_later_either()
    {
        using Story tcp = Agreed(thirdAck: "[ect0] .W 1:1 ack 1 win 1024 <ECN e0b 0 ceb 0 e1b 0, nop>");
        tcp.App.Write(1000);
        Assert.Single(tcp.Drain());
        tcp.Gets("[ect0] .EA 1:1 ack 1001 <ECN e0b 1001 ceb 0 e1b 1>");
        Assert.Equal((8, 3), (tcp.Info.AccEcnFailMode, tcp.Info.AccEcnOptionSeen));
        Assert.Equal(0u, tcp.Info.DeliveredE0Bytes);
    }

    [Fact]
    public void With_timestamps_an_ack_that_is_newer_tells_even_without_data()
    {
        using Story tcp = Story.Listening(Settings(option: "0"));
        tcp.Gets("SEWA 0:0 win 65535 <mss 1012, sackOK, ts val 1 ecr 0, nop, wscale 7>");
        tcp.Sends("S.W 0:0 ack 1 <...>");
        tcp.Gets("[ect0] .W 1:1 ack 1 win 1024 <nop, nop, ts val 2 ecr 100>");
        tcp.Accept();
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 1:101 ack 1");
        tcp.Gets("[ect0] .WA 1:1 ack 1 <nop, nop, ts val 2 ecr 100>");
        Assert.Equal(0u, tcp.Info.DeliveredCe);
        tcp.Gets("[ect0] .WA 1:1 ack 1 <nop, nop, ts val 3 ecr 100>");
        Assert.Equal(1u, tcp.Info.DeliveredCe);
    }

    [Fact]
    public void With_timestamps_two_sack_blocks_leave_room_for_two_fields()
    {
        using Story tcp = Story.Listening(Settings());
        tcp.Gets("SEWA 0:0 win 65535 <mss 1012, sackOK, ts val 1 ecr 0, nop, wscale 7>");
        tcp.Sends("S.W 0:0 ack 1 <...>");
        tcp.Gets("[ect0] .W 1:1 ack 1 win 1024 <nop, nop, ts val 2 ecr 100, ECN e0b 1 ceb 0 e1b 1, nop>");
        tcp.Accept();
        tcp.Gets("[ect1] .EA 1001:2001 ack 1");
        tcp.Sends("[ect0] .EA ack 1 <ts val * ecr 2, ECN e1b 1001 ceb 0 e0b 1, sack 1001:2001>");
        tcp.Gets("[ect1] .EA 3001:4001 ack 1");
        tcp.Sends("[ect0] .EA ack 1 <ts val * ecr 2, ECN e1b 2001 ceb 0, sack 3001:4001 1001:2001>");
        tcp.Gets("[ce] .EA 5001:6001 ack 1");
        tcp.Sends("[ect0] .WA ack 1 <ts val * ecr 2, ECN e1b 2001 ceb 1000, sack 5001:6001 3001:4001>");
        // ECT(0) is the third field: there is no room for three, and two blocks stay.
        tcp.Gets("[ect0] .EA 6001:7001 ack 1");
        tcp.Sends("[ect0] .WA ack 1 <ts val * ecr 2, sack 5001:7001 3001:4001 1001:2001>");
    }

    [Fact]
    public void A_large_ack_without_an_option_is_taken_at_its_worst_until_acks_are_seen_to_be_thinned()
    {
        using Story tcp = Agreed("0", "[ect0] .W 1:1 ack 1 win 1024");
        tcp.App.Write(10_120);
        Assert.Equal(10, tcp.Drain().Count);
        // The first ACK is for ten packets: thinned, so that only what it says counts.
        tcp.Gets("[ect0] .WA 1:1 ack 10121");
        Assert.Equal(1u, tcp.Info.DeliveredCe);
    }

    [Fact]
    public void Where_acks_are_not_thinned_a_large_one_is_taken_at_its_worst()
    {
        using Story tcp = Agreed("0", "[ect0] .W 1:1 ack 1 win 1024");
        tcp.App.Write(20_240);
        Assert.Equal(10, tcp.Drain().Count);
        tcp.Gets("[ect0] .EA 1:1 ack 1013", "[ect0] .EA 1:1 ack 2025");
        tcp.Drain();
        tcp.Gets("[ect0] .EA 1:1 ack 10121");
        Assert.Equal(8u, tcp.Info.DeliveredCe);
    }

    [Fact]
    public void A_cookie_keeps_it_in_mind()
    {
        StorySettings settings = Settings(option: "0");
        settings.Sysctls["tcp_syncookies"] = "2";
        using Story tcp = Story.Listening(settings);
        tcp.Gets("SEWA 0:0 win 65535 <mss 1012, sackOK, ts val 1 ecr 0, nop, wscale 7>");
        Segment answer = Assert.Single(tcp.Drain());
        Assert.Equal("S.W", answer.Flags);
        tcp.Gets("[ect0] .W 1:1 ack 1 win 1024");
        tcp.Accept();
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 1:101 ack 1");
    }

    [Fact]
    public void A_cookie_without_timestamps_cannot_and_says_so()
    {
        StorySettings settings = Settings();
        settings.Sysctls["tcp_syncookies"] = "2";
        using Story tcp = Story.Listening(settings);
        tcp.Gets(Syn);
        tcp.Sends("S. 0:0 ack 1 <mss 1460>");
    }

    [Fact]
    public void A_fast_open_connection_has_it_from_the_start()
    {
        StorySettings settings = Settings();
        settings.Sysctls["tcp_fastopen"] = "0x602";
        using Story tcp = Story.Listening(settings, static listener => listener.Set(Opt.Tcp, Opt.FastOpen, 5));
        tcp.Gets("SEWA 0:100 win 65535 <mss 1012, sackOK, ts val 1 ecr 0, nop, wscale 7>");
        tcp.Sends("S.W 0:0 ack 101 <mss 1460, sackOK, ts val 100 ecr 1, ECN e1b 1 ceb 0 e0b 1, nop, nop, wscale 7>");
        tcp.Accept();
        tcp.After(50);
        tcp.Gets("[ect0] .W 101:101 ack 1 win 1024");
        // The reflection is no count.
        Assert.Equal(0u, tcp.Info.DeliveredCe);
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 1:101 ack 101");
    }

    [Fact]
    public void A_super_packet_counts_alike_in_all_its_segments()
    {
        using Story tcp = Agreed("0", "[ect0] .W 1:1 ack 1 win 1024");
        tcp.Gets("[ce] P.EA 1:101 ack 1", "[ce] P.EA 101:201 ack 1", "[ce] P.EA 201:301 ack 1", "[ce] P.EA 301:401 ack 1",
            "[ce] P.EA 401:501 ack 1");
        tcp.Drain();
        tcp.App.Write(5060);
        // Five and five are two, which is CWR.
        Assert.All(tcp.Drain(), static s => Assert.Equal(".W", s.Flags!.Replace("P", "", System.StringComparison.Ordinal)));
    }
}
