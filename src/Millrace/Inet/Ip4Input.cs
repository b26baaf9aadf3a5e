using System;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>The protocols above IP, by number. Linux: inet_protos, inet6_protos.</summary>
internal sealed class InetProtocols
{
    private readonly InetProtocol?[] _protocols = new InetProtocol?[256];

    public InetProtocol? this[int number] => _protocols[number];

    public void Add(InetProtocol protocol) => _protocols[protocol.Number] = protocol;
}

/// <summary>IPv4's way in: checks, early demux, is it for us, reassembly, protocol.</summary>
/// <remarks>Linux: ip_input.c. RFC 791, RFC 1122 §3.2.1.</remarks>
internal sealed unsafe class Ip4Input(InetProtocols protocols, RoutingTable routes, Ip4Reassembly reassembly, IIcmpSender icmp) : PacketType
{
    public override void Receive(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.ip_rcv, skb.Length);
        cpu.Mib.Inc(Mib.IpInReceives);
        cpu.Mib.Add(Mib.IpExtInOctets, skb.Length);
        DropReason reason = Check(cpu, skb, out int headerLength);
        if (reason != DropReason.None)
        {
            Drops.Free(cpu, skb, reason);
            return;
        }
        skb.TransportOffset = skb.NetworkOffset + headerLength;
        bool isFragment = (Be.Get16(skb.NetworkHeader + 6) & (Ipv4Header.MoreFragments | Ipv4Header.OffsetMask)) != 0;
        if (!isFragment && skb.LinkTarget == LinkTarget.Host && TryEarlyDemux(cpu, skb, headerLength))
        {
            Deliver(cpu, skb, headerLength);
            return;
        }
        reason = CheckAddresses(cpu, skb);
        if (reason != DropReason.None)
        {
            Drops.Free(cpu, skb, reason);
            return;
        }
        if (isFragment)
        {
            SkBuff? whole = reassembly.Accept(cpu, skb);
            if (whole is null)
                return;
            skb = whole;
        }
        Deliver(cpu, skb, headerLength);
    }

    // Linux: ip_rcv_core.
    private static DropReason Check(Cpu cpu, SkBuff skb, out int headerLength)
    {
        headerLength = 0;
        if (!skb.MayPull(Ipv4Header.MinLength, cpu))
            return HeaderError(cpu, DropReason.PktTooSmall);
        // A header's options may lie in a fragment.
        if (!skb.MayPull((skb.Data[0] & 0xf) * 4, cpu))
            return HeaderError(cpu, DropReason.IpInhdr);
        bool superPacket = skb.IsGso && Be.Get16(skb.Data + 2) == 0;
        if (superPacket)
            Be.Put16(skb.Data + 2, (ushort)Math.Min(skb.Length, ushort.MaxValue));
        if (!Ipv4Header.TryParse(skb.Data, skb.Length, out Ipv4Header ip))
        {
            bool truncated = skb.Data[0] >> 4 == 4 && ip.TotalLength > skb.Length;
            if (truncated)
            {
                cpu.Mib.Inc(Mib.IpExtInTruncatedPkts);
                return DropReason.PktTooSmall;
            }
            return HeaderError(cpu, DropReason.IpInhdr);
        }
        headerLength = ip.HeaderLength;
        if (!superPacket && !ip.ChecksumIsValid)
        {
            cpu.Mib.Inc(Mib.IpExtInCsumErrors);
            return HeaderError(cpu, DropReason.IpCsum);
        }
        cpu.Mib.Inc(ip.Ecn switch
        {
            Ecn.NotEct => Mib.IpExtInNoECTPkts,
            Ecn.Ect1 => Mib.IpExtInECT1Pkts,
            Ecn.Ect0 => Mib.IpExtInECT0Pkts,
            Ecn.Ce => Mib.IpExtInCEPkts,
        });
        if (!superPacket)
            skb.Trim(ip.TotalLength, cpu);
        if (ip.HasOptions && !OptionsAreTolerable(skb.Data + Ipv4Header.MinLength, headerLength - Ipv4Header.MinLength))
            return HeaderError(cpu, DropReason.IpInhdr);
        return DropReason.None;
    }

    private static DropReason HeaderError(Cpu cpu, DropReason reason)
    {
        cpu.Mib.Inc(Mib.IpInHdrErrors);
        return reason;
    }

    // Options are skipped, if they are well formed and do not route the packet. Linux: ip_options_compile, accept_source_route = 0.
    private static bool OptionsAreTolerable(byte* p, int length)
    {
        const byte end = 0, nop = 1, looseRoute = 131, strictRoute = 137;
        while (length > 0)
        {
            if (*p == end)
                return true;
            if (*p == nop)
            {
                p++;
                length--;
                continue;
            }
            if (length < 2 || p[1] < 2 || p[1] > length || *p is looseRoute or strictRoute)
                return false;
            length -= p[1];
            p += p[1];
        }
        return true;
    }

    // Linux: ip_rcv_finish_core.
    private bool TryEarlyDemux(Cpu cpu, SkBuff skb, int headerLength)
    {
        InetProtocol? protocol = protocols[skb.NetworkHeader[9]];
        if (protocol is null)
            return false;
        skb.Pull(headerLength);
        SockCommon? sk = protocol.EarlyDemux(cpu, skb);
        skb.Push(headerLength);
        if (sk is null)
            return false;
        skb.Owner = sk;
        skb.Charge = ChargeKind.Reference;
        return true;
    }

    // Linux: ip_route_input_slow, martian sources and destinations.
    private DropReason CheckAddresses(Cpu cpu, SkBuff skb)
    {
        IpAddr source = IpHeaders.Source(skb), destination = IpHeaders.Destination(skb);
        NetDevice? looped = routes.DeviceOf(IpAddr.Loopback4);
        bool cameFromLoopback = looped is not null && looped.IfIndex == skb.IfIndex;
        if (source.IsMulticast || source.IsBroadcast)
            return DropReason.IpInvalidSource;
        if (!cameFromLoopback && (source.IsLoopback || destination.IsLoopback))
            return DropReason.IpLocalnet;
        if (source.IsAny && !destination.IsBroadcast)
            return DropReason.IpInvalidSource;
        if (!cameFromLoopback && routes.IsLocal(source))
            return DropReason.IpLocalSource;
        if (destination.IsAny)
            return DropReason.IpInvalidDest;
        if (routes.IsLocal(destination))
            return skb.LinkTarget == LinkTarget.Host ? DropReason.None : DropReason.UnicastInL2Multicast;
        if (routes.IsBroadcast(destination))
        {
            cpu.Mib.Inc(Mib.IpExtInBcastPkts);
            return DropReason.None;
        }
        if (destination.IsMulticast)
        {
            cpu.Mib.Inc(Mib.IpExtInMcastPkts);
            return DropReason.OtherHost;
        }
        cpu.Mib.Inc(Mib.IpInAddrErrors);
        return DropReason.IpInAddrErrors;
    }

    // Linux: ip_local_deliver, ip_protocol_deliver_rcu.
    private void Deliver(Cpu cpu, SkBuff skb, int headerLength)
    {
        cpu.Trace(Tp.ip_local_deliver);
        byte number = skb.NetworkHeader[9];
        skb.Pull(headerLength);
        InetProtocol? protocol = protocols[number];
        if (protocol is not null)
        {
            cpu.Mib.Inc(Mib.IpInDelivers);
            protocol.Receive(cpu, skb);
            return;
        }
        cpu.Mib.Inc(Mib.IpInUnknownProtos);
        skb.Push(headerLength);
        icmp.SendError(cpu, skb, (byte)IcmpType.DestinationUnreachable, (byte)IcmpUnreachable.Protocol, 0);
        Drops.Free(cpu, skb, DropReason.IpNoproto);
    }
}

/// <summary>Sends ICMP errors about packets that came in.</summary>
internal interface IIcmpSender
{
    /// <summary>
    /// Sends an error that quotes <paramref name="about"/>, whose network header is at its start, if the rules allow one. The packet
    /// stays the caller's. RFC 1122 §3.2.2, RFC 1812 §4.3.2.8.
    /// </summary>
    void SendError(Cpu cpu, SkBuff about, byte type, byte code, uint info);
}
