using System.Diagnostics;
using System.Threading;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tcp;

/// <summary>
/// The mini-socks, in the order in which they end. Nearly all live equally long, so a queue for each second is all the order there is;
/// one timer turns it, and ends no more in one go than it should.
/// </summary>
/// <remarks>Linux: inet_timewait_death_row.</remarks>
internal sealed class TimeWaitRow(TcpProto tcp) : TimerNode
{
    private const int Slots = 512;
    private const int MaxPerRun = 1024;
    private static readonly Micros SlotLength = Micros.FromMilliseconds(250);

    private readonly TimerNode?[] _slots = new TimerNode?[Slots];
    private SpinLock32 _lock;
    private long _turned;
    private int _count;

    /// <summary>Mini-socks that exist. Linux: tw_refcount.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Whether there may be one more. Linux: net.ipv4.tcp_max_tw_buckets.</summary>
    public bool TryReserve(Cpu cpu)
    {
        if (Interlocked.Increment(ref _count) <= tcp.Sysctls.TcpMaxTwBuckets)
            return true;
        Interlocked.Decrement(ref _count);
        cpu.Mib.Inc(Mib.TcpExtTCPTimeWaitOverflow);
        return false;
    }

    public void OnFreed() => Interlocked.Decrement(ref _count);

    /// <summary>Lets a mini-sock live until <paramref name="deadline"/>; the row holds a reference. Linux: inet_twsk_schedule.</summary>
    public void Add(Cpu cpu, TcpTimeWaitSock tw, Micros deadline)
    {
        _lock.Lock(cpu);
        // It stands in the table already: a segment may have ended or moved it meanwhile.
        if (!tw.IsDead && !tw.IsQueued)
            Place(tw, deadline);
        _lock.Unlock(cpu);
        ArmIfIdle(cpu);
    }

    /// <summary>Gives a mini-sock a new deadline. Linux: inet_twsk_reschedule.</summary>
    public void Move(Cpu cpu, TcpTimeWaitSock tw, Micros deadline)
    {
        _lock.Lock(cpu);
        if (!tw.IsDead)
        {
            if (tw.IsQueued)
                Unlink(tw);
            Place(tw, deadline);
        }
        _lock.Unlock(cpu);
    }

    /// <summary>Takes a mini-sock out for its end. True for the one caller who did: he gives the row's reference back.</summary>
    public bool TryTake(Cpu cpu, TcpTimeWaitSock tw)
    {
        _lock.Lock(cpu);
        bool mine = !tw.IsDead;
        if (mine)
        {
            tw.IsDead = true;
            if (tw.IsQueued)
                Unlink(tw);
        }
        _lock.Unlock(cpu);
        return mine;
    }

    /// <summary>Linux: tw_timer_handler.</summary>
    internal override void Fire(Cpu cpu)
    {
        long now = cpu.Now.Value / SlotLength.Value;
        int budget = MaxPerRun;
        while (budget > 0 && TakeDue(cpu, now) is { } tw)
        {
            budget--;
            tcp.KillTimeWait(cpu, tw);
        }
        if (Count > 0)
            tcp.Timers.Arm(cpu, this, budget > 0 ? new Micros((now + 1) * SlotLength.Value) : cpu.Now + new Micros(1));
    }

    private TcpTimeWaitSock? TakeDue(Cpu cpu, long now)
    {
        _lock.Lock(cpu);
        TcpTimeWaitSock? due = null;
        while (due is null && _turned <= now)
        {
            for (TimerNode? at = _slots[_turned % Slots]; at is not null; at = at.Next)
            {
                var tw = (TcpTimeWaitSock)at;
                if (SlotOf(tw) > now)
                    continue;
                due = tw;
                due.IsDead = true;
                Unlink(due);
                break;
            }
            if (due is null)
            {
                if (_turned == now)
                    break;
                _turned++;
            }
        }
        _lock.Unlock(cpu);
        return due;
    }

    private void ArmIfIdle(Cpu cpu)
    {
        if (IsQueued)
            return;
        long now = cpu.Now.Value / SlotLength.Value;
        tcp.Timers.Arm(cpu, this, new Micros((now + 1) * SlotLength.Value));
    }

    // Rounded up to the end of its slot, as a timer wheel rounds.
    private static long SlotOf(TcpTimeWaitSock tw) => (tw.Deadline + SlotLength).Value / SlotLength.Value;

    private void Place(TcpTimeWaitSock tw, Micros deadline)
    {
        tw.Deadline = deadline;
        int slot = IndexOf(tw);
        tw.Prev = null;
        tw.Next = _slots[slot];
        if (tw.Next is not null)
            tw.Next.Prev = tw;
        _slots[slot] = tw;
        tw.IsQueued = true;
    }

    private static int IndexOf(TcpTimeWaitSock tw) => (int)(SlotOf(tw) % Slots);

    private void Unlink(TcpTimeWaitSock tw)
    {
        Debug.Assert(tw.Prev is not null || _slots[IndexOf(tw)] == tw, "a queued mini-sock stands in its slot");
        tw.IsQueued = false;
        if (tw.Prev is null)
            _slots[IndexOf(tw)] = tw.Next;
        else
            tw.Prev.Next = tw.Next;
        if (tw.Next is not null)
            tw.Next.Prev = tw.Prev;
        tw.Next = tw.Prev = null;
    }
}
