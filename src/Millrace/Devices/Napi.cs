using System.Threading;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Devices;

/// <summary>
/// One receive queue's poll: an interrupt schedules it, the NET_RX softirq calls it until it is empty. It has one owner at a time,
/// whoever set its SCHED bit, so that one queue's packets never overtake each other.
/// </summary>
/// <remarks>Linux: napi_struct.</remarks>
internal abstract class Napi(NetRx netRx) : IInterrupt
{
    /// <summary>Packets in one poll. Linux: NAPI_POLL_WEIGHT.</summary>
    public const int Weight = 64;

    private const int Scheduled = 1, Missed = 2;

    private int _state;

    internal Napi? NextPoll;

    /// <summary>For the trace: the device's interface index.</summary>
    protected abstract int IfIndex { get; }

    /// <summary>
    /// Receives up to <paramref name="budget"/> packets and returns how many there were. Fewer than the budget: the queue was empty,
    /// and <see cref="NetRx"/> completes the poll.
    /// </summary>
    public abstract int Poll(Cpu cpu, int budget);

    /// <summary>
    /// Becomes the owner, or tells the owner that there is more. True: the caller must hand it to <see cref="NetRx.Schedule"/>.
    /// Linux: napi_schedule_prep.
    /// </summary>
    public bool TrySchedule()
    {
        int seen = Volatile.Read(ref _state);
        while (true)
        {
            int next = (seen & Scheduled) != 0 ? seen | Missed : Scheduled;
            int was = Atomic.CompareExchange(ref _state, next, seen);
            if (was == seen)
                return (seen & Scheduled) == 0;
            seen = was;
        }
    }

    /// <summary>Linux: napi_complete_done.</summary>
    internal bool TryComplete(Cpu cpu, int work)
    {
        cpu.Trace(Tp.napi_complete_done, work);
        return TryEnd(cpu);
    }

    /// <summary>
    /// Gives ownership up, unless packets came meanwhile: false, poll again. Overridden where the SCHED bit stands under a lock that the
    /// queue has anyway, or where one CPU alone touches it.
    /// </summary>
    protected virtual bool TryEnd(Cpu cpu)
    {
        if (Atomic.CompareExchange(ref _state, 0, Scheduled) == Scheduled)
            return true;
        Volatile.Write(ref _state, Scheduled);
        return false;
    }

    /// <summary>The device's interrupt. Linux: the driver's handler, __napi_schedule.</summary>
    public void Handle(Cpu cpu)
    {
        cpu.Trace(Tp.irq_handler_entry, IfIndex);
        netRx.Schedule(cpu, this);
    }

    internal int TracedPoll(Cpu cpu, int budget)
    {
        cpu.Trace(Tp.__napi_poll, IfIndex);
        int work = Poll(cpu, budget);
        cpu.Trace(Tp.napi_poll, IfIndex, work, budget);
        return work;
    }
}
