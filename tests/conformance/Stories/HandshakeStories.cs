using System.Linq;

namespace Millrace.Conformance;

/// <summary>Opening a connection, from either side and from both. RFC 9293 §3.5, RFC 7323 §2, RFC 2018 §2.</summary>
public sealed class HandshakeStories
{
    [Fact]
    public void A_listener_answers_with_its_options_in_Linuxs_order()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1460, sackOK, ts val 1000 ecr 0, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 win 65160 <mss 1460, sackOK, ts val * ecr 1000, nop, wscale 7>");
    }

    [Fact]
    public void Without_timestamps_two_nops_stand_before_sack_permitted()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1460, sackOK, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 win 64240 <mss 1460, nop, nop, sackOK, nop, wscale 7>");
    }

    [Fact]
    public void Without_sack_two_nops_stand_before_the_timestamp()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1460, nop, nop, ts val 1000 ecr 0, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460, nop, nop, ts val * ecr 1000, nop, wscale 7>");
    }

    [Fact]
    public void What_the_peer_does_not_offer_is_not_answered()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1460>");
        tcp.Sends("S. 0:0 ack 1 win 64240 <mss 1460>");
    }

    [Fact]
    public void A_peer_that_names_no_mss_gets_segments_of_536()
    {
        using var tcp = Story.Established(mss: null, sack: false, wscale: null);
        tcp.App.Write(1000);
        tcp.Sends("1:537 ack 1", "537:1001 ack 1");
    }

    [Fact]
    public void An_mss_of_zero_counts_as_none()
    {
        using var tcp = Story.Established(mss: 0);
        tcp.App.Write(600);
        tcp.Sends("1:537 ack 1", "537:601 ack 1");
    }

    [Fact]
    public void A_tiny_mss_is_raised_to_48()
    {
        using var tcp = Story.Established(mss: 8);
        tcp.App.Write(100);
        tcp.Sends("1:49 ack 1", "49:97 ack 1", "97:101 ack 1");
    }

    [Fact]
    public void The_mss_option_does_not_count_timestamps_but_segments_do()
    {
        using var tcp = Story.Established(mss: 1000, ts: true);
        tcp.App.Write(1976);
        tcp.Sends("1:989 ack 1", "989:1977 ack 1");
        Assert.Equal(988u, tcp.Info.SendMss);
    }

    [Fact]
    public void A_large_mss_is_held_to_the_own_mtu()
    {
        using var tcp = Story.Established(mss: 9000);
        tcp.App.Write(2920);
        tcp.Sends("1:1461 ack 1", "1461:2921 ack 1");
    }

    [Fact]
    public void A_window_scale_above_14_is_taken_as_14()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000, sackOK, nop, wscale 15>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460, nop, nop, sackOK, nop, wscale 7>");
        tcp.Gets("ack 1 win 1");
        tcp.Accept();
        Assert.Equal(14, tcp.Info.WindowScales & 15);
        Assert.Equal(16384u, tcp.Info.SendWindow);
    }

    [Fact]
    public void The_window_of_a_syn_is_never_scaled()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 1000 <mss 1000, sackOK, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets("ack 1 win 2");
        tcp.Accept();
        Assert.Equal(256u, tcp.Info.SendWindow);
        tcp.App.Write(2000);
        tcp.Sends("1:257 ack 1");
    }

    [Fact]
    public void Window_scaling_off_keeps_the_window_below_64_kibibytes()
    {
        using var tcp = Story.Listening(new StorySettings { Sysctls = new() { ["tcp_window_scaling"] = "0" } });
        tcp.Gets("S 0:0 win 65535 <mss 1460, sackOK, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460, nop, nop, sackOK>");
    }

    [Fact]
    public void Sack_off_is_not_permitted_even_if_offered()
    {
        using var tcp = Story.Listening(new StorySettings { Sysctls = new() { ["tcp_sack"] = "0" } });
        tcp.Gets("S 0:0 win 65535 <mss 1460, sackOK, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460, nop, wscale 7>");
    }

    [Fact]
    public void Timestamps_off_are_not_sent_even_if_offered()
    {
        using var tcp = Story.Listening(new StorySettings { Sysctls = new() { ["tcp_timestamps"] = "0" } });
        tcp.Gets("S 0:0 win 65535 <mss 1460, sackOK, ts val 1000 ecr 0, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460, nop, nop, sackOK, nop, wscale 7>");
    }

    [Fact]
    public void Unknown_options_are_passed_over()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000, hex fd04abcd, sackOK, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460, nop, nop, sackOK, nop, wscale 7>");
    }

    [Fact]
    public void An_option_of_impossible_length_ends_the_parsing_and_what_came_before_counts()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <sackOK, hex fd01, mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460, nop, nop, sackOK>");
        tcp.Gets("ack 1");
        tcp.Accept();
        tcp.App.Write(600);
        tcp.Sends("1:537 ack 1", "537:601 ack 1");
    }

    [Fact]
    public void An_option_that_runs_past_the_header_is_ignored()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000, nop, nop, hex 080a>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460>");
    }

    [Fact]
    public void An_mss_option_of_wrong_length_is_ignored()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <hex 0203e8, nop>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460>");
        tcp.Gets("ack 1");
        tcp.Accept();
        tcp.App.Write(600);
        tcp.Sends("1:537 ack 1", "537:601 ack 1");
    }

    [Fact]
    public void After_the_end_of_options_nothing_counts()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000, eol, sackOK, nop>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460>");
    }

    [Fact]
    public void The_child_is_established_before_it_is_accepted()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets("ack 1", "1:1001 ack 1");
        tcp.Sends("ack 1001");
        tcp.Accept();
        tcp.App.Read(1000);
    }

    [Fact]
    public void Data_in_the_handshakes_ack_is_kept()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets("P. 1:501 ack 1");
        tcp.Sends("ack 501");
        tcp.Accept();
        tcp.App.Read(500);
    }

    [Fact]
    public void Data_in_a_syn_is_not_acknowledged_without_fast_open()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:100 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
    }

    [Fact]
    public void A_fin_beside_a_syn_is_dropped()
    {
        using var tcp = Story.Listening();
        tcp.Gets("FS 0:0 win 65535 <mss 1000>");
        tcp.SendsNothing();
    }

    [Fact]
    public void A_syn_to_a_port_where_nobody_listens_is_reset()
    {
        using var tcp = Story.Idle();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("R. 0:0 ack 1");
    }

    [Fact]
    public void An_ack_to_a_port_where_nobody_listens_is_reset_at_its_number()
    {
        using var tcp = Story.Idle();
        tcp.Gets(". 1:1 ack 555");
        tcp.Sends("R 555:555");
    }

    [Fact]
    public void A_reset_is_never_answered()
    {
        using var tcp = Story.Idle();
        tcp.Gets("R 1:1", "R. 1:1 ack 7");
        tcp.SendsNothing();
    }

    [Fact]
    public void An_ack_that_meets_a_listener_is_reset()
    {
        using var tcp = Story.Listening();
        tcp.Gets(". 1:1 ack 555");
        tcp.Sends("R 555:555");
    }

    [Fact]
    public void A_handshake_ack_with_a_wrong_number_is_reset_and_the_request_stays()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets(". 1:1 ack 777");
        tcp.Sends("R 777:777");
        tcp.Gets(". 1:1 ack 1");
        tcp.Accept();
    }

    [Fact]
    public void A_second_syn_is_answered_with_the_same_syn_ack()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.After(100);
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
    }

    [Fact]
    public void A_reset_in_syn_received_forgets_the_request()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets("R 1:1");
        tcp.Gets(". 1:1 ack 1");
        tcp.Sends("R 1:1");
        Assert.Equal(1, tcp.Counter("TcpExtEmbryonicRsts"));
    }

    [Fact]
    public void A_reset_in_syn_received_is_believed_whatever_it_acknowledges()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets("R. 1:1 ack 100");
        tcp.SendsNothing();
        tcp.Gets(". 1:1 ack 1");
        tcp.Sends("R 1:1");
        Assert.Equal(1, tcp.Counter("TcpExtEmbryonicRsts"));
    }

    [Fact]
    public void A_reset_that_is_not_exact_is_challenged_in_syn_received()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets("R. 2:2 ack 100");
        tcp.Sends(". 1:1 ack 1");
        tcp.After(100);
        tcp.Gets("R 3:3");
        tcp.SendsNothing();
        Assert.Equal(1, tcp.Counter("TcpExtTCPChallengeACK"));
        tcp.Gets("ack 1");
        tcp.Accept();
    }

    [Fact]
    public void A_reset_outside_the_window_means_nothing_in_syn_received()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets("R 100001:100001");
        tcp.SendsNothing();
        tcp.Gets(". 1:1 ack 1");
        tcp.Accept();
    }

    [Fact]
    public void A_reset_with_an_old_timestamp_means_nothing_in_syn_received()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000, sackOK, ts val 5000 ecr 0>");
        long echo = tcp.Peer.TakeTimestamp();
        tcp.Gets($"R 1:1 <nop, nop, ts val 4000 ecr {echo}>");
        tcp.SendsNothing();
        Assert.Equal(1, tcp.Counter("TcpExtPAWSEstab"));
        tcp.Gets($". 1:1 ack 1 <nop, nop, ts val 5001 ecr {echo}>");
        tcp.Accept();
    }

    [Fact]
    public void A_syn_leaves_with_all_options()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 win 64240 <mss 1460, sackOK, ts val 100 ecr 0, nop, wscale 7>");
    }

    [Fact]
    public void An_active_open_ends_with_an_ack_and_a_writable_socket()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 <...>");
        Assert.False(tcp.App.IsWritable);
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 1000, sackOK, nop, wscale 7>");
        tcp.Sends(". ack 1");
        Assert.True(tcp.App.IsWritable);
        Assert.Equal(Errno.OK, tcp.App.TakeError());
    }

    [Fact]
    public void A_peer_without_timestamps_turns_them_off()
    {
        using var tcp = Story.Connected(ts: false);
        tcp.App.Write(100);
        tcp.Sends("P. 1:101 ack 1 <>");
    }

    [Fact]
    public void A_refused_connection_says_so_once()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 <...>");
        tcp.Gets("R. 0:0 ack 1");
        Assert.Equal(Errno.ECONNREFUSED, tcp.App.TakeError());
        Assert.Equal(Errno.OK, tcp.App.TakeError());
    }

    [Fact]
    public void A_reset_with_a_wrong_ack_does_not_refuse_the_connection()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 <...>");
        tcp.Gets("R. 0:0 ack 555");
        tcp.SendsNothing();
        Assert.Equal(Errno.OK, tcp.App.TakeError());
    }

    [Fact]
    public void A_reset_without_ack_does_not_refuse_the_connection()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 <...>");
        tcp.Gets("R 0:0");
        tcp.SendsNothing();
        Assert.Equal(Errno.OK, tcp.App.TakeError());
    }

    [Fact]
    public void A_wrong_ack_in_syn_sent_is_reset()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 <...>");
        tcp.Gets("S. 0:0 ack 700 win 65535 <mss 1000>");
        Assert.Equal("R 700:700", tcp.Drain()[0].ToString());
        Assert.Equal(Errno.OK, tcp.App.TakeError());
    }

    [Fact]
    public void Simultaneous_open_repeats_the_own_options_in_the_syn_ack()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 <mss 1460, sackOK, ts val 100 ecr 0, nop, wscale 7>");
        tcp.Gets("S 0:0 win 65535 <mss 1000, sackOK, ts val 500 ecr 0, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460, sackOK, ts val * ecr 500, nop, wscale 7>");
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 1000, sackOK, ts val 501 ecr 0, nop, wscale 7>");
        Assert.Equal((byte)1, tcp.Info.State);
        Assert.True(tcp.App.IsWritable);
    }

    [Fact]
    public void A_connection_that_was_opened_from_both_sides_carries_data()
    {
        using var tcp = Story.Connecting(new StorySettings { Sysctls = new() { ["tcp_timestamps"] = "0" } });
        tcp.Sends("S 0:0 <...>");
        tcp.Gets("S 0:0 win 65535 <mss 1000, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets(". 1:1 ack 1 win 512");
        Assert.Equal((byte)1, tcp.Info.State);
        tcp.App.Write(500);
        tcp.Sends("1:501 ack 1");
        tcp.Gets("1:101 ack 501");
        tcp.Sends("ack 101");
        tcp.App.Read(100);
    }

    [Fact]
    public void Isns_differ_from_connection_to_connection()
    {
        using var tcp = Story.Listening();
        Flow[] flows = [.. Enumerable.Range(0, 8).Select(_ => tcp.NewFlow())];
        foreach (Flow flow in flows)
        {
            flow.Gets("S 0:0 win 65535 <mss 1000>");
            flow.Sends("S. 0:0 ack 1 <...>");
        }
        Assert.Equal(8, flows.Select(static f => f.LocalIsn).Distinct().Count());
    }
}
