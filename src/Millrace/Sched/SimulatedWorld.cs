using System;
using System.Collections.Generic;
using System.Runtime.ExceptionServices;
using System.Text;
using System.Threading;
using Millrace.Wire;

namespace Millrace.Sched;

#pragma warning disable RS0030 // this file starts the simulator's threads

/// <summary>
/// The simulator: virtual time, and any number of tasks of which exactly one runs. A task is an OS thread that holds the baton or
/// waits for it; when no task can run, the one that went to sleep last plays the clock: it jumps to the next event and runs it.
/// </summary>
/// <remarks>
/// The same seed gives the same run for programs whose tasks only the simulator schedules. Everything in here is touched only by the
/// holder of the baton, which is passed by <see cref="Parker"/>s, so there is no lock.
/// </remarks>
internal sealed class SimulatedWorld : IDisposable
{
    /// <summary>What entering a system call costs in virtual time, so that a program that polls moves the clock.</summary>
    private static readonly Micros SyscallCost = new(1);

    private readonly List<SimulatedHost> _hosts = [];
    private readonly List<TaskStruct> _runnable = [];
    private readonly PriorityQueue<Sleeper, (long At, long Order)> _sleepers = new();
    private readonly List<SimulatedTask> _tasks = [];
    private readonly Queue<HostWork> _work = new();
    private readonly TaskStruct _driver = new(int.MaxValue, "driver");
    private readonly Prng _schedule;
    private TaskStruct? _worker;
    private TaskStruct _running;
    private Micros _horizon = Micros.Never;
    private Func<bool>? _until;
    private long _order;
    private int _nextPid = 1;
    private bool _ended;
    private bool _aborted;
    private Exception? _failure;

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
        var task = new SimulatedTask(this, new TaskStruct(_nextPid++, name), body, isWorker: false);
        _tasks.Add(task);
        _runnable.Add(task.Task);
        task.Start();
    }

    /// <summary>
    /// Runs until every task has ended, <paramref name="until"/> holds, or virtual time has advanced by <paramref name="limit"/>.
    /// Rethrows the first exception that left a task. Called by a thread outside.
    /// </summary>
    /// <exception cref="SimulationDeadlockException">Nothing can ever run again, and some task has not ended.</exception>
    public void Run(Micros limit, Func<bool>? until = null)
    {
        _horizon = Now.SaturatingAdd(limit);
        _until = until;
        _ended = false;
        TaskStruct outside = ThreadContext.Current.Task;
        ThreadContext.Current.Task = _driver;
        SwitchFrom(_driver);
        ThreadContext.Current.Task = outside;
        if (_failure is { } failure)
        {
            _failure = null;
            ExceptionDispatchInfo.Throw(failure);
        }
    }

    internal void Park(TaskStruct task, Micros deadline)
    {
        if (_aborted)
            throw new SimulationAbortedException();
        if (deadline != Micros.Never)
            _sleepers.Enqueue(new Sleeper(task, task.SleepCount), (deadline.Value, _order++));
        task.Blocked = true;
        SwitchFrom(task);
        task.SleepCount++;
        task.Blocked = false;
    }

    internal void Unpark(TaskStruct task)
    {
        if (task.Blocked && !_runnable.Contains(task))
            _runnable.Add(task);
    }

    /// <summary>The first in line of those that ran on this CPU last; unknown while the seed chooses who is next.</summary>
    internal TaskStruct? NextOn(Cpu cpu) => Explore ? null : _runnable.Find(t => t.LastCpu == cpu);

    internal void Post(HostWork work)
    {
        _work.Enqueue(work);
        if (_worker is null)
        {
            var task = new SimulatedTask(this, new TaskStruct(_nextPid++, "kworker"), RunWorker, isWorker: true);
            _tasks.Add(task);
            _worker = task.Task;
            _runnable.Add(_worker);
            task.Start();
        }
        else if (_worker.TryWake())
        {
            Unpark(_worker);
        }
    }

    /// <summary>A lock's or a CPU's holder was preempted: let him go on.</summary>
    internal void Yield()
    {
        TaskStruct me = _running;
        _runnable.Add(me);
        SwitchFrom(me);
    }

    internal void PreemptionPoint(TaskStruct task)
    {
        if (_aborted)
            throw new SimulationAbortedException();
        if (task != _running)
            throw new InvalidOperationException("A thread that the simulation did not start called into a simulated stack. Use Simulation.Spawn.");
        Now += SyscallCost;
        RunDueEvents();
        if (Explore && _runnable.Count > 0 && _schedule.Below(4) == 0)
            Yield();
    }

    /// <summary>A preemption point inside a call; does nothing unless the world explores.</summary>
    internal void MaybeSwitch(TaskStruct task)
    {
        if (Explore && task == _running && _runnable.Count > 0 && _schedule.Below(4) == 0)
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

    // Called by the task that cannot or shall not go on. Returns when it holds the baton again.
    private void SwitchFrom(TaskStruct me)
    {
        while (true)
        {
            TaskStruct next = ChooseNext();
            if (next == me)
            {
                _running = me;
                return;
            }
            if (Pass(me, next))
                return;
        }
    }

    private bool Pass(TaskStruct me, TaskStruct next)
    {
        _running = next;
        next.Parker.Signal();
        while (_running != me && !_aborted)
            me.Parker.Wait(Micros.Never);
        if (_aborted && me != _driver)
            throw new SimulationAbortedException();
        return true;
    }

    // Whoever runs next: a runnable task, after as many events as it takes to have one, or the driver if the run is over.
    private TaskStruct ChooseNext()
    {
        while (true)
        {
            if (_ended || _failure is not null || _until?.Invoke() == true)
                return _driver;
            if (_runnable.Count > 0)
            {
                int index = Explore ? _schedule.Below(_runnable.Count) : 0;
                TaskStruct next = _runnable[index];
                _runnable.RemoveAt(index);
                return next;
            }
            if (!Advance())
                return _driver;
        }
    }

    // Jumps to the next event and runs it. False: there is none, or it lies beyond the horizon.
    private bool Advance()
    {
        bool allEnded = _tasks.TrueForAll(t => t.Ended || t.IsWorker);
        Micros next = NextEvent();
        if (_horizon == Micros.Never && allEnded)
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
            if (!allEnded)
                _failure = new SimulationDeadlockException(DescribeDeadlock());
            return false;
        }
        Now = Micros.Max(Now, next);
        RunDueEvents();
        return true;
    }

    private Micros NextEvent()
    {
        while (_sleepers.TryPeek(out Sleeper s, out _) && s.IsStale)
            _sleepers.Dequeue();
        Micros next = _sleepers.TryPeek(out _, out (long At, long) at) ? new Micros(at.At) : Micros.Never;
        foreach (SimulatedHost host in _hosts)
            next = Micros.Min(next, host.NextDeadline);
        return next;
    }

    private void RunDueEvents()
    {
        foreach (SimulatedHost host in _hosts)
            host.RunDue(Now);
        while (_sleepers.TryPeek(out Sleeper s, out (long At, long) at) && (s.IsStale || at.At <= Now.Value))
        {
            _sleepers.Dequeue();
            if (!s.IsStale)
                Unpark(s.Task);
        }
    }

    private void RunWorker()
    {
        TaskStruct me = _worker!;
        while (true)
        {
            while (_work.TryDequeue(out HostWork? work))
                work.Execute();
            me.SetState(TaskState.Interruptible);
            me.WaitChannel = "worker_thread";
            Park(me, Micros.Never);
        }
    }

    private string DescribeDeadlock()
    {
        var text = new StringBuilder("Nothing can ever run again.");
        foreach (SimulatedTask t in _tasks)
        {
            if (!t.Ended && !t.IsWorker)
                text.Append(' ').Append(t.Task.Name).Append(" waits in ").Append(t.Task.WaitChannel ?? "no call of the stack").Append('.');
        }
        return text.ToString();
    }

    private void OnTaskEnd(SimulatedTask ended, Exception? failure)
    {
        if (_aborted)
            return;
        if (failure is not null)
            _failure ??= failure;
        TaskStruct next = ChooseNext();
        _running = next;
        next.Parker.Signal();
    }

    private readonly record struct Sleeper(TaskStruct Task, int Sleep)
    {
        public bool IsStale => !Task.Blocked || Task.SleepCount != Sleep;
    }

    private sealed class SimulatedTask(SimulatedWorld world, TaskStruct task, Action body, bool isWorker)
    {
        private Thread? _thread;

        public TaskStruct Task { get; } = task;

        public bool IsWorker { get; } = isWorker;

        public bool Ended { get; private set; }

        public void Start()
        {
            _thread = new Thread(Main) { IsBackground = true, Name = Task.Name };
            _thread.Start();
        }

        public void Join() => _thread!.Join();

        private void Main()
        {
            ThreadContext.Current.Task = Task;
            Exception? failure = null;
            try
            {
                while (world._running != Task && !world._aborted)
                    Task.Parker.Wait(Micros.Never);
                if (!world._aborted)
                    body();
            }
            catch (SimulationAbortedException)
            {
            }
            catch (Exception e)
            {
                failure = e;
            }
            Ended = true;
            world.OnTaskEnd(this, failure);
        }
    }
}

/// <summary>Unwinds the tasks of a simulation that is over.</summary>
internal sealed class SimulationAbortedException : Exception
{
}
