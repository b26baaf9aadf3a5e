using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>IPv6's neighbours: solicited and advertised by ICMPv6.</summary>
/// <remarks>
/// RFC 4861 §7. Linux: nd_tbl, ndisc.c. Routers are not discovered, and addresses are neither made up nor tested: they are the user's.
/// </remarks>
internal sealed unsafe class NeighbourDiscovery(
    NeighbourSysctls settings, RoutingTable routes, DeviceTable devices, TimerService timers, Prng random)
    : NeighbourTable(settings, routes, timers, random)
{
    /// <summary>What no router has forwarded. RFC 4861 §7.1.</summary>
    private const byte HopLimit = 255;

    private const byte AddressUnreachable = 3;

    /// <inheritdoc cref="ArpTable.Errors"/>
    public IIcmpSender? Errors { get; set; }

    /// <summary>
    /// A neighbour solicitation or advertisement whose checksum is right; the buffer's data is at the ICMPv6 header, and stays the
    /// caller's. Linux: ndisc_rcv.
    /// </summary>
    public DropReason Receive(Cpu cpu, SkBuff skb)
    {
        if (devices.ByIndex(skb.IfIndex) is not { IsEthernet: true } device)
            return DropReason.UnhandledProto;
        if (!skb.MayPull(skb.Length, cpu) || IpHeaders.Ttl(skb) != HopLimit
            || !NeighbourMessage.TryParse(skb.Data, skb.LinearLength, out NeighbourMessage message)
            || message.Code != 0 || message.Target.IsMulticast || message.Target.IsAny || message.Target.IsV4)
            return DropReason.Ipv6NdiscBadMessage;
        return message.IsSolicitation ? OnSolicitation(cpu, device, skb, message) : OnAdvertisement(cpu, device, skb, message);
    }

    // RFC 4861 §7.1.1, §7.2.3. Linux: ndisc_recv_ns.
    private DropReason OnSolicitation(Cpu cpu, NetDevice device, SkBuff skb, in NeighbourMessage message)
    {
        IpAddr source = IpHeaders.Source(skb), target = message.Target;
        bool testsForDuplicates = source.IsAny;
        if (testsForDuplicates && (!message.Hardware.IsNone || !IpHeaders.Destination(skb).IsSolicitedNode))
            return DropReason.Ipv6NdiscBadMessage;
        if (Routes.DeviceOf(target) != device)
            return DropReason.None;
        if (testsForDuplicates)
        {
            Send(cpu, device, Icmp6Type.NeighborAdvertisement, NeighbourMessage.Override, target, target, IpAddr.AllNodes, MacAddr.OfGroup(IpAddr.AllNodes));
            return DropReason.None;
        }
        if (FindOrCreate(cpu, device, source) is not { } asker)
            return DropReason.NeighCreatefail;
        if (message.Hardware.IsStation)
            Update(cpu, asker, message.Hardware, NeighbourState.Stale, NeighbourOverride.Yes);
        SkBuff answer = Build(cpu, device, Icmp6Type.NeighborAdvertisement, NeighbourMessage.Solicited | NeighbourMessage.Override, target, target,
            source);
        cpu.Mib.Inc(Mib.Icmp6OutNeighborAdvertisements);
        Output(cpu, device, source, answer);
        return DropReason.None;
    }

    // RFC 4861 §7.1.2, §7.2.5. Linux: ndisc_recv_na.
    private DropReason OnAdvertisement(Cpu cpu, NetDevice device, SkBuff skb, in NeighbourMessage message)
    {
        bool solicited = (message.Flags & NeighbourMessage.Solicited) != 0;
        if (solicited && IpHeaders.Destination(skb).IsMulticast)
            return DropReason.Ipv6NdiscBadMessage;
        bool hasHardware = message.Hardware.IsStation;
        if (Find(cpu, device, message.Target) is { } known && (hasHardware || message.Hardware.IsNone))
        {
            Update(cpu, known, message.Hardware, solicited ? NeighbourState.Reachable : NeighbourState.Stale,
                (message.Flags & NeighbourMessage.Override) != 0 ? NeighbourOverride.Yes : NeighbourOverride.Weak);
        }
        return DropReason.None;
    }

    protected override void Solicit(Cpu cpu, Neighbour neighbour, IpAddr source, MacAddr to)
    {
        NetDevice device = neighbour.Device;
        if (!Routes.IsLocal(source) || source.IsAny)
            source = Routes.SourceFor(device, neighbour.Address) ?? IpAddr.Any6;
        IpAddr destination = to.IsNone ? neighbour.Address.SolicitedNode : neighbour.Address;
        Send(cpu, device, Icmp6Type.NeighborSolicitation, 0, neighbour.Address, source, destination,
            to.IsNone ? MacAddr.OfGroup(destination) : to);
    }

    // Linux: ndisc_error_report, ip6_link_failure.
    protected override void ReportFailure(Cpu cpu, SkBuff skb) =>
        Errors?.SendError(cpu, skb, (byte)Icmp6Type.DestinationUnreachable, AddressUnreachable, 0);

    private static void Send(Cpu cpu, NetDevice device, Icmp6Type type, uint flags, IpAddr target, IpAddr source, IpAddr destination, MacAddr to)
    {
        cpu.Mib.Inc(type == Icmp6Type.NeighborSolicitation ? Mib.Icmp6OutNeighborSolicits : Mib.Icmp6OutNeighborAdvertisements);
        Transmit(cpu, device, to, Build(cpu, device, type, flags, target, source, destination));
    }

    // A whole IPv6 packet: the link may be all that there is, no route. Linux: ndisc_send_skb.
    private static SkBuff Build(Cpu cpu, NetDevice device, Icmp6Type type, uint flags, IpAddr target, IpAddr source, IpAddr destination)
    {
        const int length = NeighbourMessage.Length;
        SkBuff skb = cpu.AllocLinear(length, SkBuff.TransmitHeadroom);
        NeighbourMessage.Write(skb.Put(length), type, flags, target, device.HardwareAddress);
        uint pseudo = Checksum.PseudoHeader(source, destination, IpProtocol.IcmpV6, length);
        Be.PutRaw16(skb.Data + IcmpHeader.ChecksumOffset, Checksum.Finish(skb.Sum(0, pseudo)));
        skb.TransportOffset = skb.Headroom;
        Ipv6Header.Write(skb.Push(Ipv6Header.Length), length, 0, 0, IpProtocol.IcmpV6, HopLimit, source, destination);
        skb.NetworkOffset = skb.Headroom;
        skb.Protocol = EtherType.Ipv6;
        cpu.Mib.Inc(Mib.Icmp6OutMsgs);
        cpu.Mib.Inc(Mib.Ip6OutRequests);
        cpu.Mib.Add(Mib.Ip6OutOctets, skb.Length);
        return skb;
    }
}
