using System;
using Millrace.Wire;

namespace Millrace.Buffers;

/// <summary>Reads of a received packet's network header what the transports ask, for both versions.</summary>
internal static unsafe class IpHeaders
{
    public static bool IsV4(SkBuff skb) => skb.NetworkHeader[0] >> 4 == 4;

    public static IpAddr Source(SkBuff skb)
    {
        byte* ip = skb.NetworkHeader;
        return ip[0] >> 4 == 4 ? IpAddr.FromV4(Be.Get32(ip + 12)) : new IpAddr(Be.Get64(ip + 8), Be.Get64(ip + 16));
    }

    public static IpAddr Destination(SkBuff skb)
    {
        byte* ip = skb.NetworkHeader;
        return ip[0] >> 4 == 4 ? IpAddr.FromV4(Be.Get32(ip + 16)) : new IpAddr(Be.Get64(ip + 24), Be.Get64(ip + 32));
    }

    /// <summary>TOS or traffic class. Linux: ipv4_get_dsfield, ipv6_get_dsfield.</summary>
    public static byte DsField(SkBuff skb)
    {
        byte* ip = skb.NetworkHeader;
        return ip[0] >> 4 == 4 ? ip[1] : (byte)(Be.Get16(ip) >> 4);
    }

    /// <summary>TTL or hop limit.</summary>
    public static byte Ttl(SkBuff skb)
    {
        byte* ip = skb.NetworkHeader;
        return ip[0] >> 4 == 4 ? ip[8] : ip[7];
    }

    /// <summary>A copy of the headers, from the network's to the end of the transport's, whose length is given.</summary>
    public static byte[] ThroughTransport(SkBuff skb, int transportLength) =>
        new ReadOnlySpan<byte>(skb.NetworkHeader, (int)(skb.Data - skb.NetworkHeader) + transportLength).ToArray();

    /// <summary>IPv6's flow label, 20 bits; 0 for IPv4.</summary>
    public static uint FlowLabel(SkBuff skb)
    {
        byte* ip = skb.NetworkHeader;
        return ip[0] >> 4 == 4 ? 0 : Be.Get32(ip) & 0xf_ffff;
    }

    /// <summary>
    /// Whether the transport checksum over the bytes from the transport header on is right, or vouched for. Linux: skb_checksum_init.
    /// </summary>
    public static bool TransportChecksumIsValid(SkBuff skb, byte protocol)
    {
        if (skb.IpSummed != ChecksumState.None)
            return true;
        uint pseudo = Checksum.PseudoHeader(Source(skb), Destination(skb), protocol, skb.Length);
        return Checksum.Fold(skb.Sum(0, pseudo)) == 0xffff;
    }

    /// <summary>
    /// What names the packet's flow, one run of bytes in both families: the addresses, and the ports of TCP or UDP if the network header
    /// has no options and the packet is whole. The transport's first bytes are linear.
    /// </summary>
    public static ReadOnlySpan<byte> FlowTuple(SkBuff skb)
    {
        byte* ip = skb.NetworkHeader;
        if (ip[0] >> 4 != 4)
            return new ReadOnlySpan<byte>(ip + 8, ip[6] is IpProtocol.Tcp or IpProtocol.Udp ? 36 : 32);
        const int fragment = Ipv4Header.MoreFragments | Ipv4Header.OffsetMask;
        bool hasPorts = ip[0] == 0x45 && ip[9] is IpProtocol.Tcp or IpProtocol.Udp && (Be.Get16(ip + 6) & fragment) == 0;
        return new ReadOnlySpan<byte>(ip + 12, hasPorts ? 12 : 8);
    }
}
