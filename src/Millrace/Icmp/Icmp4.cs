using System;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Icmp;

/// <summary>ICMP for IPv4: answers echoes, sends errors about packets that nobody takes, hands errors about ours to their protocol.</summary>
/// <remarks>RFC 792, RFC 1122 §3.2.2. Linux: icmp.c.</remarks>
internal sealed unsafe class Icmp4(InetProtocols protocols, RoutingTable routes, Ip4Output output, Sysctls sysctls, IcmpRateLimiter limiter)
    : InetProtocol, IIcmpSender
{
    /// <summary>No error is longer than this. RFC 1812 §4.3.2.3.</summary>
    private const int MaxErrorLength = 576;

    private const int IcmpHeaderLength = IcmpHeader.Size;

    public override byte Number => IpProtocol.Icmp;

    public override void Receive(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.icmp_rcv, skb.Length);
        cpu.Mib.Inc(Mib.IcmpInMsgs);
        DropReason reason = DropReason.None;
        if (!skb.MayPull(IcmpHeaderLength, cpu))
        {
            cpu.Mib.Inc(Mib.IcmpInErrors);
            reason = DropReason.PktTooSmall;
        }
        else if (skb.IpSummed == ChecksumState.None && Checksum.Fold(skb.Sum(0, 0)) != 0xffff)
        {
            cpu.Mib.Inc(Mib.IcmpInCsumErrors);
            cpu.Mib.Inc(Mib.IcmpInErrors);
            reason = DropReason.IcmpCsum;
        }
        else
        {
            Dispatch(cpu, skb);
        }
        Drops.Free(cpu, skb, reason);
    }

    public void SendError(Cpu cpu, SkBuff about, byte type, byte code, uint info)
    {
        if (!MayAnswer(about, out IpAddr source, out IpAddr destination))
            return;
        // Nobody provokes what this host tells itself. Linux: icmpv4_xrlim_allow.
        if (!routes.IsLocal(source) && (sysctls.IcmpRateMask >> type & 1) != 0 && !limiter.Allows(source))
        {
            cpu.Mib.Inc(Mib.IcmpOutRateLimitHost);
            return;
        }
        int quote = Math.Min(about.Length, MaxErrorLength - Ipv4Header.MinLength - IcmpHeaderLength);
        SkBuff skb = cpu.AllocLinear(IcmpHeaderLength + quote, SkBuff.TransmitHeadroom);
        IcmpHeader.Write(skb.Put(IcmpHeaderLength), type, code, info);
        about.CopyTo(0, new Span<byte>(skb.Put(quote), quote));
        cpu.Mib.Inc(type switch
        {
            (byte)IcmpType.DestinationUnreachable => Mib.IcmpOutDestUnreachs,
            _ => Mib.IcmpOutTimeExcds,
        });
        // The address that the packet was sent to answers, if it is one host's.
        IpAddr from = routes.IsLocal(destination) ? destination : IpAddr.Any4;
        Send(cpu, skb, new ReplyFlow(from, source) { MayFragment = true, Protocol = IpProtocol.Icmp, Tos = 0xc0 });
    }

    private void Dispatch(Cpu cpu, SkBuff skb)
    {
        IcmpHeader.TryParse(skb.Data, skb.Length, out IcmpHeader icmp);
        switch ((IcmpType)icmp.Type)
        {
            case IcmpType.EchoRequest:
                cpu.Mib.Inc(Mib.IcmpInEchos);
                if (!sysctls.IcmpEchoIgnoreAll && !IpHeaders.Destination(skb).IsMulticast
                    && !routes.IsBroadcast(IpHeaders.Destination(skb)))
                    AnswerEcho(cpu, skb);
                break;
            case IcmpType.EchoReply:
                cpu.Mib.Inc(Mib.IcmpInEchoReps);
                break;
            case IcmpType.DestinationUnreachable:
                cpu.Mib.Inc(Mib.IcmpInDestUnreachs);
                HandleError(cpu, skb, icmp);
                break;
            case IcmpType.TimeExceeded:
                cpu.Mib.Inc(Mib.IcmpInTimeExcds);
                HandleError(cpu, skb, icmp);
                break;
            case IcmpType.ParameterProblem:
                cpu.Mib.Inc(Mib.IcmpInParmProbs);
                HandleError(cpu, skb, icmp);
                break;
            case IcmpType.SourceQuench:
                cpu.Mib.Inc(Mib.IcmpInSrcQuenchs);
                break;
            case IcmpType.Redirect:
                cpu.Mib.Inc(Mib.IcmpInRedirects);
                break;
            default:
                cpu.Mib.Inc(Mib.IcmpInErrors);
                break;
        }
    }

    // Linux: icmp_echo, icmp_reply.
    private void AnswerEcho(Cpu cpu, SkBuff request)
    {
        IcmpHeader.TryParse(request.Data, request.Length, out IcmpHeader icmp);
        SkBuff skb = cpu.AllocLinear(IcmpHeaderLength, SkBuff.TransmitHeadroom);
        IcmpHeader.Write(skb.Put(IcmpHeaderLength), (byte)IcmpType.EchoReply, 0, icmp.Rest);
        cpu.AppendCopy(skb, request, IcmpHeaderLength);
        cpu.Mib.Inc(Mib.IcmpOutEchoReps);
        Send(cpu, skb, new ReplyFlow(IpHeaders.Destination(request), IpHeaders.Source(request))
        {
            MayFragment = true,
            Protocol = IpProtocol.Icmp,
            Tos = IpHeaders.DsField(request),
        });
    }

    private void Send(Cpu cpu, SkBuff skb, in ReplyFlow flow)
    {
        cpu.Mib.Inc(Mib.IcmpOutMsgs);
        Be.PutRaw16(skb.Data + IcmpHeader.ChecksumOffset, Checksum.Finish(skb.Sum(0, 0)));
        skb.TransportOffset = skb.Headroom;
        output.SendReply(cpu, skb, flow);
    }

    // Linux: icmp_unreach, icmp_socket_deliver. The quote is believed as far as a sock's own look-up and sequence check go.
    private void HandleError(Cpu cpu, SkBuff skb, IcmpHeader icmp)
    {
        const int minimumTransport = 8;
        int wanted = Math.Min(skb.Length, IcmpHeaderLength + 60 + minimumTransport);
        if (!skb.MayPull(wanted, cpu))
            return;
        byte* quoted = skb.Data + IcmpHeaderLength;
        int available = skb.LinearLength - IcmpHeaderLength;
        int header = available >= Ipv4Header.MinLength ? (quoted[0] & 0xf) * 4 : 0;
        if (header < Ipv4Header.MinLength || quoted[0] >> 4 != 4 || available < header + minimumTransport)
        {
            cpu.Mib.Inc(Mib.IcmpInErrors);
            return;
        }
        uint info = icmp.Rest;
        if (icmp.Type == (byte)IcmpType.DestinationUnreachable && icmp.Code == (byte)IcmpUnreachable.FragmentationNeeded)
        {
            if (sysctls.IpNoPmtuDisc == 2)
                return;
            info &= 0xffff;
        }
        protocols[quoted[9]]?.Error(cpu, new IcmpError
        {
            Type = icmp.Type,
            Code = icmp.Code,
            Info = info,
            Source = IpAddr.FromV4(Be.Get32(quoted + 12)),
            Destination = IpAddr.FromV4(Be.Get32(quoted + 16)),
            Transport = new ReadOnlySpan<byte>(quoted + header, available - header),
            Reporter = IpHeaders.Source(skb),
            IfIndex = skb.IfIndex,
        });
    }

    // Never about an error, a broadcast, a later fragment, or a source that is not one host. RFC 1122 §3.2.2.
    private bool MayAnswer(SkBuff about, out IpAddr source, out IpAddr destination)
    {
        byte* ip = about.NetworkHeader;
        source = IpHeaders.Source(about);
        destination = IpHeaders.Destination(about);
        if (destination.IsMulticast || routes.IsBroadcast(destination) || source.IsMulticast || source.IsAny || routes.IsBroadcast(source))
            return false;
        if ((Be.Get16(ip + 6) & Ipv4Header.OffsetMask) != 0)
            return false;
        if (ip[9] != IpProtocol.Icmp)
            return true;
        int header = (ip[0] & 0xf) * 4;
        return about.LinearLength > header && about.Data[header] is (byte)IcmpType.EchoRequest or (byte)IcmpType.EchoReply;
    }
}
