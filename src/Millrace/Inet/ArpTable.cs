using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>IPv4's neighbours: asked by ARP, and answered.</summary>
/// <remarks>RFC 826, RFC 1122 §2.3.2, RFC 5227. Linux: arp_tbl, arp.c. It answers for the stack's own addresses, and for nobody else.</remarks>
internal sealed unsafe class ArpTable(NeighbourSysctls settings, RoutingTable routes, TimerService timers, Prng random)
    : NeighbourTable(settings, routes, timers, random)
{
    /// <summary>Tells senders that their packet's next hop does not answer. Set when the stack is built.</summary>
    public IIcmpSender? Errors { get; set; }

    /// <summary>Says to all on the link that an address is the device's. RFC 5227 §3. Linux: arp_notify.</summary>
    public static void Announce(Cpu cpu, NetDevice device, IpAddr address) =>
        Send(cpu, device, ArpOperation.Request, MacAddr.Broadcast, address, default, address);

    /// <summary>A whole ARP packet has come in. Linux: arp_process.</summary>
    public DropReason Process(Cpu cpu, NetDevice device, in ArpHeader arp, LinkTarget frame)
    {
        IpAddr sender = arp.Sender, target = arp.Target;
        MacAddr hardware = arp.SenderHardware;
        if (!hardware.IsStation || sender.IsMulticast || sender.IsBroadcast || sender.IsLoopback)
            return DropReason.IpInvalidSource;
        if (target.IsMulticast || target.IsLoopback)
            return DropReason.IpInvalidDest;
        bool asksUs = arp.Operation == ArpOperation.Request && Routes.IsLocal(target);
        // Somebody looks whether the address is free. RFC 5227 §2.1.1.
        if (sender.IsAny)
        {
            if (asksUs)
                Send(cpu, device, ArpOperation.Reply, hardware, target, hardware, sender);
            return DropReason.None;
        }
        if (Routes.IsLocal(sender))
            return DropReason.IpLocalSource;
        if (asksUs)
        {
            if (FindOrCreate(cpu, device, sender) is { } asker)
                Update(cpu, asker, hardware, NeighbourState.Stale, NeighbourOverride.Yes);
            Send(cpu, device, ArpOperation.Reply, hardware, target, hardware, sender);
        }
        else if (Find(cpu, device, sender) is { } known)
        {
            Learn(cpu, known, arp, frame);
        }
        return DropReason.None;
    }

    protected override void Solicit(Cpu cpu, Neighbour neighbour, IpAddr source, MacAddr to)
    {
        if (!Routes.IsLocal(source))
            source = Routes.SourceFor(neighbour.Device, neighbour.Address) ?? IpAddr.Any4;
        Send(cpu, neighbour.Device, ArpOperation.Request, to.IsNone ? MacAddr.Broadcast : to, source, default, neighbour.Address);
    }

    // Linux: arp_error_report, ipv4_link_failure.
    protected override void ReportFailure(Cpu cpu, SkBuff skb) =>
        Errors?.SendError(cpu, skb, (byte)IcmpType.DestinationUnreachable, (byte)IcmpUnreachable.Host, 0);

    // The first of several answers stays, unless its sender says it to all. RFC 826. Linux: arp_is_garp, LOCKTIME.
    private void Learn(Cpu cpu, Neighbour known, in ArpHeader arp, LinkTarget frame)
    {
        bool answersUs = arp.Operation == ArpOperation.Reply && frame == LinkTarget.Host;
        bool announced = arp.Sender == arp.Target;
        bool settled = cpu.Now - known.Updated > Micros.FromMilliseconds(10L * Settings.LockTime);
        Update(cpu, known, arp.SenderHardware, answersUs ? NeighbourState.Reachable : NeighbourState.Stale,
            announced || settled ? NeighbourOverride.Yes : NeighbourOverride.No);
    }

    private static void Send(Cpu cpu, NetDevice device, ArpOperation operation, MacAddr to, IpAddr sender, MacAddr targetHardware, IpAddr target)
    {
        SkBuff skb = cpu.AllocLinear(ArpHeader.Length);
        ArpHeader.Write(skb.Put(ArpHeader.Length), operation, device.HardwareAddress, sender, targetHardware, target);
        skb.NetworkOffset = skb.Headroom;
        skb.Protocol = EtherType.Arp;
        Transmit(cpu, device, to, skb);
    }
}

/// <summary>ARP's way in. Linux: arp_rcv.</summary>
internal sealed unsafe class ArpInput(ArpTable table, DeviceTable devices) : PacketType
{
    public override void Receive(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.arp_rcv, skb.Length);
        Drops.Free(cpu, skb, Judge(cpu, skb));
    }

    private DropReason Judge(Cpu cpu, SkBuff skb)
    {
        if (devices.ByIndex(skb.IfIndex) is not { IsEthernet: true } device)
            return DropReason.UnhandledProto;
        if (!skb.MayPull(ArpHeader.Length, cpu))
            return DropReason.PktTooSmall;
        return ArpHeader.TryParse(skb.Data, skb.LinearLength, out ArpHeader arp)
            ? table.Process(cpu, device, arp, skb.LinkTarget)
            : DropReason.InvalidProto;
    }
}
