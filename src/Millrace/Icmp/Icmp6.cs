using System;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Icmp;

/// <summary>ICMPv6: answers echoes, sends errors about packets that nobody takes, hands errors about ours to their protocol.</summary>
/// <remarks>RFC 4443. Linux: icmpv6_rcv, icmp6_send, icmpv6_notify.</remarks>
internal sealed unsafe class Icmp6(InetProtocols protocols, RoutingTable routes, Ip6Output output, IcmpRateLimiter limiter, NeighbourDiscovery neighbours)
    : InetProtocol, IIcmpSender
{
    private const int HeaderSize = IcmpHeader.Size;

    public override byte Number => IpProtocol.IcmpV6;

    public override void Receive(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.icmp_rcv, skb.Length);
        cpu.Mib.Inc(Mib.Icmp6InMsgs);
        DropReason reason = DropReason.None;
        if (!skb.MayPull(HeaderSize, cpu))
        {
            cpu.Mib.Inc(Mib.Icmp6InErrors);
            reason = DropReason.PktTooSmall;
        }
        else if (!IpHeaders.TransportChecksumIsValid(skb, IpProtocol.IcmpV6))
        {
            cpu.Mib.Inc(Mib.Icmp6InCsumErrors);
            cpu.Mib.Inc(Mib.Icmp6InErrors);
            reason = DropReason.IcmpCsum;
        }
        else
        {
            reason = Dispatch(cpu, skb);
        }
        Drops.Free(cpu, skb, reason);
    }

    public void SendError(Cpu cpu, SkBuff about, byte type, byte code, uint info)
    {
        IpAddr source = IpHeaders.Source(about), destination = IpHeaders.Destination(about);
        // Nobody provokes what this host tells itself. Linux: icmpv6_xrlim_allow.
        if (!MayAnswer(about, source, destination) || (!routes.IsLocal(source) && !limiter.Allows(source)))
            return;
        // As much as fits the smallest MTU. RFC 4443 §2.4(c).
        int quote = Math.Min(about.Length, Ipv6Header.MinMtu - Ipv6Header.Length - HeaderSize);
        SkBuff skb = cpu.AllocLinear(HeaderSize + quote, SkBuff.TransmitHeadroom);
        IcmpHeader.Write(skb.Put(HeaderSize), type, code, info);
        about.CopyTo(0, new Span<byte>(skb.Put(quote), quote));
        cpu.Mib.Inc(Mib.Icmp6OutDestUnreachs);
        IpAddr from = routes.IsLocal(destination) ? destination : IpAddr.Any6;
        Send(cpu, skb, new ReplyFlow(from, source) { Protocol = IpProtocol.IcmpV6 });
    }

    private DropReason Dispatch(Cpu cpu, SkBuff skb)
    {
        IcmpHeader.TryParse(skb.Data, skb.Length, out IcmpHeader icmp);
        switch ((Icmp6Type)icmp.Type)
        {
            case Icmp6Type.EchoRequest:
                cpu.Mib.Inc(Mib.Icmp6InEchos);
                if (!IpHeaders.Destination(skb).IsMulticast)
                    AnswerEcho(cpu, skb, icmp.Rest);
                break;
            case Icmp6Type.EchoReply:
                cpu.Mib.Inc(Mib.Icmp6InEchoReplies);
                break;
            case Icmp6Type.DestinationUnreachable:
                cpu.Mib.Inc(Mib.Icmp6InDestUnreachs);
                HandleError(cpu, skb, icmp);
                break;
            case Icmp6Type.PacketTooBig:
                cpu.Mib.Inc(Mib.Icmp6InPktTooBigs);
                HandleError(cpu, skb, icmp);
                break;
            case Icmp6Type.TimeExceeded:
                cpu.Mib.Inc(Mib.Icmp6InTimeExcds);
                HandleError(cpu, skb, icmp);
                break;
            case Icmp6Type.ParameterProblem:
                cpu.Mib.Inc(Mib.Icmp6InParmProblems);
                HandleError(cpu, skb, icmp);
                break;
            case Icmp6Type.NeighborSolicitation:
                cpu.Mib.Inc(Mib.Icmp6InNeighborSolicits);
                return neighbours.Receive(cpu, skb);
            case Icmp6Type.NeighborAdvertisement:
                cpu.Mib.Inc(Mib.Icmp6InNeighborAdvertisements);
                return neighbours.Receive(cpu, skb);
            default:
                // Routers are the user's to name.
                break;
        }
        return DropReason.None;
    }

    private void AnswerEcho(Cpu cpu, SkBuff request, uint rest)
    {
        SkBuff skb = cpu.AllocLinear(HeaderSize, SkBuff.TransmitHeadroom);
        IcmpHeader.Write(skb.Put(HeaderSize), (byte)Icmp6Type.EchoReply, 0, rest);
        cpu.AppendCopy(skb, request, HeaderSize);
        cpu.Mib.Inc(Mib.Icmp6OutEchoReplies);
        Send(cpu, skb, new ReplyFlow(IpHeaders.Destination(request), IpHeaders.Source(request))
        {
            Protocol = IpProtocol.IcmpV6,
            Tos = IpHeaders.DsField(request),
        });
    }

    private void Send(Cpu cpu, SkBuff skb, in ReplyFlow flow)
    {
        cpu.Mib.Inc(Mib.Icmp6OutMsgs);
        IpAddr source = flow.Source;
        if (source.IsAny && routes.LookUpOutput(flow.Destination, source) is { } route)
            source = route.Source;
        uint pseudo = Checksum.PseudoHeader(source, flow.Destination, IpProtocol.IcmpV6, skb.Length);
        Be.PutRaw16(skb.Data + IcmpHeader.ChecksumOffset, Checksum.Finish(skb.Sum(0, pseudo)));
        skb.TransportOffset = skb.Headroom;
        output.SendReply(cpu, skb, flow with { Source = source });
    }

    private void HandleError(Cpu cpu, SkBuff skb, IcmpHeader icmp)
    {
        const int minimumTransport = 8;
        if (!skb.MayPull(Math.Min(skb.Length, HeaderSize + Ipv6Header.Length + minimumTransport), cpu))
            return;
        byte* quoted = skb.Data + HeaderSize;
        int available = skb.LinearLength - HeaderSize;
        if (available < Ipv6Header.Length + minimumTransport || quoted[0] >> 4 != 6)
        {
            cpu.Mib.Inc(Mib.Icmp6InErrors);
            return;
        }
        protocols[quoted[6]]?.Error(cpu, new IcmpError
        {
            Type = icmp.Type,
            Code = icmp.Code,
            Info = icmp.Rest,
            Source = IpAddr.ReadV6(new ReadOnlySpan<byte>(quoted + 8, 16)),
            Destination = IpAddr.ReadV6(new ReadOnlySpan<byte>(quoted + 24, 16)),
            Transport = new ReadOnlySpan<byte>(quoted + Ipv6Header.Length, available - Ipv6Header.Length),
            Reporter = IpHeaders.Source(skb),
            IfIndex = skb.IfIndex,
        });
    }

    // RFC 4443 §2.4(e).
    private static bool MayAnswer(SkBuff about, IpAddr source, IpAddr destination)
    {
        if (destination.IsMulticast || source.IsMulticast || source.IsAny)
            return false;
        byte* ip = about.NetworkHeader;
        if (ip[6] != IpProtocol.IcmpV6 || about.LinearLength <= Ipv6Header.Length)
            return true;
        return ip[Ipv6Header.Length] >= 128;
    }
}
