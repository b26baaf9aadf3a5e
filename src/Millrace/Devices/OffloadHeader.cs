using Millrace.Buffers;
using Millrace.Wire;

namespace Millrace.Devices;

/// <summary>Between a driver's offload header and a buffer's own fields. Nothing that comes in is believed before it is checked.</summary>
/// <remarks>Linux: virtio_net_hdr_to_skb, virtio_net_hdr_from_skb.</remarks>
internal static unsafe class OffloadHeader
{
    /// <summary>Applies what came in beside a packet. False: it contradicts the packet, which must be dropped.</summary>
    public static bool TryApply(SkBuff skb, in PacketOffload offload)
    {
        bool partial = (offload.Flags & PacketOffload.NeedsChecksum) != 0;
        if (partial)
        {
            int end = offload.ChecksumStart + offload.ChecksumOffset + 2;
            if (end > skb.LinearLength || offload.ChecksumStart < Ipv4Header.MinLength)
                return false;
            skb.IpSummed = ChecksumState.Partial;
            skb.ChecksumStart = skb.Headroom + offload.ChecksumStart;
            skb.ChecksumOffset = offload.ChecksumOffset;
        }
        else if ((offload.Flags & PacketOffload.DataValid) != 0)
        {
            skb.IpSummed = ChecksumState.Unnecessary;
        }
        return offload.Kind == 0 || TryApplySegmentation(skb, offload, partial);
    }

    /// <summary>What a driver must be told of an outgoing packet.</summary>
    public static PacketOffload Describe(SkBuff skb)
    {
        PacketOffload offload = default;
        if (skb.IpSummed != ChecksumState.Partial)
            return offload;
        int start = (int)(skb.Head + skb.ChecksumStart - skb.Data);
        offload.Flags = PacketOffload.NeedsChecksum;
        offload.ChecksumStart = (ushort)start;
        offload.ChecksumOffset = (ushort)skb.ChecksumOffset;
        if (!skb.IsGso)
            return offload;
        bool udp = (skb.GsoType & GsoType.UdpL4) != 0;
        offload.SegmentSize = skb.GsoSize;
        offload.HeaderLength = (ushort)(start + (udp ? UdpHeader.Size : (skb.Head[skb.ChecksumStart + 12] >> 4) * 4));
        offload.Kind = (byte)(udp ? SegmentKind.UdpL4 : (skb.GsoType & GsoType.TcpV6) != 0 ? SegmentKind.TcpV6 : SegmentKind.TcpV4);
        if ((skb.GsoType & GsoType.TcpEcn) != 0)
            offload.Kind |= PacketOffload.EcnBit;
        return offload;
    }

    private static bool TryApplySegmentation(SkBuff skb, in PacketOffload offload, bool partial)
    {
        GsoType type;
        EtherType family;
        int minimum;
        switch ((SegmentKind)(offload.Kind & ~PacketOffload.EcnBit))
        {
            case SegmentKind.TcpV4:
                (type, family, minimum) = (GsoType.TcpV4, EtherType.Ipv4, TcpHeader.MinLength);
                break;
            case SegmentKind.TcpV6:
                (type, family, minimum) = (GsoType.TcpV6, EtherType.Ipv6, TcpHeader.MinLength);
                break;
            case SegmentKind.UdpL4:
                (type, family, minimum) = (GsoType.UdpL4, skb.Protocol, UdpHeader.Size);
                break;
            case SegmentKind.None:
            default:
                return false;
        }
        bool isTcp = type != GsoType.UdpL4;
        int field = isTcp ? TcpHeader.ChecksumOffset : UdpHeader.ChecksumOffset;
        if (!partial || offload.SegmentSize == 0 || skb.Protocol != family || offload.ChecksumOffset != field
            || offload.ChecksumStart + minimum > skb.LinearLength)
            return false;
        byte* transport = skb.Data + offload.ChecksumStart;
        int headers = offload.ChecksumStart + (isTcp ? (transport[12] >> 4) * 4 : UdpHeader.Size);
        int payload = skb.Length - headers;
        if (headers < offload.ChecksumStart + minimum || payload <= 0)
            return false;
        // A packet that one segment holds is no super-packet.
        if (payload <= offload.SegmentSize)
            return true;
        // The bit does not tell which ECN it is. A CWR too many harms nobody; one too few is a wrong count to AccECN.
        skb.GsoType = type | ((offload.Kind & PacketOffload.EcnBit) != 0 ? GsoType.TcpAccEcn : GsoType.None);
        skb.GsoSize = offload.SegmentSize;
        skb.GsoSegs = (ushort)((payload + offload.SegmentSize - 1) / offload.SegmentSize);
        return true;
    }
}
