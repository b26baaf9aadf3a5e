using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tests.Devices;

public sealed class SoftwareGsoTests
{
    private const int Headers = Ipv4Header.MinLength + TcpHeader.MinLength;

    [Fact]
    public void A_segment_is_charged_for_the_payload_that_it_shares()
    {
        using var stack = new NetStack();
        TaskContext context = stack.Cpus.Enter();
        Cpu cpu = context.Cpu;
        cpu.BhDisable();
        var segments = new SkBuffHead();
        SoftwareGso.Segment(cpu, SuperPacket(cpu, payload: 2500, mss: 1000), segments, checksum: true);
        foreach (int payload in new[] { 1000, 1000, 500 })
        {
            SkBuff segment = segments.PopFirst()!;
            Assert.Equal(Headers + payload, segment.Length);
            Assert.InRange(segment.TrueSize, SkBuff.OverheadTrueSize + payload, int.MaxValue);
            cpu.FreeSkb(segment);
        }
        Assert.True(segments.IsEmpty);
        cpu.BhEnable();
        stack.Cpus.Leave(ref context);
    }

    private static unsafe SkBuff SuperPacket(Cpu cpu, int payload, int mss)
    {
        SkBuff skb = cpu.AllocLinear(Headers + payload);
        byte* ip = skb.Put(Headers + payload);
        Ipv4Header.Write(ip, Headers + payload, 0, 1, 0, 64, IpProtocol.Tcp, IpAddr.Loopback4, IpAddr.Loopback4);
        TcpHeader.Write(ip + Ipv4Header.MinLength, 1, 2, new SeqNumber(1), default, TcpHeader.MinLength, TcpFlags.Ack, 1);
        skb.Protocol = EtherType.Ipv4;
        skb.NetworkOffset = skb.Headroom;
        skb.TransportOffset = skb.ChecksumStart = skb.Headroom + Ipv4Header.MinLength;
        skb.ChecksumOffset = TcpHeader.ChecksumOffset;
        skb.IpSummed = ChecksumState.Partial;
        skb.GsoType = GsoType.TcpV4;
        skb.GsoSize = (ushort)mss;
        skb.GsoSegs = (ushort)((payload + mss - 1) / mss);
        return skb;
    }
}
