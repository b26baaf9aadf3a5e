using System.Collections.Generic;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;

namespace Millrace.Conformance;

/// <summary>The device that a story stands behind: it keeps what the stack sends, and receives what the story writes.</summary>
internal sealed class ScriptedDevice : NetDevice
{
    private readonly Queue<(byte[] Packet, long Time)> _sent = new();
    private readonly Queue<byte[]> _arrived = new();
    private RxPoll? _poll;

    /// <param name="offload">Whether it takes super-packets whole, so that a story sees how they are sized.</param>
    public ScriptedDevice(string name, int mtu, bool offload)
        : base(name, mtu)
    {
        Flags = DeviceFlags.PointToPoint;
        Features = DeviceFeatures.Gro | (offload ? DeviceFeatures.Tso : DeviceFeatures.None);
    }

    public override void Attach(NetRx netRx, CpuSet cpus)
    {
        base.Attach(netRx, cpus);
        _poll = new RxPoll(this, netRx);
    }

    public override void StartXmit(Cpu cpu, SkBuff skb)
    {
        var packet = new byte[skb.Length];
        if (skb.IpSummed == ChecksumState.Partial && !skb.IsGso)
            SoftwareGso.FinishChecksum(skb);
        skb.CopyTo(0, packet);
        cpu.FreeSkb(skb);
        _sent.Enqueue((packet, cpu.Now.Value));
    }

    public bool HasSent => _sent.Count > 0;

    public bool TryTake(out (byte[] Packet, long Time) sent) => _sent.TryDequeue(out sent);

    /// <summary>A packet arrives: the interrupt, the softirq and all that follows run before this returns.</summary>
    public void Inject(byte[] packet)
    {
        _arrived.Enqueue(packet);
        if (_poll!.TrySchedule())
            CpuSet.Interrupt(_poll);
    }

    private sealed class RxPoll(ScriptedDevice device, NetRx netRx) : Napi(netRx)
    {
        protected override int IfIndex => device.IfIndex;

        public override int Poll(Cpu cpu, int budget)
        {
            int work = 0;
            while (work < budget && device._arrived.TryDequeue(out byte[]? packet))
            {
                work++;
                device.Receive(cpu, TunMemory.Wrap(cpu, packet));
            }
            return work;
        }
    }
}
