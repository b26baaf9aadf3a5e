namespace Millrace.Conformance;

/// <summary>SYNs and SYN-ACKs that nobody answers. RFC 6298 §5, RFC 9293 §3.8.1.</summary>
public sealed class RetrySynStories
{
    private static StorySettings Exponential(params (string Name, string Value)[] more)
    {
        var sysctls = new System.Collections.Generic.Dictionary<string, string> { ["tcp_syn_linear_timeouts"] = "0" };
        foreach ((string name, string value) in more)
            sysctls[name] = value;
        return new StorySettings { Sysctls = sysctls };
    }

    [Fact]
    public void A_syn_is_sent_again_after_1_3_and_7_seconds()
    {
        using var tcp = Story.Connecting(Exponential());
        tcp.Sends("S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
        tcp.SendsAfter(2000, "S 0:0 <...>");
        tcp.SendsAfter(4000, "S 0:0 <...>");
    }

    [Fact]
    public void The_first_four_syns_follow_each_other_at_one_second_by_default()
    {
        using var tcp = Story.Connecting(new StorySettings { Sysctls = new() { ["tcp_syn_linear_timeouts"] = "4" } });
        tcp.Sends("S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
        tcp.SendsAfter(2000, "S 0:0 <...>");
    }

    [Fact]
    public void After_tcp_syn_retries_connect_times_out()
    {
        using var tcp = Story.Connecting(Exponential(("tcp_syn_retries", "1")));
        tcp.Sends("S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
        tcp.SendsNothingFor(1900);
        Assert.Equal(Errno.OK, tcp.App.TakeError());
        tcp.SendsNothingFor(200);
        Assert.Equal(Errno.ETIMEDOUT, tcp.App.TakeError());
    }

    [Fact]
    public void TCP_SYNCNT_overrides_tcp_syn_retries()
    {
        using var tcp = Story.Connecting(Exponential(), static app => app.Set(Opt.Tcp, Opt.SynCnt, 1));
        tcp.Sends("S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
        tcp.SendsNothingFor(2100);
        Assert.Equal(Errno.ETIMEDOUT, tcp.App.TakeError());
    }

    [Fact]
    public void A_user_timeout_ends_connect_earlier()
    {
        using var tcp = Story.Connecting(Exponential(), static app => app.Set(Opt.Tcp, Opt.UserTimeout, 1500));
        tcp.Sends("S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
        tcp.SendsNothingFor(600);
        Assert.Equal(Errno.ETIMEDOUT, tcp.App.TakeError());
    }

    [Fact]
    public void A_retransmitted_syn_keeps_its_number_and_updates_its_timestamp()
    {
        using var tcp = Story.Connecting(Exponential());
        tcp.Sends("S 0:0 <mss 1460, sackOK, ts val 100 ecr 0, nop, wscale 7>");
        (Segment again, double _) = tcp.Peer.Next(1100);
        Assert.Contains("ts val 11", string.Join(',', again.Options!), System.StringComparison.Ordinal);
    }

    [Fact]
    public void A_retransmitted_syn_leaves_a_window_of_one()
    {
        using var tcp = Story.Connecting(Exponential());
        tcp.Sends("S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
        tcp.After(100);
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 1000>");
        tcp.Sends(". ack 1");
        Assert.Equal(10u, tcp.Info.SendCwnd);
        Assert.Equal(1u, tcp.Info.TotalRetransmits);
    }

    [Fact]
    public void A_twice_retransmitted_syn_starts_with_one_segment()
    {
        using var tcp = Story.Connecting(Exponential());
        tcp.Sends("S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
        tcp.SendsAfter(2000, "S 0:0 <...>");
        tcp.After(100);
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 1000>");
        tcp.Sends(". ack 1");
        Assert.Equal(1u, tcp.Info.SendCwnd);
    }

    [Fact]
    public void A_syn_ack_is_sent_again_after_1_and_3_seconds()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.SendsAfter(1000, "S. 0:0 ack 1 <...>");
        tcp.SendsAfter(2000, "S. 0:0 ack 1 <...>");
        tcp.Gets(". 1:1 ack 1");
        tcp.Accept();
        Assert.Equal(2, tcp.Counter("TcpExtTCPSynRetrans"));
    }

    [Fact]
    public void After_tcp_synack_retries_the_request_is_forgotten()
    {
        using var tcp = Story.Listening(new StorySettings { Sysctls = new() { ["tcp_synack_retries"] = "1" } });
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.SendsAfter(1000, "S. 0:0 ack 1 <...>");
        tcp.SendsNothingFor(2100);
        tcp.Gets(". 1:1 ack 1");
        tcp.Sends("R 1:1");
    }

    [Fact]
    public void TCP_DEFER_ACCEPT_waits_for_data_and_drops_the_bare_ack()
    {
        using var tcp = Story.Listening(prepare: static app => app.Set(Opt.Tcp, Opt.DeferAccept, 3));
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets(". 1:1 ack 1");
        Assert.Equal(Errno.EAGAIN, tcp.TryAccept().Error);
        Assert.Equal(1, tcp.Counter("TcpExtTCPDeferAcceptDrop"));
        tcp.Gets("P. 1:101 ack 1");
        tcp.Sends("ack 101");
        tcp.Accept();
        tcp.App.Read(100);
    }

    [Fact]
    public void TCP_DEFER_ACCEPT_asks_again_when_its_time_is_over_and_then_accepts_the_ack()
    {
        using var tcp = Story.Listening(prepare: static app => app.Set(Opt.Tcp, Opt.DeferAccept, 1));
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets(". 1:1 ack 1");
        Assert.Equal(Errno.EAGAIN, tcp.TryAccept().Error);
        tcp.SendsAfter(1000, "S. 0:0 ack 1 <...>");
        tcp.Gets(". 1:1 ack 1");
        tcp.Accept();
    }
}
