using System.Threading;
using Millrace.Tracing;

namespace Millrace.Sched;

/// <summary>
/// A stack's timers: one wheel, which the TIMER softirq turns. Whoever sleeps on the stack's behalf publishes until when; arming an
/// earlier deadline kicks him.
/// </summary>
internal sealed class TimerService : SoftirqAction
{
    private readonly TimerWheel _wheel = new();
    private SpinLock32 _lock;
    private long _next = long.MaxValue;
    private long _published = long.MaxValue;

    /// <summary>A time at or before the earliest deadline.</summary>
    public Micros NextDeadline => new(Volatile.Read(ref _next));

    /// <summary>
    /// Says until when the caller is about to sleep, and returns it. Arming something earlier from now on kicks the host.
    /// Publish, fence, compare: the other side does the same the other way round.
    /// </summary>
    public Micros PublishDeadline()
    {
        while (true)
        {
            long next = Volatile.Read(ref _next);
            Atomic.Exchange(ref _published, next);
            if (Volatile.Read(ref _next) >= next)
                return new Micros(next);
        }
    }

    /// <summary>Arms a node, or moves it. Returns whether it was armed before. Linux: mod_timer.</summary>
    public bool Arm(Cpu cpu, TimerNode node, Micros at)
    {
        _lock.Lock(cpu);
        bool wasQueued = node.IsQueued;
        if (wasQueued)
            _wheel.Remove(node);
        _wheel.Insert(node, at);
        bool earlier = at.Value < _next;
        if (earlier)
            Atomic.Exchange(ref _next, at.Value);
        _lock.Unlock(cpu);
        if (earlier && at.Value < Volatile.Read(ref _published))
            cpu.Kick(null);
        return wasQueued;
    }

    /// <summary>Disarms a node. False if it was not queued: then it is idle, or is firing now. Linux: timer_delete.</summary>
    public bool Cancel(Cpu cpu, TimerNode node)
    {
        _lock.Lock(cpu);
        bool queued = node.IsQueued;
        if (queued)
            _wheel.Remove(node);
        _lock.Unlock(cpu);
        return queued;
    }

    public bool IsDue(Micros now) => Volatile.Read(ref _next) <= now.Value;

    /// <summary>Fires what is due. Linux: run_timer_softirq.</summary>
    public override void Run(Cpu cpu)
    {
        // One at a time: a node that waits for its turn can still be moved or disarmed by another CPU.
        while (TakeDue(cpu) is { } node)
        {
            cpu.Mib.Inc(Mib.MillraceTimersFired);
            node.Fire(cpu);
        }
    }

    private TimerNode? TakeDue(Cpu cpu)
    {
        _lock.Lock(cpu);
        // Another CPU may have turned the wheel past the time that this one has read: what is due then must find that it is.
        cpu.RefreshClock();
        TimerNode? node = _wheel.TakeDue(cpu.Now);
        if (node is null)
            Atomic.Exchange(ref _next, _wheel.NextExpiry.Value);
        _lock.Unlock(cpu);
        return node;
    }
}
