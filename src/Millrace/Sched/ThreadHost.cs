using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;

namespace Millrace.Sched;

#pragma warning disable RS0030 // this file is where the stack touches real threads and the real clock

/// <summary>
/// The host of real threads. Tasks are .NET threads that spin for a moment and then park. Softirqs run on the thread that raised
/// them; one thread of the host, ksoftirqd, runs what is left over and turns the timers of stacks that no device's poller serves.
/// </summary>
internal sealed class ThreadHost : Host
{
    /// <summary>How long a task spins before it parks: waking a parked thread costs more than this on a virtual machine.</summary>
    private static readonly long SpinTicks = Stopwatch.Frequency / 50_000;

    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly Lock _lock = new();
    private readonly List<CpuSet> _sets = [];
    private readonly Parker _parker = new();
    private Thread? _thread;
    private bool _disposed;
    private int _spinners;

    public ThreadHost() => Epoch = DateTimeOffset.UtcNow;

    public override Micros Now => new((Stopwatch.GetTimestamp() - _start) / (Stopwatch.Frequency / 1_000_000));

    public override DateTimeOffset Epoch { get; }

    public override void Park(TaskStruct task, Micros deadline)
    {
        while (task.State != TaskState.Running)
        {
            Micros left = deadline == Micros.Never ? Micros.Never : deadline - Now;
            if (left.Value <= 0)
                return;
            if (Spin(task))
                task.SpinHits++;
            else
                task.Parker.Wait(left);
        }
    }

    public override void Unpark(TaskStruct task) => task.Parker.Signal();

    public override void OnContended(ref SpinWait spin) => spin.SpinOnce(sleep1Threshold: -1);

    public override void Kick(CpuSet? set, HostWork? work)
    {
        if (work is not null)
        {
            ThreadPool.UnsafeQueueUserWorkItem(work, preferLocal: false);
            return;
        }
        if (set?.Poller is { } poller)
        {
            poller.Kick();
            return;
        }
        EnsureThread();
        _parker.Signal();
    }

    public override void StartThread(string name, Action body) => new Thread(() => body()) { IsBackground = true, Name = name }.Start();

    public override void Attach(CpuSet set)
    {
        lock (_lock)
            _sets.Add(set);
    }

    public override void Detach(CpuSet set)
    {
        lock (_lock)
            _sets.Remove(set);
    }

    public override void Dispose()
    {
        Thread? thread;
        lock (_lock)
        {
            _disposed = true;
            thread = _thread;
        }
        _parker.Signal();
        if (thread is not null && thread != Thread.CurrentThread)
            thread.Join();
    }

    // At most cores − 1 threads spin, and none that has lately spun in vain: on one CPU the peer cannot run while we spin.
    private bool Spin(TaskStruct task)
    {
        if (!task.Spin.ShouldSpin())
            return false;
        bool hit = false;
        if (Interlocked.Increment(ref _spinners) < Environment.ProcessorCount)
        {
            long end = Stopwatch.GetTimestamp() + SpinTicks;
            do
            {
                Thread.SpinWait(8);
                hit = task.State == TaskState.Running;
            }
            while (!hit && Stopwatch.GetTimestamp() < end);
            task.Spin.Report(hit);
        }
        Interlocked.Decrement(ref _spinners);
        return hit;
    }

    private void EnsureThread()
    {
        if (_thread is not null)
            return;
        lock (_lock)
        {
            if (_thread is not null || _disposed)
                return;
            _thread = new Thread(Serve) { IsBackground = true, Name = "ksoftirqd" };
            _thread.Start();
        }
    }

    private void Serve()
    {
        var sets = new List<CpuSet>();
        ThreadContext.Current.IsHostThread = true;
        while (true)
        {
            lock (_lock)
            {
                if (_disposed)
                    return;
                sets.Clear();
                sets.AddRange(_sets);
            }
            Micros next = Micros.Never;
            foreach (CpuSet set in sets)
            {
                set.RunSoftirqd(runTimers: set.Poller is null);
                if (set.Poller is null)
                    next = Micros.Min(next, set.Timers.PublishDeadline());
            }
            Micros now = Now;
            if (next > now)
                _parker.Wait(next == Micros.Never ? Micros.Never : next - now);
        }
    }
}

/// <summary>Decides whether a task should spin before it parks, from how its last spins ended.</summary>
internal struct SpinAdvice
{
    private const int MaxCredit = 8;
    private const int ProbeInterval = 64;

    private int _credit;
    private int _skipped;
    private bool _started;

    public bool ShouldSpin()
    {
        if (!_started)
        {
            _started = true;
            _credit = MaxCredit / 2;
        }
        if (_credit > 0)
            return true;
        if (++_skipped < ProbeInterval)
            return false;
        _skipped = 0;
        return true;
    }

    public void Report(bool hit) => _credit = Math.Clamp(_credit + (hit ? 2 : -1), 0, MaxCredit);
}

/// <summary>Somebody who sleeps for a stack in a system call of its device, timers included.</summary>
internal interface IPoller
{
    /// <summary>Ends the poller's sleep: there is a softirq to run, or an earlier deadline.</summary>
    void Kick();
}
