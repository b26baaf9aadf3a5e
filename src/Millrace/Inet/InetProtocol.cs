using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>An ICMP error about a packet that this host sent, with what it quotes of it.</summary>
internal readonly ref struct IcmpError
{
    public required byte Type { get; init; }

    public required byte Code { get; init; }

    /// <summary>The MTU, pointer or other word of the error.</summary>
    public required uint Info { get; init; }

    /// <summary>Source and destination of the quoted packet: the source is ours.</summary>
    public required IpAddr Source { get; init; }

    public required IpAddr Destination { get; init; }

    /// <summary>The quoted transport header: at least 8 bytes.</summary>
    public required ReadOnlySpan<byte> Transport { get; init; }

    /// <summary>Who sent the error.</summary>
    public required IpAddr Reporter { get; init; }

    public required int IfIndex { get; init; }

    public bool IsV6 => !Source.IsV4;
}

/// <summary>A protocol above IP, of both versions. Linux: net_protocol, inet6_protocol.</summary>
internal abstract class InetProtocol
{
    public abstract byte Number { get; }

    /// <summary>Takes a packet over. Softirq; <see cref="SkBuff.Data"/> is at the transport header.</summary>
    public abstract void Receive(Cpu cpu, SkBuff skb);

    /// <summary>
    /// Finds the sock before routing, so that one look-up serves both. The packet is at its transport header; the sock comes with a
    /// reference. Linux: early_demux.
    /// </summary>
    public virtual SockCommon? EarlyDemux(Cpu cpu, SkBuff skb) => null;

    /// <summary>Linux: err_handler.</summary>
    public virtual void Error(Cpu cpu, in IcmpError error)
    {
    }
}

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
}
