using System;
using System.Buffers.Binary;
using System.Linq;
using System.Net;

namespace Millrace.Conformance;

/// <summary>What is IPv6's alone: extension headers, ICMPv6, addresses. RFC 8200, RFC 4443. These say themselves where they play.</summary>
public sealed class Ipv6Tests
{
    private const int Tcp = 6, HopByHop = 0, Routing = 43, DestinationOptions = 60, NoNext = 59, Icmp6 = 58;

    private static void OverIpv6(Action story) => Stage.Play(story, Family.V6);

    // Puts one extension header before a segment.
    private static byte[] WithExtension(Story tcp, string segment, int type, ReadOnlySpan<byte> body)
    {
        byte[] tcpBytes = tcp.Peer.Packet(segment)[40..];
        byte[] payload = [Tcp, (byte)((body.Length + 2) / 8 - 1), .. body, .. tcpBytes];
        return IpPacket.Build(tcp.Backend.Remote, tcp.Backend.Local, type, payload);
    }

    [Fact]
    public void Extension_headers_are_skipped() => OverIpv6(static () =>
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Injects(WithExtension(tcp, "1:101 ack 1", HopByHop, [1, 4, 0, 0, 0, 0]), "1:101 ack 1 behind hop-by-hop options");
        Assert.Equal(101, tcp.Peer.TakeOne().Ack);
        tcp.Peer.Gets("101:101 ack 1");
        tcp.Injects(WithExtension(tcp, "101:201 ack 1", DestinationOptions, [1, 4, 0, 0, 0, 0]), "101:201 ack 1 behind destination options");
        Assert.Equal(201, tcp.Peer.TakeOne().Ack);
    });

    [Fact]
    public void An_unknown_option_that_says_so_brings_a_parameter_problem() => OverIpv6(static () =>
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Injects(WithExtension(tcp, "1:101 ack 1", DestinationOptions, [0x9e, 4, 0, 0, 0, 0]), "1:101 ack 1 behind an unknown option");
        IpPacket error = tcp.TakePacket()!;
        Assert.Equal((4, 2), (error.Payload[0], error.Payload[1]));
    });

    [Fact]
    public void An_unknown_option_that_may_be_skipped_is_skipped() => OverIpv6(static () =>
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Injects(WithExtension(tcp, "1:101 ack 1", DestinationOptions, [0x1e, 4, 0, 0, 0, 0]), "1:101 ack 1 behind a skippable option");
        Assert.Equal(101, tcp.Peer.TakeOne().Ack);
    });

    [Fact]
    public void An_unknown_next_header_brings_a_parameter_problem() => OverIpv6(static () =>
    {
        using var tcp = Story.Idle();
        tcp.Injects(IpPacket.Build(tcp.Backend.Remote, tcp.Backend.Local, 200, new byte[8]), "next header 200");
        IpPacket error = tcp.TakePacket()!;
        Assert.Equal((Icmp6, 4, 1), (error.Protocol, error.Payload[0], error.Payload[1]));
    });

    [Fact]
    public void No_next_header_ends_the_packet() => OverIpv6(static () =>
    {
        using var tcp = Story.Idle();
        tcp.Injects(IpPacket.Build(tcp.Backend.Remote, tcp.Backend.Local, NoNext, new byte[8]), "no next header");
        Assert.Null(tcp.TakePacket());
    });

    [Fact]
    public void An_extension_header_that_runs_past_the_packet_is_dropped() => OverIpv6(static () =>
    {
        using var tcp = Story.Idle();
        tcp.Injects(IpPacket.Build(tcp.Backend.Remote, tcp.Backend.Local, DestinationOptions, [Tcp, 200, 1, 4, 0, 0, 0, 0]), "a header of 1608 bytes");
        Assert.Null(tcp.TakePacket());
    });

    [Fact]
    public void A_routing_header_of_type_0_is_refused() => OverIpv6(static () =>
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Injects(WithExtension(tcp, "1:101 ack 1", Routing, [0, 1, 0, 0, 0, 0]), "1:101 ack 1 behind a routing header of type 0");
        tcp.SendsNothing();
    });

    [Fact]
    public void An_echo_request_is_answered() => OverIpv6(static () =>
    {
        using var tcp = Story.Idle();
        byte[] request = [128, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4];
        BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(2),
            IpPacket.TransportChecksum(tcp.Backend.Remote, tcp.Backend.Local, Icmp6, request));
        tcp.Injects(IpPacket.Build(tcp.Backend.Remote, tcp.Backend.Local, Icmp6, request), "ICMPv6 echo request");
        IpPacket reply = tcp.TakePacket()!;
        Assert.Equal(129, reply.Payload[0]);
        Assert.Equal(request[4..], reply.Payload[4..]);
        Assert.True(reply.ChecksumsHold);
    });

    [Fact]
    public void A_multicast_source_is_dropped() => OverIpv6(static () =>
    {
        using var tcp = Story.Listening();
        byte[] syn = tcp.Peer.Packet("S 0:0 win 65535 <mss 1000>");
        tcp.Injects(IpPacket.Build(IPAddress.Parse("ff02::1"), tcp.Backend.Local, Tcp, syn.AsSpan(40)), "SYN from ff02::1");
        tcp.SendsNothing();
        Assert.Null(tcp.TakePacket());
    });

    [Fact]
    public void IPV6_UNICAST_HOPS_and_TCLASS_are_on_every_segment() => OverIpv6(static () =>
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Ipv6, Opt.Ipv6UnicastHops, 9);
        tcp.App.Set(Opt.Ipv6, Opt.Ipv6TrafficClass, 0x20);
        tcp.App.Write(100);
        tcp.Sends("[ttl 9] [tos 32] 1:101 ack 1");
    });

    [Fact]
    public void IPV6_MINHOPCOUNT_drops_what_comes_from_too_far() => OverIpv6(static () =>
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Ipv6, Opt.Ipv6MinHopCount, 255);
        tcp.Gets("[ttl 254] 1:101 ack 1");
        tcp.SendsNothing();
        tcp.Gets("[ttl 255] 1:101 ack 1");
        tcp.Sends("ack 101");
    });

    [Fact]
    public void Packets_carry_a_flow_label_that_stays() => OverIpv6(static () =>
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(2000);
        uint[] labels = [.. tcp.Peer.DrainPackets().Select(static p => BinaryPrimitives.ReadUInt32BigEndian(p.Bytes) & 0xfffff)];
        Assert.NotEqual(0u, labels[0]);
        Assert.Single(labels.Distinct());
    });
}
