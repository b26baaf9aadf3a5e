using System.Net;

namespace Millrace.Conformance;

/// <summary>When connect may take the ports of a connection in TIME_WAIT. RFC 6191. Linux: tcp_twsk_unique.</summary>
public sealed class TimeWaitReuseStories
{
    private const ushort OnlyPort = 40000;

    // The only port that the stack may choose is one end of a connection that the stack has closed first.
    private static Story Closed(int reuse, int delay = 1000, bool ts = true, bool peerHasClosed = true)
    {
        var settings = new StorySettings
        {
            Sysctls =
            {
                ["ip_local_port_range"] = $"{OnlyPort} {OnlyPort}",
                ["tcp_tw_reuse"] = $"{reuse}",
                ["tcp_tw_reuse_delay"] = $"{delay}",
            },
        };
        Story tcp = Story.Connected(mss: 1000, ts: ts, rtt: 1, settings: settings, prepare: static app => app.Set(Opt.Socket, Opt.ReuseAddr, 1));
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("ack 2");
        if (peerHasClosed)
            PeerCloses(tcp);
        return tcp;
    }

    private static void PeerCloses(Story tcp)
    {
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends(". 2:2 ack 2");
    }

    private static void Bind(Story tcp, App app)
    {
        app.Set(Opt.Socket, Opt.ReuseAddr, 1);
        Assert.Equal(0, tcp.Backend.Bind(app.Fd, new IPEndPoint(tcp.AnyAddress, OnlyPort)));
    }

    [Fact]
    public void After_a_second_its_ports_are_used_again_with_newer_sequence_numbers()
    {
        using Story tcp = Closed(reuse: 1);
        uint last = tcp.Peer.LocalIsn;
        tcp.After(1100);
        Assert.Equal(Errno.EINPROGRESS, tcp.Connect().Error);
        tcp.Sends("S 0:0 <...>");
        Assert.Equal(OnlyPort, tcp.Peer.LocalPort);
        Assert.Equal(2u + 65537, tcp.Peer.LocalIsn - last);
        Assert.Equal(1, tcp.Counter("TcpExtTWRecycled"));
    }

    [Theory]
    [InlineData(1000, 500, Errno.EADDRNOTAVAIL)]
    [InlineData(200, 300, Errno.EINPROGRESS)]
    [InlineData(600, 300, Errno.EADDRNOTAVAIL)]
    public void Before_the_delay_has_passed_they_are_not(int delay, int ms, Errno expected)
    {
        using Story tcp = Closed(reuse: 1, delay);
        tcp.After(ms);
        Assert.Equal(expected, tcp.Connect().Error);
    }

    [Fact]
    public void The_delay_begins_with_the_peers_fin()
    {
        using Story tcp = Closed(reuse: 1, peerHasClosed: false);
        tcp.After(800);
        PeerCloses(tcp);
        tcp.After(600);
        Assert.Equal(Errno.EADDRNOTAVAIL, tcp.Connect().Error);
        tcp.After(600);
        Assert.Equal(Errno.EINPROGRESS, tcp.Connect().Error);
    }

    [Fact]
    public void A_repeated_fin_does_not_begin_it_anew()
    {
        using Story tcp = Closed(reuse: 1);
        tcp.After(700);
        PeerCloses(tcp);
        tcp.After(500);
        Assert.Equal(Errno.EINPROGRESS, tcp.Connect().Error);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public void Switched_off_or_meant_for_the_loopback_only_they_are_not(int reuse)
    {
        using Story tcp = Closed(reuse);
        tcp.After(1100);
        Assert.Equal(Errno.EADDRNOTAVAIL, tcp.Connect().Error);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Without_timestamps_nothing_proves_that_segments_are_newer(bool bound)
    {
        using Story tcp = Closed(reuse: 1, ts: false);
        tcp.After(1100);
        Assert.Equal(Errno.EADDRNOTAVAIL, tcp.Connect(bound ? app => Bind(tcp, app) : null).Error);
    }

    [Fact]
    public void While_the_peer_has_not_closed_they_are_not()
    {
        using Story tcp = Closed(reuse: 1, peerHasClosed: false);
        tcp.After(1100);
        Assert.Equal(Errno.EADDRNOTAVAIL, tcp.Connect().Error);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Who_has_bound_the_port_gets_it_at_once_whatever_the_setting(int reuse)
    {
        using Story tcp = Closed(reuse);
        Assert.Equal(Errno.EINPROGRESS, tcp.Connect(app => Bind(tcp, app)).Error);
        tcp.Sends("S 0:0 <...>");
    }

    [Fact]
    public void Who_has_bound_the_port_gets_it_even_while_the_peer_has_not_closed()
    {
        using Story tcp = Closed(reuse: 0, peerHasClosed: false);
        Assert.Equal(Errno.EINPROGRESS, tcp.Connect(app => Bind(tcp, app)).Error);
        tcp.Sends("S 0:0 <...>");
    }
}
