using System;
using System.Diagnostics;
using System.Threading;
using Millrace.Buffers;
using Millrace.Tracing;

namespace Millrace.Sched;

/// <summary>
/// The CPUs of one stack, and the door into it: a thread enters by leasing one, and everything that a thread leaves undone is done
/// when it gives it back.
/// </summary>
internal sealed class CpuSet
{
    private readonly Cpu[] _cpus;

    public CpuSet(Host host, int count, BufferPool pool, Tracer tracer)
    {
        Host = host;
        Tracer = tracer;
        Timers = new TimerService();
        _cpus = new Cpu[count];
        for (int i = 0; i < count; i++)
            _cpus[i] = new Cpu(this, i, pool);
        Actions[(int)Softirq.Timer] = Timers;
    }

    public Host Host { get; }

    public Tracer Tracer { get; }

    public TimerService Timers { get; }

    /// <summary>By vector; filled in when the stack is built.</summary>
    public SoftirqAction[] Actions { get; } = new SoftirqAction[4];

    public ReadOnlySpan<Cpu> Cpus => _cpus;

    /// <summary>The device poller that turns this stack's timers while it waits for packets; null: the host's thread does.</summary>
    public IPoller? Poller { get; set; }

    /// <summary>Copies the tracer's switch to the CPUs.</summary>
    public void UpdateTracing()
    {
        foreach (Cpu cpu in _cpus)
            cpu.TraceOn = Tracer.IsOn;
    }

    public long Read(Mib mib)
    {
        long sum = 0;
        foreach (Cpu cpu in _cpus)
            sum += cpu.Mib.Read(mib);
        return sum;
    }

    public long Read(DropReason reason)
    {
        long sum = 0;
        foreach (Cpu cpu in _cpus)
            sum += cpu.Mib.Read(reason);
        return sum;
    }

    /// <summary>Enters the stack as the calling task. Linux: entry of a system call.</summary>
    public TaskContext Enter()
    {
        ThreadContext thread = ThreadContext.Current;
        if (Host.HasPreemptionPoints && thread.Held is null)
            Host.PreemptionPoint(thread.Task);
        Cpu cpu = Acquire(thread);
        cpu.Enter(thread.Task);
        cpu.RefreshClock();
        return new TaskContext(cpu, thread.Task);
    }

    /// <summary>Leaves the stack: finished work of others is handed out, then the CPU is free. Linux: exit to user mode.</summary>
    public void Leave(ref TaskContext context) => Release(context.Cpu);

    /// <summary>Leases a CPU, or nests into the one of this stack that the thread already holds.</summary>
    public Cpu Acquire() => Acquire(ThreadContext.Current);

    /// <summary>
    /// As <see cref="Acquire()"/>, but null if every CPU is held and the thread holds another stack's: it must not wait then, because two
    /// threads that did so crosswise would wait for ever.
    /// </summary>
    public Cpu? AcquireUnlessHolding()
    {
        ThreadContext thread = ThreadContext.Current;
        return TryAcquire(thread) ?? (thread.Held is null ? Acquire(thread) : null);
    }

    private Cpu Acquire(ThreadContext thread)
    {
        var spin = new SpinWait();
        Cpu? cpu;
        while ((cpu = TryAcquire(thread)) is null)
            Host.OnContended(ref spin);
        return cpu;
    }

    private Cpu? TryAcquire(ThreadContext thread)
    {
        for (Cpu? held = thread.Held; held is not null; held = held.OuterHeld)
        {
            if (held.Set == this)
            {
                held.LeaseDepth++;
                return held;
            }
        }
        Cpu[] cpus = _cpus;
        int last = thread.LastCpu;
        return (uint)last < (uint)cpus.Length && TryLease(cpus[last], thread) ? cpus[last] : TryLeaseAny(thread);
    }

    private Cpu? TryLeaseAny(ThreadContext thread)
    {
        for (int i = 0; i < _cpus.Length; i++)
        {
            Cpu cpu = _cpus[(thread.LastCpu + i) % _cpus.Length];
            if (TryLease(cpu, thread))
                return cpu;
        }
        return null;
    }

    /// <summary>
    /// Sees to it that a softirq runs on a CPU that somebody else may hold: he runs it, when he next enables bottom halves or lets go.
    /// </summary>
    public void RaiseOnHolder(Softirq vector)
    {
        Cpu cpu = _cpus[0];
        cpu.RaiseRemote(vector);
        if (TryLease(cpu, ThreadContext.Current))
            Release(cpu);
    }

    /// <summary>Leases this very CPU if nobody holds it.</summary>
    public bool TryLease(Cpu cpu, ThreadContext thread)
    {
        if (!cpu.TryLease())
            return false;
        cpu.LeaseDepth = 1;
        cpu.RefreshClock();
        if (thread.Held is { } outer)
            cpu.OuterHeld = outer;
        if (cpu.Thread != thread)
            cpu.Thread = thread;
        thread.Held = cpu;
        thread.LastCpu = cpu.Index;
        return true;
    }

    /// <summary>
    /// Gives a CPU back. The outermost release runs what is pending, here and in asynchronous operations, first; and the continuations
    /// that may run on the thread, once it holds nothing at all.
    /// </summary>
    public void Release(Cpu cpu)
    {
        ThreadContext thread = cpu.Thread;
        LetGo(cpu);
        if (thread.HasInline)
            thread.RunInline();
    }

    /// <summary>As <see cref="Release"/>, before a sleep: continuations do not run while their thread is about to stop.</summary>
    public void ReleaseToSleep(Cpu cpu)
    {
        ThreadContext thread = cpu.Thread;
        LetGo(cpu);
        thread.HandOverInline(Host);
    }

    private static void LetGo(Cpu cpu)
    {
        if (cpu.LeaseDepth > 1)
        {
            cpu.LeaseDepth--;
            return;
        }
        ThreadContext thread = cpu.Thread;
        Debug.Assert(!cpu.BhDisabled && thread.Held == cpu, "a CPU is given back in task context, in the order of leasing");
        Cpu? outer = cpu.OuterHeld;
        while (true)
        {
            if (cpu.HasLeftovers)
                cpu.FinishLeftovers();
            thread.Held = outer;
            cpu.OuterHeld = null;
            cpu.Task = null;
            if (cpu.TryRelease())
                return;
            thread.Held = cpu;
            cpu.OuterHeld = outer;
            cpu.TakeRemote();
        }
    }

    /// <summary>
    /// Runs what tasks handed over and, if asked, the timers that are due. Called by the host's own thread. Linux: run_ksoftirqd.
    /// </summary>
    public void RunSoftirqd(bool runTimers)
    {
        ThreadContext thread = ThreadContext.Current;
        foreach (Cpu cpu in _cpus)
        {
            if (!cpu.HasPending)
                continue;
            // A holder that handed its softirqs over will not run them itself: this very CPU must be had.
            var spin = new SpinWait();
            while (!TryLease(cpu, thread))
                Host.OnContended(ref spin);
            cpu.RunSoftirqd();
            Release(cpu);
        }
        if (runTimers && Timers.IsDue(Host.Now))
            RaiseTimers();
    }

    /// <summary>Runs a device's interrupt, and the softirqs that it raises, on the calling thread.</summary>
    public void Interrupt(IInterrupt handler)
    {
        Cpu cpu = Acquire();
        cpu.Interrupt(handler);
        Release(cpu);
    }

    /// <summary>The clock's interrupt: the TIMER softirq runs on the calling thread.</summary>
    public void RaiseTimers()
    {
        Cpu cpu = Acquire();
        cpu.Raise(Softirq.Timer);
        Release(cpu);
    }
}

/// <summary>
/// The task context of one call: the CPU that it holds now, and who it is. Passed by reference to whatever may sleep, because a
/// sleeper gives its CPU up and may wake on another.
/// </summary>
/// <remarks>Linux: current, smp_processor_id.</remarks>
internal ref struct TaskContext(Cpu cpu, TaskStruct task)
{
    public Cpu Cpu = cpu;
    public readonly TaskStruct Task = task;

    /// <summary>Gives the CPU up for as long as user code runs, which may block, throw, or call the stack.</summary>
    public readonly CpuSet ExitToUser()
    {
        CpuSet set = Cpu.Set;
        set.Release(Cpu);
        return set;
    }

    /// <summary>Takes a CPU again after <see cref="ExitToUser"/>.</summary>
    public void ReturnFromUser(CpuSet set)
    {
        Cpu = set.Acquire();
        Cpu.Enter(Task);
    }
}
