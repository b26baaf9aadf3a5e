using System;
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Devices;

/// <summary>
/// One CPU's merging of received TCP segments: those of a round of polls that follow each other in one flow go up as one super-packet,
/// from which they could be cut again. What cannot be merged goes up behind what it follows, so that no flow is reordered.
/// </summary>
/// <remarks>Linux: dev_gro_receive, inet_gro_receive, ipv6_gro_receive, tcp_gro_receive, skb_gro_receive.</remarks>
internal sealed unsafe class Gro(NetRx netRx)
{
    // One bit of a mask each. A flow that meets another's slot sends that one up: a miss costs a merge, never memory.
    private const int Slots = 64;

    private readonly Held[] _held = new Held[Slots];
    private ulong _occupied;

    /// <summary>A round of polls is under way, at whose end somebody calls <see cref="Flush"/>.</summary>
    public bool IsOpen { get; set; }

    /// <summary>Takes a packet over, at its network header. It goes up at once, or with <see cref="Flush"/> at the latest.</summary>
    public void Receive(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.napi_gro_receive, skb.IfIndex, skb.Length);
        skb.NetworkOffset = skb.Headroom;
        if (!TryFindTransport(skb, out int transport))
        {
            // It may belong to a flow that is held.
            Flush(cpu);
            netRx.Receive(cpu, skb);
            return;
        }
        ReadOnlySpan<byte> flow = IpHeaders.FlowTuple(skb);
        int slot = SlotOf(flow);
        ref Held held = ref _held[slot];
        if ((_occupied & 1UL << slot) != 0)
        {
            if (IpHeaders.FlowTuple(held.Skb).SequenceEqual(flow) && TryMerge(cpu, ref held, skb, transport))
            {
                if (held.IsComplete)
                    SendUp(cpu, slot);
                return;
            }
            SendUp(cpu, slot);
        }
        if (!TryHold(slot, skb, transport))
            netRx.Receive(cpu, skb);
    }

    /// <summary>Sends up what is held. Linux: napi_gro_flush.</summary>
    public void Flush(Cpu cpu)
    {
        while (_occupied != 0)
            SendUp(cpu, BitOperations.TrailingZeroCount(_occupied));
    }

    // A whole TCP segment in one IP packet without options or padding: the offset of its TCP header.
    private static bool TryFindTransport(SkBuff skb, out int transport)
    {
        byte* ip = skb.Data;
        int linear = skb.LinearLength;
        transport = Ipv4Header.MinLength;
        if (skb.Protocol == EtherType.Ipv4)
        {
            if (linear < Ipv4Header.MinLength + TcpHeader.MinLength || ip[0] != 0x45 || ip[9] != IpProtocol.Tcp
                || Be.Get16(ip + 2) != skb.Length || (Be.Get16(ip + 6) & ~Ipv4Header.DontFragment) != 0)
                return false;
        }
        else
        {
            transport = Ipv6Header.Length;
            if (skb.Protocol != EtherType.Ipv6 || linear < Ipv6Header.Length + TcpHeader.MinLength || ip[0] >> 4 != 6
                || ip[6] != IpProtocol.Tcp || Be.Get16(ip + 4) != skb.Length - Ipv6Header.Length)
                return false;
        }
        return TcpHeader.TryParse(ip + transport, linear - transport, out _);
    }

    // The low bits of addresses and ports, mixed.
    private static int SlotOf(ReadOnlySpan<byte> flow)
    {
        uint mixed = BinaryPrimitives.ReadUInt32LittleEndian(flow[^4..]) ^ BinaryPrimitives.ReadUInt32LittleEndian(flow[^8..])
            ^ BinaryPrimitives.ReadUInt32LittleEndian(flow[^12..]);
        return (int)(mixed * 0x9e37_79b1 >> 26);
    }

    // Data and nothing else. A short or pushed segment is the last of its kind, and need not wait.
    private bool TryHold(int slot, SkBuff skb, int transport)
    {
        byte* tcp = skb.Data + transport;
        TcpHeader.TryParse(tcp, skb.LinearLength - transport, out TcpHeader header);
        int payload = skb.Length - transport - header.HeaderLength;
        const TcpFlags alone = TcpFlags.Fin | TcpFlags.Syn | TcpFlags.Rst | TcpFlags.Psh | TcpFlags.Urg;
        if (payload <= 0 || header.Has(alone) || skb.IsGso || !ChecksumsAreValid(skb, transport))
            return false;
        _held[slot] = new Held
        {
            Skb = skb,
            Mss = payload,
            Segments = 1,
            Next = header.Seq + payload,
        };
        _occupied |= 1UL << slot;
        return true;
    }

    // Linux: tcp_gro_receive, skb_gro_receive. What is merged is gone; else nothing has changed.
    private static bool TryMerge(Cpu cpu, ref Held held, SkBuff skb, int transport)
    {
        SkBuff first = held.Skb;
        byte* a = first.Data, b = skb.Data;
        int headers = transport + (b[transport + 12] >> 4) * 4;
        int payload = skb.Length - headers;
        TcpFlags flags = TcpFlagsOf(b + transport);
        if (payload <= 0 || payload > held.Mss || skb.IsGso || (flags & (TcpFlags.Syn | TcpFlags.Rst | TcpFlags.Urg)) != 0
            || first.Length + payload >= SkBuff.MaxGsoSize || !NetworkHeadersContinue(a, b, held.Segments)
            || !TcpHeadersContinue(a + transport, b + transport, held.Next) || !ChecksumsAreValid(skb, transport))
            return false;
        int trueSize = skb.TrueSize;
        skb.Pull(headers);
        if (!first.TryCoalesce(skb, cpu))
        {
            skb.Push(headers);
            return false;
        }
        first.TrueSize += Math.Max(trueSize - SkBuff.OverheadTrueSize, payload);
        const TcpFlags last = TcpFlags.Fin | TcpFlags.Psh;
        a[transport + 13] |= (byte)(flags & last);
        held.Segments++;
        held.Next += payload;
        held.IsComplete = payload < held.Mss || (flags & last) != 0;
        cpu.Mib.Inc(Mib.MillraceGroMerged);
        cpu.FreeSkb(skb);
        return true;
    }

    // All that a router or a cut would not give every segment alike. Linux: inet_gro_flush, ipv6_gro_receive.
    private static bool NetworkHeadersContinue(byte* a, byte* b, int segments)
    {
        if (a[0] >> 4 == 6)
            return Unsafe.ReadUnaligned<uint>(a) == Unsafe.ReadUnaligned<uint>(b) && a[7] == b[7];
        ushort id = Be.Get16(b + 4), firstId = Be.Get16(a + 4), fragment = Be.Get16(a + 6);
        bool follows = id == (ushort)(firstId + segments) || (id == firstId && (fragment & Ipv4Header.DontFragment) != 0);
        return a[1] == b[1] && a[8] == b[8] && fragment == Be.Get16(b + 6) && follows;
    }

    private static bool TcpHeadersContinue(byte* a, byte* b, SeqNumber next)
    {
        const TcpFlags free = TcpFlags.Fin | TcpFlags.Psh;
        int length = (a[12] >> 4) * 4;
        return Be.Get32(b + 4) == next.Value && Unsafe.ReadUnaligned<uint>(a + 8) == Unsafe.ReadUnaligned<uint>(b + 8)
            && a[12] == b[12] && Be.Get16(a + 14) == Be.Get16(b + 14) && ((TcpFlagsOf(a) ^ TcpFlagsOf(b)) & ~free) == 0
            && new ReadOnlySpan<byte>(a + TcpHeader.MinLength, length - TcpHeader.MinLength)
                .SequenceEqual(new ReadOnlySpan<byte>(b + TcpHeader.MinLength, length - TcpHeader.MinLength));
    }

    private static TcpFlags TcpFlagsOf(byte* tcp) => (TcpFlags)(tcp[13] | (tcp[12] & 1) << 8);

    // A merged packet's segments are vouched for; one that is damaged goes up alone, and is counted there.
    private static bool ChecksumsAreValid(SkBuff skb, int transport)
    {
        byte* ip = skb.Data;
        if (skb.Protocol == EtherType.Ipv4 && Checksum.Fold(Checksum.Partial(ip, Ipv4Header.MinLength)) != 0xffff)
            return false;
        if (skb.IpSummed != ChecksumState.None)
            return true;
        skb.Pull(transport);
        bool valid = IpHeaders.TransportChecksumIsValid(skb, IpProtocol.Tcp);
        skb.Push(transport);
        if (valid)
            skb.IpSummed = ChecksumState.Unnecessary;
        return valid;
    }

    // Linux: napi_gro_complete, inet_gro_complete, tcp_gro_complete.
    private void SendUp(Cpu cpu, int slot)
    {
        _occupied &= ~(1UL << slot);
        ref Held held = ref _held[slot];
        SkBuff skb = held.Skb;
        held.Skb = null!;
        if (held.Segments > 1)
            MakeSuperPacket(skb, held);
        netRx.Receive(cpu, skb);
    }

    private static void MakeSuperPacket(SkBuff skb, in Held held)
    {
        byte* ip = skb.Data;
        bool v4 = skb.Protocol == EtherType.Ipv4;
        if (v4)
        {
            Be.Put16(ip + 2, (ushort)skb.Length);
            Ipv4Header.WriteChecksum(ip);
        }
        else
        {
            Be.Put16(ip + 4, (ushort)(skb.Length - Ipv6Header.Length));
        }
        bool cwr = (TcpFlagsOf(ip + (v4 ? Ipv4Header.MinLength : Ipv6Header.Length)) & TcpFlags.Cwr) != 0;
        skb.GsoType = (v4 ? GsoType.TcpV4 : GsoType.TcpV6) | (cwr ? GsoType.TcpAccEcn : GsoType.None);
        skb.GsoSize = (ushort)held.Mss;
        skb.GsoSegs = (ushort)held.Segments;
    }

    private struct Held
    {
        /// <summary>The first segment, with the headers of all.</summary>
        public SkBuff Skb;

        /// <summary>Payload bytes of each segment but the last.</summary>
        public int Mss;

        public int Segments;

        /// <summary>The sequence number of what may follow.</summary>
        public SeqNumber Next;

        /// <summary>Nothing can follow.</summary>
        public bool IsComplete;
    }
}
