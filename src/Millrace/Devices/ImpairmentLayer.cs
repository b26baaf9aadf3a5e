using System;
using System.Collections.Generic;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

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

    /// <summary>One direction: a line of packets in order of the time at which they come out.</summary>
    private sealed class Direction(ImpairmentOptions options) : TimerNode
    {
        private readonly PriorityQueue<SkBuff, (long At, long Order)> _line = new();
        private readonly SkBuffHead _out = new();
        private readonly Prng _random = new(options.Seed);
        private readonly Micros _delay = Micros.From(options.Delay), _jitter = Micros.From(options.Jitter);
        private SpinLock32 _lock;
        private TimerService _timers = null!;
        private Action<Cpu, SkBuff> _pass = null!;
        private Micros _busyUntil;
        private long _order;

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
            bool lost = _random.Chance(options.Loss);
            bool twice = _random.Chance(options.Duplicate);
            bool corrupt = _random.Chance(options.Corrupt);
            SkBuff? copy = twice && !lost ? Copy(cpu, skb) : null;
            if (corrupt && !lost)
                skb = FlipBit(cpu, skb);
            if (!lost)
                Enqueue(cpu, skb);
            if (copy is not null)
                Enqueue(cpu, copy);
            Micros next = _line.TryPeek(out _, out (long At, long) first) ? new Micros(first.At) : Micros.Never;
            bool arm = next != Micros.Never && (!IsQueued || next.Value < Expires) && next > cpu.Now;
            CollectDue(cpu.Now);
            if (arm)
                _timers.Arm(cpu, this, next);
            SendCollected(cpu);
            if (lost)
                Drops.Free(cpu, skb, DropReason.WireLoss);
        }

        internal override void Fire(Cpu cpu)
        {
            _lock.Lock(cpu);
            CollectDue(cpu.Now);
            if (_line.TryPeek(out _, out (long At, long) first) && !IsQueued)
                _timers.Arm(cpu, this, new Micros(first.At));
            SendCollected(cpu);
        }

        private void Enqueue(Cpu cpu, SkBuff skb)
        {
            Micros at = cpu.Now;
            if (options.Rate > 0)
            {
                Micros start = Micros.Max(at, _busyUntil);
                long waiting = (start - at).Value * options.Rate / 8_000_000;
                if (waiting + skb.Length > options.QueueBytes)
                {
                    Drops.Free(cpu, skb, DropReason.QdiscDrop);
                    return;
                }
                _busyUntil = start + new Micros((long)skb.Length * 8_000_000 / options.Rate);
                at = _busyUntil;
            }
            if (!_random.Chance(options.Reorder))
                at += _delay;
            if (_jitter.Value > 0)
                at = Micros.Max(cpu.Now, at + new Micros((long)((_random.NextDouble() * 2 - 1) * _jitter.Value)));
            _line.Enqueue(skb, (at.Value, _order++));
        }

        private void CollectDue(Micros now)
        {
            while (_line.TryPeek(out SkBuff? skb, out (long At, long) first) && first.At <= now.Value)
            {
                _line.Dequeue();
                _out.PushLast(skb);
            }
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
            copy.Linear[_random.Below(copy.Length)] ^= (byte)(1 << _random.Below(8));
            cpu.FreeSkb(skb);
            return copy;
        }
    }
}
