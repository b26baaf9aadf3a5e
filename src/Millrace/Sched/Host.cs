using System;
using System.Threading;

namespace Millrace.Sched;

/// <summary>
/// What differs between real threads, the simulator, and a driver that owns the clock: what time it is, how a task sleeps and is
/// woken, what a contended lock does, and who runs work that nobody is there for. Everything else is the same code.
/// </summary>
internal abstract class Host : IDisposable
{
    /// <summary>Microseconds since the host began. Never goes back.</summary>
    public abstract Micros Now { get; }

    /// <summary>The wall clock's time at <see cref="Now"/> zero.</summary>
    public abstract DateTimeOffset Epoch { get; }

    /// <summary>
    /// Lets the calling task, which holds no CPU and is in state Interruptible, sleep until its state is Running or the deadline has
    /// come. May return early.
    /// </summary>
    public abstract void Park(TaskStruct task, Micros deadline);

    /// <summary>Lets a task run whose state has become Running.</summary>
    public abstract void Unpark(TaskStruct task);

    /// <summary>The task that will run next on a CPU whose task goes to sleep now; null: none, as far as the host knows.</summary>
    public virtual TaskStruct? NextOn(Cpu cpu) => null;

    /// <summary>Called again and again by somebody who wants a lock or a CPU that another holds.</summary>
    public abstract void OnContended(ref SpinWait spin);

    /// <summary>
    /// There is work for a thread of the host: a CPU's pending softirqs, a deadline earlier than any it knew; or there is
    /// <paramref name="work"/>.
    /// </summary>
    public abstract void Kick(CpuSet? set, HostWork? work);

    /// <summary>Nothing will ever run on the host again, so that nobody can be waiting.</summary>
    public virtual bool IsOver => false;

    /// <summary>Adds a stack's CPUs to those that the host serves.</summary>
    public abstract void Attach(CpuSet set);

    public abstract void Detach(CpuSet set);

    /// <summary>
    /// Starts a thread that waits in a device's driver. Only a host of real threads can.
    /// </summary>
    /// <exception cref="NotSupportedException">The host's time is not real.</exception>
    public virtual void StartThread(string name, Action body) =>
        throw new NotSupportedException("A device of the outside world needs a stack on real threads.");

    /// <summary>
    /// Whether <see cref="PreemptionPoint"/> does anything: a host that has one place to decide who runs next looks there.
    /// </summary>
    public bool HasPreemptionPoints { get; protected init; }

    /// <summary>A place where a task in a system call, holding no lock, may be made to wait. Linux: cond_resched.</summary>
    public virtual void PreemptionPoint(TaskStruct task)
    {
    }

    /// <summary>Whether <see cref="Explore"/> does anything.</summary>
    public bool Explores { get; protected init; }

    /// <summary>A place at which another CPU could come in between: a lock is about to be taken.</summary>
    public virtual void Explore()
    {
    }

    public abstract void Dispose();
}

/// <summary>
/// Work for a host's thread: user continuations, and deferred transmits that outgrew a task's budget. Runs with no lock and no CPU.
/// </summary>
internal abstract class HostWork : IThreadPoolWorkItem
{
    internal HostWork? NextWork;

    /// <summary>The task that began it and waits for it, if it waits for work: it runs it itself. Linux: task_work.</summary>
    public TaskStruct? Owner { get; protected set; }

    public abstract void Execute();
}

/// <summary>
/// Work that goes on by steps inside the stack, each when a bottom half has ended, before it is work for a host's thread.
/// </summary>
internal abstract class Completion : HostWork
{
    /// <summary>Takes the next step, on a CPU that the thread holds. Task context, no lock, no socket owned.</summary>
    public abstract void Step(Cpu cpu);
}
