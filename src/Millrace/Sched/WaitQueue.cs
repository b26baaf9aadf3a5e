using System;
using System.Diagnostics;
using System.Threading;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Sched;

/// <summary>The events that a file can report and a sleeper can wait for. Linux: EPOLLIN and its kin, the same numbers.</summary>
[Flags]
internal enum PollEvents : uint
{
    None = 0,
    In = 0x1,
    Pri = 0x2,
    Out = 0x4,
    Err = 0x8,
    Hup = 0x10,
    Nval = 0x20,
    RdNorm = 0x40,
    RdBand = 0x80,
    WrNorm = 0x100,
    WrBand = 0x200,
    Msg = 0x400,
    RdHup = 0x2000,

    Readable = In | RdNorm,
    Writable = Out | WrNorm | WrBand,

    /// <summary>What ends every wait, asked for or not.</summary>
    Terminal = Err | Hup | RdHup,
}

/// <summary>Why a queue is woken.</summary>
internal readonly record struct WakeKey(PollEvents Events)
{
    /// <summary>The receive sequence that data is complete up to; a reader that has seen it already sleeps on.</summary>
    public SeqNumber UpTo { get; init; }

    public bool HasUpTo { get; init; }

    /// <summary>
    /// Data that an earlier event announced is passed on: only an exclusive sleeper may take it, or an edge-triggered poller would
    /// see an edge that is none.
    /// </summary>
    public bool IsHandover { get; init; }
}

/// <summary>One sleeper, or somebody who wants to be told, on a wait queue. Linux: wait_queue_entry.</summary>
internal abstract class WaitQueueEntry
{
    internal WaitQueueEntry? Next, Prev;
    internal bool IsQueued;

    /// <summary>Whether a wake-up that this entry takes is used up. Linux: WQ_FLAG_EXCLUSIVE.</summary>
    public bool IsExclusive { get; internal set; }

    /// <summary>What the entry waits for. A wake-up for anything else passes it by. Linux: the poll key.</summary>
    public PollEvents Interest { get; set; }

    /// <summary>A reader that has looked at everything up to here wants only what is newer.</summary>
    public SeqNumber Seen { get; set; }

    public bool HasSeen { get; set; }

    /// <summary>
    /// The wake function, under the queue's lock: it only notes. True: somebody was woken, which uses up an exclusive wake-up.
    /// <paramref name="remove"/>: the entry is taken from the queue.
    /// </summary>
    internal abstract bool Wake(Cpu cpu, in WakeKey key, out bool remove);

    internal bool Wants(in WakeKey key)
    {
        if ((key.Events & Interest) == 0)
            return false;
        if (key.IsHandover && !IsExclusive)
            return false;
        return !HasSeen || !key.HasUpTo || (key.Events & Interest & PollEvents.Terminal) != 0 || key.UpTo > Seen;
    }
}

/// <summary>
/// A wait queue: those who want to be told in front, exclusive sleepers behind, first come first served. Linux: wait_queue_head.
/// </summary>
internal struct WaitQueueHead
{
    private SpinLock32 _lock;
    private WaitQueueEntry? _first, _last;

    /// <summary>Whether anybody waits, after a full fence, so that a sleeper who queued himself before looking is seen. Linux: wq_has_sleeper.</summary>
    public readonly bool HasSleepers
    {
        get
        {
            // Whoever is seen needs no fence to be seen.
            if (_first is not null)
                return true;
            Atomic.Fence();
            return Volatile.Read(in _first) is not null;
        }
    }

    /// <summary>Whether nobody waits, for a caller whose own lock everybody holds who queues himself. Linux: waitqueue_active.</summary>
    public readonly bool IsEmpty => _first is null;

    /// <summary>Queues the entry; nothing if it already is. Linux: add_wait_queue, prepare_to_wait.</summary>
    public void Add(Cpu cpu, WaitQueueEntry entry, bool exclusive)
    {
        _lock.Lock(cpu);
        AddLocked(entry, exclusive);
        _lock.Unlock(cpu);
    }

    /// <summary>
    /// Queues the task's entry and makes its state Interruptible, in this order and under the lock, so that a wake-up between now and
    /// the sleep is not lost. Linux: prepare_to_wait, prepare_to_wait_exclusive.
    /// </summary>
    public void Prepare(Cpu cpu, TaskStruct task, PollEvents interest, bool exclusive)
    {
        cpu.Trace(exclusive ? Tp.prepare_to_wait_exclusive : Tp.prepare_to_wait, exclusive ? 1 : 0);
        TaskWaitEntry entry = task.Wait;
        _lock.Lock(cpu);
        entry.Interest = interest;
        AddLocked(entry, exclusive);
        task.SetState(TaskState.Interruptible);
        _lock.Unlock(cpu);
    }

    /// <summary>Queues the task for a lock that another will surely release. Linux: the prepare_to_wait_exclusive of __lock_sock.</summary>
    public void PrepareForLock(Cpu cpu, TaskStruct task)
    {
        TaskWaitEntry entry = task.LockWait;
        _lock.Lock(cpu);
        entry.Interest = PollEvents.In;
        AddLocked(entry, exclusive: true);
        task.SetState(TaskState.Uninterruptible);
        _lock.Unlock(cpu);
    }

    /// <summary>Ends a wait. Linux: finish_wait.</summary>
    public void Finish(Cpu cpu, TaskStruct task)
    {
        task.SetState(TaskState.Running);
        Remove(cpu, task.Wait);
        task.Wait.HasSeen = false;
        cpu.Trace(Tp.finish_wait);
    }

    public void Remove(Cpu cpu, WaitQueueEntry entry)
    {
        if (!Volatile.Read(ref entry.IsQueued))
            return;
        _lock.Lock(cpu);
        if (entry.IsQueued)
            Unlink(entry);
        _lock.Unlock(cpu);
    }

    /// <summary>
    /// Wakes everybody in front and up to <paramref name="exclusive"/> exclusive sleepers (0: all) whom the key concerns. Returns how
    /// many were woken. Linux: __wake_up_common.
    /// </summary>
    public int Wake(Cpu cpu, in WakeKey key, int exclusive = 1)
    {
        int woken = 0;
        cpu.Trace(Tp.__wake_up_common_lock, (long)key.Events);
        _lock.Lock(cpu);
        cpu.Trace(Tp.__wake_up_common, (long)key.Events, exclusive);
        for (WaitQueueEntry? entry = _first; entry is not null;)
        {
            WaitQueueEntry? next = entry.Next;
            if (entry.Wants(key) && entry.Wake(cpu, key, out bool remove))
            {
                woken++;
                bool usedUp = entry.IsExclusive && --exclusive == 0;
                if (remove)
                    Unlink(entry);
                if (usedUp)
                    break;
            }
            entry = next;
        }
        _lock.Unlock(cpu);
        return woken;
    }

    private void AddLocked(WaitQueueEntry entry, bool exclusive)
    {
        if (entry.IsQueued)
            return;
        entry.IsQueued = true;
        entry.IsExclusive = exclusive;
        if (exclusive)
        {
            entry.Prev = _last;
            if (_last is null)
                _first = entry;
            else
                _last.Next = entry;
            _last = entry;
        }
        else
        {
            entry.Next = _first;
            if (_first is null)
                _last = entry;
            else
                _first.Prev = entry;
            _first = entry;
        }
    }

    private void Unlink(WaitQueueEntry entry)
    {
        Debug.Assert(entry.IsQueued, "only a queued entry can be removed");
        if (entry.Prev is null)
            _first = entry.Next;
        else
            entry.Prev.Next = entry.Next;
        if (entry.Next is null)
            _last = entry.Prev;
        else
            entry.Next.Prev = entry.Prev;
        entry.Next = entry.Prev = null;
        Volatile.Write(ref entry.IsQueued, false);
    }
}

/// <summary>The entry of a task that sleeps: the wake function ends the sleep and takes the entry off the queue.</summary>
/// <remarks>Linux: DEFINE_WAIT, autoremove_wake_function.</remarks>
/// <param name="task">Whose it is.</param>
/// <param name="counter">What its wake-ups are counted as.</param>
internal sealed class TaskWaitEntry(TaskStruct task, Mib counter) : WaitQueueEntry
{
    internal override bool Wake(Cpu cpu, in WakeKey key, out bool remove)
    {
        cpu.TraceTask(Tp.autoremove_wake_function, task);
        remove = Scheduler.TryToWakeUp(cpu, task, counter);
        return remove;
    }
}

/// <summary>Going to sleep and waking up.</summary>
internal static class Scheduler
{
    /// <summary>
    /// Makes a sleeping task runnable. It starts to run when this CPU has dropped its last lock. False: it did not sleep.
    /// Linux: default_wake_function, try_to_wake_up.
    /// </summary>
    /// <param name="counter">What the wake-up is counted as.</param>
    public static bool TryToWakeUp(Cpu cpu, TaskStruct task, Mib counter = Mib.MillraceWakeups)
    {
        cpu.TraceTask(Tp.default_wake_function, task);
        cpu.TraceTask(Tp.try_to_wake_up, task, (task.LastCpu ?? cpu) == cpu ? 1 : 0);
        if (!task.TryWake())
            return false;
        cpu.TraceTask(Tp.sched_waking, task, (task.LastCpu ?? cpu).Index);
        cpu.Mib.Inc(counter);
        cpu.QueueWoken(task);
        return true;
    }

    /// <summary>
    /// Gives the CPU up and sleeps until the task is woken, interrupted, or the deadline has come. The caller has set its state and
    /// holds no lock. Linux: schedule_timeout.
    /// </summary>
    public static void ScheduleTimeout(ref TaskContext context, Micros deadline, string waitChannel)
    {
        Cpu cpu = context.Cpu;
        TaskStruct task = context.Task;
        cpu.AssertTaskContext();
        cpu.AssertNoLock();
        cpu.Trace(Tp.schedule_timeout, deadline == Micros.Never ? -1 : (deadline - cpu.Now).Value);
        cpu.Trace(Tp.schedule);
        int state = task.State;
        if (state == TaskState.Uninterruptible || (state == TaskState.Interruptible && !task.SignalPending))
        {
            cpu.FinishLeftovers();
            CpuSet set = cpu.Set;
            cpu.SwitchTo(set.Host.NextOn(cpu), state);
            Debug.Assert(cpu.LeaseDepth == 1, "a sleeper holds one lease and gives it up");
            cpu.Mib.Inc(Mib.MillraceParks);
            set.ReleaseToSleep(cpu);
            task.WaitChannel = waitChannel;
            set.Host.Park(task, deadline);
            task.WaitChannel = null;
            context.Cpu = set.Acquire();
            context.Cpu.Resume(task);
            context.Cpu.Mib.Add(Mib.MillraceSpinHits, task.SpinHits);
            task.SpinHits = 0;
        }
    }
}
