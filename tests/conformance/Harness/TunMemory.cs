using System;
using System.Numerics;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Conformance;

/// <summary>
/// Buffers as Linux's TUN device fills them: windows and memory limits are the kernel's where a packet lies, and counts in a socket's
/// memory, as it does there.
/// </summary>
internal static class TunMemory
{
    private const int Padding = 64, SmallHead = 640, Page = 4096, LargestBlock = 8 * Page;

    // What of a packet lies in the head, if it does not fit in a page together with the padding. Linux: SKB_MAX_HEAD(NET_SKB_PAD).
    private const int MaxLinear = Page - Padding - SkBuff.SharedInfoTrueSize;

    /// <summary>A buffer with a packet. Linux: tun_get_user.</summary>
    public static unsafe SkBuff Wrap(Cpu cpu, ReadOnlySpan<byte> packet)
    {
        int linear = Padding + packet.Length < Page ? packet.Length : MaxLinear;
        int head = HeadBytes(linear);
        SkBuff skb = cpu.AllocSkb();
        PageSize kind = head <= BufferPool.SmallPageBytes ? PageSize.Small : PageSize.Large;
        int page = cpu.AllocPage(kind);
        skb.UsePage(page, cpu.Pool.PageAddress(page), head - SkBuff.SharedInfoTrueSize, Padding, 0);
        packet[..linear].CopyTo(new Span<byte>(skb.Put(linear), linear));
        cpu.AppendCopy(skb, packet[linear..]);
        skb.TrueSize = SkBuff.BufferTrueSize + head + BlockBytes(packet.Length - linear);
        skb.Protocol = packet.IsEmpty ? EtherType.None : (packet[0] >> 4) switch
        {
            4 => EtherType.Ipv4,
            6 => EtherType.Ipv6,
            _ => EtherType.None,
        };
        return skb;
    }

    // Linux: tun_alloc_skb, kmalloc_size_roundup.
    private static int HeadBytes(int linear)
    {
        int size = Align(Padding + linear, 64) + SkBuff.SharedInfoTrueSize;
        return size <= SmallHead ? SmallHead : (int)BitOperations.RoundUpToPowerOf2((uint)size);
    }

    // Blocks of pages, each the largest that the rest fills. Linux: alloc_skb_with_frags.
    private static int BlockBytes(int rest)
    {
        int total = 0;
        for (int block = LargestBlock; rest > 0; rest -= block)
        {
            while (block > Page && Align(rest, Page) < block)
                block /= 2;
            total += block;
        }
        return total;
    }

    private static int Align(int value, int unit) => (value + unit - 1) & -unit;
}
