using System;
using System.Buffers.Binary;
using System.Linq;
using System.Net;

namespace Millrace.Conformance;

/// <summary>What the network layer does with packets before TCP sees them. RFC 791, RFC 1122 §3.2, RFC 792.</summary>
public sealed class IpStories
{
    private const int Icmp = 1, Udp = 17;

    private static byte[] Echo(ushort id, ushort seq, int payload)
    {
        byte[] message = [8, 0, 0, 0, (byte)(id >> 8), (byte)id, (byte)(seq >> 8), (byte)seq, .. Enumerable.Range(0, payload).Select(static i => (byte)i)];
        BinaryPrimitives.WriteUInt16BigEndian(message.AsSpan(2), IpPacket.IcmpChecksum(message));
        return message;
    }

    private static byte[] Datagram(Story tcp, ushort port)
    {
        byte[] udp = [0x9c, 0x40, (byte)(port >> 8), (byte)port, 0, 12, 0, 0, 1, 2, 3, 4];
        BinaryPrimitives.WriteUInt16BigEndian(udp.AsSpan(6), IpPacket.TransportChecksum(tcp.Backend.Remote, tcp.Backend.Local, Udp, udp));
        return udp;
    }

    [Fact]
    public void An_echo_request_is_answered_with_the_same_bytes()
    {
        using var tcp = Story.Idle();
        byte[] request = Echo(7, 1, 56);
        tcp.Injects(IpPacket.Build(tcp.Backend.Remote, tcp.Backend.Local, Icmp, request), "ICMP echo request");
        IpPacket reply = tcp.TakePacket()!;
        Assert.Equal(0, reply.Payload[0]);
        Assert.Equal(request[4..], reply.Payload[4..]);
        Assert.True(reply.ChecksumsHold);
    }

    [Fact]
    public void An_echo_request_with_a_wrong_checksum_is_dropped()
    {
        using var tcp = Story.Idle();
        byte[] request = Echo(7, 1, 8);
        request[9] ^= 1;
        tcp.Injects(IpPacket.Build(tcp.Backend.Remote, tcp.Backend.Local, Icmp, request), "ICMP echo request, damaged");
        Assert.Null(tcp.TakePacket());
        Assert.Equal(1, tcp.Counter("IcmpInCsumErrors"));
    }

    [Fact]
    public void A_datagram_to_a_port_where_nobody_is_brings_port_unreachable()
    {
        using var tcp = Story.Idle();
        byte[] packet = IpPacket.Build(tcp.Backend.Remote, tcp.Backend.Local, Udp, Datagram(tcp, 9999));
        tcp.Injects(packet, "UDP to port 9999");
        IpPacket error = tcp.TakePacket()!;
        Assert.Equal((3, 3), (error.Payload[0], error.Payload[1]));
        Assert.Equal(packet, error.Payload[8..]);
    }

    [Fact]
    public void An_unknown_protocol_brings_protocol_unreachable()
    {
        using var tcp = Story.Idle();
        tcp.Injects(IpPacket.Build(tcp.Backend.Remote, tcp.Backend.Local, 200, [1, 2, 3, 4, 5, 6, 7, 8]), "protocol 200");
        IpPacket error = tcp.TakePacket()!;
        Assert.Equal((3, 2), (error.Payload[0], error.Payload[1]));
        Assert.Equal(1, tcp.Counter("IpInUnknownProtos"));
    }

    [Fact]
    public void A_header_with_a_wrong_checksum_is_dropped_and_counted()
    {
        using var tcp = Story.Listening();
        byte[] syn = tcp.Peer.Packet("S 0:0 win 65535 <mss 1000>");
        syn[10] ^= 0x55;
        tcp.Injects(syn, "SYN, IP header damaged");
        tcp.SendsNothing();
        Assert.Equal(1, tcp.Counter("IpInHdrErrors"));
    }

    [Fact]
    public void A_packet_shorter_than_it_says_is_dropped()
    {
        using var tcp = Story.Listening();
        byte[] syn = tcp.Peer.Packet("S 0:0 win 65535 <mss 1000>");
        tcp.Injects(syn[..^4], "SYN, cut short");
        tcp.SendsNothing();
        Assert.Equal(1, tcp.Counter("IpExtInTruncatedPkts"));
    }

    [Fact]
    public void Bytes_after_the_packet_are_no_part_of_it()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Injects([.. tcp.Peer.Packet("1:101 ack 1"), 1, 2, 3, 4], "1:101 ack 1 with a trailer");
        tcp.Peer.Gets("101:201 ack 1");
        tcp.Sends("ack 101", "ack 201");
        tcp.App.Read(200);
    }

    [Fact]
    public void Options_in_the_header_are_tolerated()
    {
        using var tcp = Story.Established(mss: 1000);
        byte[] plain = tcp.Peer.Packet("1:101 ack 1");
        byte[] withOptions = IpPacket.Build(tcp.Backend.Remote, tcp.Backend.Local, 6, plain.AsSpan(20), options: [1, 1, 1, 0]);
        tcp.Injects(withOptions, "1:101 ack 1 with IP options");
        Assert.Equal(101, tcp.Peer.TakeOne().Ack);
    }

    [Fact]
    public void A_packet_for_somebody_else_is_not_for_us()
    {
        using var tcp = Story.Listening();
        byte[] syn = tcp.Peer.Packet("S 0:0 win 65535 <mss 1000>");
        byte[] stray = IpPacket.Build(tcp.Backend.Remote, IPAddress.Parse("192.168.0.77"), 6, syn.AsSpan(20));
        tcp.Injects(stray, "SYN to 192.168.0.77");
        tcp.SendsNothing();
        Assert.Null(tcp.TakePacket());
    }

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("224.0.0.1")]
    [InlineData("255.255.255.255")]
    [InlineData("192.168.0.1")]
    public void A_source_that_cannot_be_is_dropped(string source)
    {
        using var tcp = Story.Listening();
        byte[] syn = tcp.Peer.Packet("S 0:0 win 65535 <mss 1000>");
        tcp.Injects(IpPacket.Build(IPAddress.Parse(source), tcp.Backend.Local, 6, syn.AsSpan(20)), $"SYN from {source}");
        tcp.SendsNothing();
        Assert.Null(tcp.TakePacket());
    }

    [Fact]
    public void Fragments_are_put_together_in_any_order()
    {
        using var tcp = Story.Established(mss: 1000);
        byte[] segment = tcp.Peer.Packet("1:1001 ack 1")[20..];
        IPAddress from = tcp.Backend.Remote, to = tcp.Backend.Local;
        tcp.Injects(IpPacket.Build(from, to, 6, segment.AsSpan(512), fragmentField: 512 / 8, id: 9), "second fragment");
        tcp.SendsNothing();
        tcp.Injects(IpPacket.Build(from, to, 6, segment.AsSpan(0, 512), fragmentField: 0x2000, id: 9), "first fragment");
        Assert.Equal(1001, tcp.Peer.TakeOne().Ack);
        tcp.App.Read(1000);
        Assert.Equal(1, tcp.Counter("IpReasmOKs"));
    }

    [Fact]
    public void Fragments_that_overlap_are_dropped()
    {
        using var tcp = Story.Established(mss: 1000);
        byte[] segment = tcp.Peer.Packet("1:1001 ack 1")[20..];
        IPAddress from = tcp.Backend.Remote, to = tcp.Backend.Local;
        tcp.Injects(IpPacket.Build(from, to, 6, segment.AsSpan(0, 512), fragmentField: 0x2000, id: 9), "first fragment");
        tcp.Injects(IpPacket.Build(from, to, 6, segment.AsSpan(504), fragmentField: 504 / 8, id: 9), "overlapping fragment");
        tcp.SendsNothing();
        Assert.Equal(1, tcp.Counter("IpReasmFails"));
    }

    [Fact]
    public void Fragments_without_the_last_expire()
    {
        using var tcp = Story.Established(mss: 1000);
        byte[] segment = tcp.Peer.Packet("1:1001 ack 1")[20..];
        tcp.Injects(IpPacket.Build(tcp.Backend.Remote, tcp.Backend.Local, 6, segment.AsSpan(0, 512), fragmentField: 0x2000, id: 9), "first fragment");
        tcp.After(31_000);
        Assert.Equal(1, tcp.Counter("IpReasmTimeout"));
    }

    [Fact]
    public void Segments_leave_with_dont_fragment_and_a_ttl_of_64()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(100);
        tcp.Sends("[ttl 64] [tos 0] 1:101 ack 1");
    }

    [Fact]
    public void IP_TTL_and_IP_TOS_are_on_every_segment()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Ip, Opt.IpTtl, 7);
        tcp.App.Set(Opt.Ip, Opt.IpTos, 0x10);
        tcp.App.Write(100);
        tcp.Sends("[ttl 7] [tos 16] 1:101 ack 1");
    }

    [Fact]
    public void IP_MINTTL_drops_what_comes_from_too_far()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Ip, Opt.IpMinTtl, 255);
        tcp.Gets("[ttl 254] 1:101 ack 1");
        tcp.SendsNothing();
        tcp.Gets("[ttl 255] 1:101 ack 1");
        tcp.Sends("ack 101");
        Assert.Equal(1, tcp.Counter("TcpExtTCPMinTTLDrop"));
    }
}
