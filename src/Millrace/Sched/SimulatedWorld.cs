using System;
using System.Collections.Generic;
using System.Runtime.ExceptionServices;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Wire;

namespace Millrace.Sched;

/// <summary>
/// The simulator: virtual time, and any number of tasks of which exactly one runs. A task is an OS thread that holds the baton or
/// waits for it; when no task can run, the one that went to sleep last plays the clock: it jumps to the next event and runs it.
/// </summary>
/// <remarks>
/// The same seed gives the same run for programs whose tasks only the simulator schedules. Everything in here is touched only by the
/// holder of the baton, which is passed by <see cref="Parker"/>s, so there is no lock. The tasks' threads are pinned to one CPU: only one
/// of them runs anyway, and passing the baton then costs a tenth.
/// </remarks>
internal sealed partial class SimulatedWorld : IDisposable
{
    /// <summary>What entering a system call costs in virtual time, so that a program that polls moves the clock.</summary>
    private static readonly Micros SyscallCost = new(1);

    /// <summary>Calls that a task makes in a row while others could run, before it is their turn.</summary>
    private const int TimeSlice = 256;

    /// <summary>Turns that are given away to the holder of a lock or a CPU, with nothing else done by anybody, before that is for ever.</summary>
    private const int MaxVainYields = 200_000;

    /// <summary>How long a task may wait outside the stack, in real time, before the run is given up.</summary>
    private static readonly Micros Patience = Micros.FromSeconds(2);

    private const string AwaitChannel = "await";

    private readonly List<SimulatedHost> _hosts = [];
    private readonly List<TaskStruct> _runnable = [];
    private readonly SleepQueue _sleepers = new();
    private readonly List<SimulatedTask> _tasks = [];
    private readonly Dictionary<TaskStruct, WorkLoop> _programs = [];
    private readonly TaskStruct _driver = new(int.MaxValue, "driver");
    private readonly Prng _schedule;
    private readonly int _pinnedTo = ThreadAffinity.CurrentCpu;
    private WorkLoop? _worker;
    private volatile TaskStruct _running;
    private Micros _horizon = Micros.Never;
    private Func<bool>? _until;
    private int _live;
    private int _slice;
    private int _vainYields;
    private long _progress;
    private bool _inRun;
    private bool _ended;
    private volatile bool _aborted;
    private volatile Exception? _failure;

    /// <param name="seed">Decides every choice that the simulator makes.</param>
    /// <param name="explore">Whether to switch tasks at preemption points, at random.</param>
    public SimulatedWorld(ulong seed, bool explore)
    {
        _schedule = new Prng(seed);
        Explore = explore;
        _running = _driver;
    }

    public bool Explore { get; }

    public Micros Now { get; private set; }

    public SimulatedHost AddHost()
    {
        var host = new SimulatedHost(this);
        _hosts.Add(host);
        return host;
    }

    /// <summary>Adds a task. It starts to run when the world does.</summary>
    public void Spawn(string name, Action body)
    {
        AssertInside();
        Add(name, body, isWorker: false);
        _live++;
    }

    /// <summary>
    /// Adds an asynchronous program: a task that begins it, and then runs what the stacks and timers post to it, one after the other,
    /// until it has ended.
    /// </summary>
    public void Spawn(string name, Func<Task> program)
    {
        AssertInside();
        var loop = new WorkLoop(this, AwaitChannel);
        loop.Task = Add(name, () => loop.Run(program), isWorker: false);
        _programs.Add(loop.Task, loop);
        _live++;
    }

    /// <summary>
    /// Runs until every task has ended, <paramref name="until"/> holds, or virtual time has advanced by <paramref name="limit"/>.
    /// Rethrows the first exception that left a task. Called by a thread outside.
    /// </summary>
    /// <exception cref="SimulationDeadlockException">
    /// Nothing can ever run again, and some task has not ended; or a task waits for something outside the stack.
    /// </exception>
    public void Run(Micros limit, Func<bool>? until = null)
    {
        if (_inRun)
            throw new InvalidOperationException("The simulation is running already; a task of it cannot run it.");
        ObjectDisposedException.ThrowIf(_aborted, this);
        _horizon = Now.SaturatingAdd(limit);
        _until = until;
        _ended = false;
        ThreadContext thread = ThreadContext.Current;
        TaskStruct outside = thread.Task;
        thread.Task = _driver;
        _inRun = true;
        SwitchFrom(_driver);
        _inRun = false;
        thread.Task = outside;
        if (_failure is { } failure)
        {
            _failure = null;
            ExceptionDispatchInfo.Throw(failure);
        }
    }

    internal void Park(TaskStruct task, Micros deadline)
    {
        ThrowIfAborted();
        if (!_inRun)
            throw new InvalidOperationException("A call that blocks needs a task of the simulation to block.");
        if (deadline != Micros.Never)
            _sleepers.Add(task, deadline, _tasks.Count);
        _vainYields = 0;
        task.Blocked = true;
        task.Woken = false;
        SwitchFrom(task);
        task.SleepCount++;
        task.Blocked = false;
    }

    internal void Unpark(TaskStruct task)
    {
        AssertInside();
        if (!task.Blocked || task.Woken)
            return;
        task.Woken = true;
        AddRunnable(task);
    }

    /// <summary>The first in line of those that ran on this CPU last; unknown while the seed chooses who is next.</summary>
    internal TaskStruct? NextOn(Cpu cpu) => Explore ? null : _runnable.Find(t => t.LastCpu == cpu);

    internal void Post(HostWork work)
    {
        AssertInside();
        if (work.Owner is { } owner && _programs.TryGetValue(owner, out WorkLoop? program))
            program.Post(work);
        else
            Worker.Post(work);
    }

    // What no program that still runs has begun.
    private WorkLoop Worker
    {
        get
        {
            if (_worker is null)
            {
                _worker = new WorkLoop(this, "worker_thread");
                _worker.Task = Add("kworker", _worker.RunForEver, isWorker: true);
            }
            return _worker;
        }
    }

    /// <summary>A lock's or a CPU's holder was preempted: let him go on. If all do nothing but that, for ever, somebody must say so.</summary>
    internal void YieldToHolder()
    {
        if (++_vainYields == MaxVainYields)
        {
            _failure ??= new SimulationDeadlockException(
                "Everybody waits for a lock or a CPU that nobody gives back. The last to try: " + _running.Name + Environment.NewLine + Environment.StackTrace);
        }
        Yield();
    }

    /// <summary>Lets another run, and goes on when it is the caller's turn again.</summary>
    private void Yield()
    {
        ThrowIfAborted();
        TaskStruct me = _running;
        AddRunnable(me);
        SwitchFrom(me);
        // One who sleeps runs the clock's events; he may have been woken meanwhile, and the sleep has not seen it.
        if (me.Blocked && me.Woken)
            AddRunnable(me);
    }

    internal void PreemptionPoint(TaskStruct task)
    {
        ThrowIfAborted();
        AssertInside();
        if (!_inRun)
            return;
        _progress++;
        _vainYields = 0;
        Now += SyscallCost;
        RunDueEvents();
        bool over = Now > _horizon || _until?.Invoke() == true;
        bool slice = _runnable.Count > 0 && (++_slice == TimeSlice || (Explore && _schedule.Below(4) == 0));
        if (over || slice)
            Yield();
    }

    /// <summary>A lock is about to be taken: another CPU might be quicker.</summary>
    internal void MaybeSwitch()
    {
        _vainYields = 0;
        if (_inRun && _runnable.Count > 0 && _schedule.Below(16) == 0)
            Yield();
    }

    public void Dispose()
    {
        _aborted = true;
        foreach (SimulatedTask t in _tasks)
        {
            if (!t.Ended)
            {
                t.Task.Parker.Signal();
                t.Join();
            }
        }
    }

    /// <summary>It was disposed of, or has failed.</summary>
    internal bool IsOver => _aborted;

    private void ThrowIfAborted()
    {
        if (_aborted)
            throw new SimulationAbortedException();
    }

    private bool IsInside => !_inRun || ThreadContext.Current.Task == _running;

    // A program has left for a thread of the pool and comes back on it. That thread must touch nothing here but this.
    private void Fail(TaskStruct program) => _failure ??= new InvalidOperationException(
        $"{program.Name} went on on a thread that the simulation did not start: it used Task.Run, or ConfigureAwait(false) on what its own code completes.");

    // Only the holder of the baton may touch the world; while it does not run, whoever sets it up.
    private void AssertInside()
    {
        if (!IsInside)
            throw new InvalidOperationException("A thread that the simulation did not start called into a simulated stack. Use Simulation.Spawn.");
    }

    private TaskStruct Add(string name, Action body, bool isWorker)
    {
        var task = new SimulatedTask(this, new TaskStruct(_tasks.Count + 1, name), body, isWorker);
        _tasks.Add(task);
        AddRunnable(task.Task);
        task.Start();
        return task.Task;
    }

    private void AddRunnable(TaskStruct task)
    {
        if (task.IsRunnable)
            return;
        task.IsRunnable = true;
        _runnable.Add(task);
    }

    // Called by the task that cannot or shall not go on. Returns when it holds the baton again.
    private void SwitchFrom(TaskStruct me)
    {
        TaskStruct next = ChooseNext();
        _slice = 0;
        if (next == me)
            return;
        _progress++;
        _running = next;
        next.Parker.Signal();
        if (me == _driver)
            WatchUntilOver();
        else
            WaitForBaton(me);
    }

    private void WaitForBaton(TaskStruct me)
    {
        while (_running != me && !_aborted)
            me.Parker.Wait(Micros.Never);
        ThrowIfAborted();
    }

    // The driver has nothing to do but to watch: a task that sleeps or waits outside the stack keeps the baton, and nothing moves.
    private void WatchUntilOver()
    {
        (long Progress, bool Waits) before = (-1, false);
        while (_running != _driver)
        {
            if (_driver.Parker.Wait(Patience))
                continue;
            TaskStruct holder = _running;
            var now = (Volatile.Read(ref _progress), holder != _driver && _tasks[holder.Pid - 1].WaitsOutside);
            if (now.Item2 && now == before)
            {
                _aborted = true;
                _failure = new SimulationDeadlockException(
                    $"{holder.Name} sleeps or waits outside the stack and keeps everybody else from running. Wait by the stack's own means.");
                _running = _driver;
            }
            before = now;
        }
    }

    // Whoever runs next: a runnable task, after as many events as it takes to have one, or the driver if the run is over.
    private TaskStruct ChooseNext()
    {
        while (true)
        {
            if (_ended || _failure is not null || Now > _horizon || _until?.Invoke() == true)
                return _driver;
            if (_runnable.Count > 0)
            {
                int index = Explore ? _schedule.Below(_runnable.Count) : 0;
                TaskStruct next = _runnable[index];
                _runnable.RemoveAt(index);
                next.IsRunnable = false;
                return next;
            }
            if (!Advance())
                return _driver;
        }
    }

    // Jumps to the next event and runs it. False: there is none, or it lies beyond the horizon.
    private bool Advance()
    {
        Micros next = NextEvent();
        if (_horizon == Micros.Never && _live == 0)
        {
            _ended = true;
            return false;
        }
        if (next > _horizon)
        {
            Now = _horizon;
            _ended = true;
            return false;
        }
        if (next == Micros.Never)
        {
            _ended = true;
            if (_live > 0)
                _failure = new SimulationDeadlockException(DescribeDeadlock());
            return false;
        }
        Now = Micros.Max(Now, next);
        RunDueEvents();
        return true;
    }

    private Micros NextEvent()
    {
        Micros next = _sleepers.Next;
        foreach (SimulatedHost host in _hosts)
            next = Micros.Min(next, host.NextDeadline);
        return next;
    }

    private void RunDueEvents()
    {
        foreach (SimulatedHost host in _hosts)
            host.RunDue(Now);
        while (_sleepers.TakeDue(Now) is { } task)
            Unpark(task);
    }

    private string DescribeDeadlock()
    {
        var text = new StringBuilder("Nothing can ever run again.");
        foreach (SimulatedTask t in _tasks)
        {
            if (t.Ended || t.IsWorker)
                continue;
            text.Append(' ').Append(t.Task.Name);
            if (t.Task.WaitChannel == AwaitChannel)
                text.Append(" awaits what nothing in the simulation completes, and the thread pool is outside of it.");
            else
                text.Append(" waits in ").Append(t.Task.WaitChannel ?? "no call of the stack").Append('.');
        }
        return text.ToString();
    }

    private void OnTaskEnd(SimulatedTask ended, Exception? failure)
    {
        if (_aborted)
            return;
        if (failure is not null)
            _failure ??= failure;
        if (!ended.IsWorker)
            _live--;
        TaskStruct next = ChooseNext();
        _progress++;
        _running = next;
        next.Parker.Signal();
    }
}

/// <summary>Unwinds the tasks of a simulation that is over.</summary>
internal sealed class SimulationAbortedException : Exception
{
}
