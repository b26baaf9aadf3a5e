using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Devices;

/// <summary>Between frames and packets, on a device with an Ethernet address.</summary>
/// <remarks>Linux: eth_type_trans, eth_header, skb_vlan_untag.</remarks>
internal static unsafe class Ethernet
{
    /// <summary>What is in a received frame; None if it is nothing that this stack knows, or no whole header.</summary>
    public static EtherType TypeOf(SkBuff frame)
    {
        if (!EthernetHeader.TryParse(frame.Data, frame.LinearLength, out EthernetHeader header))
            return EtherType.None;
        if (!header.IsTagged)
            return header.Type;
        return frame.LinearLength >= EthernetHeader.Length + EthernetHeader.TagLength ? header.TypeBehindTag : EtherType.None;
    }

    /// <summary>Strips a received frame's header, and says for whom it is. Else why it is for nobody here.</summary>
    public static DropReason Strip(Cpu cpu, NetDevice device, SkBuff skb)
    {
        if (!skb.MayPull(EthernetHeader.Length, cpu) || !EthernetHeader.TryParse(skb.Data, skb.LinearLength, out EthernetHeader header))
            return DropReason.DevHdr;
        if (!TryFindTarget(header.Destination, device.HardwareAddress, out skb.LinkTarget))
            return DropReason.OtherHost;
        skb.Protocol = header.Type;
        if (header.IsTagged)
            return StripTagged(cpu, skb);
        skb.Pull(EthernetHeader.Length);
        return DropReason.None;
    }

    /// <summary>Puts the header before a packet. Linux: dev_hard_header.</summary>
    public static void Push(NetDevice device, SkBuff skb, MacAddr destination, EtherType type) =>
        EthernetHeader.Write(skb.Push(EthernetHeader.Length), destination, device.HardwareAddress, type);

    // A tag without a VLAN has nothing to say here; a VLAN is another network. Linux: vlan_do_receive.
    private static DropReason StripTagged(Cpu cpu, SkBuff skb)
    {
        const int length = EthernetHeader.Length + EthernetHeader.TagLength;
        if (!skb.MayPull(length, cpu) || !EthernetHeader.TryParse(skb.Data, skb.LinearLength, out EthernetHeader header))
            return DropReason.DevHdr;
        if (header.Vlan != 0)
            return DropReason.OtherHost;
        skb.Protocol = header.TypeBehindTag;
        skb.Pull(length);
        return DropReason.None;
    }

    private static bool TryFindTarget(MacAddr destination, MacAddr own, out LinkTarget target)
    {
        target = destination == own ? LinkTarget.Host : destination == MacAddr.Broadcast ? LinkTarget.Broadcast : LinkTarget.Multicast;
        return destination == own || destination.IsGroup;
    }
}
