namespace Millrace.Conformance;

/// <summary>Closing: each side, both, halves, and what is left behind. RFC 9293 §3.6, RFC 1122 §4.2.2.20.</summary>
public sealed class CloseStories
{
    [Fact]
    public void A_close_sends_fin_and_ends_in_time_wait()
    {
        using var tcp = Story.Established();
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1 ack 2");
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends(". 2:2 ack 2");
    }

    [Fact]
    public void The_peers_fin_is_end_of_file_and_close_answers_it()
    {
        using var tcp = Story.Established();
        tcp.Gets("F. 1:1 ack 1");
        tcp.SendsAfter(1, "ack 2");
        tcp.App.ReadsEof();
        Assert.Equal((byte)8, tcp.Info.State);
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 2");
        tcp.Gets("2:2 ack 2");
        tcp.Gets("2:2 ack 2");
        tcp.Sends("R 2:2");
    }

    [Fact]
    public void A_fin_rides_on_the_last_data()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.Cork, 1);
        tcp.App.Write(500);
        tcp.SendsNothing();
        tcp.App.Close();
        tcp.Sends("FP. 1:501 ack 1");
    }

    [Fact]
    public void A_fin_that_carries_data_is_read_before_the_end()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("FP. 1:501 ack 1");
        tcp.SendsAfter(40, "ack 502");
        tcp.App.Read(500);
        tcp.App.ReadsEof();
    }

    [Fact]
    public void A_fin_that_comes_early_waits_for_the_hole()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("F. 501:1001 ack 1");
        tcp.Sends("ack 1 <sack 501:1002>");
        tcp.App.ReadFails(Errno.EAGAIN);
        tcp.Gets("1:501 ack 1");
        tcp.Sends("ack 1002");
        tcp.App.Read(1000);
        tcp.App.ReadsEof();
    }

    [Fact]
    public void After_shutdown_of_writing_the_other_half_still_carries_data()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Shutdown(Shut.Wr);
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1 ack 2");
        Assert.Equal((byte)5, tcp.Info.State);
        tcp.Gets("1:1001 ack 2");
        tcp.Sends(". 2:2 ack 1001");
        tcp.App.Read(1000);
        tcp.App.WriteFails(Errno.EPIPE, MessageFlags.NoSignal);
        tcp.Gets("F. 1001:1001 ack 2");
        tcp.Sends(". 2:2 ack 1002");
        tcp.App.ReadsEof();
    }

    [Fact]
    public void In_close_wait_data_can_still_be_sent()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("F. 1:1 ack 1");
        tcp.Drain();
        tcp.App.Write(500);
        tcp.Sends("1:501 ack 2");
        tcp.Gets("2:2 ack 501");
        tcp.App.Close();
        tcp.Sends("F. 501:501 ack 2");
    }

    [Fact]
    public void Both_sides_may_close_at_once()
    {
        using var tcp = Story.Established();
        tcp.App.Shutdown(Shut.Wr);
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("F. 1:1 ack 1");
        tcp.Sends(". 2:2 ack 2");
        Assert.Equal((byte)11, tcp.Info.State);
        tcp.Gets("2:2 ack 2");
        Assert.Equal((byte)7, tcp.Info.State);
    }

    [Fact]
    public void A_fin_that_is_lost_is_sent_again()
    {
        using var tcp = Story.Established(settings: new StorySettings { Sysctls = new() { ["tcp_early_retrans"] = "0" } });
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.SendsAfter(250, "F. 1:1 ack 1");
        tcp.SendsAfter(500, "F. 1:1 ack 1");
    }

    [Fact]
    public void A_lost_fin_is_probed_first()
    {
        using var tcp = Story.Established();
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.SendsAfter(250, "F. 1:1 ack 1");
        tcp.SendsAfter(250, "F. 1:1 ack 1");
    }

    [Fact]
    public void A_fin_waits_behind_data_that_the_window_holds_back()
    {
        using var tcp = Story.Established(mss: 1000, wscale: null, win: 2000);
        tcp.App.Write(4000);
        tcp.App.Close();
        tcp.Sends("1:1001 ack 1", "1001:2001 ack 1");
        tcp.Gets("ack 2001 win 4000");
        tcp.Sends("2001:3001 ack 1", "FP. 3001:4001 ack 1");
    }

    [Fact]
    public void A_retransmitted_fin_is_acknowledged_again()
    {
        using var tcp = Story.Established();
        tcp.Gets("F. 1:1 ack 1");
        tcp.Drain();
        tcp.After(100);
        tcp.Drain();
        tcp.Gets("F. 1:1 ack 1");
        tcp.Sends("ack 2 <sack 1:2>");
    }

    [Fact]
    public void Shutdown_twice_sends_one_fin()
    {
        using var tcp = Story.Established();
        tcp.App.Shutdown(Shut.Wr);
        tcp.Sends("F. 1:1 ack 1");
        tcp.App.Shutdown(Shut.Wr);
        tcp.SendsNothingFor(100);
    }

    [Fact]
    public void Shutdown_of_both_sides_sends_a_fin_and_reads_the_end()
    {
        using var tcp = Story.Established();
        tcp.App.Shutdown(Shut.RdWr);
        tcp.Sends("F. 1:1 ack 1");
        tcp.App.ReadsEof();
    }

    [Fact]
    public void Poll_sees_half_a_hangup_at_fin_and_a_whole_one_when_both_are_closed()
    {
        using var tcp = Story.Established();
        tcp.Gets("F. 1:1 ack 1");
        Assert.Equal(Opt.PollIn | Opt.PollRdHup, tcp.App.Poll(Opt.PollIn | Opt.PollRdHup));
        tcp.App.Shutdown(Shut.Wr);
        Assert.Equal(Opt.PollIn | Opt.PollRdHup | Opt.PollHup, tcp.App.Poll(Opt.PollIn | Opt.PollRdHup));
    }

    [Fact]
    public void An_orphan_in_fin_wait_2_is_given_up_after_tcp_fin_timeout()
    {
        using var tcp = Story.Established(settings: new StorySettings { Sysctls = new() { ["tcp_fin_timeout"] = "2" } });
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1 ack 2");
        tcp.After(1500);
        tcp.Gets("1:1 ack 2");
        tcp.SendsNothing();
        tcp.After(3000);
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends("R 2:2");
    }

    [Fact]
    public void TCP_LINGER2_below_zero_skips_fin_wait_2()
    {
        using var tcp = Story.Established();
        tcp.App.Set(Opt.Tcp, Opt.Linger2, -1);
        tcp.App.Shutdown(Shut.Wr);
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1 ack 2");
        tcp.App.Close();
        tcp.Sends("R. 2:2 ack 1");
    }

    [Fact]
    public void A_listener_close_sends_nothing()
    {
        using var tcp = Story.Listening();
        tcp.Listener.Close();
        tcp.SendsNothing();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("R. 0:0 ack 1");
    }

    [Fact]
    public void Closing_in_syn_sent_sends_nothing()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 <...>");
        tcp.App.Close();
        tcp.SendsNothingFor(1500);
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 1000>");
        tcp.Sends("R 1:1");
    }

    [Fact]
    public void An_orphans_fin_is_retried_tcp_orphan_retries_times()
    {
        using var tcp = Story.Established(settings: new StorySettings
        {
            Sysctls = new() { ["tcp_orphan_retries"] = "2", ["tcp_early_retrans"] = "0" },
        });
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.SendsAfter(250, "F. 1:1 ack 1");
        tcp.SendsAfter(500, "F. 1:1 ack 1");
        tcp.SendsNothingFor(3000);
        tcp.Gets("1:1 ack 1");
        tcp.Sends("R 1:1");
    }
}
