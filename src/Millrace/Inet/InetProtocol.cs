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
