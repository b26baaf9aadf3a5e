using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Sched;

#pragma warning disable RS0030 // this file starts the simulator's threads

/// <summary>The simulator's tasks: threads, the loops that run programs on them, and who is told what they wait for.</summary>
internal sealed partial class SimulatedWorld
{
    /// <summary>A task that runs what is posted to it.</summary>
    private sealed class WorkLoop(SimulatedWorld world, string waitChannel)
    {
        private readonly Queue<HostWork> _work = new();
        private Sentry? _context;
        private bool _ended;

        /// <summary>Set before the task runs.</summary>
        public TaskStruct Task { get; set; } = null!;

        public void Post(HostWork work)
        {
            _work.Enqueue(work);
            if (Task.TryWake())
                world.Unpark(Task);
        }

        public void RunForEver() => RunUntil(static () => false);

        /// <summary>
        /// Begins a program and runs its continuations. They come back here by the program's context; what the stacks and timers post runs
        /// without one, or continuations that want none would go to the thread pool (concurrency.md 28).
        /// </summary>
        public void Run(Func<Task> program)
        {
            _context = new Sentry(world, this);
            SynchronizationContext.SetSynchronizationContext(_context);
            Task running = program();
            // Whoever completes it, the context brings that here, and so ends the loop's sleep.
            running.GetAwaiter().UnsafeOnCompleted(static () => { });
            SynchronizationContext.SetSynchronizationContext(null);
            RunUntil(() => running.IsCompleted);
            world._programs.Remove(Task);
            _ended = true;
            while (_work.TryDequeue(out HostWork? left))
                world.Worker.Post(left);
            running.GetAwaiter().GetResult();
        }

        /// <summary>A continuation of the program's. What it leaves when it is over, the worker runs.</summary>
        public void Continue(SendOrPostCallback callback, object? state)
        {
            if (!world.IsInside)
            {
                world.Fail(Task);
                return;
            }
            (_ended ? world.Worker : this).Post(new Continuation(callback, state, _context));
        }

        private void RunUntil(Func<bool> isOver)
        {
            while (!isOver())
            {
                if (_work.TryDequeue(out HostWork? work))
                {
                    work.Execute();
                    continue;
                }
                Task.SetState(TaskState.Interruptible);
                Task.WaitChannel = waitChannel;
                world.Park(Task, Micros.Never);
                Task.WaitChannel = null;
            }
        }
    }

    private sealed class SimulatedTask(SimulatedWorld world, TaskStruct task, Action body, bool isWorker)
    {
        private Thread? _thread;

        public TaskStruct Task { get; } = task;

        public bool IsWorker { get; } = isWorker;

        public bool Ended { get; private set; }

        /// <summary>Whether the thread is in a wait or a sleep of the runtime's. The stack's own waits are none.</summary>
        public bool WaitsOutside => (_thread!.ThreadState & ThreadState.WaitSleepJoin) != 0;

        public void Start()
        {
            _thread = new Thread(Main) { IsBackground = true, Name = Task.Name };
            _thread.Start();
        }

        /// <summary>Waits for the end of the thread, unless it does something else for ever.</summary>
        public void Join() => _thread!.Join(Patience.ToTimeSpan());

        private void Main()
        {
            ThreadAffinity.Pin(world._pinnedTo);
            ThreadContext.Current.Task = Task;
            // Tasks are spread over the CPUs of their machine.
            ThreadContext.Current.LastCpu = Task.Pid - 1;
            // Continuations run without a context, or those that want none would be sent to the thread pool.
            if (!IsWorker)
                SynchronizationContext.SetSynchronizationContext(new Sentry(world, program: null));
            Exception? failure = null;
            try
            {
                world.WaitForBaton(Task);
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

    /// <summary>Told by the runtime when a task waits for a lock, a .NET task or a handle: for something that the simulator cannot see.</summary>
    private sealed class Sentry : SynchronizationContext
    {
        private readonly SimulatedWorld _world;
        private readonly WorkLoop? _program;

        /// <param name="program">Where what awaited goes on; null: the worker, without a context.</param>
        public Sentry(SimulatedWorld world, WorkLoop? program)
        {
            _world = world;
            _program = program;
            SetWaitNotificationRequired();
        }

        public override int Wait(nint[] waitHandles, bool waitAll, int millisecondsTimeout)
        {
            // Something of the process's, like its console, that a thread outside the simulation holds for a moment, is no harm.
            int patience = (int)Patience.Milliseconds;
            bool bounded = millisecondsTimeout >= 0 && millisecondsTimeout <= patience;
            int result = WaitHelper(waitHandles, waitAll, bounded ? millisecondsTimeout : patience);
            if (result == WaitHandle.WaitTimeout && !bounded)
            {
                throw new SimulationDeadlockException(
                    $"{_world._running.Name} waits for a lock, a task or a handle outside the stack, which no other task can give it:{Environment.NewLine}{Environment.StackTrace}");
            }
            return result;
        }

        /// <summary>What awaited in a task goes on in the simulation.</summary>
        public override void Post(SendOrPostCallback d, object? state)
        {
            if (_program is null)
                _world.Post(new Continuation(d, state, context: null));
            else
                _program.Continue(d, state);
        }

        public override void Send(SendOrPostCallback d, object? state) => d(state);

        public override SynchronizationContext CreateCopy() => this;
    }

    private sealed class Continuation(SendOrPostCallback callback, object? state, SynchronizationContext? context) : HostWork
    {
        public override void Execute()
        {
            SynchronizationContext.SetSynchronizationContext(context);
            callback(state);
            SynchronizationContext.SetSynchronizationContext(null);
        }
    }
}
