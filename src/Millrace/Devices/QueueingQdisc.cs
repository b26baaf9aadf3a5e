using System;
using System.Threading;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Devices;

/// <summary>
/// A discipline in which packets can wait: for room in the device, or for their time. One thread at a time takes packets out, and hands
/// them to the device without the lock, so that they leave in the order in which they were chosen.
/// </summary>
/// <remarks>Linux: __dev_xmit_skb, __qdisc_run, __QDISC_STATE_RUNNING.</remarks>
internal abstract class QueueingQdisc : Qdisc
{
    private readonly Watchdog _watchdog;
    private SpinLock32 _lock;
    private bool _running, _retired;
    private volatile bool _stopped;
    private long _packets, _bytes, _dropped;

    protected QueueingQdisc(NetDevice device)
        : base(device) => _watchdog = new Watchdog(this);

    public override bool KeepsPackets => true;

    public override bool IsStopped => _stopped;

    /// <summary>Packets that wait. Guarded by the lock, as all that the methods below touch.</summary>
    protected abstract int Count { get; }

    /// <summary>Keeps a packet. Other than None: there is no room for it.</summary>
    protected abstract DropReason Enqueue(SkBuff skb, Micros now);

    /// <summary>The packet that is to leave now; null if none, and then when one will be. Linux: dequeue.</summary>
    protected abstract SkBuff? Dequeue(Micros now, out Micros next);

    /// <summary>Any packet that waits; null if none does.</summary>
    protected abstract SkBuff? TakeAny();

    protected virtual void Describe(QdiscStatistics statistics)
    {
    }

    public override bool Transmit(Cpu cpu, SkBuff skb)
    {
        _lock.Lock(cpu);
        if (_retired)
        {
            _lock.Unlock(cpu);
            return Device.Qdisc.Transmit(cpu, skb);
        }
        DropReason refused = Enqueue(skb, cpu.Now);
        if (refused != DropReason.None)
            _dropped++;
        _lock.Unlock(cpu);
        if (refused != DropReason.None)
        {
            Device.Statistics.TxDropped++;
            Drops.Free(cpu, skb, refused);
            return false;
        }
        Run(cpu);
        return true;
    }

    public override void Run(Cpu cpu)
    {
        Micros next = Micros.Never;
        _lock.Lock(cpu);
        if (_running)
        {
            _lock.Unlock(cpu);
            return;
        }
        _running = true;
        while (MayTransmit() && Dequeue(cpu.Now, out next) is { } skb)
        {
            _packets++;
            _bytes += skb.Length;
            _lock.Unlock(cpu);
            Send(cpu, skb);
            _lock.Lock(cpu);
        }
        _running = false;
        _lock.Unlock(cpu);
        if (next != Micros.Never)
            cpu.Set.Timers.Arm(cpu, _watchdog, next);
    }

    public override void Retire(Cpu cpu)
    {
        var left = new SkBuffHead();
        _lock.Lock(cpu);
        _retired = true;
        while (TakeAny() is { } skb)
            left.PushLast(skb);
        _lock.Unlock(cpu);
        while (left.PopFirst() is { } skb)
        {
            Device.Statistics.TxDropped++;
            Drops.Free(cpu, skb, DropReason.QdiscDrop);
        }
    }

    public override QdiscStatistics Describe(Cpu cpu)
    {
        _lock.Lock(cpu);
        var statistics = new QdiscStatistics { Kind = Kind, Packets = _packets, Bytes = _bytes, Dropped = _dropped, Waiting = Count };
        Describe(statistics);
        _lock.Unlock(cpu);
        return statistics;
    }

    private bool MayTransmit()
    {
        _stopped = false;
        if (Device.HasRoom)
            return true;
        _stopped = true;
        Interlocked.MemoryBarrier();
        // The device may have made room before it could see that somebody waits for it.
        return Device.HasRoom;
    }

    /// <summary>The time of the packet that is to leave first. Linux: qdisc_watchdog.</summary>
    private sealed class Watchdog(QueueingQdisc qdisc) : TimerNode
    {
        internal override void Fire(Cpu cpu) => qdisc.Run(cpu);
    }
}

/// <summary>First in, first out, so many packets at most. Linux: pfifo.</summary>
internal sealed class FifoQdisc(NetDevice device, int limit) : QueueingQdisc(device)
{
    private readonly SkBuffHead _queue = new();

    public override string Kind => "pfifo";

    protected override int Count => _queue.Count;

    protected override DropReason Enqueue(SkBuff skb, Micros now)
    {
        if (_queue.Count >= limit)
            return DropReason.QdiscDrop;
        _queue.PushLast(skb);
        return DropReason.None;
    }

    protected override SkBuff? Dequeue(Micros now, out Micros next)
    {
        next = Micros.Never;
        return _queue.PopFirst();
    }

    protected override SkBuff? TakeAny() => _queue.PopFirst();
}

/// <summary>
/// Three queues by the packets' priority: one sends only while those before it are empty. Linux: pfifo_fast, sch_default_prio2band.
/// </summary>
internal sealed class PriorityFifoQdisc(NetDevice device, int limit) : QueueingQdisc(device)
{
    private readonly SkBuffHead[] _bands = [new(), new(), new()];

    public override string Kind => "pfifo_fast";

    protected override int Count => _bands[0].Count + _bands[1].Count + _bands[2].Count;

    // SO_PRIORITY 6 and 7 are interactive, 1 to 3 and 5 are bulk, what is left is best effort.
    private static ReadOnlySpan<byte> BandOfPriority => [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];

    protected override DropReason Enqueue(SkBuff skb, Micros now)
    {
        SkBuffHead band = _bands[BandOfPriority[skb.Priority & 15]];
        if (band.Count >= limit)
            return DropReason.QdiscDrop;
        band.PushLast(skb);
        return DropReason.None;
    }

    protected override SkBuff? Dequeue(Micros now, out Micros next)
    {
        next = Micros.Never;
        return TakeAny();
    }

    protected override SkBuff? TakeAny() => _bands[0].PopFirst() ?? _bands[1].PopFirst() ?? _bands[2].PopFirst();
}
