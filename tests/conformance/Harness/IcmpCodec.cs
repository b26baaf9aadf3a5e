using System;
using System.Buffers.Binary;
using System.Net.Sockets;

namespace Millrace.Conformance;

/// <summary>Errors that the path reports.</summary>
internal enum Icmp
{
    NetUnreachable,
    HostUnreachable,
    ProtocolUnreachable,
    PortUnreachable,
    Prohibited,
    PacketTooBig,
    TimeExceeded,
}

/// <summary>ICMP and ICMPv6 errors as packets. RFC 792, RFC 4443.</summary>
internal static class IcmpCodec
{
    private const int Icmp4Protocol = 1, Icmp6Protocol = 58, QuotedBytes4 = 548, QuotedBytes6 = 1232;

    public static byte[] Error(Backend stack, Icmp error, byte[] quoted, int mtu)
    {
        bool v4 = stack.Local.AddressFamily == AddressFamily.InterNetwork;
        (byte type, byte code) = v4 ? Number4(error) : Number6(error);
        byte[] quote = quoted[..Math.Min(quoted.Length, v4 ? QuotedBytes4 : QuotedBytes6)];
        byte[] message = [type, code, 0, 0, 0, 0, 0, 0, .. quote];
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(4), (uint)mtu);
        int protocol = v4 ? Icmp4Protocol : Icmp6Protocol;
        ushort checksum = v4 ? IpPacket.IcmpChecksum(message) : IpPacket.TransportChecksum(stack.Remote, stack.Local, protocol, message);
        BinaryPrimitives.WriteUInt16BigEndian(message.AsSpan(2), checksum);
        return IpPacket.Build(stack.Remote, stack.Local, protocol, message);
    }

    private static (byte Type, byte Code) Number4(Icmp error) => error switch
    {
        Icmp.NetUnreachable => (3, 0),
        Icmp.HostUnreachable => (3, 1),
        Icmp.ProtocolUnreachable => (3, 2),
        Icmp.PortUnreachable => (3, 3),
        Icmp.PacketTooBig => (3, 4),
        Icmp.Prohibited => (3, 13),
        Icmp.TimeExceeded => (11, 0),
    };

    private static (byte Type, byte Code) Number6(Icmp error) => error switch
    {
        Icmp.NetUnreachable => (1, 0),
        Icmp.Prohibited => (1, 1),
        Icmp.HostUnreachable => (1, 3),
        Icmp.PortUnreachable => (1, 4),
        Icmp.PacketTooBig => (2, 0),
        Icmp.TimeExceeded => (3, 0),
        Icmp.ProtocolUnreachable => (4, 1),
    };
}
