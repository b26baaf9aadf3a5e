using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>Cuts an IPv4 packet into fragments. RFC 791 §3.2. Linux: ip_do_fragment.</summary>
internal static unsafe class Ip4Fragmenter
{
    /// <summary>Cuts <paramref name="skb"/>, whose network header is at its start, and takes it over.</summary>
    public static void Cut(Cpu cpu, SkBuff skb, int mtu, SkBuffHead fragments)
    {
        int header = (skb.Data[0] & 0xf) * 4;
        int room = (mtu - header) & ~7;
        ushort field = Be.Get16(skb.Data + 6);
        int startOffset = field & Ipv4Header.OffsetMask;
        for (int at = header; at < skb.Length; at += room)
        {
            int take = Math.Min(room, skb.Length - at);
            SkBuff fragment = cpu.AllocLinear(header + take);
            skb.CopyTo(0, new Span<byte>(fragment.Put(header), header));
            skb.CopyTo(at, new Span<byte>(fragment.Put(take), take));
            fragment.NetworkOffset = fragment.Headroom;
            fragment.TransportOffset = fragment.NetworkOffset + header;
            fragment.Protocol = EtherType.Ipv4;
            fragment.Priority = skb.Priority;
            fragment.Mark = skb.Mark;
            bool more = at + take < skb.Length || (field & Ipv4Header.MoreFragments) != 0;
            Be.Put16(fragment.Data + 2, (ushort)(header + take));
            Be.Put16(fragment.Data + 6, (ushort)((startOffset + (at - header) / 8) | (more ? Ipv4Header.MoreFragments : 0)));
            Ipv4Header.WriteChecksum(fragment.Data);
            fragments.PushLast(fragment);
        }
        cpu.FreeSkb(skb);
    }
}
