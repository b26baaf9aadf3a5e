namespace Millrace.Conformance;

/// <summary>DCTCP. RFC 8257.</summary>
public sealed class DctcpStories
{
    private static void Use(App app) => app.UseCongestion("dctcp");

    private static Story Negotiated()
    {
        Story tcp = Story.Listening(prepare: Use);
        tcp.Gets("[ect0] SEW 0:0 win 65535 <mss 1000, sackOK, nop, wscale 7>");
        tcp.Sends("[ect0] S.E 0:0 ack 1 <...>");
        tcp.After(50);
        tcp.Gets("[ect0] . 1:1 ack 1 win 1024");
        tcp.Accept();
        return tcp;
    }

    [Fact]
    public void A_syn_asks_for_ecn_and_may_be_marked()
    {
        using var tcp = Story.Connecting(prepare: Use);
        tcp.Sends("[ect0] SEW 0:0 <...>");
    }

    [Fact]
    public void Acks_may_be_marked_too()
    {
        using Story tcp = Negotiated();
        tcp.Gets("[ect0] 1:1001 ack 1");
        tcp.Sends("[ect0] . ack 1001");
    }

    [Fact]
    public void Each_mark_is_echoed_and_only_it()
    {
        using Story tcp = Negotiated();
        tcp.Gets("[ce] 1:1001 ack 1");
        tcp.Sends("[ect0] .E ack 1001");
        tcp.Gets("[ect0] 1001:2001 ack 1");
        tcp.Sends("[ect0] . ack 2001");
        tcp.Gets("[ce] 2001:3001 ack 1");
        tcp.Sends("[ect0] .E ack 3001");
    }

    [Fact]
    public void A_change_of_the_mark_first_acknowledges_what_was_owed_before_it()
    {
        using Story tcp = Negotiated();
        tcp.App.Set(Opt.Tcp, Opt.QuickAck, 0);
        tcp.Gets("[ect0] 1:501 ack 1");
        tcp.SendsNothing();
        tcp.Gets("[ce] 501:1001 ack 1");
        tcp.Sends("[ect0] . ack 501", "[ect0] .E ack 1001");
    }

    [Fact]
    public void The_first_mark_halves_the_window_because_alpha_begins_at_one()
    {
        using Story tcp = Negotiated();
        tcp.App.Write(10_000);
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("[ect0] .E 1:1 ack 1001");
        Assert.Equal(5u, tcp.Info.SendSsthresh);
    }

    [Fact]
    public void Unmarked_round_trips_let_alpha_decay()
    {
        using Story tcp = Negotiated();
        for (int round = 0; round < 40; round++)
        {
            tcp.App.Write(1000);
            tcp.Drain();
            tcp.After(10);
            tcp.Gets($"[ect0] . 1:1 ack {tcp.Peer.LocalNext}");
        }
        tcp.App.Write(10_000);
        tcp.Drain();
        tcp.After(50);
        tcp.Gets($"[ect0] .E 1:1 ack {tcp.Peer.LocalNext}");
        // (15/16)^40 is less than a tenth: the window of ten loses nothing but its rounding.
        Assert.InRange(tcp.Info.SendSsthresh, 9u, 10u);
    }

    [Fact]
    public void Alpha_decays_with_every_ack_while_nothing_is_out()
    {
        using Story tcp = Negotiated();
        for (int i = 0; i < 40; i++)
            tcp.Gets($". 1:1 ack 1 win {2000 + i}");
        tcp.App.Write(10_000);
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("[ect0] .E 1:1 ack 1001");
        Assert.InRange(tcp.Info.SendSsthresh, 9u, 10u);
    }
}
