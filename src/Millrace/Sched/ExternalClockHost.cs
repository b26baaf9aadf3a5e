using System;
using System.Collections.Generic;
using System.Threading;

namespace Millrace.Sched;

/// <summary>
/// The host for somebody else's clock and threads: packet stories, packetdrill, another simulator. Time is pushed in; the threads
/// that call are the tasks, and really sleep.
/// </summary>
/// <remarks>
/// Time moves only in <see cref="AdvanceTo"/>, deadline by deadline, and after a step that woke a sleeper it waits until the sleeper
/// has run, so that what the sleeper then reads of the clock is the time of its wake-up.
/// </remarks>
internal sealed class ExternalClockHost : Host
{
    private readonly Lock _lock = new();
    private readonly List<CpuSet> _sets = [];
    private readonly List<(TaskStruct Task, Micros Deadline)> _sleepers = [];
    private readonly Parker _handshake = new();
    private readonly List<TaskStruct> _woken = [];
    private long _now;

    public override Micros Now => new(Volatile.Read(ref _now));

    public override DateTimeOffset Epoch => DateTimeOffset.UnixEpoch;

    /// <summary>Work that the stack left to the host: user continuations run when the driver asks for it.</summary>
    public Queue<HostWork> Work { get; } = new();

    /// <summary>The next time at which something will happen by itself.</summary>
    public Micros NextEvent
    {
        get
        {
            Micros next = Micros.Never;
            foreach (CpuSet set in _sets)
                next = Micros.Min(next, set.Timers.NextDeadline);
            lock (_lock)
            {
                foreach ((TaskStruct _, Micros deadline) in _sleepers)
                    next = Micros.Min(next, deadline);
            }
            return next;
        }
    }

    /// <summary>Moves the clock to <paramref name="target"/>, firing what is due at its own time on the way.</summary>
    public void AdvanceTo(Micros target)
    {
        RunDue();
        while (NextEvent is var next && next <= target)
        {
            Volatile.Write(ref _now, Math.Max(_now, next.Value));
            RunDue();
        }
        if (target.Value > _now)
            Volatile.Write(ref _now, target.Value);
    }

    /// <summary>Runs what is due now, and the continuations that it leaves.</summary>
    public void RunDue()
    {
        foreach (CpuSet set in _sets)
        {
            set.RunSoftirqd(runTimers: false);
            while (set.Timers.IsDue(Now))
                set.RaiseTimers();
        }
        WakeOverdueSleepers();
        while (Work.TryDequeue(out HostWork? work))
            work.Execute();
        WaitForWoken();
    }

    public override void Park(TaskStruct task, Micros deadline)
    {
        Settle(task);
        while (task.State != TaskState.Running && (deadline > Now || deadline == Micros.Never))
        {
            lock (_lock)
                _sleepers.Add((task, deadline));
            task.Parker.Wait(Micros.Never);
            lock (_lock)
                _sleepers.RemoveAll(s => s.Task == task);
        }
    }

    /// <summary>
    /// The calling thread is through with its call and has read the clock: time may go on. False: nobody held it for this thread.
    /// </summary>
    public bool OnTaskSettled() => Settle(ThreadContext.Current.Task);

    public override void Unpark(TaskStruct task)
    {
        lock (_lock)
        {
            if (_sleepers.Exists(s => s.Task == task) && !_woken.Contains(task))
                _woken.Add(task);
        }
        task.Parker.Signal();
    }

    public override void OnContended(ref SpinWait spin) => spin.SpinOnce(sleep1Threshold: -1);

    public override void Kick(CpuSet? set, HostWork? work)
    {
        if (work is not null)
            Work.Enqueue(work);
    }

    public override void Attach(CpuSet set) => _sets.Add(set);

    public override void Detach(CpuSet set) => _sets.Remove(set);

    public override void Dispose()
    {
    }

    private void WakeOverdueSleepers()
    {
        List<TaskStruct> overdue = [];
        lock (_lock)
        {
            foreach ((TaskStruct task, Micros deadline) in _sleepers)
            {
                if (deadline <= Now && deadline != Micros.Never)
                    overdue.Add(task);
            }
        }
        foreach (TaskStruct task in overdue)
            Unpark(task);
    }

    private void WaitForWoken()
    {
        while (AnyWoken())
            _handshake.Wait(Micros.Never);
    }

    private bool AnyWoken()
    {
        lock (_lock)
            return _woken.Count > 0;
    }

    // A woken task that sleeps again is as good as through.
    private bool Settle(TaskStruct task)
    {
        lock (_lock)
        {
            if (!_woken.Remove(task))
                return false;
        }
        _handshake.Signal();
        return true;
    }
}
