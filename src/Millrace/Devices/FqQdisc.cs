using System.Collections.Generic;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Devices;

/// <summary>
/// Sends each packet when its sender wants it sent, and lets senders know that they need no timer of their own for that. The devices
/// here never make packets wait, so between flows there is nothing to be fair about.
/// </summary>
/// <remarks>Linux: fq.</remarks>
internal sealed class FqQdisc : Qdisc
{
    /// <summary>Packets that may wait.</summary>
    public const int DefaultLimit = 10_000;

    private readonly int _limit;
    private readonly PriorityQueue<SkBuff, (long Time, long Order)> _waiting = new();
    private readonly Release _release;
    private SpinLock32 _lock;
    private long _order;

    public FqQdisc(NetDevice device, int limit)
        : base(device)
    {
        _limit = limit;
        _release = new Release(this);
    }

    public override bool KeepsPackets => true;

    public override string Kind => "fq";

    // Linux: fq_enqueue.
    public override bool Transmit(Cpu cpu, SkBuff skb)
    {
        skb.Owner?.OnPacedBelow();
        if (skb.Time <= cpu.Now.Value)
        {
            Send(cpu, skb);
            return true;
        }
        _lock.Lock(cpu);
        bool room = _waiting.Count < _limit;
        if (room)
            _waiting.Enqueue(skb, (skb.Time, _order++));
        bool first = room && _waiting.Peek() == skb;
        _lock.Unlock(cpu);
        if (!room)
        {
            Device.Statistics.TxDropped++;
            Drops.Free(cpu, skb, DropReason.QdiscDrop);
            return false;
        }
        if (first)
            cpu.Set.Timers.Arm(cpu, _release, new Micros(skb.Time));
        return true;
    }

    // Linux: fq_dequeue, qdisc_watchdog.
    private void SendDue(Cpu cpu)
    {
        while (true)
        {
            SkBuff? skb = null;
            _lock.Lock(cpu);
            bool any = _waiting.TryPeek(out _, out (long Time, long Order) next);
            if (any && next.Time <= cpu.Now.Value)
                skb = _waiting.Dequeue();
            _lock.Unlock(cpu);
            if (skb is null)
            {
                if (any)
                    cpu.Set.Timers.Arm(cpu, _release, new Micros(next.Time));
                return;
            }
            Send(cpu, skb);
        }
    }

    /// <summary>The time of the packet that is to leave first.</summary>
    private sealed class Release(FqQdisc qdisc) : TimerNode
    {
        internal override void Fire(Cpu cpu) => qdisc.SendDue(cpu);
    }
}
