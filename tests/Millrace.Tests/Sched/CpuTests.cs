using System.Threading;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tests.Sched;

public sealed class CpuTests
{
    /// <summary>A lock under many threads: what it guards is counted exactly.</summary>
    [Fact]
    public void A_spinlock_lets_one_in()
    {
        const int threads = 4, rounds = 20_000;
        using var host = new ThreadHost();
        var set = new CpuSet(host, threads, new BufferPool(1), new Tracer("test"));
        var shared = new Shared();
        var all = new Thread[threads];
        for (int i = 0; i < threads; i++)
        {
            all[i] = new Thread(() =>
            {
                Cpu cpu = set.Acquire();
                for (int n = 0; n < rounds; n++)
                {
                    shared.Lock.Lock(cpu);
                    shared.Count++;
                    shared.Lock.Unlock(cpu);
                }
                set.Release(cpu);
            });
            all[i].Start();
        }
        foreach (Thread t in all)
            t.Join();
        Assert.Equal(threads * rounds, shared.Count);
        Assert.False(shared.Lock.IsHeld);
    }

    [Fact]
    public void Try_lock_fails_on_a_held_lock()
    {
        using var test = new TestCpu();
        var spin = new SpinLock32();
        spin.Lock(test.Cpu);
        Assert.False(spin.TryLock(test.Cpu));
        spin.Unlock(test.Cpu);
        Assert.True(spin.TryLock(test.Cpu));
        spin.Unlock(test.Cpu);
    }

    /// <summary>A thread that holds another stack's CPU never waits for one here: it is told that there is none.</summary>
    [Fact]
    public void A_set_whose_cpus_are_held_gives_none_to_who_holds_anothers()
    {
        using var host = new ThreadHost();
        var set = new CpuSet(host, 1, new BufferPool(1), new Tracer("test"));
        var another = new CpuSet(host, 1, new BufferPool(2), new Tracer("another"));
        Cpu mine = set.Acquire();
        Cpu? other = mine;
        var thread = new Thread(() =>
        {
            Cpu held = another.Acquire();
            other = set.AcquireUnlessHolding();
            another.Release(held);
        });
        thread.Start();
        thread.Join();
        Assert.Null(other);
        Cpu nested = set.AcquireUnlessHolding()!;
        Assert.Same(mine, nested);
        set.Release(nested);
        set.Release(mine);
    }

    /// <summary>
    /// A task that goes on without having been let go, sleeps again and is woken by another CPU does not take those behind it off the first
    /// one's list.
    /// </summary>
    [Fact]
    public void A_task_woken_on_two_cpus_takes_nobody_with_it()
    {
        var host = new RecordingHost();
        var set = new CpuSet(host, 2, new BufferPool(1), new Tracer("test"));
        Cpu a = set.Cpus[0], b = set.Cpus[1];
        Assert.True(set.TryLease(a, ThreadContext.Current));
        Assert.True(set.TryLease(b, ThreadContext.Current));
        TaskStruct first = new(1, "first"), second = new(2, "second");
        first.SetState(TaskState.Interruptible);
        second.SetState(TaskState.Interruptible);
        Assert.True(Scheduler.TryToWakeUp(a, first));
        Assert.True(Scheduler.TryToWakeUp(a, second));
        first.SetState(TaskState.Interruptible);
        Assert.True(Scheduler.TryToWakeUp(b, first));
        set.Release(b);
        set.Release(a);
        Assert.Contains(second, host.LetGo);
        Assert.Equal(2, host.LetGo.FindAll(t => t == first).Count);
    }

    private sealed class Shared
    {
        public SpinLock32 Lock;
        public int Count;
    }

    private sealed class RecordingHost : Host
    {
        public System.Collections.Generic.List<TaskStruct> LetGo { get; } = [];

        public override Micros Now => default;

        public override System.DateTimeOffset Epoch => default;

        public override void Park(TaskStruct task, Micros deadline)
        {
        }

        public override void Unpark(TaskStruct task) => LetGo.Add(task);

        public override void OnContended(ref SpinWait spin)
        {
        }

        public override void Kick(CpuSet? set, HostWork? work)
        {
        }

        public override void Attach(CpuSet set)
        {
        }

        public override void Detach(CpuSet set)
        {
        }

        public override void Dispose()
        {
        }
    }
}
