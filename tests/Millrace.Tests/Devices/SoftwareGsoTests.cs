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

    [Theory]
    // To RFC 3168 it answers one mark; to AccECN it is a digit of a number.
    [InlineData(GsoType.TcpEcn, 1)]
    [InlineData(GsoType.TcpAccEcn, 3)]
    public void Cwr_stands_on_the_first_segment_or_on_all(object kind, int expected)
    {
        using var stack = new NetStack();
        TaskContext context = stack.Cpus.Enter();
        Cpu cpu = context.Cpu;
        cpu.BhDisable();
        var segments = new SkBuffHead();
        SoftwareGso.Segment(cpu, WithCwr(cpu, (GsoType)kind), segments, checksum: true);
        int found = 0;
        while (segments.PopFirst() is { } segment)
        {
            found += HasCwr(segment) ? 1 : 0;
            cpu.FreeSkb(segment);
        }
        Assert.Equal(expected, found);
        cpu.BhEnable();
        stack.Cpus.Leave(ref context);
    }

    [Theory]
    [InlineData(GsoType.TcpEcn, true, true)]
    [InlineData(GsoType.TcpAccEcn, true, false)]
    [InlineData(GsoType.TcpAccEcn, false, true)]
    public void A_device_that_would_clear_cwr_gets_no_super_packet_of_AccEcn_that_bears_it(object kind, bool cwr, bool whole)
    {
        using var stack = new NetStack();
        TaskContext context = stack.Cpus.Enter();
        Cpu cpu = context.Cpu;
        cpu.BhDisable();
        SkBuff skb = cwr ? WithCwr(cpu, (GsoType)kind) : SuperPacket(cpu, payload: 2500, mss: 1000);
        skb.GsoType = GsoType.TcpV4 | (GsoType)kind;
        var device = new Card { Features = DeviceFeatures.AllOffloads & ~DeviceFeatures.TsoAccEcn };
        Assert.Equal(whole, SoftwareGso.DeviceCuts(device, skb));
        device.Features = DeviceFeatures.AllOffloads;
        Assert.True(SoftwareGso.DeviceCuts(device, skb));
        device.Features &= ~(DeviceFeatures.TsoAccEcn | DeviceFeatures.TsoAccEcnWithoutCwr);
        Assert.Equal((GsoType)kind == GsoType.TcpEcn, SoftwareGso.DeviceCuts(device, skb));
        cpu.FreeSkb(skb);
        cpu.BhEnable();
        stack.Cpus.Leave(ref context);
    }

    private sealed class Card() : NetDevice("card0", 1500)
    {
        public override void StartXmit(Cpu cpu, SkBuff skb) => cpu.FreeSkb(skb);
    }

    private static unsafe bool HasCwr(SkBuff skb) => (skb.TransportHeader[13] & (byte)TcpFlags.Cwr) != 0;

    private static unsafe SkBuff WithCwr(Cpu cpu, GsoType kind)
    {
        SkBuff skb = SuperPacket(cpu, payload: 2500, mss: 1000);
        skb.GsoType |= kind;
        skb.TransportHeader[13] |= (byte)TcpFlags.Cwr;
        return skb;
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
