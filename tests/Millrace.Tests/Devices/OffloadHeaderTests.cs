using System;
using System.Net;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Tests.Scripted;
using Millrace.Wire;

namespace Millrace.Tests.Devices;

/// <summary>What a driver says beside a packet, or beside a frame, is believed only if the packet bears it out.</summary>
public sealed class OffloadHeaderTests
{
    private static readonly byte[] s_packet = new Segment
    {
        From = new IPEndPoint(IPAddress.Parse("10.0.0.2"), 1),
        To = new IPEndPoint(IPAddress.Parse("10.0.0.1"), 2),
        Flags = TcpFlags.Ack,
        Data = new byte[3000],
    }.ToBytes();

    // A super-packet of three segments: 1400, 1400, 200.
    private static PacketOffload Good(bool frame) => new()
    {
        Flags = PacketOffload.NeedsChecksum,
        Kind = (byte)SegmentKind.TcpV4,
        SegmentSize = 1400,
        ChecksumStart = (ushort)(20 + (frame ? EthernetHeader.Length : 0)),
        ChecksumOffset = 16,
        HeaderLength = (ushort)(40 + (frame ? EthernetHeader.Length : 0)),
    };

    private static bool Apply(bool frame, PacketOffload offload, Action<SkBuff>? then = null)
    {
        using var test = new TestCpu();
        byte[] bytes = frame ? EthernetLink.Frame(EthernetLink.StackMac, EthernetLink.PeerMac, 0x0800, s_packet) : s_packet;
        SkBuff skb = RawPackets.Wrap(test.Cpu, bytes);
        skb.Protocol = frame ? Ethernet.TypeOf(skb) : EtherType.Ipv4;
        bool applied = OffloadHeader.TryApply(skb, offload);
        then?.Invoke(skb);
        test.Cpu.FreeSkb(skb);
        return applied;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_super_packet_is_what_it_says(bool frame) => Assert.True(Apply(frame, Good(frame), skb =>
    {
        Assert.Equal((1400, 3, GsoType.TcpV4, ChecksumState.Partial), (skb.GsoSize, skb.GsoSegs, skb.GsoType, skb.IpSummed));
        PacketOffload again = OffloadHeader.Describe(skb);
        Assert.Equal((Good(frame).ChecksumStart, Good(frame).HeaderLength), (again.ChecksumStart, again.HeaderLength));
    }));

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Segments_larger_than_the_packet_make_no_super_packet(bool frame) =>
        Assert.True(Apply(frame, Good(frame) with { SegmentSize = 3000 }, skb => Assert.False(skb.IsGso)));

    public static TheoryData<bool, string> Lies
    {
        get
        {
            var lies = new TheoryData<bool, string>();
            foreach (string lie in (string[])["no size", "unknown kind", "other family", "no checksum", "start outside", "field outside", "wrong field", "start in no header"])
            {
                lies.Add(false, lie);
                lies.Add(true, lie);
            }
            return lies;
        }
    }

    [Theory, MemberData(nameof(Lies))]
    public void A_lie_is_refused(bool frame, string lie)
    {
        PacketOffload good = Good(frame);
        Assert.False(Apply(frame, lie switch
        {
            "no size" => good with { SegmentSize = 0 },
            "unknown kind" => good with { Kind = 3 },
            "other family" => good with { Kind = (byte)SegmentKind.TcpV6 },
            "no checksum" => good with { Flags = 0 },
            "start outside" => good with { ChecksumStart = 5000 },
            "field outside" => good with { ChecksumOffset = 5000 },
            "wrong field" => good with { ChecksumOffset = 6 },
            _ => good with { ChecksumStart = 4 },
        }));
    }
}
