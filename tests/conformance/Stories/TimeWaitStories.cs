namespace Millrace.Conformance;

/// <summary>TIME_WAIT: what late segments meet. RFC 9293 §3.6.1, RFC 1337, RFC 6191.</summary>
public sealed class TimeWaitStories
{
    private static Story InTimeWait(bool ts = false, params (string Name, string Value)[] sysctls)
    {
        var settings = new StorySettings();
        foreach ((string name, string value) in sysctls)
            settings.Sysctls[name] = value;
        Story tcp = Story.Established(mss: 1000, ts: ts, settings: settings);
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1 ack 2", "F. 1:1 ack 2");
        tcp.Sends(". 2:2 ack 2");
        return tcp;
    }

    [Fact]
    public void A_retransmitted_fin_is_acknowledged_again()
    {
        using Story tcp = InTimeWait();
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends(". 2:2 ack 2");
    }

    [Fact]
    public void The_answers_to_late_segments_are_limited()
    {
        using Story tcp = InTimeWait();
        tcp.Gets("-2000:-2000 ack 2");
        tcp.Sends(". 2:2 ack 2");
        tcp.Gets("-2000:-2000 ack 2");
        tcp.SendsNothing();
        Assert.Equal(1, tcp.Counter("TcpExtTCPACKSkippedTimeWait"));
    }

    [Fact]
    public void It_lasts_sixty_seconds()
    {
        using Story tcp = InTimeWait();
        tcp.After(59_000);
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends(". 2:2 ack 2");
        tcp.After(62_000);
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends("R 2:2");
    }

    [Fact]
    public void A_reset_ends_it_unless_rfc_1337_is_asked_for()
    {
        using Story tcp = InTimeWait();
        tcp.Gets("R 2:2");
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends("R 2:2");
    }

    [Fact]
    public void With_rfc_1337_a_reset_is_ignored()
    {
        using Story tcp = InTimeWait(false, ("tcp_rfc1337", "1"));
        tcp.Gets("R 2:2");
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends(". 2:2 ack 2");
    }

    [Fact]
    public void A_syn_above_the_old_sequence_opens_a_new_connection()
    {
        using Story tcp = InTimeWait();
        tcp.Gets("S 100000:100000 win 65535 <mss 1000>");
        tcp.Sends("S. 65539:65539 ack 100001 <...>");
    }

    [Fact]
    public void A_syn_below_the_old_sequence_is_answered_with_an_ack()
    {
        using Story tcp = InTimeWait();
        tcp.Gets("S -5000:-5000 win 65535 <mss 1000>");
        tcp.Sends(". 2:2 ack 2");
    }

    [Fact]
    public void A_syn_with_a_newer_timestamp_opens_a_new_connection_whatever_its_sequence()
    {
        using Story tcp = InTimeWait(ts: true);
        tcp.Gets("S -5000:-5000 win 65535 <mss 1000, sackOK, ts val 9000 ecr 0>");
        tcp.Sends("S. 65539:65539 ack -4999 <mss 1460, sackOK, ts val * ecr 9000>");
    }

    [Fact]
    public void A_syn_with_an_older_timestamp_is_answered_with_an_ack()
    {
        using Story tcp = InTimeWait(ts: true);
        tcp.Gets("S 100000:100000 win 65535 <mss 1000, sackOK, ts val 5 ecr 0>");
        tcp.Sends(". 2:2 ack 2");
    }

    [Fact]
    public void Late_data_after_the_fin_is_reset()
    {
        using Story tcp = InTimeWait();
        tcp.Gets("2:1002 ack 2");
        Segment answer = Assert.Single(tcp.Drain());
        Assert.True(answer.Has('.'));
    }

    [Fact]
    public void It_is_counted()
    {
        using Story tcp = InTimeWait();
        tcp.Gets("R 2:2");
        Assert.Equal(1, tcp.Counter("TcpExtTW"));
    }

    [Fact]
    public void A_fin_wait_2_mini_socket_takes_the_peers_fin()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1 ack 2");
        tcp.After(1000);
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends(". 2:2 ack 2");
    }

    [Fact]
    public void Data_for_a_fin_wait_2_mini_socket_is_reset()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1 ack 2");
        tcp.Gets("1:1001 ack 2");
        tcp.Sends("R 2:2");
    }

    // A connection that the stack opened from its only port and closed first.
    private static Story ClosedOwn(bool ts, params (string Name, string Value)[] sysctls)
    {
        var settings = new StorySettings { Sysctls = { ["ip_local_port_range"] = "40000 40000" } };
        foreach ((string name, string value) in sysctls)
            settings.Sysctls[name] = value;
        Story tcp = Story.Connected(ts: ts, settings: settings);
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1 ack 2", "F. 1:1 ack 2");
        tcp.Sends(". 2:2 ack 2");
        return tcp;
    }

    [Fact]
    public void Its_port_is_not_used_for_a_new_connection_to_the_same_place()
    {
        using Story tcp = ClosedOwn(ts: true, ("tcp_tw_reuse", "0"));
        tcp.After(1500);
        Assert.Equal(Errno.EADDRNOTAVAIL, tcp.Connect().Error);
    }

    [Fact]
    public void With_tcp_tw_reuse_its_port_is_used_again_after_a_second()
    {
        using Story tcp = ClosedOwn(ts: true, ("tcp_tw_reuse", "1"));
        Flow old = tcp.Peer;
        tcp.After(2100);
        Assert.Equal(Errno.EINPROGRESS, tcp.Connect().Error);
        tcp.Sends("S 0:0 <...>");
        Assert.Equal(old.LocalIsn + 65539, tcp.Peer.LocalIsn);
    }

    [Fact]
    public void Without_timestamps_tcp_tw_reuse_does_nothing()
    {
        using Story tcp = ClosedOwn(ts: false, ("tcp_tw_reuse", "1"));
        tcp.After(2100);
        Assert.Equal(Errno.EADDRNOTAVAIL, tcp.Connect().Error);
    }
}
