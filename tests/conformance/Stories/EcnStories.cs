namespace Millrace.Conformance;

/// <summary>Explicit congestion notification. RFC 3168, RFC 8311.</summary>
public sealed class EcnStories
{
    private static StorySettings Ecn(string mode = "1") => new() { Sysctls = { ["tcp_ecn"] = mode, ["tcp_early_retrans"] = "0" } };

    // The peer asked for ECN and got it; the connection has been accepted.
    private static Story Negotiated()
    {
        Story tcp = Story.Listening(Ecn());
        tcp.Gets("SEW 0:0 win 65535 <mss 1000, sackOK, nop, wscale 7>");
        tcp.Sends("S.E 0:0 ack 1 <...>");
        tcp.After(50);
        tcp.Gets(". 1:1 ack 1 win 1024");
        tcp.Accept();
        return tcp;
    }

    [Fact]
    public void A_syn_that_asks_for_it_is_answered_with_ece()
    {
        using Story tcp = Negotiated();
        Assert.Equal(8, tcp.Info.Options & 8);
    }

    [Fact]
    public void By_default_it_is_accepted_but_not_asked_for()
    {
        using var tcp = Story.Connecting(Ecn("2"));
        tcp.Sends("S 0:0 <...>");
    }

    [Fact]
    public void A_client_asks_with_ece_and_cwr()
    {
        using var tcp = Story.Connecting(Ecn());
        tcp.Sends("SEW 0:0 <...>");
        tcp.Gets("S.E 0:0 ack 1 win 65535 <mss 1000>");
        tcp.Sends(". ack 1");
        Assert.Equal(8, tcp.Info.Options & 8);
    }

    [Fact]
    public void A_server_that_does_not_know_it_turns_it_off()
    {
        using var tcp = Story.Connecting(Ecn());
        tcp.Sends("SEW 0:0 <...>");
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 1000>");
        tcp.Sends(". ack 1");
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 1");
    }

    [Fact]
    public void A_server_that_reflects_both_bits_turns_it_off()
    {
        using var tcp = Story.Connecting(Ecn());
        tcp.Sends("SEW 0:0 <...>");
        tcp.Gets("S.EW 0:0 ack 1 win 65535 <mss 1000>");
        tcp.Sends(". ack 1");
        Assert.Equal(0, tcp.Info.Options & 8);
    }

    [Fact]
    public void A_retransmitted_syn_does_not_ask_again()
    {
        using var tcp = Story.Connecting(new StorySettings { Sysctls = { ["tcp_ecn"] = "1", ["tcp_syn_linear_timeouts"] = "0" } });
        tcp.Sends("SEW 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
    }

    [Fact]
    public void Data_is_marked_capable_and_pure_acks_are_not()
    {
        using Story tcp = Negotiated();
        tcp.App.Write(1000);
        tcp.Sends("[ect0] 1:1001 ack 1");
        tcp.Gets("[ect0] 1:101 ack 1001");
        tcp.Sends("ack 101");
    }

    [Fact]
    public void A_mark_is_echoed_until_cwr_comes()
    {
        using Story tcp = Negotiated();
        tcp.Gets("[ce] 1:1001 ack 1");
        tcp.Sends(".E ack 1001");
        tcp.Gets("[ect0] 1001:2001 ack 1");
        tcp.Sends(".E ack 2001");
        tcp.Gets("[ect0] .W 2001:3001 ack 1");
        tcp.Sends(". ack 3001");
    }

    [Fact]
    public void Cwr_may_come_without_data()
    {
        using Story tcp = Negotiated();
        tcp.Gets("[ce] 1:1001 ack 1");
        tcp.Sends(".E ack 1001");
        tcp.Gets(".W 1001:1001 ack 1");
        tcp.Gets("[ect0] 1001:2001 ack 1");
        tcp.Sends(". ack 2001");
    }

    [Fact]
    public void What_came_marked_is_counted_and_so_is_what_is_told_of_ours()
    {
        using Story tcp = Negotiated();
        tcp.Gets("[ce] 1:1001 ack 1");
        tcp.Gets("[ect0] 1001:1501 ack 1", "[ect1] 1501:1601 ack 1");
        Assert.Equal((1u, 1000u), (tcp.Info.ReceivedCe, tcp.Info.ReceivedCeBytes));
        Assert.Equal((500u, 100u), (tcp.Info.ReceivedE0Bytes, tcp.Info.ReceivedE1Bytes));
        tcp.Drain();
        tcp.App.Write(3000);
        Assert.Equal(3, tcp.Drain().Count);
        tcp.Gets(".E 1601:1601 ack 2001");
        Assert.Equal(2u, tcp.Info.DeliveredCe);
        Assert.Equal(2, tcp.Counter("TcpExtTCPDeliveredCE"));
    }

    [Fact]
    public void A_sack_with_the_echo_counts_as_marked()
    {
        using Story tcp = Negotiated();
        tcp.App.Write(3000);
        Assert.Equal(3, tcp.Drain().Count);
        tcp.Gets(".E 1:1 ack 1 <sack 1001:2001>");
        Assert.Equal(1u, tcp.Info.DeliveredCe);
    }

    [Fact]
    public void Marks_are_counted_even_where_nothing_was_negotiated()
    {
        using Story tcp = Story.Established();
        tcp.Gets("[ce] 1:1001 ack 1");
        Assert.Equal((1u, 1000u, 16), (tcp.Info.ReceivedCe, tcp.Info.ReceivedCeBytes, tcp.Info.Options & 24));
    }

    [Fact]
    public void An_echo_reduces_the_window_once_and_is_answered_with_cwr()
    {
        using Story tcp = Negotiated();
        tcp.App.Write(20_000);
        Assert.Equal(10, tcp.Drain().Count);
        tcp.After(50);
        tcp.Gets(".E 1:1 ack 5001");
        Assert.Equal(2, tcp.Info.CongestionState);
        Assert.Equal(7u, tcp.Info.SendSsthresh);
        tcp.Gets(".E 1:1 ack 10001");
        Assert.Equal(7u, tcp.Info.SendSsthresh);
        Assert.Contains(tcp.Drain(), static s => s.Has('W'));
    }

    [Fact]
    public void Retransmissions_are_not_marked_capable()
    {
        using Story tcp = Negotiated();
        tcp.App.Write(1000);
        tcp.Sends("[ect0] 1:1001 ack 1");
        tcp.SendsAfter(250, "1:1001 ack 1");
    }

    [Fact]
    public void A_marked_syn_is_not_believed()
    {
        using var tcp = Story.Listening(Ecn());
        tcp.Gets("[ce] SEW 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
    }
}
