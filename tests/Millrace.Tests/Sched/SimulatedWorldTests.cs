using System;
using System.Collections.Generic;
using System.Net;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Sched;

namespace Millrace.Tests.Sched;

/// <summary>The simulator keeps its word: it says who waits for what instead of hanging, and the same seed gives the same run.</summary>
public sealed class SimulatedWorldTests
{
    private static NetStack NewStack(SimulatedWorld world) =>
        new(new NetStackOptions { Seed = 1, Cpus = 2 }, world.AddHost(), false, null);

    [Fact]
    public void A_task_that_waits_for_ever_is_reported_with_its_call()
    {
        using var world = new SimulatedWorld(1, explore: false);
        NetStack stack = NewStack(world);
        world.Spawn("acceptor", () =>
        {
            Process p = stack.CreateProcess();
            int fd = p.Socket(2, 1, 0).Value;
            p.Bind(fd, new IPEndPoint(IPAddress.Loopback, 80));
            p.Listen(fd, 1);
            p.Accept(fd);
        });
        var e = Assert.Throws<SimulationDeadlockException>(() => world.Run(Micros.Never));
        Assert.Contains("acceptor waits in inet_csk_accept", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_lock_held_across_a_blocking_call_is_reported_with_who_waits_for_it()
    {
        using var world = new SimulatedWorld(1, explore: false);
        NetStack stack = NewStack(world);
        var gate = new object();
        world.Spawn("holder", () =>
        {
            lock (gate)
                AcceptForEver(stack);
        });
        world.Spawn("waiter", () =>
        {
            lock (gate)
                stack.CreateProcess();
        });
        var e = Assert.Throws<SimulationDeadlockException>(() => world.Run(Micros.Never));
        Assert.Contains("waiter waits for a lock", e.Message, StringComparison.Ordinal);
        Assert.Contains(nameof(A_lock_held_across_a_blocking_call_is_reported_with_who_waits_for_it), e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_blocking_wait_for_a_task_is_reported()
    {
        using var world = new SimulatedWorld(1, explore: false);
        var never = new TaskCompletionSource();
        world.Spawn("waiter", () => never.Task.Wait());
        var e = Assert.Throws<SimulationDeadlockException>(() => world.Run(Micros.Never));
        Assert.Contains("waiter waits for a lock, a task or a handle outside the stack", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_task_that_sleeps_outside_the_stack_is_reported()
    {
        var world = new SimulatedWorld(1, explore: false);
        using var wake = new CancellationTokenSource();
        world.Spawn("sleeper", () => Thread.Sleep(Timeout.Infinite));
        var e = Assert.Throws<SimulationDeadlockException>(() => world.Run(Micros.Never));
        Assert.Contains("sleeper sleeps or waits outside the stack", e.Message, StringComparison.Ordinal);
        world.Dispose();
    }

    [Fact]
    public void A_foreign_thread_is_told_so()
    {
        using var world = new SimulatedWorld(1, explore: false);
        NetStack stack = NewStack(world);
        Exception? told = null;
        world.Spawn("starter", () =>
        {
            var foreign = new Thread(() => told = Record.Exception(() => stack.CreateProcess().Socket(2, 1, 0)));
            foreign.Start();
            while (foreign.IsAlive)
                Thread.SpinWait(100);
        });
        world.Run(Micros.Never);
        Assert.Contains("Simulation.Spawn", Assert.IsType<InvalidOperationException>(told).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_task_cannot_run_the_world_it_runs_in()
    {
        using var world = new SimulatedWorld(1, explore: false);
        world.Spawn("nested", () => world.Run(Micros.Never));
        Assert.Throws<InvalidOperationException>(() => world.Run(Micros.Never));
    }

    [Fact]
    public void An_exception_ends_the_run_and_the_rest_can_still_be_disposed_of()
    {
        using var world = new SimulatedWorld(1, explore: false);
        NetStack stack = NewStack(world);
        world.Spawn("blocked", () => AcceptForEver(stack));
        world.Spawn("failing", () => throw new FormatException("it"));
        Assert.Throws<FormatException>(() => world.Run(Micros.Never));
    }

    [Fact]
    public void A_task_that_polls_does_not_starve_the_others()
    {
        using var world = new SimulatedWorld(1, explore: false);
        NetStack stack = NewStack(world);
        bool done = false;
        world.Spawn("poller", () =>
        {
            Process p = stack.CreateProcess();
            while (!done)
                p.Close(99);
        });
        world.Spawn("other", () => done = true);
        world.Run(Micros.Never);
    }

    [Fact]
    public void A_task_that_polls_stops_at_the_end_of_the_run()
    {
        using var world = new SimulatedWorld(1, explore: false);
        NetStack stack = NewStack(world);
        world.Spawn("poller", () =>
        {
            Process p = stack.CreateProcess();
            while (true)
                p.Close(99);
        });
        world.Run(Micros.FromMilliseconds(10));
        Assert.InRange(world.Now.Milliseconds, 10, 11);
    }

    [Fact]
    public void Await_in_a_task_goes_on_inside_the_simulation()
    {
        using var world = new SimulatedWorld(1, explore: false);
        var turn = new TaskCompletionSource();
        string? name = null;
        world.Spawn("awaiter", () => { _ = Await(); });
        world.Spawn("completer", () => turn.SetResult());
        world.Run(Micros.FromMilliseconds(1));
        Assert.Equal("kworker", name);

        async Task Await()
        {
            await turn.Task;
            name = Thread.CurrentThread.Name;
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void The_same_seed_explores_the_same_way(ulong seed) => Assert.Equal(Explore(seed), Explore(seed));

    [Fact]
    public void Another_seed_explores_another_way() => Assert.NotEqual(Explore(1), Explore(2));

    private static List<string> Explore(ulong seed)
    {
        using var world = new SimulatedWorld(seed, explore: true);
        NetStack stack = NewStack(world);
        var order = new List<string>();
        for (int i = 0; i < 3; i++)
        {
            string name = $"t{i}";
            world.Spawn(name, () =>
            {
                Process p = stack.CreateProcess();
                for (int n = 0; n < 20; n++)
                {
                    p.Close(p.Socket(2, 1, 0).Value);
                    order.Add($"{name} {world.Now}");
                }
            });
        }
        world.Run(Micros.Never);
        return order;
    }

    private static void AcceptForEver(NetStack stack)
    {
        Process p = stack.CreateProcess();
        int fd = p.Socket(2, 1, 0).Value;
        p.Bind(fd, new IPEndPoint(IPAddress.Loopback, 80));
        p.Listen(fd, 1);
        p.Accept(fd);
    }
}
