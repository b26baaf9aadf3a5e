using System;
using System.Collections.Generic;
using System.Linq;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tests.Devices;

/// <summary>What may become one super-packet, and that everything else goes up as it came and in its order.</summary>
public sealed class GroTests : IDisposable
{
    private const int Payload = 1000;

    private readonly NetStack _stack = new();
    private readonly Receiver _up = new();
    private readonly Gro _gro;
    private readonly Cpu _cpu;

    public GroTests()
    {
        _cpu = _stack.Cpus.Acquire();
        _gro = new Gro(new NetRx(1) { Ipv4 = _up, Ipv6 = _up });
    }

    public void Dispose()
    {
        _stack.Cpus.Release(_cpu);
        _stack.Dispose();
    }

    [Theory]
    [InlineData(false, 20)]
    [InlineData(true, 40)]
    public void Segments_that_follow_each_other_become_one_super_packet(bool v6, int networkHeader)
    {
        for (int i = 0; i < 3; i++)
            Receive(new Segment { V6 = v6, Seq = 1 + i * Payload, Id = i });
        Assert.Empty(_up.Packets);
        _gro.Flush(_cpu);
        Packet merged = Assert.Single(_up.Packets);
        Assert.Equal(networkHeader + 20 + 3 * Payload, merged.Length);
        Assert.Equal((3, Payload), (merged.Segments, merged.SegmentSize));
        Assert.Equal(v6 ? GsoType.TcpV6 : GsoType.TcpV4, merged.Type);
        Assert.True(merged.HeaderIsValid, "lengths and header checksum are those of the whole");
        for (int i = 0; i < 3; i++)
            Assert.All(merged.Payload[(i * Payload)..((i + 1) * Payload)], b => Assert.Equal((byte)(1 + i * Payload), b));
    }

    [Fact]
    public void One_segment_alone_goes_up_as_it_came()
    {
        Receive(new Segment());
        _gro.Flush(_cpu);
        Packet one = Assert.Single(_up.Packets);
        Assert.Equal((0, 0, 40 + Payload), (one.Segments, one.SegmentSize, one.Length));
    }

    [Theory]
    [InlineData((int)TcpFlags.Psh)]
    [InlineData((int)TcpFlags.Fin)]
    public void A_pushed_segment_or_a_FIN_is_the_last_of_its_packet(int flag)
    {
        var last = (TcpFlags)flag;
        Receive(new Segment());
        Receive(new Segment { Seq = 1 + Payload, Id = 1, Flags = TcpFlags.Ack | last });
        Packet merged = Assert.Single(_up.Packets);
        Assert.Equal(2, merged.Segments);
        Assert.Equal(TcpFlags.Ack | last, merged.Flags);
    }

    [Fact]
    public void A_short_segment_is_the_last_of_its_packet()
    {
        Receive(new Segment());
        Receive(new Segment { Seq = 1 + Payload, Id = 1, Length = 10 });
        Assert.Equal(2, Assert.Single(_up.Packets).Segments);
        Receive(new Segment { Seq = 1 + Payload + 10, Id = 2 });
        _gro.Flush(_cpu);
        Assert.Equal([2, 0], _up.Packets.Select(p => p.Segments));
    }

    public static TheoryData<string> Unlike =>
        ["gap", "overlap", "longer", "ack", "window", "ece", "cwr", "options", "tos", "ttl", "df", "id", "pure-ack", "syn", "rst", "urg", "damaged", "gso"];

    [Theory]
    [MemberData(nameof(Unlike))]
    public void What_differs_goes_up_behind_what_it_follows(string how)
    {
        Receive(new Segment());
        var next = new Segment { Seq = 1 + Payload, Id = 1 };
        Receive(how switch
        {
            "gap" => next with { Seq = 2 + Payload },
            "overlap" => next with { Seq = Payload },
            "longer" => next with { Length = Payload + 1 },
            "ack" => next with { Ack = 8 },
            "window" => next with { Window = 99 },
            "ece" => next with { Flags = TcpFlags.Ack | TcpFlags.Ece },
            "cwr" => next with { Flags = TcpFlags.Ack | TcpFlags.Cwr },
            "options" => next with { Options = true },
            "tos" => next with { Tos = 2 },
            "ttl" => next with { Ttl = 63 },
            "df" => next with { DontFragment = false },
            "id" => next with { Id = 5 },
            "pure-ack" => next with { Length = 0 },
            "syn" => next with { Flags = TcpFlags.Ack | TcpFlags.Syn },
            "rst" => next with { Flags = TcpFlags.Ack | TcpFlags.Rst },
            "urg" => next with { Flags = TcpFlags.Ack | TcpFlags.Urg },
            "damaged" => next with { Damaged = true },
            _ => next with { SuperPacket = true },
        });
        _gro.Flush(_cpu);
        Assert.Equal(2, _up.Packets.Count);
        Assert.Equal(1u, _up.Packets[0].Seq);
        Assert.All(_up.Packets, p => Assert.Equal(how == "gso" && p.Seq != 1 ? 7 : 0, p.Segments));
    }

    [Fact]
    public void An_unchanging_identification_is_merged_if_nobody_may_fragment()
    {
        Receive(new Segment());
        Receive(new Segment { Seq = 1 + Payload });
        Receive(new Segment { Seq = 1 + 2 * Payload, DontFragment = true });
        _gro.Flush(_cpu);
        Assert.Equal(3, Assert.Single(_up.Packets).Segments);
    }

    [Fact]
    public void Flows_are_merged_side_by_side()
    {
        for (int i = 0; i < 4; i++)
            Receive(new Segment { Port = 1000 + i % 2, Seq = 1 + i / 2 * Payload, Id = i / 2 });
        _gro.Flush(_cpu);
        Assert.Equal([2, 2], _up.Packets.Select(p => p.Segments));
        Assert.Equal([1000, 1001], _up.Packets.Select(p => p.Port).Order());
    }

    [Fact]
    public void More_flows_than_slots_lose_merges_and_nothing_else()
    {
        for (int round = 0; round < 2; round++)
        {
            for (int port = 0; port < 500; port++)
                Receive(new Segment { Port = port, Seq = 1 + round * Payload, Id = round });
        }
        _gro.Flush(_cpu);
        Assert.Equal(1000, _up.Packets.Sum(p => Math.Max(1, p.Segments)));
        foreach (IGrouping<int, Packet> flow in _up.Packets.GroupBy(p => p.Port))
            Assert.Equal(flow.Select(p => p.Seq).Order(), flow.Select(p => p.Seq));
    }

    [Fact]
    public void A_super_packet_stays_within_what_an_IP_header_can_say()
    {
        for (int i = 0; i < 100; i++)
            Receive(new Segment { Seq = 1 + i * Payload, Id = i });
        _gro.Flush(_cpu);
        Assert.All(_up.Packets, p => Assert.InRange(p.Length, 40, ushort.MaxValue));
        Assert.Equal(100, _up.Packets.Sum(p => p.Segments));
        Assert.InRange(_up.Packets.Count, 2, 100 / SkBuff.MaxFragments + 1);
    }

    [Fact]
    public void What_no_flow_can_be_read_from_overtakes_nothing()
    {
        Receive(new Segment());
        Receive(new Segment { Seq = 1 + Payload, Id = 1, Padding = 6 });
        Assert.Equal([1u, 1u + Payload], _up.Packets.Select(p => p.Seq));
    }

    private void Receive(Segment segment) => _gro.Receive(_cpu, segment.Build(_cpu));

    private sealed record Segment
    {
        public bool V6 { get; init; }
        public int Port { get; init; } = 1000;
        public int Seq { get; init; } = 1;
        public int Ack { get; init; } = 7;
        public int Length { get; init; } = Payload;
        public int Id { get; init; }
        public int Ttl { get; init; } = 64;
        public int Tos { get; init; }
        public int Window { get; init; } = 100;
        public int Padding { get; init; }
        public bool DontFragment { get; init; } = true;
        public bool Options { get; init; }
        public bool Damaged { get; init; }
        public bool SuperPacket { get; init; }
        public TcpFlags Flags { get; init; } = TcpFlags.Ack;

        // In a page of its own, as a driver receives it.
        public unsafe SkBuff Build(Cpu cpu)
        {
            int network = V6 ? Ipv6Header.Length : Ipv4Header.MinLength;
            int tcpHeader = TcpHeader.MinLength + (Options ? 12 : 0);
            int total = network + tcpHeader + Length;
            int page = cpu.AllocPage(PageSize.Small);
            byte* memory = cpu.Pool.PageAddress(page);
            SkBuff skb = cpu.AllocSkb();
            skb.UsePage(page, memory, BufferPool.SmallPageBytes, 0, total + Padding);
            skb.Linear.Clear();
            byte* ip = skb.Data, tcp = ip + network;
            var source = IpAddr.FromV4(0x0a00_0001);
            var destination = IpAddr.FromV4(0x0a00_0002);
            if (V6)
            {
                ip[0] = 0x60;
                Be.Put16(ip + 4, (ushort)(tcpHeader + Length));
                ip[6] = IpProtocol.Tcp;
                ip[7] = (byte)Ttl;
                ip[23] = 1;
                ip[39] = 2;
                source = new IpAddr(Be.Get64(ip + 8), Be.Get64(ip + 16));
                destination = new IpAddr(Be.Get64(ip + 24), Be.Get64(ip + 32));
            }
            else
            {
                Ipv4Header.Write(ip, total, (byte)Tos, (ushort)Id, DontFragment ? Ipv4Header.DontFragment : (ushort)0, (byte)Ttl,
                    IpProtocol.Tcp, source, destination);
            }
            TcpHeader.Write(tcp, (ushort)Port, 80, new SeqNumber((uint)Seq), new SeqNumber((uint)Ack), tcpHeader, Flags, (ushort)Window);
            new Span<byte>(tcp + tcpHeader, Length).Fill((byte)Seq);
            uint pseudo = Checksum.PseudoHeader(source, destination, IpProtocol.Tcp, tcpHeader + Length);
            Be.PutRaw16(tcp + TcpHeader.ChecksumOffset, Checksum.Finish(Checksum.Partial(tcp, tcpHeader + Length, pseudo)));
            if (Damaged)
                tcp[tcpHeader] ^= 1;
            skb.Protocol = V6 ? EtherType.Ipv6 : EtherType.Ipv4;
            skb.GsoSize = (ushort)(SuperPacket ? 100 : 0);
            skb.GsoSegs = (ushort)(SuperPacket ? 7 : 0);
            return skb;
        }
    }

    private sealed record Packet(int Length, int Port, uint Seq, TcpFlags Flags, int Segments, int SegmentSize, GsoType Type, bool HeaderIsValid,
        byte[] Payload);

    private sealed class Receiver : PacketType
    {
        public List<Packet> Packets { get; } = [];

        public override unsafe void Receive(Cpu cpu, SkBuff skb)
        {
            byte* ip = skb.Data;
            bool v6 = ip[0] >> 4 == 6;
            byte* tcp = ip + (v6 ? Ipv6Header.Length : Ipv4Header.MinLength);
            TcpHeader.TryParse(tcp, TcpHeader.MaxLength, out TcpHeader header);
            var payload = new byte[skb.Length - (int)(tcp - ip) - header.HeaderLength];
            skb.CopyTo(skb.Length - payload.Length, payload);
            bool valid = v6 ? Ipv6Header.TryParse(ip, skb.Length, out Ipv6Header six) && six.PayloadLength + Ipv6Header.Length == skb.Length
                : Ipv4Header.TryParse(ip, skb.Length, out Ipv4Header four) && four.TotalLength == skb.Length && four.ChecksumIsValid;
            Packets.Add(new Packet(skb.Length, header.SourcePort, header.Seq.Value, header.Flags, skb.GsoSegs, skb.GsoSize, skb.GsoType, valid,
                payload));
            cpu.FreeSkb(skb);
        }
    }
}
