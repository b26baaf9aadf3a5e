using System;
using System.Runtime.CompilerServices;
using System.Threading;

namespace Millrace.Sched;

/// <summary>
/// What a .NET thread carries through the stacks that it enters: its task, the CPUs that it holds, and the trampoline on which
/// transmit work waits until all locks are dropped. The one thread-static of the stack.
/// </summary>
internal sealed class ThreadContext
{
    /// <summary>Works that one drain runs before the rest goes to the hosts' own threads.</summary>
    private const int DrainBudget = 256;

    [ThreadStatic]
    private static ThreadContext? t_current;

    private DeferredWork? _first, _last;
    private bool _draining;
    private HostWork? _inline, _lastInline;
    private bool _runsInline;

    public static ThreadContext Current => t_current ??= new ThreadContext();

    /// <summary>The task that this thread is; made when it first enters a stack.</summary>
    public TaskStruct Task { get; set; } = new(Environment.CurrentManagedThreadId, Thread.CurrentThread.Name ?? "thread");

    /// <summary>The CPU taken last of those that the thread holds. Linked by <see cref="Cpu.OuterHeld"/>.</summary>
    internal Cpu? Held;

    /// <summary>The CPU index to try first.</summary>
    internal int LastCpu;

    /// <summary>Whether the thread is the host's own, and so has nobody to hand work over to.</summary>
    public bool IsHostThread { get; set; }

    public bool HasDeferred => _first is not null && !_draining;

    /// <summary>Appends work that must wait until no lock is held. The work may be in no list.</summary>
    public void Defer(DeferredWork work)
    {
        work.NextDeferred = null;
        if (_last is null)
            _first = work;
        else
            _last.NextDeferred = work;
        _last = work;
    }

    /// <summary>
    /// Runs what is deferred, and what that defers in turn, with one budget for all of it. Nested calls return at once, so that two
    /// stacks on one wire take turns instead of calling each other.
    /// </summary>
    public void Drain()
    {
        if (_draining)
            return;
        _draining = true;
        int budget = DrainBudget;
        while (_first is { } work)
        {
            _first = work.NextDeferred;
            if (_first is null)
                _last = null;
            work.NextDeferred = null;
            if (budget-- > 0 || IsHostThread)
                work.Run();
            else
                work.HandOver();
        }
        _draining = false;
    }

    /// <summary>Notes a user continuation that may run on this thread, once it holds nothing.</summary>
    public void QueueInline(HostWork continuation)
    {
        continuation.NextWork = null;
        if (_lastInline is null)
            _inline = continuation;
        else
            _lastInline.NextWork = continuation;
        _lastInline = continuation;
    }

    /// <summary>Whether continuations wait that may run now: the thread holds nothing, and none runs further out.</summary>
    public bool HasInline => _inline is not null && Held is null && !_runsInline;

    /// <summary>
    /// Runs user continuations, which may do anything, and those that these cause, one after the other: two that wake each other take
    /// turns instead of calling each other.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public void RunInline()
    {
        // The context is that of a caller who has nothing to do with them; and with one, continuations that want none go to the pool.
        SynchronizationContext? context = SynchronizationContext.Current;
        if (context is not null)
            SynchronizationContext.SetSynchronizationContext(null);
        _runsInline = true;
        while (TakeInline() is { } work)
            work.Execute();
        _runsInline = false;
        if (context is not null)
            SynchronizationContext.SetSynchronizationContext(context);
    }

    /// <summary>The thread is about to sleep: the host's own threads run what waits for this one.</summary>
    public void HandOverInline(Host host)
    {
        while (TakeInline() is { } work)
            host.Kick(null, work);
    }

    private HostWork? TakeInline()
    {
        if (_inline is not { } work)
            return null;
        _inline = work.NextWork;
        if (_inline is null)
            _lastInline = null;
        work.NextWork = null;
        return work;
    }
}

/// <summary>
/// Something a transmit has left to do once all locks are dropped: write a ring to a device, tell the other end of a wire. It sees
/// to it that it stands in at most one list.
/// </summary>
internal abstract class DeferredWork
{
    internal DeferredWork? NextDeferred;

    /// <summary>Does the work on this thread.</summary>
    internal abstract void Run();

    /// <summary>Lets a thread of the host do the work, because this one has done its share.</summary>
    internal abstract void HandOver();
}
