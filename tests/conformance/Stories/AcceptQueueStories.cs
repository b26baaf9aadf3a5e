using System.Linq;

namespace Millrace.Conformance;

/// <summary>More connections than a listener takes. Linux: sk_max_ack_backlog, tcp_max_syn_backlog, tcp_abort_on_overflow, SYN cookies.</summary>
public sealed class AcceptQueueStories
{
    private static StorySettings Backlog(int backlog, params (string Name, string Value)[] sysctls) => new()
    {
        Backlog = backlog,
        Sysctls = sysctls.ToDictionary(static s => s.Name, static s => s.Value),
    };

    private static void Connect(Flow flow)
    {
        flow.Gets("S 0:0 win 65535 <mss 1000>");
        flow.Sends("S. 0:0 ack 1 <...>");
        flow.Gets(". 1:1 ack 1");
    }

    [Fact]
    public void A_backlog_of_one_holds_two_connections()
    {
        using var tcp = Story.Listening(Backlog(1));
        Connect(tcp.NewFlow());
        Connect(tcp.NewFlow());
        Assert.False(tcp.TryAccept().IsError);
        Assert.False(tcp.TryAccept().IsError);
        Assert.Equal(Errno.EAGAIN, tcp.TryAccept().Error);
    }

    [Fact]
    public void A_syn_for_a_full_accept_queue_is_dropped_in_silence()
    {
        using var tcp = Story.Listening(Backlog(1));
        Connect(tcp.NewFlow());
        Connect(tcp.NewFlow());
        Flow third = tcp.NewFlow();
        third.Gets("S 0:0 win 65535 <mss 1000>");
        third.Sends();
        Assert.Equal(1, tcp.Counter("TcpExtListenOverflows"));
        Assert.Equal(1, tcp.Counter("TcpExtListenDrops"));
    }

    [Fact]
    public void The_last_ack_for_a_full_accept_queue_is_dropped_and_asked_for_again()
    {
        using var tcp = Story.Listening(Backlog(1));
        Flow second = tcp.NewFlow();
        second.Gets("S 0:0 win 65535 <mss 1000>");
        second.Sends("S. 0:0 ack 1 <...>");
        Connect(tcp.NewFlow());
        Connect(tcp.NewFlow());
        second.Gets(". 1:1 ack 1");
        second.Sends();
        Assert.Equal(1, tcp.Counter("TcpExtListenOverflows"));
        tcp.TryAccept();
        second.SendsAfter(1000, "S. 0:0 ack 1 <...>");
        second.Gets(". 1:1 ack 1");
        Assert.False(tcp.TryAccept().IsError);
    }

    [Fact]
    public void Tcp_abort_on_overflow_resets_instead()
    {
        using var tcp = Story.Listening(Backlog(1, ("tcp_abort_on_overflow", "1")));
        Flow second = tcp.NewFlow();
        second.Gets("S 0:0 win 65535 <mss 1000>");
        second.Sends("S. 0:0 ack 1 <...>");
        Connect(tcp.NewFlow());
        Connect(tcp.NewFlow());
        second.Gets(". 1:1 ack 1");
        second.Sends("R 1:1");
    }

    [Fact]
    public void Closing_the_listener_resets_what_waits()
    {
        using var tcp = Story.Listening();
        Flow waiting = tcp.NewFlow();
        Connect(waiting);
        tcp.Listener.Close();
        waiting.Sends("R. 1:1 ack 1");
    }

    [Fact]
    public void Closing_the_listener_forgets_half_open_requests()
    {
        using var tcp = Story.Listening();
        Flow half = tcp.NewFlow();
        half.Gets("S 0:0 win 65535 <mss 1000>");
        half.Sends("S. 0:0 ack 1 <...>");
        tcp.Listener.Close();
        half.Gets(". 1:1 ack 1");
        half.Sends("R 1:1");
    }

    [Fact]
    public void Connections_are_accepted_in_the_order_in_which_they_were_completed()
    {
        using var tcp = Story.Listening();
        Flow a = tcp.NewFlow(), b = tcp.NewFlow();
        a.Gets("S 0:0 win 65535 <mss 1000>");
        a.Sends("S. 0:0 ack 1 <...>");
        b.Gets("S 0:0 win 65535 <mss 1000>");
        b.Sends("S. 0:0 ack 1 <...>");
        b.Gets(". 1:1 ack 1");
        a.Gets(". 1:1 ack 1");
        tcp.Accept().Write(100);
        b.Sends("1:101 ack 1");
        a.Sends();
    }

    [Fact]
    public void A_connection_that_was_reset_before_it_is_accepted_can_still_be_accepted()
    {
        using var tcp = Story.Listening();
        Connect(tcp.Peer);
        tcp.Gets("R. 1:1 ack 1");
        tcp.Accept();
        tcp.App.ReadFails(Errno.ECONNRESET);
        tcp.App.ReadsEof();
    }

    [Fact]
    public void Cookies_are_sent_when_the_syn_queue_is_full_and_their_ack_makes_a_connection()
    {
        using var tcp = Story.Listening(Backlog(1, ("tcp_syncookies", "1")));
        Flow[] half = [.. Enumerable.Range(0, 8).Select(_ => tcp.NewFlow())];
        foreach (Flow flow in half)
        {
            flow.Gets("S 0:0 win 65535 <mss 1000>");
            flow.Sends("S. 0:0 ack 1 <...>");
        }
        Assert.True(tcp.Counter("TcpExtSyncookiesSent") > 0);
        half[^1].Gets(". 1:1 ack 1");
        tcp.Accept();
        Assert.Equal(1, tcp.Counter("TcpExtSyncookiesRecv"));
        tcp.App.Write(500);
        half[^1].Sends("1:501 ack 1");
    }

    [Fact]
    public void A_cookie_keeps_sack_and_window_scale_in_the_timestamp()
    {
        using var tcp = Story.Listening(Backlog(1, ("tcp_syncookies", "2")));
        tcp.Gets("S 0:0 win 65535 <mss 1460, sackOK, ts val 1000 ecr 0, nop, wscale 9>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460, sackOK, ts val * ecr 1000, nop, wscale 7>");
        tcp.Gets(". 1:1 ack 1");
        tcp.Accept();
        Assert.Equal(9, tcp.Info.WindowScales & 15);
        Assert.Equal(7, tcp.Info.Options & 7);
    }

    [Fact]
    public void A_cookie_without_timestamps_has_no_sack_and_no_window_scale()
    {
        using var tcp = Story.Listening(Backlog(1, ("tcp_syncookies", "2")));
        tcp.Gets("S 0:0 win 65535 <mss 1460, sackOK, nop, wscale 9>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460>");
        tcp.Gets(". 1:1 ack 1");
        tcp.Accept();
        Assert.Equal(0, tcp.Info.Options & 7);
    }

    [Fact]
    public void A_guessed_cookie_is_reset_and_counted()
    {
        using var tcp = Story.Listening(Backlog(1, ("tcp_syncookies", "2")));
        tcp.Gets("S 0:0 win 65535 <mss 1460>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets(". 1:1 ack 5555");
        tcp.Sends("R 5555:5555");
        Assert.Equal(1, tcp.Counter("TcpExtSyncookiesFailed"));
    }

    [Fact]
    public void A_cookie_is_not_retransmitted()
    {
        using var tcp = Story.Listening(Backlog(1, ("tcp_syncookies", "2")));
        tcp.Gets("S 0:0 win 65535 <mss 1460>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.SendsNothingFor(3500);
    }

    [Fact]
    public void Without_cookies_a_full_syn_queue_drops()
    {
        using var tcp = Story.Listening(Backlog(1, ("tcp_syncookies", "0"), ("tcp_max_syn_backlog", "4")));
        int answered = 0;
        for (int i = 0; i < 8; i++)
        {
            Flow flow = tcp.NewFlow();
            flow.Gets("S 0:0 win 65535 <mss 1000>");
            answered += flow.Drain().Count;
        }
        Assert.InRange(answered, 1, 4);
        Assert.Equal(8 - answered, tcp.Counter("TcpExtListenDrops"));
    }
}
