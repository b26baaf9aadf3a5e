using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Threading;
using Millrace.Buffers;
using Millrace.Tracing;

namespace Millrace.Sched;

/// <summary>
/// A CPU of a stack: the right to touch one share of its per-CPU state (buffers, counters, pending softirqs). Any thread may lease
/// one; it holds it from the entry into a call until it leaves or sleeps, as a Linux task holds the processor that it runs on.
/// </summary>
/// <remarks>
/// A method that takes a <c>Cpu</c> cannot sleep; one that takes a <c>ref TaskContext</c> may, and may come back on another CPU.
/// Softirqs run at the outermost <see cref="BhEnable"/>, in place. Linux: this_cpu, preempt_count, softirq_vec.
/// </remarks>
internal sealed class Cpu : BufferCache
{
    /// <summary>Rounds of pending softirqs that one thread works off before ksoftirqd gets the rest. Linux: MAX_SOFTIRQ_RESTART.</summary>
    private const int MaxRestarts = 10;

    internal int LeaseDepth;
    internal Cpu? OuterHeld;
    internal ThreadContext Thread = null!;

    // Bit 0: somebody holds the CPU. Above, from RemoteShift: softirqs that others have raised here, who do not. In one word, so that
    // the holder who lets go cannot miss a softirq that comes meanwhile, and needs an atomic operation for nothing else.
    private const int Held = 1, RemoteShift = 8;

    private int _lease;

    private Micros _now;
    private bool _clockIsRead;
    private int _pending;
    private int _bhDepth;
    private bool _handedOver;
    private TaskStruct[] _woken = new TaskStruct[16];
    private int _wokenCount;
    private Completion? _completions, _lastCompletion;

    public Cpu(CpuSet set, int index, BufferPool pool)
        : base(pool)
    {
        Set = set;
        Index = index;
        Host = set.Host;
        Explores = set.Host.Explores;
    }

    public int Index { get; }

    public CpuSet Set { get; }

    public Host Host { get; }

    /// <summary>A copy of <see cref="Host.Explores"/>.</summary>
    public readonly bool Explores;

    public Counters Mib { get; } = new();

    /// <summary>What a super-packet has been cut into and the device has not got yet: empty but while one is sent.</summary>
    public SkBuffHead Segments { get; } = new();

    /// <summary>Whether anybody reads the trace; a copy of <see cref="Tracer.IsOn"/>.</summary>
    public bool TraceOn;

    public TraceContext Context { get; private set; }

    /// <summary>The task that holds the CPU; null while the host's own thread does, which is the idle task to a reader.</summary>
    public TaskStruct? Task { get; internal set; }

    // The task that the last switch gave the CPU to; null: the idle task. Linux: rq->curr.
    private TaskStruct? _current;

    /// <summary>A woken task should run as soon as the present one lets go. Linux: TIF_NEED_RESCHED.</summary>
    public bool NeedResched { get; internal set; }

    public bool InSoftirq => Context == TraceContext.Softirq;

    /// <summary>
    /// The time, read from the host's clock once for each piece of work: reading it costs as much as a look-up. Whoever takes a socket
    /// that has seen a later time reads it anew, so that a socket's time never runs backwards.
    /// </summary>
    /// <remarks>Linux: tcp_mstamp, and tcp_mstamp_refresh.</remarks>
    public Micros Now
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => _clockIsRead ? _now : ReadClock();
    }

    /// <summary>Lets the next look at the time be a new one: work begins, a lock was waited for, much was copied.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void RefreshClock() => _clockIsRead = false;

    /// <summary>Reads the time anew if it is before <paramref name="time"/>, which another CPU has read.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void NotBefore(Micros time)
    {
        if (_now < time)
            RefreshClock();
    }

    /// <summary>The last time that was read here.</summary>
    public Micros LastRead => _now;

    public bool HasPending => (Volatile.Read(ref _pending) | (Volatile.Read(ref _lease) >> RemoteShift)) != 0;

    /// <summary>Takes the CPU, if it is free, with the softirqs that were raised on it meanwhile.</summary>
    internal bool TryLease()
    {
        int seen = Volatile.Read(ref _lease);
        if ((seen & Held) != 0 || Atomic.CompareExchange(ref _lease, Held, seen) != seen)
            return false;
        _pending |= seen >> RemoteShift;
        return true;
    }

    /// <summary>Lets the CPU go. False: a softirq has been raised here meanwhile, and the holder must look again.</summary>
    internal bool TryRelease() => Atomic.CompareExchange(ref _lease, 0, Held) == Held;

    /// <summary>Makes what others have raised the holder's own.</summary>
    internal void TakeRemote()
    {
        if (_lease != Held)
            _pending |= Atomic.Exchange(ref _lease, Held) >> RemoteShift;
    }

    /// <summary>Linux: local_bh_disable.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void BhDisable() => _bhDepth++;

    /// <summary>Runs what was raised meanwhile, if this is the outermost one. No spinlock may be held then. Linux: local_bh_enable.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void BhEnable()
    {
        Debug.Assert(_bhDepth > 0, "bottom halves are enabled as often as they were disabled");
        if (--_bhDepth == 0 && (_pending != 0 || _lease != Held || _wokenCount != 0 || Thread.HasDeferred))
            RunPending();
    }

    /// <summary>Whether bottom halves are off: the code runs in softirq, or holds a lock against it.</summary>
    public bool BhDisabled => _bhDepth > 0;

    [Conditional("DEBUG")]
    public void AssertTaskContext() => Debug.Assert(_bhDepth == 0 && Context == TraceContext.Task, "task context: may sleep");

    [Conditional("DEBUG")]
    public void AssertBottomHalf() => Debug.Assert(_bhDepth > 0, "bottom-half context: must not sleep");

#if DEBUG
    private int _locksHeld;

    internal void NoteLocked() => _locksHeld++;

    internal void NoteUnlocked() => _locksHeld--;

    public void AssertNoLock() => Debug.Assert(_locksHeld == 0, "no spinlock is held over user code, a device write, or a sleep");
#else
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void NoteLocked()
    {
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void NoteUnlocked()
    {
    }

    [Conditional("DEBUG")]
    public void AssertNoLock()
    {
    }
#endif

    /// <summary>Marks a softirq pending on this CPU, which the caller holds. Linux: raise_softirq.</summary>
    public void Raise(Softirq vector)
    {
        int bit = 1 << (int)vector;
        if ((_pending & bit) != 0)
            return;
        _pending |= bit;
        Trace(Tp.softirq_raise, (long)vector);
    }

    /// <summary>Marks a softirq pending on a CPU that somebody else may hold. The caller then sees to it that it runs.</summary>
    internal void RaiseRemote(Softirq vector) => Atomic.Or(ref _lease, 1 << (RemoteShift + (int)vector));

    /// <summary>Notes that a task may run again; it is let go when no spinlock is held. Linux: ttwu_queue, the _sync hint.</summary>
    public void QueueWoken(TaskStruct task)
    {
        // An array and no link in the task: a task that spins may go on, sleep again, and be woken by another CPU meanwhile.
        if (_wokenCount == _woken.Length)
            System.Array.Resize(ref _woken, 2 * _wokenCount);
        _woken[_wokenCount++] = task;
        NeedResched |= (task.LastCpu ?? this) == this;
    }

    /// <summary>The task that enters holds the CPU. It was running already, as a program in user mode does.</summary>
    public void Enter(TaskStruct task)
    {
        Task = task;
        if (_current != task)
            _current = task;
        task.NoteCpu(this);
    }

    /// <summary>What follows is done for a task that waits for it, by whoever is here.</summary>
    public void ActFor(TaskStruct task) => Task = task;

    /// <summary>The task that holds the CPU goes to sleep, and another is next on it; null is the idle task. Linux: context_switch.</summary>
    /// <param name="state">The state that the present one is left in.</param>
    public void SwitchTo(TaskStruct? next, int state)
    {
        TraceTask(Tp.sched_switch, next, state);
        _current = next;
    }

    /// <summary>A task that has slept holds a CPU again, and whoever was on it is switched away, if it was another.</summary>
    public void Resume(TaskStruct task)
    {
        Task = _current;
        if (_current != task)
            SwitchTo(task, _current?.State ?? TaskState.Running);
        Enter(task);
    }

    /// <summary>Notes that an asynchronous operation has something to do once no lock is held.</summary>
    public void QueueCompletion(Completion operation)
    {
        operation.NextWork = null;
        if (_lastCompletion is null)
            _completions = operation;
        else
            _lastCompletion.NextWork = operation;
        _lastCompletion = operation;
    }

    /// <summary>Has a thread of the host do what this one does not: see <see cref="Host.Kick"/>. Each is a hand-off, and is counted.</summary>
    public void Kick(HostWork? work)
    {
        Mib.Inc(Millrace.Tracing.Mib.MillraceKicks);
        Host.Kick(Set, work);
    }

    /// <summary>Whether anything is left to do before the CPU can be given back.</summary>
    internal bool HasLeftovers => _completions is not null || _wokenCount != 0 || (_pending != 0 && !_handedOver) || _lease != Held || Thread.HasDeferred;

    internal void FinishLeftovers()
    {
        while (HasLeftovers)
        {
            RunPending();
            RunCompletions();
        }
    }

    /// <summary>Lets every queued operation take its step. Task context, no lock, no socket owned.</summary>
    private void RunCompletions()
    {
        while (_completions is { } work)
        {
            _completions = Unsafe.As<Completion>(work.NextWork);
            if (_completions is null)
                _lastCompletion = null;
            work.NextWork = null;
            TaskStruct? before = Task;
            work.Step(this);
            Task = before;
        }
    }

    /// <summary>Runs softirqs, lets woken tasks go, and drains the trampoline, until nothing is left or the budget is spent.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal void RunPending()
    {
        AssertNoLock();
        do
        {
            TakeRemote();
            if (_pending != 0 && !_handedOver)
                DoSoftirq();
            ReleaseWoken();
            if (Thread.HasDeferred)
                Thread.Drain();
        }
        while (_pending != 0 && !_handedOver);
    }

    /// <summary>Softirqs as ksoftirqd runs them: the hand-over is over.</summary>
    internal void RunSoftirqd()
    {
        _handedOver = false;
        Mib.Inc(Millrace.Tracing.Mib.MillraceSoftirqdRuns);
        RunPending();
    }

    /// <summary>Runs <paramref name="raise"/> as a device's interrupt, then the softirqs that it raised.</summary>
    internal void Interrupt(IInterrupt raise)
    {
        TraceContext before = Context;
        Context = TraceContext.Hardirq;
        raise.Handle(this);
        Context = before;
        if (_bhDepth == 0)
            RunPending();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private Micros ReadClock()
    {
        _clockIsRead = true;
        return _now = Host.Now;
    }

    private void DoSoftirq()
    {
        TraceContext before = Context;
        Context = TraceContext.Softirq;
        _bhDepth++;
        Mib.Inc(Millrace.Tracing.Mib.MillraceSoftirqs);
        int restarts = MaxRestarts;
        int pending;
        while ((pending = _pending) != 0)
        {
            _pending = 0;
            for (; pending != 0; pending &= pending - 1)
            {
                int vector = BitOperations.TrailingZeroCount(pending);
                Trace(Tp.softirq_entry, vector);
                RefreshClock();
                Set.Actions[vector].Run(this);
                Trace(Tp.softirq_exit, vector);
            }
            if (--restarts == 0 && _pending != 0)
            {
                // The host's own thread goes on, but what has been posted meanwhile leaves first: a flood must not keep answers back.
                if (!Thread.IsHostThread)
                {
                    _handedOver = true;
                    Kick(null);
                }
                break;
            }
        }
        _bhDepth--;
        Context = before;
    }

    private void ReleaseWoken()
    {
        for (int i = 0; i < _wokenCount; i++)
            Host.Unpark(_woken[i]);
        _wokenCount = 0;
        NeedResched = false;
    }

    /// <summary>One step. Costs a predicted branch when nobody listens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Trace(Tp point)
    {
        if (TraceOn)
            Write(point, null, null, null, 0, 0, 0, 0);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Trace(Tp point, long a, long b = 0, long c = 0, long d = 0)
    {
        if (TraceOn)
            Write(point, null, null, null, a, b, c, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Trace(Tp point, TraceSubject about, long a = 0, long b = 0, long c = 0, long d = 0)
    {
        if (TraceOn)
            Write(point, about, null, null, a, b, c, d);
    }

    /// <summary>A step that is done to a task; null is the idle task.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void TraceTask(Tp point, TraceTask? task, long a = 0, long b = 0)
    {
        if (TraceOn)
            Write(point, null, task, null, a, b, 0, 0);
    }

    /// <summary>A step that is done to a packet; its headers are copied.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void TracePacket(Tp point, SkBuff skb, long a = 0, long b = 0, long c = 0, long d = 0)
    {
        if (TraceOn)
            Write(point, null, null, skb, a, b, c, d);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Write(Tp point, TraceSubject? about, TraceTask? other, SkBuff? packet, long a, long b, long c, long d)
    {
        var record = new TraceRecord
        {
            Time = Host.Now.Value,
            Point = point,
            Context = Context,
            Cpu = (byte)Index,
            NeedResched = NeedResched,
            Task = Task,
            Other = other,
            Packet = packet?.CopyHeaders(),
            A = a,
            B = b,
            C = c,
            D = d,
        };
        about?.Describe(ref record.Endpoints);
        Set.Tracer.Write(ref record);
    }
}

/// <summary>The handler of a device's interrupt: it may only raise softirqs.</summary>
internal interface IInterrupt
{
    void Handle(Cpu cpu);
}
