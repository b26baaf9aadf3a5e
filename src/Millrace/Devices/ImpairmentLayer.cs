using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Devices;

/// <summary>
/// A layer that makes a device a bad link: delay, jitter, loss, duplication, reordering, corruption, limited rate, each direction
/// for itself. Linux: sch_netem.
/// </summary>
internal sealed class ImpairmentLayer(ImpairmentOptions? transmit, ImpairmentOptions? receive) : DeviceLayer
{
    private readonly Direction? _transmit = transmit is { IsNeutral: false } ? new Direction(transmit) : null;
    private readonly Direction? _receive = receive is { IsNeutral: false } ? new Direction(receive) : null;

    protected override void OnInstalled()
    {
        _transmit?.Install(Device.CpuSet.Timers, PassDown);
        _receive?.Install(Device.CpuSet.Timers, PassUp);
        if (_transmit is { NeedsRealPackets: true })
            Device.Features &= ~DeviceFeatures.AllOffloads;
    }

    public override void Transmit(Cpu cpu, SkBuff skb)
    {
        if (_transmit is null)
            PassDown(cpu, skb);
        else
            _transmit.Accept(cpu, skb);
    }

    public override void Receive(Cpu cpu, SkBuff skb)
    {
        if (_receive is null)
            PassUp(cpu, skb);
        else
            _receive.Accept(cpu, skb);
    }

    /// <summary>One direction, with a timer that lets packets out.</summary>
    private sealed class Direction(ImpairmentOptions options) : TimerNode
    {
        private readonly ImpairedLine<SkBuff> _line = new(options);
        private readonly SkBuffHead _out = new();
        private SpinLock32 _lock;
        private TimerService _timers = null!;
        private Action<Cpu, SkBuff> _pass = null!;

        public bool NeedsRealPackets => options.NeedsRealPackets;

        public void Install(TimerService timers, Action<Cpu, SkBuff> pass)
        {
            _timers = timers;
            _pass = pass;
        }

        public void Accept(Cpu cpu, SkBuff skb)
        {
            cpu.Orphan(skb);
            _lock.Lock(cpu);
            PacketFate fate = _line.Judge();
            SkBuff? copy = fate is { Twice: true, Lost: false } ? Copy(cpu, skb) : null;
            if (fate is { Corrupt: true, Lost: false })
                skb = FlipBit(cpu, skb);
            if (!fate.Lost)
                Enqueue(cpu, skb);
            if (copy is not null)
                Enqueue(cpu, copy);
            Micros next = _line.Next;
            bool arm = next != Micros.Never && (!IsQueued || next.Value < Expires) && next > cpu.Now;
            CollectDue(cpu.Now);
            if (arm)
                _timers.Arm(cpu, this, next);
            SendCollected(cpu);
            if (fate.Lost)
                Drops.Free(cpu, skb, DropReason.WireLoss);
        }

        internal override void Fire(Cpu cpu)
        {
            _lock.Lock(cpu);
            CollectDue(cpu.Now);
            if (_line.Next != Micros.Never && !IsQueued)
                _timers.Arm(cpu, this, _line.Next);
            SendCollected(cpu);
        }

        private void Enqueue(Cpu cpu, SkBuff skb)
        {
            if (!_line.TryEnqueue(cpu.Now, skb.Length, skb))
                Drops.Free(cpu, skb, DropReason.QdiscDrop);
        }

        private void CollectDue(Micros now)
        {
            while (_line.TryDequeue(now, out SkBuff? skb))
                _out.PushLast(skb);
        }

        // Packets leave without the lock, because whoever takes them may send an answer through here. The queue is detached first,
        // under the lock, so that two CPUs cannot interleave within one batch.
        private void SendCollected(Cpu cpu)
        {
            if (_out.IsEmpty)
            {
                _lock.Unlock(cpu);
                return;
            }
            var batch = new SkBuffHead();
            batch.TakeAll(_out);
            _lock.Unlock(cpu);
            while (batch.PopFirst() is { } skb)
                _pass(cpu, skb);
        }

        private static unsafe SkBuff Copy(Cpu cpu, SkBuff skb)
        {
            SkBuff copy = cpu.AllocLinear(skb.Length);
            skb.CopyTo(0, new Span<byte>(copy.Put(skb.Length), skb.Length));
            copy.Protocol = skb.Protocol;
            copy.IfIndex = skb.IfIndex;
            copy.IpSummed = skb.IpSummed == ChecksumState.Partial ? ChecksumState.Unnecessary : skb.IpSummed;
            return copy;
        }

        private SkBuff FlipBit(Cpu cpu, SkBuff skb)
        {
            SkBuff copy = Copy(cpu, skb);
            copy.IpSummed = ChecksumState.None;
            _line.FlipBit(copy.Linear);
            cpu.FreeSkb(skb);
            return copy;
        }
    }
}
