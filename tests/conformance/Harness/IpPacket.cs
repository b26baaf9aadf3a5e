using System;
using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Millrace.Conformance;

/// <summary>An IP packet of either family, taken apart. No line is shared with the stack.</summary>
internal sealed class IpPacket
{
    public required byte[] Bytes { get; init; }
    public required IPAddress Source { get; init; }
    public required IPAddress Destination { get; init; }
    public required int Protocol { get; init; }
    public required int Ttl { get; init; }
    public required int TrafficClass { get; init; }

    /// <summary>IPv4's flags and fragment offset; 0 in IPv6.</summary>
    public required int FragmentField { get; init; }

    /// <summary>What follows the IP header.</summary>
    public required byte[] Payload { get; init; }

    /// <summary>Whether the packet's own checksums are right: of the IPv4 header, and of TCP, UDP and ICMP.</summary>
    public required bool ChecksumsHold { get; init; }

    public bool DontFragment => (FragmentField & 0x4000) != 0;

    public static IpPacket Parse(byte[] bytes)
    {
        bool v4 = bytes[0] >> 4 == 4;
        int header = v4 ? (bytes[0] & 15) * 4 : 40;
        int length = v4 ? BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(2)) : 40 + BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(4));
        byte[] payload = bytes[header..length];
        var source = new IPAddress(v4 ? bytes[12..16] : bytes[8..24]);
        var destination = new IPAddress(v4 ? bytes[16..20] : bytes[24..40]);
        int protocol = v4 ? bytes[9] : bytes[6];
        int fragment = v4 ? BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(6)) : 0;
        bool holds = (!v4 || Sum(bytes.AsSpan(0, header), 0) == 0xffff)
            && ((fragment & 0x3fff) != 0 || PayloadChecksumHolds(source, destination, protocol, payload));
        return new IpPacket
        {
            Bytes = bytes,
            Source = source,
            Destination = destination,
            Protocol = protocol,
            Ttl = v4 ? bytes[8] : bytes[7],
            TrafficClass = v4 ? bytes[1] : (bytes[0] & 15) << 4 | bytes[1] >> 4,
            FragmentField = fragment,
            Payload = payload,
            ChecksumsHold = holds,
        };
    }

    /// <summary>Puts an IP header before a payload.</summary>
    /// <param name="options">IPv4 options, a multiple of four bytes.</param>
    /// <param name="fragmentField">IPv4's flags and fragment offset.</param>
    public static byte[] Build(IPAddress source, IPAddress destination, int protocol, ReadOnlySpan<byte> payload, int trafficClass = 0,
        int ttl = 64, int fragmentField = 0x4000, ReadOnlySpan<byte> options = default, ushort id = 0)
    {
        bool v4 = source.AddressFamily == AddressFamily.InterNetwork;
        int header = v4 ? 20 + options.Length : 40;
        var packet = new byte[header + payload.Length];
        payload.CopyTo(packet.AsSpan(header));
        if (!v4)
        {
            packet[0] = (byte)(0x60 | trafficClass >> 4);
            packet[1] = (byte)(trafficClass << 4);
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(4), (ushort)payload.Length);
            packet[6] = (byte)protocol;
            packet[7] = (byte)ttl;
            source.GetAddressBytes().CopyTo(packet, 8);
            destination.GetAddressBytes().CopyTo(packet, 24);
            return packet;
        }
        packet[0] = (byte)(0x40 | header / 4);
        packet[1] = (byte)trafficClass;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(2), (ushort)packet.Length);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(4), id);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(6), (ushort)fragmentField);
        packet[8] = (byte)ttl;
        packet[9] = (byte)protocol;
        source.GetAddressBytes().CopyTo(packet, 12);
        destination.GetAddressBytes().CopyTo(packet, 16);
        options.CopyTo(packet.AsSpan(20));
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(10), (ushort)~Sum(packet.AsSpan(0, header), 0));
        return packet;
    }

    /// <summary>The checksum of a TCP, UDP or ICMPv6 payload whose checksum field is zero.</summary>
    public static ushort TransportChecksum(IPAddress source, IPAddress destination, int protocol, ReadOnlySpan<byte> payload) =>
        (ushort)~Sum(payload, PseudoHeader(source, destination, protocol, payload.Length));

    /// <summary>The checksum of an ICMP message whose checksum field is zero.</summary>
    public static ushort IcmpChecksum(ReadOnlySpan<byte> message) => (ushort)~Sum(message, 0);

    private static bool PayloadChecksumHolds(IPAddress source, IPAddress destination, int protocol, ReadOnlySpan<byte> payload) => protocol switch
    {
        1 => Sum(payload, 0) == 0xffff,
        6 or 17 or 58 => Sum(payload, PseudoHeader(source, destination, protocol, payload.Length)) == 0xffff,
        _ => true,
    };

    private static uint PseudoHeader(IPAddress source, IPAddress destination, int protocol, int length)
    {
        byte[] addresses = [.. source.GetAddressBytes(), .. destination.GetAddressBytes()];
        return (uint)(Sum(addresses, 0) + protocol + length);
    }

    private static ushort Sum(ReadOnlySpan<byte> data, uint seed)
    {
        ulong sum = seed;
        for (int i = 0; i < data.Length; i++)
            sum += i % 2 == 0 ? (uint)data[i] << 8 : data[i];
        while (sum >> 16 != 0)
            sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)sum;
    }
}
