using System.Net;

namespace Millrace.Conformance;

/// <summary>Sockets of IPv6 that speak IPv4. RFC 3493 §3.7, §5.3.</summary>
public sealed class DualStackStories
{
    // A connection of IPv4 that a listener of IPv6 has accepted.
    private static Story Accepted()
    {
        Story tcp = Story.Idle();
        App listener = ListensOnAny(tcp);
        tcp.Peer.Shakes(new Peer(Mss: 1460));
        SysResult fd = tcp.Backend.Accept(listener.Fd);
        Assert.False(fd.IsError);
        tcp.Use(new App(tcp, fd.Value));
        return tcp;
    }

    private static App ListensOnAny(Story tcp, bool v6Only = false)
    {
        var listener = new App(tcp, tcp.Backend.Socket(Family.V6).Value);
        listener.Set(Opt.Ipv6, Opt.Ipv6Only, v6Only ? 1 : 0);
        Assert.False(tcp.Backend.Bind(listener.Fd, new IPEndPoint(IPAddress.IPv6Any, Story.Port)).IsError);
        Assert.False(tcp.Backend.Listen(listener.Fd, 16).IsError);
        return listener;
    }

    [Fact]
    public void A_listener_of_IPv6_serves_IPv4_with_IPv4s_segments()
    {
        using Story tcp = Accepted();
        tcp.App.Write(2920);
        tcp.SendsData(1, 2921, 1460);
        tcp.Gets("1:1001 ack 2921");
        tcp.App.Read(1000);
    }

    [Fact]
    public void IPV6_V6ONLY_keeps_IPv4_out()
    {
        using Story tcp = Story.Idle();
        ListensOnAny(tcp, v6Only: true);
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("R. 0:0 ack 1");
    }

    [Fact]
    public void V6ONLY_leaves_the_port_to_a_listener_of_IPv4()
    {
        using Story tcp = Story.Listening();
        ListensOnAny(tcp, v6Only: true);
        tcp.Peer.Shakes(new Peer());
        tcp.Accept();
    }

    [Fact]
    public void Both_families_on_one_port_collide_without_it()
    {
        using Story tcp = Story.Listening();
        var second = new App(tcp, tcp.Backend.Socket(Family.V6).Value);
        second.Set(Opt.Ipv6, Opt.Ipv6Only, 0);
        Assert.Equal(Errno.EADDRINUSE, tcp.Backend.Bind(second.Fd, new IPEndPoint(IPAddress.IPv6Any, Story.Port)).Error);
    }

    private static Story Connecting()
    {
        Story tcp = Story.Idle();
        tcp.Use(new App(tcp, tcp.Backend.Socket(Family.V6).Value));
        tcp.ConnectTo(tcp.Backend.Remote.MapToIPv6());
        return tcp;
    }

    [Fact]
    public void A_mapped_address_is_connected_to_over_IPv4()
    {
        using Story tcp = Connecting();
        tcp.Peer.Answers(new Peer(Mss: 1460));
        tcp.App.Write(1460);
        tcp.Sends("1:1461 ack 1");
    }

    [Fact]
    public void A_socket_of_IPv6_alone_has_no_way_to_a_mapped_address()
    {
        using Story tcp = Story.Idle();
        var app = new App(tcp, tcp.Backend.Socket(Family.V6).Value);
        app.Set(Opt.Ipv6, Opt.Ipv6Only, 1);
        Assert.Equal(Errno.ENETUNREACH, tcp.Backend.Connect(app.Fd, new IPEndPoint(tcp.Backend.Remote.MapToIPv6(), Story.Port)).Error);
    }

    [Fact]
    public void An_error_of_ICMPv4_ends_the_connect_of_a_mapped_socket()
    {
        using Story tcp = Connecting();
        tcp.Sends("S 0:0 <...>");
        tcp.GetsIcmp(Icmp.PortUnreachable, "S 0:0");
        Assert.Equal(Errno.ECONNREFUSED, tcp.App.TakeError());
    }

    [Fact]
    public void Packet_too_big_makes_a_mapped_sockets_segments_smaller()
    {
        using Story tcp = Accepted();
        tcp.App.Write(2920);
        tcp.SendsData(1, 2921, 1460);
        tcp.GetsIcmp(Icmp.PacketTooBig, "1:1461 ack 1", mtu: 1300);
        tcp.SendsData(1, 2921, 1260);
    }
}
