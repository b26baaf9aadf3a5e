using System.Threading;
using Millrace.Tracing;

namespace Millrace.Sched;

/// <summary>What the scheduler may do with a task.</summary>
internal static class TaskState
{
    /// <summary>Runs, or would run if it had a CPU. Linux: TASK_RUNNING.</summary>
    public const int Running = 0;

    /// <summary>Sleeps until woken, interrupted, or out of time. Linux: TASK_INTERRUPTIBLE.</summary>
    public const int Interruptible = 1;

    /// <summary>Sleeps until woken or out of time: it waits for a lock, which somebody will surely release. Linux: TASK_UNINTERRUPTIBLE.</summary>
    public const int Uninterruptible = 2;
}

/// <summary>
/// A thread of execution that can sleep inside the stack: a .NET thread, or a task of the simulator. One exists for each thread that
/// ever entered a stack.
/// </summary>
/// <remarks>Linux: task_struct.</remarks>
internal sealed class TaskStruct : TraceTask
{
    private int _state;
    private int _signal;

    public TaskStruct(int pid, string name)
        : base(pid, name)
    {
        Wait = new TaskWaitEntry(this, Mib.MillraceWakeups);
        LockWait = new TaskWaitEntry(this, Mib.MillraceLockWakeups);
    }

    public Parker Parker { get; } = new();

    /// <summary>The CPU that the task ran on last, and will be woken for. Linux: task_cpu.</summary>
    public Cpu? LastCpu { get; private set; }

    internal void NoteCpu(Cpu cpu)
    {
        if (LastCpu != cpu)
            LastCpu = cpu;
    }

    /// <summary>The entry with which the task waits on one queue. A task sleeps on one thing at a time, except in poll.</summary>
    public TaskWaitEntry Wait { get; }

    /// <summary>
    /// The entry with which the task waits for a lock: another one, because it may still stand on the queue of what it waits for when it
    /// takes the lock again.
    /// </summary>
    public TaskWaitEntry LockWait { get; }

    /// <summary>What the task waits for, for the report of a deadlock; null while it runs. Linux: wchan.</summary>
    public string? WaitChannel { get; set; }

    /// <summary>Where the task is in a call that can be interrupted.</summary>
    public Host? Host { get; set; }

    /// <summary>Kept by the simulator: whether the task waits for the baton in a sleep, and how many sleeps it has behind it.</summary>
    internal bool Blocked;
    internal int SleepCount;

    /// <summary>Kept by the simulator: whether the sleep is to end, and whether the task waits for its turn to run.</summary>
    internal bool Woken, IsRunnable;

    /// <summary>Whether spinning before a sleep has paid lately.</summary>
    internal SpinAdvice Spin;

    /// <summary>Sleeps that spinning has spared the task, and that are not counted yet.</summary>
    internal int SpinHits;

    public int State => Volatile.Read(ref _state);

    /// <summary>Linux: set_current_state: what follows is ordered after it.</summary>
    public void SetState(int state) => Atomic.Exchange(ref _state, state);

    /// <summary>Ends a sleep. True for the one caller that ended it. Linux: try_to_wake_up.</summary>
    public bool TryWake() => Atomic.Exchange(ref _state, TaskState.Running) != TaskState.Running;

    /// <summary>Whether the task has been told to give up its call; taken when the call returns EINTR. Linux: signal_pending.</summary>
    public bool SignalPending => Volatile.Read(ref _signal) != 0;

    /// <summary>Cancels the call that the task is in. Its sleep ends with EINTR. Stands where the kernel has signals.</summary>
    public void Interrupt()
    {
        Volatile.Write(ref _signal, 1);
        Thread.MemoryBarrier();
        if (Atomic.CompareExchange(ref _state, TaskState.Running, TaskState.Interruptible) == TaskState.Interruptible)
            Host!.Unpark(this);
    }

    public void ClearSignal() => Volatile.Write(ref _signal, 0);
}
