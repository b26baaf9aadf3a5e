using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>IPv6's way in: checks, extension headers, early demux, is it for us, protocol.</summary>
/// <remarks>RFC 8200. Linux: ip6_input.c. Fragments are dropped and counted: TCP never sends any.</remarks>
internal sealed unsafe class Ip6Input(InetProtocols protocols, RoutingTable routes, IIcmpSender icmp) : PacketType
{
    /// <summary>Extension headers of one packet at most: more are an attack on whoever parses them.</summary>
    private const int MaxExtensions = 8;

    private const byte ErroneousHeader = 0, UnknownNextHeader = 1, UnknownOption = 2;

    public override void Receive(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.ipv6_rcv, skb.Length);
        cpu.Mib.Inc(Mib.Ip6InReceives);
        cpu.Mib.Add(Mib.Ip6InOctets, skb.Length);
        DropReason reason = Check(cpu, skb);
        if (reason == DropReason.None)
            reason = CheckAddresses(cpu, skb);
        byte next = 0;
        int headers = Ipv6Header.Length;
        if (reason == DropReason.None)
            reason = SkipExtensions(cpu, skb, out next, ref headers);
        if (reason != DropReason.None)
        {
            Drops.Free(cpu, skb, reason);
            return;
        }
        Deliver(cpu, skb, next, headers);
    }

    // Linux: ip6_rcv_core.
    private static DropReason Check(Cpu cpu, SkBuff skb)
    {
        if (!skb.MayPull(Ipv6Header.Length, cpu))
        {
            cpu.Mib.Inc(Mib.Ip6InHdrErrors);
            return DropReason.PktTooSmall;
        }
        bool superPacket = skb.IsGso && Be.Get16(skb.Data + 4) == 0;
        if (!Ipv6Header.TryParse(skb.Data, skb.Length, out Ipv6Header ip))
        {
            bool truncated = skb.Data[0] >> 4 == 6;
            cpu.Mib.Inc(truncated ? Mib.Ip6InTruncatedPkts : Mib.Ip6InHdrErrors);
            return truncated ? DropReason.PktTooSmall : DropReason.IpInhdr;
        }
        if (!superPacket)
            skb.Trim(Ipv6Header.Length + ip.PayloadLength, cpu);
        return DropReason.None;
    }

    // RFC 4291 §2.5.3, §2.7; RFC 5220.
    private DropReason CheckAddresses(Cpu cpu, SkBuff skb)
    {
        IpAddr source = IpHeaders.Source(skb), destination = IpHeaders.Destination(skb);
        NetDevice? looped = routes.DeviceOf(IpAddr.Loopback6);
        bool cameFromLoopback = looped is not null && looped.IfIndex == skb.IfIndex;
        // A mapped address on the wire would look like IPv4's to everything above.
        if (source.IsMulticast || source.IsV4 || destination.IsV4 || destination.IsAny)
            return Refuse(cpu, DropReason.IpInvalidSource);
        if (!cameFromLoopback && (source == IpAddr.Loopback6 || destination == IpAddr.Loopback6))
            return Refuse(cpu, DropReason.IpLocalnet);
        if (!cameFromLoopback && routes.IsLocal(source))
            return Refuse(cpu, DropReason.IpLocalSource);
        if (routes.IsLocal(destination))
            return skb.LinkTarget == LinkTarget.Host ? DropReason.None : DropReason.UnicastInL2Multicast;
        if (destination.IsMulticast)
        {
            cpu.Mib.Inc(Mib.Ip6InMcastPkts);
            return routes.IsInGroup(destination) ? DropReason.None : DropReason.OtherHost;
        }
        return Refuse(cpu, DropReason.IpInAddrErrors);
    }

    private static DropReason Refuse(Cpu cpu, DropReason reason)
    {
        cpu.Mib.Inc(Mib.Ip6InAddrErrors);
        return reason;
    }

    // RFC 8200 §4. Linux: ipv6_destopt_rcv, ipv6_rthdr_rcv.
    private DropReason SkipExtensions(Cpu cpu, SkBuff skb, out byte next, ref int headers)
    {
        next = skb.Data[6];
        for (int i = 0; i <= MaxExtensions; i++)
        {
            switch (next)
            {
                case IpProtocol.HopByHop when i == 0:
                case IpProtocol.DestinationOptions:
                    if (!TryPullExtension(cpu, skb, headers, out int length) || !TryPassOptions(cpu, skb, headers + 2, length - 2))
                        return Malformed(cpu);
                    next = skb.Data[headers];
                    headers += length;
                    break;
                case IpProtocol.Routing:
                    if (!TryPullExtension(cpu, skb, headers, out length))
                        return Malformed(cpu);
                    // Segments left: somebody wants this host to forward. RFC 5095.
                    if (skb.Data[headers + 3] != 0)
                    {
                        icmp.SendError(cpu, skb, (byte)Icmp6Type.ParameterProblem, ErroneousHeader, (uint)headers + 2);
                        return Malformed(cpu);
                    }
                    next = skb.Data[headers];
                    headers += length;
                    break;
                case IpProtocol.Fragment:
                    if (!skb.MayPull(headers + 8, cpu))
                        return Malformed(cpu);
                    // RFC 6946: an "atomic" fragment is a whole packet.
                    if ((Be.Get16(skb.Data + headers + 2) & 0xfff9) != 0)
                    {
                        cpu.Mib.Inc(Mib.Ip6InDiscards);
                        return DropReason.IpReasmUnsupported;
                    }
                    next = skb.Data[headers];
                    headers += 8;
                    break;
                default:
                    return DropReason.None;
            }
        }
        return Malformed(cpu);
    }

    private static bool TryPullExtension(Cpu cpu, SkBuff skb, int offset, out int length)
    {
        length = 0;
        if (!skb.MayPull(offset + 8, cpu))
            return false;
        length = (skb.Data[offset + 1] + 1) * 8;
        return skb.MayPull(offset + length, cpu);
    }

    // An unknown option's two high bits tell what it means not to know it. RFC 8200 §4.2. Linux: ip6_tlvopt_unknown.
    private bool TryPassOptions(Cpu cpu, SkBuff skb, int offset, int length)
    {
        const byte pad1 = 0, padN = 1;
        while (length > 0)
        {
            byte* p = skb.Data + offset;
            int size = *p == pad1 ? 1 : length < 2 ? length + 1 : p[1] + 2;
            if (size > length)
                return false;
            int action = *p is pad1 or padN ? 0 : *p >> 6;
            // 2 and 3 ask for a report; that 3 asks for none about a group makes no difference here.
            if (action >= 2)
                icmp.SendError(cpu, skb, (byte)Icmp6Type.ParameterProblem, UnknownOption, (uint)offset);
            if (action != 0)
                return false;
            offset += size;
            length -= size;
        }
        return true;
    }

    private static DropReason Malformed(Cpu cpu)
    {
        cpu.Mib.Inc(Mib.Ip6InHdrErrors);
        return DropReason.Ipv6BadExthdr;
    }

    private void Deliver(Cpu cpu, SkBuff skb, byte next, int headers)
    {
        skb.TransportOffset = skb.NetworkOffset + headers;
        InetProtocol? protocol = protocols[next];
        // A group is joined for neighbour discovery alone.
        if (IpHeaders.Destination(skb).IsMulticast && next != IpProtocol.IcmpV6)
        {
            Drops.Free(cpu, skb, DropReason.OtherHost);
            return;
        }
        if (protocol is null || next == IpProtocol.Icmp)
        {
            if (next != IpProtocol.NoNextHeader)
            {
                cpu.Mib.Inc(Mib.Ip6InUnknownProtos);
                icmp.SendError(cpu, skb, (byte)Icmp6Type.ParameterProblem, UnknownNextHeader, 6);
            }
            Drops.Free(cpu, skb, DropReason.IpNoproto);
            return;
        }
        skb.Pull(headers);
        SockCommon? sk = protocol.EarlyDemux(cpu, skb);
        if (sk is not null)
        {
            skb.Owner = sk;
            skb.Charge = ChargeKind.Reference;
        }
        cpu.Trace(Tp.ip_local_deliver);
        cpu.Mib.Inc(Mib.Ip6InDelivers);
        protocol.Receive(cpu, skb);
    }
}
