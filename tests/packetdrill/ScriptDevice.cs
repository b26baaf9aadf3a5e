using System;
using System.Collections.Generic;
using Millrace.Buffers;
using Millrace.Conformance;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Packetdrill;

/// <summary>A device whose other side is a script: it takes IP packets of any size, and keeps what the stack sends, with its time.</summary>
internal sealed unsafe class ScriptDevice : NetDevice
{
    private readonly Queue<(byte[] Packet, Micros Time)> _sent = new();
    private readonly int _segmentSize;
    private RxQueue? _rx;

    /// <param name="segmentSize">Payload of the segments that a larger packet stands for; 0: every packet is one segment.</param>
    public ScriptDevice(string name, int mtu, int segmentSize)
        : base(name, mtu)
    {
        _segmentSize = segmentSize;
        Flags = DeviceFlags.PointToPoint;
        // As a TUN device of Linux offers it: AccECN's super-packets get cut.
        Features = DeviceFeatures.AllOffloads & ~(DeviceFeatures.TsoAccEcn | DeviceFeatures.TsoAccEcnWithoutCwr);
    }

    public override void Attach(NetRx netRx, CpuSet cpus)
    {
        base.Attach(netRx, cpus);
        _rx = new RxQueue(this, netRx);
    }

    /// <summary>A packet from the script. The stack has dealt with it when the call returns.</summary>
    public void Inject(ReadOnlySpan<byte> packet)
    {
        _rx!.Add(packet.ToArray());
        if (_rx.TrySchedule())
            CpuSet.Interrupt(_rx);
    }

    /// <summary>The oldest packet that the stack has sent and nobody has taken.</summary>
    public bool TryTake(out byte[] packet, out Micros time)
    {
        lock (_sent)
        {
            bool any = _sent.TryDequeue(out (byte[] Packet, Micros Time) sent);
            (packet, time) = sent;
            return any;
        }
    }

    public override void StartXmit(Cpu cpu, SkBuff skb)
    {
        if (skb.IpSummed == ChecksumState.Partial)
            SoftwareGso.FinishChecksum(skb);
        byte[] packet = new byte[skb.Length];
        skb.CopyTo(0, packet);
        lock (_sent)
            _sent.Enqueue((packet, cpu.Now));
        // As TUN does: nobody knows how long the reader keeps it.
        skb.CopyForeignFragments(cpu);
        cpu.FreeSkb(skb);
    }

    private sealed class RxQueue(ScriptDevice device, NetRx netRx) : Napi(netRx)
    {
        private readonly Queue<byte[]> _packets = new();

        protected override int IfIndex => device.IfIndex;

        public void Add(byte[] packet) => _packets.Enqueue(packet);

        public override int Poll(Cpu cpu, int budget)
        {
            int work = 0;
            for (; work < budget && _packets.TryDequeue(out byte[]? packet); work++)
            {
                SkBuff skb = TunMemory.Wrap(cpu, packet);
                MarkSegments(skb, device._segmentSize);
                device.Receive(cpu, skb);
            }
            return work;
        }

        // As a device with receive offload hands up what it has merged.
        private static void MarkSegments(SkBuff skb, int size)
        {
            bool v6 = skb.Protocol == EtherType.Ipv6;
            int ip = v6 ? Ipv6Header.Length : (skb.Data[0] & 15) * 4;
            if (size == 0 || skb.LinearLength < ip + TcpHeader.MinLength || skb.Data[v6 ? 6 : 9] != IpProtocol.Tcp)
                return;
            int payload = skb.Length - ip - (skb.Data[ip + 12] >> 4) * 4;
            if (payload <= size)
                return;
            skb.GsoType = v6 ? GsoType.TcpV6 : GsoType.TcpV4;
            skb.GsoSize = (ushort)size;
            skb.GsoSegs = (ushort)((payload + size - 1) / size);
        }
    }
}
