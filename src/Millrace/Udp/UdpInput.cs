using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Udp;

/// <summary>
/// Datagrams that come in. There are no UDP sockets yet, so every port is closed, and its sender is told.
/// </summary>
/// <remarks>RFC 768, RFC 1122 §4.1.3.1. Linux: __udp4_lib_rcv, __udp6_lib_rcv.</remarks>
internal sealed unsafe class UdpInput(IIcmpSender icmp4, IIcmpSender icmp6) : InetProtocol
{
    /// <summary>Linux: ICMPV6_PORT_UNREACH.</summary>
    private const byte PortUnreachable6 = 4;

    public override byte Number => IpProtocol.Udp;

    public override void Receive(Cpu cpu, SkBuff skb)
    {
        bool v4 = IpHeaders.IsV4(skb);
        DropReason reason = DropReason.NoSocket;
        if (!skb.MayPull(UdpHeader.Size, cpu) || !UdpHeader.TryParse(skb.Data, skb.Length, out UdpHeader udp))
        {
            cpu.Mib.Inc(Mib.UdpInErrors);
            reason = DropReason.PktTooSmall;
        }
        else if (!ChecksumHolds(skb, udp, v4))
        {
            cpu.Mib.Inc(Mib.UdpInCsumErrors);
            cpu.Mib.Inc(Mib.UdpInErrors);
            reason = DropReason.UdpCsum;
        }
        else
        {
            cpu.Mib.Inc(Mib.UdpNoPorts);
            skb.Push(skb.TransportOffset - skb.NetworkOffset);
            if (v4)
                icmp4.SendError(cpu, skb, (byte)IcmpType.DestinationUnreachable, (byte)IcmpUnreachable.Port, 0);
            else
                icmp6.SendError(cpu, skb, (byte)Icmp6Type.DestinationUnreachable, PortUnreachable6, 0);
        }
        Drops.Free(cpu, skb, reason);
    }

    // Zero means that there is none, which IPv6 does not allow: RFC 8200 §8.1.
    private static bool ChecksumHolds(SkBuff skb, in UdpHeader udp, bool v4)
    {
        if (!udp.HasChecksum)
            return v4;
        // What follows the datagram is not summed.
        return skb.Length == udp.Length && IpHeaders.TransportChecksumIsValid(skb, IpProtocol.Udp);
    }
}
