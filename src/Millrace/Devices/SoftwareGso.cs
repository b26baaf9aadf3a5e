using System;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Devices;

/// <summary>Does in software what a device cannot: cuts super-packets, finishes checksums.</summary>
/// <remarks>Linux: skb_gso_segment, tcp_gso_segment, udp_gso_segment, skb_checksum_help.</remarks>
internal static unsafe class SoftwareGso
{
    /// <summary>Whether the device takes this super-packet whole. Linux: netif_needs_gso.</summary>
    public static bool DeviceCuts(NetDevice device, SkBuff skb)
    {
        DeviceFeatures needed = (skb.GsoType & GsoType.TcpV4) != 0 ? DeviceFeatures.Tso4
            : (skb.GsoType & GsoType.TcpV6) != 0 ? DeviceFeatures.Tso6
            : DeviceFeatures.UdpSegmentation;
        return (device.Features & needed) != 0 && ((skb.GsoType & GsoType.TcpAccEcn) == 0 || TakesAccEcn(device, skb));
    }

    private static bool TakesAccEcn(NetDevice device, SkBuff skb)
    {
        bool cwr = (skb.TransportHeader[13] & (byte)TcpFlags.Cwr) != 0;
        return (device.Features & (cwr ? DeviceFeatures.TsoAccEcn : DeviceFeatures.TsoAccEcnWithoutCwr)) != 0;
    }

    /// <summary>Sums the bytes and stores the checksum that the packet promised. Linux: skb_checksum_help.</summary>
    public static void FinishChecksum(SkBuff skb)
    {
        Debug.Assert(skb.IpSummed == ChecksumState.Partial, "only a partial checksum can be finished");
        byte* start = skb.Head + skb.ChecksumStart;
        uint sum = skb.Sum((int)(start - skb.Data), 0);
        ushort checksum = Checksum.Finish(sum);
        // A UDP checksum of zero means that there is none; its other representation is all ones. RFC 768.
        if (checksum == 0 && skb.ChecksumOffset == UdpHeader.ChecksumOffset)
            checksum = 0xffff;
        Be.PutRaw16(start + skb.ChecksumOffset, checksum);
        skb.IpSummed = ChecksumState.None;
    }

    /// <summary>
    /// Cuts a super-packet into packets of at most its GsoSize payload bytes, appended to <paramref name="segments"/>; the pages
    /// are shared, the headers copied. Takes the buffer over.
    /// </summary>
    /// <param name="checksum">Whether the segments' checksums must be finished here, or stay partial.</param>
    public static void Segment(Cpu cpu, SkBuff skb, SkBuffHead segments, bool checksum)
    {
        bool tcp = (skb.GsoType & (GsoType.TcpV4 | GsoType.TcpV6)) != 0;
        int transport = (int)(skb.TransportHeader - skb.Data);
        int headers = transport + (tcp ? (skb.TransportHeader[12] >> 4) * 4 : UdpHeader.Size);
        int mss = skb.GsoSize, payload = skb.Length - headers;
        for (int offset = 0, index = 0; offset < payload; offset += mss, index++)
        {
            int length = Math.Min(mss, payload - offset);
            SkBuff segment = CopySegment(cpu, skb, headers, headers + offset, length);
            FixNetworkHeader(segment, headers - (int)(skb.NetworkHeader - skb.Data) + length, index);
            if (tcp)
                FixTcpHeader(segment, skb.GsoType, offset, isFirst: offset == 0, isLast: offset + length == payload);
            else
                Be.Put16(segment.TransportHeader + 4, (ushort)(UdpHeader.Size + length));
            SetPseudoHeader(segment, (ushort)(headers - transport + length));
            if (checksum)
                FinishChecksum(segment);
            segments.PushLast(segment);
            cpu.Mib.Inc(Mib.MillraceGsoSegments);
        }
        cpu.FreeSkb(skb);
    }

    private static SkBuff CopySegment(Cpu cpu, SkBuff skb, int headers, int from, int length)
    {
        SkBuff segment = cpu.AllocSkb(skb.Headroom < 64 ? skb.Headroom : 64);
        Unsafe.CopyBlockUnaligned(segment.Put(headers), skb.Data, (uint)headers);
        segment.Protocol = skb.Protocol;
        segment.IfIndex = skb.IfIndex;
        segment.Priority = skb.Priority;
        segment.Mark = skb.Mark;
        segment.Hash = skb.Hash;
        segment.Time = skb.Time;
        segment.NetworkOffset = segment.Headroom + (int)(skb.NetworkHeader - skb.Data);
        segment.TransportOffset = segment.Headroom + (int)(skb.TransportHeader - skb.Data);
        segment.ChecksumStart = segment.TransportOffset;
        segment.ChecksumOffset = skb.ChecksumOffset;
        segment.IpSummed = ChecksumState.Partial;
        segment.TrueSize += length;
        int linear = skb.LinearLength;
        if (from < linear)
        {
            int take = Math.Min(linear - from, length);
            cpu.AppendCopy(segment, new ReadOnlySpan<byte>(skb.Data + from, take));
            from += take;
            length -= take;
        }
        if (length > 0)
            segment.ShareFragmentsFrom(skb, from - linear, length, cpu);
        return segment;
    }

    private static void FixNetworkHeader(SkBuff segment, int ipLength, int index)
    {
        byte* ip = segment.NetworkHeader;
        if (ip[0] >> 4 == 4)
        {
            Be.Put16(ip + 2, (ushort)ipLength);
            Be.Put16(ip + 4, (ushort)(Be.Get16(ip + 4) + index));
            Ipv4Header.WriteChecksum(ip);
        }
        else
        {
            Be.Put16(ip + 4, (ushort)(ipLength - Ipv6Header.Length));
        }
    }

    // FIN and PSH belong to the last segment. CWR answers one mark and belongs to the first, unless it counts (AccECN).
    private static void FixTcpHeader(SkBuff segment, GsoType type, int offset, bool isFirst, bool isLast)
    {
        byte* tcp = segment.TransportHeader;
        Be.Put32(tcp + 4, Be.Get32(tcp + 4) + (uint)offset);
        if (!isLast)
            tcp[13] &= unchecked((byte)~(TcpFlags.Fin | TcpFlags.Psh));
        if (!isFirst && (type & GsoType.TcpAccEcn) == 0)
            tcp[13] &= unchecked((byte)~TcpFlags.Cwr);
    }

    private static void SetPseudoHeader(SkBuff segment, ushort transportLength)
    {
        byte protocol = segment.ChecksumOffset == TcpHeader.ChecksumOffset ? IpProtocol.Tcp : IpProtocol.Udp;
        uint pseudo = Checksum.PseudoHeader(IpHeaders.Source(segment), IpHeaders.Destination(segment), protocol, transportLength);
        Be.PutRaw16(segment.TransportHeader + segment.ChecksumOffset, Checksum.Fold(pseudo));
    }
}
