using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Devices;

/// <summary>
/// The loopback interface: a packet sent is a packet received, on the same CPU, in the softirq that follows. Super-packets and
/// partial checksums pass as they are.
/// </summary>
/// <remarks>Linux: loopback_xmit, enqueue_to_backlog, process_backlog.</remarks>
internal sealed class LoopbackDevice : NetDevice
{
    public const int LoopbackMtu = 65536;

    /// <summary>Every stack's first device. Linux: LOOPBACK_IFINDEX.</summary>
    public const int StandardIfIndex = 1;

    private Backlog[] _backlogs = [];

    public LoopbackDevice()
        : base("lo", LoopbackMtu)
    {
        Flags = DeviceFlags.Loopback;
        Features = DeviceFeatures.AllOffloads;
    }

    public override void Attach(NetRx netRx, CpuSet cpus)
    {
        base.Attach(netRx, cpus);
        _backlogs = new Backlog[cpus.Cpus.Length];
        for (int i = 0; i < _backlogs.Length; i++)
            _backlogs[i] = new Backlog(this, netRx);
    }

    protected override bool KeepsTransmitted => false;

    public override void StartXmit(Cpu cpu, SkBuff skb)
    {
        cpu.Orphan(skb);
        skb.CopyForeignFragments(cpu);
        _backlogs[cpu.Index].Enqueue(cpu, skb);
    }

    /// <summary>One CPU's queue of looped packets; touched only by the holder of that CPU.</summary>
    private sealed class Backlog(LoopbackDevice device, NetRx netRx) : Napi(netRx)
    {
        private readonly SkBuffHead _queue = new();
        private readonly NetRx _netRx = netRx;
        private bool _scheduled;

        protected override int IfIndex => device.IfIndex;

        public void Enqueue(Cpu cpu, SkBuff skb)
        {
            if (_queue.Count >= _netRx.Limits.MaxBacklog)
            {
                device.Statistics.RxDropped++;
                Drops.Free(cpu, skb, DropReason.FullRing);
                return;
            }
            _queue.PushLast(skb);
            if (_scheduled)
                return;
            _scheduled = true;
            _netRx.Schedule(cpu, this);
        }

        protected override bool TryEnd(Cpu cpu)
        {
            _scheduled = !_queue.IsEmpty;
            return !_scheduled;
        }

        public override int Poll(Cpu cpu, int budget)
        {
            int work = 0;
            while (work < budget && _queue.PopFirst() is { } skb)
            {
                work++;
                device.Receive(cpu, skb);
            }
            return work;
        }
    }
}
