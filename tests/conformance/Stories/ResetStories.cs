namespace Millrace.Conformance;

/// <summary>Resets, and what only looks like one. RFC 9293 §3.10.7.4, RFC 5961.</summary>
public sealed class ResetStories
{
    [Fact]
    public void A_reset_at_the_left_edge_ends_the_connection()
    {
        using var tcp = Story.Established();
        tcp.Gets("R 1:1");
        tcp.SendsNothing();
        tcp.App.ReadFails(Errno.ECONNRESET);
        tcp.App.ReadsEof();
        tcp.App.WriteFails(Errno.EPIPE, MessageFlags.NoSignal);
    }

    [Fact]
    public void Data_before_a_reset_stays_readable()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:501 ack 1");
        tcp.Sends("ack 501");
        tcp.Gets("R 501:501");
        tcp.App.Read(500);
        tcp.App.ReadFails(Errno.ECONNRESET);
        tcp.App.ReadsEof();
    }

    [Fact]
    public void A_reset_inside_the_window_is_challenged()
    {
        using var tcp = Story.Established();
        tcp.Gets("R 1000:1000");
        tcp.Sends("ack 1");
        Assert.Equal((byte)1, tcp.Info.State);
        Assert.Equal(1, tcp.Counter("TcpExtTCPChallengeACK"));
    }

    [Fact]
    public void A_reset_outside_the_window_is_dropped()
    {
        using var tcp = Story.Established();
        tcp.Gets("R 1000000:1000000");
        tcp.SendsNothing();
        Assert.Equal((byte)1, tcp.Info.State);
    }

    [Fact]
    public void A_reset_right_behind_what_was_sacked_is_believed()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1001:2001 ack 1");
        tcp.Sends("ack 1 <sack 1001:2001>");
        tcp.Gets("R 2001:2001");
        tcp.SendsNothing();
        tcp.App.ReadFails(Errno.ECONNRESET);
    }

    [Fact]
    public void A_syn_on_an_established_connection_is_challenged()
    {
        using var tcp = Story.Established();
        tcp.Gets("S 5000:5000 win 65535 <mss 1000>");
        tcp.Sends("ack 1");
        Assert.Equal((byte)1, tcp.Info.State);
        Assert.Equal(1, tcp.Counter("TcpExtTCPSYNChallenge"));
    }

    [Fact]
    public void Challenges_of_one_connection_are_limited_to_two_a_second()
    {
        using var tcp = Story.Established();
        tcp.Gets("R 1000:1000");
        tcp.Sends("ack 1");
        tcp.Gets("R 1000:1000", "R 1000:1000");
        tcp.SendsNothing();
        tcp.After(600);
        tcp.Gets("R 1000:1000");
        tcp.Sends("ack 1");
        Assert.Equal(2, tcp.Counter("TcpExtTCPACKSkippedChallenge"));
    }

    [Fact]
    public void Challenges_of_the_stack_are_limited_by_a_setting()
    {
        using var tcp = Story.Established(settings: new StorySettings { Sysctls = new() { ["tcp_challenge_ack_limit"] = "1" } });
        Flow other = tcp.NewFlow();
        other.Shakes(new Peer());
        tcp.Gets("R 1000:1000");
        tcp.Sends("ack 1");
        other.Gets("R 1000:1000");
        other.Sends();
    }

    [Fact]
    public void An_ack_far_below_what_is_acknowledged_is_challenged()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.Gets("ack 1001");
        tcp.Gets("1:1 ack -100000");
        tcp.Sends("ack 1");
    }

    [Fact]
    public void A_reset_in_close_wait_breaks_the_pipe()
    {
        using var tcp = Story.Established();
        tcp.Gets("F. 1:1 ack 1");
        tcp.Drain();
        tcp.Gets("R. 2:2 ack 1");
        Assert.Equal(Errno.EPIPE, tcp.App.TakeError());
    }

    [Fact]
    public void A_reset_wakes_poll_with_error_and_hangup()
    {
        using var tcp = Story.Established();
        tcp.Gets("R 1:1");
        Assert.Equal(Opt.PollErr | Opt.PollHup | Opt.PollIn, tcp.App.Poll(Opt.PollIn));
    }

    [Fact]
    public void Closing_with_unread_data_resets_instead_of_finishing()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:501 ack 1");
        tcp.Sends("ack 501");
        tcp.App.Close();
        tcp.Sends("R. 1:1 ack 501");
        Assert.Equal(1, tcp.Counter("TcpExtTCPAbortOnClose"));
    }

    [Fact]
    public void Data_after_close_is_reset()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:501 ack 1");
        tcp.Sends("R 1:1");
        Assert.Equal(1, tcp.Counter("TcpExtTCPAbortOnData"));
    }

    [Fact]
    public void SO_LINGER_of_zero_resets()
    {
        using var tcp = Story.Established();
        tcp.App.Linger(0);
        tcp.App.Close();
        tcp.Sends("R. 1:1 ack 1");
        tcp.Gets("1:1 ack 1");
        tcp.Sends("R 1:1");
    }

    [Fact]
    public void SO_LINGER_of_zero_drops_what_was_not_sent()
    {
        using var tcp = Story.Established(mss: 1000, win: 2000);
        tcp.App.Write(3000);
        tcp.Drain();
        tcp.App.Linger(0);
        tcp.App.Close();
        Segment reset = Assert.Single(tcp.Drain());
        Assert.True(reset.Has('R'));
    }

    [Fact]
    public void The_ack_bit_of_a_reset_is_not_needed_in_synchronized_states()
    {
        using var tcp = Story.Established();
        tcp.App.Shutdown(Shut.Wr);
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("R 1:1");
        tcp.App.ReadFails(Errno.ECONNRESET);
    }

    [Fact]
    public void TCP_INFO_after_a_reset_says_closed()
    {
        using var tcp = Story.Established();
        tcp.Gets("R 1:1");
        Assert.Equal((byte)7, tcp.Info.State);
    }
}
