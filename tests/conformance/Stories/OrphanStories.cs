namespace Millrace.Conformance;

/// <summary>Connections whose user is gone: how many there may be, for how long, and how they are ended. Linux: tcp_close, tcp_out_of_resources.</summary>
public sealed class OrphanStories
{
    private static StorySettings With(params (string Name, string Value)[] sysctls)
    {
        var settings = new StorySettings();
        foreach ((string name, string value) in sysctls)
            settings.Sysctls[name] = value;
        return settings;
    }

    [Fact]
    public void As_many_orphans_as_tcp_max_orphans_stay_and_the_next_is_reset()
    {
        using var tcp = Story.Established(settings: With(("tcp_max_orphans", "1")));
        Flow second = tcp.NewFlow();
        second.Shakes(new Peer());
        App other = new(tcp, tcp.TryAccept().Value);
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        other.Close();
        second.Sends("F. 1:1 ack 1", "R. 2:2 ack 1");
        tcp.Gets("1:1 ack 2");
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends(". 2:2 ack 2");
        Assert.Equal(1, tcp.Counter("TcpExtTCPAbortOnMemory"));
    }

    [Fact]
    public void An_orphan_that_there_is_no_place_for_is_reset()
    {
        using var tcp = Story.Established(settings: With(("tcp_max_orphans", "0")));
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1", "R. 2:2 ack 1");
        Assert.Equal(1, tcp.Counter("TcpExtTCPAbortOnMemory"));
    }

    [Fact]
    public void An_orphan_before_a_closed_window_counts_twice_when_its_timer_runs()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_max_orphans", "1"), ("tcp_early_retrans", "0")));
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.Gets("ack 1001 win 0");
        tcp.App.Write(1000);
        tcp.App.Close();
        tcp.SendsNothing();
        (Segment reset, _) = tcp.Peer.Next(500);
        Assert.True(reset.Has('R'));
        tcp.SendsNothingFor(2000);
        Assert.Equal(1, tcp.Counter("TcpExtTCPAbortOnMemory"));
    }

    [Fact]
    public void An_orphan_with_a_way_to_its_peer_counts_once()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_max_orphans", "1"), ("tcp_early_retrans", "0")));
        tcp.App.Write(1000);
        tcp.App.Close();
        tcp.Sends("1:1001 ack 1", "F. 1001:1001 ack 1");
        tcp.SendsAfter(250, "1:1001 ack 1");
        Assert.Equal(0, tcp.Counter("TcpExtTCPAbortOnMemory"));
    }

    [Fact]
    public void TCP_LINGER2_below_zero_counts_as_an_abort()
    {
        using var tcp = Story.Established();
        tcp.App.Set(Opt.Tcp, Opt.Linger2, -1);
        tcp.App.Shutdown(Shut.Wr);
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1 ack 2");
        tcp.App.Close();
        tcp.Sends("R. 2:2 ack 1");
        Assert.Equal(1, tcp.Counter("TcpExtTCPAbortOnLinger"));
    }

    [Fact]
    public void TCP_LINGER2_is_how_long_this_orphan_stays_in_fin_wait_2()
    {
        using var tcp = Story.Established();
        tcp.App.Set(Opt.Tcp, Opt.Linger2, 1);
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1 ack 2");
        tcp.SendsNothingFor(700);
        tcp.Gets("1:1 ack 2");
        tcp.SendsNothing();
        tcp.After(2000);
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends("R 2:2");
    }

    // The time beyond TIME_WAIT's passes twice: with the whole socket, and with what is left of it.
    [Theory]
    [InlineData(58, ". 2:2 ack 2")]
    [InlineData(63, "R 2:2")]
    public void A_longer_tcp_fin_timeout_than_TIME_WAIT_is_what_exceeds_it_twice(int seconds, string answer)
    {
        using var tcp = Story.Established(settings: With(("tcp_fin_timeout", "90")));
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1 ack 2");
        tcp.SendsNothingFor(seconds * 1000);
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends(answer);
    }

    [Fact]
    public void Data_for_an_orphan_in_fin_wait_2_is_answered_with_a_reset()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("1:1001 ack 2");
        tcp.Sends("R 2:2");
    }

    [Fact]
    public void An_orphan_whose_peer_answers_outlives_tcp_orphan_retries()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_orphan_retries", "1"), ("tcp_early_retrans", "0")));
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.Gets("ack 1001 win 0");
        tcp.App.Write(1000);
        tcp.App.Close();
        for (int i = 0; i < 3; i++)
        {
            (Segment probe, _) = tcp.Peer.Next(3000);
            Assert.Equal((1000, 0), ((int)probe.Seq!, probe.Length));
            tcp.Gets("ack 1001 win 0");
        }
        tcp.Gets("ack 1001 win 4000");
        tcp.Sends("FP. 1001:2001 ack 1");
    }
}
