using System;
using System.Collections.Generic;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Packetdrill;

/// <summary>A device whose other side is a script: it takes IP packets of any size, and keeps what the stack sends, with its time.</summary>
internal sealed unsafe class ScriptDevice : NetDevice
{
    private const int Headroom = 64;

    private readonly Queue<(byte[] Packet, Micros Time)> _sent = new();
    private RxQueue? _rx;

    public ScriptDevice(string name, int mtu)
        : base(name, mtu)
    {
        Flags = DeviceFlags.PointToPoint;
        Features = DeviceFeatures.AllOffloads;
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
                device.Receive(cpu, Wrap(cpu, packet));
            return work;
        }

        private static SkBuff Wrap(Cpu cpu, byte[] packet)
        {
            SkBuff skb = cpu.AllocSkb();
            int page = cpu.AllocPage(PageSize.Small);
            byte* memory = cpu.Pool.PageAddress(page);
            int linear = Math.Min(packet.Length, BufferPool.SmallPageBytes - Headroom);
            packet.AsSpan(0, linear).CopyTo(new Span<byte>(memory + Headroom, linear));
            skb.UsePage(page, memory, BufferPool.SmallPageBytes, Headroom, linear);
            if (packet.Length > linear)
                AddRest(cpu, skb, packet.AsSpan(linear));
            skb.Protocol = packet[0] >> 4 == 6 ? EtherType.Ipv6 : EtherType.Ipv4;
            return skb;
        }

        private static void AddRest(Cpu cpu, SkBuff skb, ReadOnlySpan<byte> rest)
        {
            int page = cpu.AllocPage(PageSize.Large);
            byte* memory = cpu.Pool.PageAddress(page);
            rest.CopyTo(new Span<byte>(memory, BufferPool.LargePageBytes));
            skb.AddFragment(memory, rest.Length, page);
            skb.TrueSize += rest.Length;
        }
    }
}
