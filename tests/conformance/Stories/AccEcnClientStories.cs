using System.Linq;

namespace Millrace.Conformance;

/// <summary>Accurate ECN on the side that opened the connection. RFC 9768.</summary>
public sealed class AccEcnClientStories
{
    // Options that every segment bears while nothing ECN-capable has come.
    private const string First = "<ECN e1b 1 ceb 0 e0b 1>";

    // A SYN is out that may be answered with AccECN.
    private static Story Asked(string option = "2")
    {
        var tcp = Story.Idle(new StorySettings
        {
            Sysctls = { ["tcp_ecn_option"] = option, ["tcp_early_retrans"] = "0", ["tcp_syn_linear_timeouts"] = "0" },
        });
        tcp.Backend.AskForAccEcn();
        tcp.Connect();
        Assert.StartsWith("SEW", Assert.Single(tcp.Drain()).Flags, System.StringComparison.Ordinal);
        return tcp;
    }

    // The server has agreed, with options.
    private static Story Agreed(string option = "2")
    {
        Story tcp = Asked(option);
        tcp.After(50);
        tcp.Gets("S.W 0:0 ack 1 win 65535 <mss 1012, ECN e0b 1 ceb 0 e1b 1, nop, nop, nop, sackOK, nop, wscale 7>");
        tcp.Sends($"[ect0] .W 1:1 ack 1 {(option == "0" ? "" : First)}");
        tcp.App.Set(Opt.Tcp, Opt.NoDelay, 1);
        return tcp;
    }

    private static StorySettings Full(string mode = "3") => new()
    {
        Sysctls = { ["tcp_ecn"] = mode, ["tcp_early_retrans"] = "0", ["tcp_syn_linear_timeouts"] = "0" },
    };

    [Fact]
    public void It_is_asked_for_with_all_three_flags()
    {
        using var tcp = Story.Connecting(Full());
        tcp.Sends("SEWA 0:0 <...>");
    }

    [Fact]
    public void Mode_4_asks_for_the_classic_kind_and_mode_5_for_none()
    {
        using (var tcp = Story.Connecting(Full("4")))
            tcp.Sends("SEW 0:0 <...>");
        using (var tcp = Story.Connecting(Full("5")))
            tcp.Sends("S 0:0 <...>");
    }

    [Fact]
    public void A_syn_asks_twice_and_then_no_more()
    {
        using var tcp = Story.Connecting(Full());
        tcp.Sends("SEWA 0:0 <...>");
        tcp.SendsAfter(1000, "SEWA 0:0 <...>");
        tcp.SendsAfter(2000, "S 0:0 <...>");
    }

    [Fact]
    public void An_answer_to_the_third_syn_may_still_agree()
    {
        using var tcp = Story.Connecting(Full());
        tcp.Sends("SEWA 0:0 <...>");
        tcp.SendsAfter(1000, "SEWA 0:0 <...>");
        tcp.SendsAfter(2000, "S 0:0 <...>");
        tcp.Gets("S.W 0:0 ack 1 win 65535 <mss 1012, ECN e0b 1 ceb 0 e1b 1>");
        tcp.Sends($"[ect0] .W 1:1 ack 1 {First}");
    }

    [Fact]
    public void The_third_ack_tells_how_the_syn_ack_arrived()
    {
        foreach ((string arrived, string told) in new[] { ("", ".W"), ("[ect1] ", ".EW"), ("[ect0] ", ".A"), ("[ce] ", ".WA") })
        {
            using Story tcp = Asked("0");
            tcp.Gets($"{arrived}S.W 0:0 ack 1 win 65535 <mss 1012>");
            tcp.Sends($"[ect0] {told} 1:1 ack 1");
        }
    }

    [Fact]
    public void Every_answer_that_reflects_a_codepoint_agrees()
    {
        foreach (string answer in new[] { "S.W", "S.EW", "S.A", "S.WA" })
        {
            using Story tcp = Asked("0");
            tcp.Gets($"{answer} 0:0 ack 1 win 65535 <mss 1012>");
            tcp.Sends("[ect0] .W 1:1 ack 1");
        }
    }

    [Fact]
    public void A_classic_server_gets_classic_ecn()
    {
        using var tcp = Story.Connecting(Full());
        tcp.Sends("SEWA 0:0 <...>");
        tcp.Gets("S.E 0:0 ack 1 win 65535 <mss 1012>");
        tcp.Sends(". ack 1");
        tcp.App.Write(100);
        tcp.Sends("[ect0] 1:101 ack 1");
    }

    [Fact]
    public void A_server_that_answers_with_no_flags_or_all_of_them_turns_it_off()
    {
        foreach (string answer in new[] { "S.", "S.EWA" })
        {
            using var tcp = Story.Connecting(Full());
            tcp.Sends("SEWA 0:0 <...>");
            tcp.Gets($"{answer} 0:0 ack 1 win 65535 <mss 1012>");
            tcp.Sends(". ack 1");
            tcp.App.Write(100);
            tcp.Sends("1:101 ack 1");
            Assert.Equal(0, tcp.Info.Options & 8);
        }
    }

    [Fact]
    public void The_nonce_of_old_is_taken_for_it()
    {
        using var tcp = Story.Connecting(Full());
        tcp.Sends("SEWA 0:0 <...>");
        tcp.Gets("[ce] S.EA 0:0 ack 1 win 65535 <mss 1012>");
        tcp.Sends("[ect0] .WA 1:1 ack 1");
        tcp.App.Write(100);
        // One packet has come marked, the SYN-ACK: five and one.
        tcp.Sends("[ect0] P.WA 1:101 ack 1");
    }

    [Fact]
    public void A_marked_syn_ack_counts_if_its_answer_to_ours_can_be_true()
    {
        using Story tcp = Asked("0");
        tcp.Gets("[ce] S.W 0:0 ack 1 win 65535 <mss 1012>");
        tcp.Sends("[ect0] .WA 1:1 ack 1");
        Assert.Equal(1u, tcp.Info.ReceivedCe);
    }

    [Fact]
    public void A_marked_syn_ack_that_tells_the_impossible_ends_marking()
    {
        // Our SYN was not ECN-capable; nothing on the path may make it ECT(0).
        using Story tcp = Asked("0");
        tcp.Gets("[ce] S.A 0:0 ack 1 win 65535 <mss 1012>");
        tcp.Sends(".WA 1:1 ack 1");
        tcp.App.Write(100);
        tcp.Sends("P.EA 1:101 ack 1");
        Assert.Equal(2, tcp.Info.AccEcnFailMode);
        Assert.Equal(0u, tcp.Info.ReceivedCe);
    }

    [Fact]
    public void A_server_without_an_option_gets_none()
    {
        using Story tcp = Asked();
        tcp.Gets("S.W 0:0 ack 1 win 65535 <mss 1012>");
        tcp.Sends("[ect0] .W 1:1 ack 1");
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 1:101 ack 1");
        Assert.Equal(0, tcp.Info.AccEcnOptionSeen);
    }

    [Fact]
    public void An_empty_option_is_an_option()
    {
        using Story tcp = Asked();
        tcp.Gets("S.W 0:0 ack 1 win 65535 <mss 1012, ECN>");
        tcp.Sends($"[ect0] .W 1:1 ack 1 {First}");
        Assert.Equal(1, tcp.Info.AccEcnOptionSeen);
    }

    [Fact]
    public void A_zeroed_option_is_noticed_and_not_read()
    {
        using Story tcp = Asked();
        tcp.Gets("S.W 0:0 ack 1 win 65535 <mss 1012, ECN e0b 0 ceb 0 e1b 0>");
        tcp.Sends($"[ect0] .W 1:1 ack 1 {First}");
        tcp.App.Write(100);
        tcp.Sends($"[ect0] P.EA 1:101 ack 1 {First}");
        tcp.Gets("[ect0] .EA 1:1 ack 101 <ECN e0b 101 ceb 0 e1b 1>");
        Assert.Equal(8, tcp.Info.AccEcnFailMode);
        Assert.Equal(3, tcp.Info.AccEcnOptionSeen);
        Assert.Equal(0u, tcp.Info.DeliveredE0Bytes);
    }

    [Fact]
    public void A_repeated_syn_ack_is_answered_by_how_it_arrived()
    {
        using Story tcp = Agreed();
        tcp.After(100);
        tcp.Gets("S.W 0:0 ack 1 win 65535 <mss 1012, ECN e0b 1 ceb 0 e1b 1>");
        tcp.Sends($"[ect0] .W 1:1 ack 1 {First}");
    }

    [Fact]
    public void All_segments_are_capable_and_bear_the_count_and_the_option()
    {
        using Story tcp = Agreed();
        tcp.App.Write(3000);
        tcp.Sends($"[ect0] .EA 1:1001 ack 1 {First}", $"[ect0] P.EA 1001:2001 ack 1 {First}", $"[ect0] P.EA 2001:3001 ack 1 {First}");
        tcp.Gets("[ect0] .EA 1:1 ack 3001 <ECN e0b 3001 ceb 0 e1b 1>");
        Assert.Equal(3000u, tcp.Info.DeliveredE0Bytes);
        Assert.Equal(0u, tcp.Info.DeliveredCe);
        Assert.Equal(8, tcp.Info.Options & 8);
        Assert.Equal(2, tcp.Info.AccEcnOptionSeen);
    }

    [Fact]
    public void Retransmissions_are_capable_too()
    {
        using Story tcp = Agreed("0");
        tcp.App.Write(1000);
        tcp.Sends("[ect0] P.EA 1:1001 ack 1");
        tcp.SendsAfter(250, "[ect0] P.EA 1:1001 ack 1");
    }

    [Fact]
    public void A_count_that_moves_on_reduces_the_window_once()
    {
        using Story tcp = Agreed("0");
        tcp.App.Write(20_000);
        Assert.Equal(10, tcp.Drain().Count);
        tcp.After(50);
        // Two marked: seven.
        tcp.Gets("[ect0] .EWA 1:1 ack 5061");
        Assert.Equal(2u, tcp.Info.DeliveredCe);
        Assert.Equal(2, tcp.Info.CongestionState);
        Assert.Equal(7u, tcp.Info.SendSsthresh);
        Assert.Equal(2, tcp.Counter("TcpExtTCPDeliveredCE"));
        // And one more: the field is zero.
        tcp.Gets("[ect0] . 1:1 ack 10121");
        Assert.Equal(3u, tcp.Info.DeliveredCe);
        Assert.Equal(7u, tcp.Info.SendSsthresh);
        Assert.DoesNotContain(tcp.Drain(), static s => !s.Flags!.StartsWith(".EA", System.StringComparison.Ordinal) && !s.Has('P'));
    }

    [Fact]
    public void An_algorithm_that_lives_by_marks_asks_on_a_capable_syn_and_hears_of_each_mark()
    {
        using var tcp = Story.Idle(new StorySettings { Sysctls = { ["tcp_ecn_option"] = "0", ["tcp_early_retrans"] = "0" } });
        tcp.Backend.AskForAccEcn();
        tcp.Connect(static app => app.UseCongestion("dctcp"));
        Assert.Equal(2, Assert.Single(tcp.Drain()).Ecn);
        tcp.After(50);
        tcp.Gets("S.A 0:0 ack 1 win 65535 <mss 1012, sackOK, nop, wscale 7>");
        tcp.Sends("[ect0] .W 1:1 ack 1");
        tcp.App.Write(10_120);
        Assert.Equal(10, tcp.Drain().Count);
        tcp.After(50);
        tcp.Gets("[ect0] .WA 1:1 ack 1013");
        Assert.Equal((1u, 5u), (tcp.Info.DeliveredCe, tcp.Info.SendSsthresh));
        tcp.Drain();
        tcp.Gets("[ect0] .EWA 1:1 ack 3037");
        Assert.Equal(2u, tcp.Info.DeliveredCe);
    }

    [Fact]
    public void An_ack_that_brings_nothing_forward_tells_nothing()
    {
        using Story tcp = Agreed("0");
        tcp.App.Write(1000);
        tcp.Sends("[ect0] P.EA 1:1001 ack 1");
        tcp.Gets("[ect0] .WA 1:1 ack 1");
        Assert.Equal(0u, tcp.Info.DeliveredCe);
    }

    [Fact]
    public void A_marked_byte_in_the_option_counts_where_the_field_does()
    {
        using Story tcp = Agreed();
        tcp.App.Write(2000);
        Assert.Equal(2, tcp.Drain().Count);
        tcp.Gets("[ect0] .EA 1:1 ack 1001 <ECN e0b 1001 ceb 0 e1b 1>");
        tcp.Gets("[ect0] .WA 1:1 ack 2001 <ECN e0b 1001 ceb 1000 e1b 1>");
        Assert.Equal(1u, tcp.Info.DeliveredCe);
        Assert.Equal(1000u, tcp.Info.DeliveredE0Bytes);
        Assert.Equal(1000u, tcp.Info.DeliveredCeBytes);
    }

    [Fact]
    public void Bytes_are_counted_whichever_field_comes_first()
    {
        using Story tcp = Agreed();
        tcp.App.Write(1000);
        Assert.Single(tcp.Drain());
        tcp.Gets("[ect0] .WA 1:1 ack 1001 <ECN e1b 1 ceb 600 e0b 401>");
        Assert.Equal(400u, tcp.Info.DeliveredE0Bytes);
        Assert.Equal(600u, tcp.Info.DeliveredCeBytes);
    }

    [Fact]
    public void After_an_option_bytes_are_taken_to_go_on_as_before()
    {
        using Story tcp = Agreed();
        tcp.App.Write(3000);
        Assert.Equal(3, tcp.Drain().Count);
        tcp.Gets("[ect0] .EA 1:1 ack 1001 <ECN e0b 1001 ceb 0 e1b 1>");
        tcp.Gets("[ect0] .EA 1:1 ack 3001");
        Assert.Equal(3000u, tcp.Info.DeliveredE0Bytes);
    }

    [Fact]
    public void A_whole_turn_of_the_field_is_ruled_out_by_the_option()
    {
        using Story tcp = Agreed();
        tcp.App.Write(10_000);
        Assert.Equal(10, tcp.Drain().Count);
        tcp.Gets("[ect0] .EA 1:1 ack 1001 <ECN e0b 1001 ceb 0 e1b 1>");
        tcp.Drain();
        tcp.Gets("[ect0] .EA 1:1 ack 10001 <ECN e0b 10001 ceb 0 e1b 1>");
        Assert.Equal(0u, tcp.Info.DeliveredCe);
    }

    [Fact]
    public void A_whole_turn_of_the_field_is_taken_for_one_if_the_option_says_that_bytes_were_marked()
    {
        using Story tcp = Agreed();
        tcp.App.Write(10_000);
        Assert.Equal(10, tcp.Drain().Count);
        tcp.Gets("[ect0] .WA 1:1 ack 1001 <ECN e0b 1 ceb 1000 e1b 1>");
        tcp.Drain();
        tcp.Gets("[ect0] .WA 1:1 ack 10001 <ECN e0b 1001 ceb 9000 e1b 1>");
        // One before; then none or eight of nine.
        Assert.Equal(9u, tcp.Info.DeliveredCe);
        Assert.Equal(9000u, tcp.Info.DeliveredCeBytes);
    }

    [Fact]
    public void Without_options_a_large_ack_is_taken_at_its_worst()
    {
        using Story tcp = Agreed("0");
        tcp.App.Write(10_120);
        Assert.Equal(10, tcp.Drain().Count);
        tcp.Gets("[ect0] .EA 1:1 ack 1013");
        tcp.Gets("[ect0] .EA 1:1 ack 10121");
        Assert.Equal(8u, tcp.Info.DeliveredCe);
    }

    [Fact]
    public void Data_is_acknowledged_at_once_when_its_codepoint_changes()
    {
        using Story tcp = Agreed();
        tcp.Gets("[ect0] .EA 1:1001 ack 1");
        tcp.Sends("[ect0] .EA ack 1001 <ECN e1b 1 ceb 0 e0b 1001>");
        tcp.Gets("[ce] .EA 1001:2001 ack 1");
        tcp.Sends("[ect0] .WA ack 2001 <ECN e1b 1 ceb 1000 e0b 1001>");
        tcp.Gets("[ect1] .EA 2001:3001 ack 1");
        tcp.Sends("[ect0] .WA ack 3001 <ECN e1b 1001 ceb 1000 e0b 1001>");
        Assert.Equal(1u, tcp.Info.ReceivedCe);
        Assert.Equal((1000u, 1000u, 1000u), (tcp.Info.ReceivedE0Bytes, tcp.Info.ReceivedE1Bytes, tcp.Info.ReceivedCeBytes));
    }

    [Fact]
    public void The_count_goes_round_after_eight()
    {
        using Story tcp = Agreed("0");
        string[] counts = [".WA", ".EWA", ".", ".E", ".W", ".EW", ".A", ".EA", ".WA"];
        for (int i = 0; i < counts.Length; i++)
        {
            tcp.Gets($"[ce] .EA {1 + i * 1000}:{1001 + i * 1000} ack 1");
            tcp.Sends($"[ect0] {counts[i]} ack {1001 + i * 1000}");
        }
        Assert.Equal(9u, tcp.Info.ReceivedCe);
    }

    [Fact]
    public void Marked_acks_count_as_packets_but_have_no_bytes()
    {
        using Story tcp = Agreed("0");
        tcp.App.Write(1000);
        tcp.Sends("[ect0] P.EA 1:1001 ack 1");
        tcp.Gets("[ce] .EA 1:1 ack 1001");
        tcp.App.Write(1000);
        tcp.Sends("[ect0] P.WA 1001:2001 ack 1");
        Assert.Equal(0u, tcp.Info.ReceivedCeBytes);
    }

    [Fact]
    public void No_sack_block_gives_way_while_two_fields_are_enough()
    {
        using Story tcp = Agreed();
        tcp.Gets("[ect1] .EA 1001:2001 ack 1");
        tcp.Sends("[ect0] .EA ack 1 <ECN e1b 1001 ceb 0 e0b 1, sack 1001:2001>");
        tcp.Gets("[ect0] .EA 3001:4001 ack 1");
        tcp.Sends("[ect0] .EA ack 1 <ECN e1b 1001 ceb 0 e0b 1001, sack 3001:4001 1001:2001>");
        tcp.Gets("[ce] .EA 5001:6001 ack 1");
        tcp.Sends("[ect0] .WA ack 1 <ECN e1b 1001 ceb 1000 e0b 1001, sack 5001:6001 3001:4001 1001:2001>");
    }

    [Fact]
    public void A_fourth_sack_block_gives_way_to_the_field_that_has_changed()
    {
        using Story tcp = Agreed();
        tcp.Gets("[ect1] .EA 1001:2001 ack 1", "[ect1] .EA 3001:4001 ack 1", "[ect1] .EA 5001:6001 ack 1");
        Assert.Equal(3, tcp.Drain().Count);
        tcp.Gets("[ect0] .EA 7001:8001 ack 1");
        tcp.Sends("[ect0] .EA ack 1 <ECN e1b 3001 ceb 0 e0b 1001, sack 7001:8001 5001:6001 3001:4001>");
    }

    [Fact]
    public void Acks_with_an_option_that_do_not_seem_to_arrive_come_without()
    {
        using Story tcp = Agreed();
        tcp.Gets("[ect0] .EA 1:1001 ack 1");
        tcp.Sends("[ect0] .EA ack 1001 <ECN e1b 1 ceb 0 e0b 1001>");
        tcp.After(300);
        tcp.Gets("[ect0] .EA 1:1001 ack 1");
        tcp.Sends("[ect0] .EA ack 1001 <ECN e1b 1 ceb 0 e0b 2001, sack 1:1001>");
        tcp.After(300);
        tcp.Gets("[ect0] .EA 1:1001 ack 1");
        tcp.Sends("[ect0] .EA ack 1001 <sack 1:1001>");
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 1:101 ack 1001");
        Assert.Equal(4, tcp.Info.AccEcnFailMode);
    }

    [Fact]
    public void Option_mode_3_sends_them_all_the_same()
    {
        using Story tcp = Agreed("3");
        for (int i = 0; i < 3; i++)
        {
            tcp.Gets("[ect0] .EA 1:1001 ack 1");
            Assert.Contains(tcp.Drain().Single().Options!, static o => o.StartsWith("ECN", System.StringComparison.Ordinal));
            tcp.After(300);
        }
    }

    [Fact]
    public void Option_mode_1_sends_two_after_a_change_and_then_beacons()
    {
        using Story tcp = Agreed("1");
        tcp.Gets("[ect0] .EA 1:1001 ack 1");
        tcp.Sends("[ect0] .EA ack 1001 <ECN e1b 1 ceb 0 e0b 1001>");
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 1:101 ack 1001 <ECN e1b 1 ceb 0 e0b 1001>");
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 101:201 ack 1001");
        // Three for each round trip of 50 ms.
        tcp.After(20);
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 201:301 ack 1001 <ECN e1b 1 ceb 0 e0b 1001>");
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 301:401 ack 1001");
    }

    [Fact]
    public void Without_beacons_mode_1_is_silent_until_something_changes()
    {
        using Story tcp = Agreed("1");
        tcp.Sysctl("tcp_ecn_option_beacon", "0");
        tcp.App.Write(100);
        tcp.Sends($"[ect0] P.EA 1:101 ack 1 {First}");
        tcp.After(60);
        tcp.App.Write(100);
        tcp.Sends("[ect0] P.EA 101:201 ack 1");
    }

    [Fact]
    public void Six_marked_packets_that_no_ack_has_told_are_told_at_once()
    {
        using Story tcp = Agreed("0");
        tcp.App.Write(7000);
        Assert.Equal(7, tcp.Drain().Count);
        tcp.Gets([.. Enumerable.Range(0, 5).Select(static i => $"[ce] .EA 1:1 ack {1013 + i * 1012}")]);
        tcp.SendsNothing();
        tcp.Gets("[ce] .EA 1:1 ack 6073");
        tcp.Gets("[ce] P.EA 1:101 ack 6073");
        tcp.Sends("[ect0] .A ack 101");
    }

    [Fact]
    public void The_last_ack_of_a_connection_that_is_over_is_capable_and_counts_nothing()
    {
        using Story tcp = Agreed("0");
        tcp.App.Close();
        tcp.Sends("[ect0] F.EA 1:1 ack 1");
        tcp.Gets("[ect0] .EA 1:1 ack 2");
        tcp.Gets("[ect0] F.EA 1:1 ack 2");
        tcp.Sends("[ect0] . 2:2 ack 2");
    }

    [Fact]
    public void Two_who_open_at_once_agree()
    {
        using var tcp = Story.Connecting(Full());
        tcp.Sends("SEWA 0:0 <...>");
        tcp.Gets("[ect0] SEWA 0:0 win 65535 <mss 1012, sackOK, nop, wscale 7>");
        tcp.Sends("S.A 0:0 ack 1 <mss 1460, sackOK, ts val 100 ecr 0, ECN e1b 1 ceb 0 e0b 1, nop, nop, wscale 7>");
        tcp.Gets("S.W 0:0 ack 1 win 65535 <mss 1012, ECN e0b 1 ceb 0 e1b 1>");
        tcp.Drain();
        tcp.App.Write(100);
        tcp.Sends($"[ect0] P.EA 1:101 ack 1 {First}");
    }
}
