using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Threading;
using System.Threading.Channels;
using System.Threading.Tasks;

namespace Millrace.Tests;

public sealed class SimulationTests
{
    private static readonly IPEndPoint ServerEnd = new(IPAddress.Parse("10.0.0.2"), 7);

    private static (NetStack Client, NetStack Server) Hosts(Simulation simulation, double loss = 0, int cpus = 1)
    {
        NetStack client = simulation.CreateStack(new NetStackOptions { Name = "client", Cpus = cpus });
        NetStack server = simulation.CreateStack(new NetStackOptions { Name = "server", Cpus = cpus });
        NetStack.Wire(client, "eth0", server, "eth0");
        client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        server.AddAddress("eth0", ServerEnd.Address, 24);
        client.Impair("eth0", new ImpairmentOptions { Delay = TimeSpan.FromMilliseconds(10), Loss = loss, Seed = 5 });
        return (client, server);
    }

    private static async Task EchoOnce(NetStack stack)
    {
        using TcpListener listener = stack.Listen(ServerEnd);
        using TcpConnection connection = await listener.AcceptAsync();
        await connection.GetStream().CopyToAsync(connection.GetStream());
        connection.Shutdown(System.Net.Sockets.SocketShutdown.Send);
    }

    private static async Task<byte[]> Ask(NetStack stack, byte[] question)
    {
        using TcpConnection connection = await stack.ConnectAsync(ServerEnd);
        await connection.GetStream().WriteAsync(question);
        connection.Shutdown(System.Net.Sockets.SocketShutdown.Send);
        var answer = new MemoryStream();
        await connection.GetStream().CopyToAsync(answer);
        return answer.ToArray();
    }

    // A run of asynchronous programs over a wire that loses packets, as the lines of its trace.
    private static List<string> AsyncRun(ulong seed, out List<TraceEvent> events)
    {
        using var simulation = new Simulation(seed);
        (NetStack client, NetStack server) = Hosts(simulation, loss: 0.05);
        using TraceSession trace = NetStack.Trace(1 << 20, client, server);
        byte[] question = new byte[100_000], answer = [];
        simulation.Spawn("echo", () => EchoOnce(server));
        simulation.Spawn("asker", async () => answer = await Ask(client, question));
        simulation.Run();
        Assert.Equal(question, answer);
        Assert.Equal(0, trace.Lost);
        events = [.. trace.Read()];
        return events.ConvertAll(static e => e.ToString());
    }

    private static List<string> BlockingRun(ulong seed, bool explore, int cpus = 1)
    {
        using var simulation = new Simulation(seed, explore);
        (NetStack client, NetStack server) = Hosts(simulation, loss: 0.05, cpus);
        using TraceSession trace = NetStack.Trace(1 << 20, client, server);
        long got = 0;
        simulation.Spawn("sink", () =>
        {
            using TcpListener listener = server.Listen(ServerEnd);
            using TcpConnection connection = listener.Accept();
            var buffer = new byte[4096];
            while (connection.GetStream().Read(buffer) is var n and > 0)
                got += n;
        });
        simulation.Spawn("source", () =>
        {
            using TcpConnection connection = client.Connect(ServerEnd);
            connection.GetStream().Write(new byte[50_000]);
        });
        simulation.Run();
        Assert.Equal(50_000, got);
        return [.. trace.Read().Select(static e => e.ToString())];
    }

    [Fact]
    public void The_same_seed_gives_the_same_run_of_asynchronous_programs()
    {
        List<string> first = AsyncRun(3, out _);
        Assert.Equal(first, AsyncRun(3, out _));
        Assert.NotEqual(first, AsyncRun(4, out _));
    }

    [Theory]
    [InlineData(false, 1)]
    [InlineData(true, 1)]
    [InlineData(true, 2)]
    public void The_same_seed_gives_the_same_run_of_blocking_tasks(bool explore, int cpus)
    {
        List<string> first = BlockingRun(3, explore, cpus);
        Assert.Equal(first, BlockingRun(3, explore, cpus));
        Assert.NotEqual(first, BlockingRun(4, explore, cpus));
    }

    [Fact]
    public void What_an_asynchronous_program_does_is_traced_as_its_own()
    {
        AsyncRun(3, out List<TraceEvent> events);
        Assert.Equal(["asker", "echo"], events.Where(static e => e.Context == TraceContext.Task && e.TaskId > 0).Select(static e => e.TaskName).Distinct().Order());
        Assert.All(events.Where(static e => e.Name == "skb_copy_datagram_msg"), static e => Assert.Equal(e.Stack == "client" ? "asker" : "echo", e.TaskName));
    }

    [Fact]
    public void Tasks_of_a_machine_with_two_CPUs_are_woken_for_their_own()
    {
        using var simulation = new Simulation();
        NetStack stack = simulation.CreateStack(new NetStackOptions { Cpus = 2 });
        using TraceSession trace = stack.Trace();
        var at = new IPEndPoint(IPAddress.Loopback, 7);
        simulation.Spawn("acceptor", () =>
        {
            using TcpListener listener = stack.Listen(at);
            listener.Accept().Dispose();
        });
        simulation.Spawn("connector", () => stack.Connect(at).Dispose());
        simulation.Run();
        List<TraceEvent> events = [.. trace.Read()];
        TraceEvent waking = events.First(static e => e is { Name: "sched_waking", Text: "wakes acceptor, for CPU 0" });
        Assert.Equal(1, waking.Cpu);
        TraceEvent wake = events.Last(e => e.Name == "try_to_wake_up" && e.Sequence < waking.Sequence);
        Assert.Equal("acceptor becomes RUNNING, on another CPU", wake.Text);
        Assert.Equal(0, events.First(e => e.Sequence > waking.Sequence && e.Name == "sched_switch").Cpu);
    }

    [Fact]
    public void One_CPU_is_switched_from_the_sleeper_to_whom_he_has_woken()
    {
        using var simulation = new Simulation();
        NetStack stack = simulation.CreateStack("host");
        using TraceSession trace = stack.Trace();
        var at = new IPEndPoint(IPAddress.Loopback, 7);
        simulation.Spawn("reader", () =>
        {
            using TcpListener listener = stack.Listen(at);
            using TcpConnection connection = listener.Accept();
            var one = new byte[1];
            while (connection.GetStream().Read(one) == 1)
                connection.GetStream().Write(one);
        });
        simulation.Spawn("writer", () =>
        {
            using TcpConnection connection = stack.Connect(at);
            connection.GetStream().Write(new byte[1]);
            Assert.Equal(1, connection.GetStream().Read(new byte[1]));
        });
        simulation.Run();
        List<string> switches = [.. trace.Read().Where(static e => e.Name == "sched_switch").Select(static e => e.Text)];
        Assert.Contains("reader [S] → writer", switches);
        Assert.Contains("writer [S] → reader", switches);
    }

    [Fact]
    public void A_program_that_waits_for_ever_is_reported_with_what_it_waits_for()
    {
        using var simulation = new Simulation();
        (NetStack client, NetStack server) = Hosts(simulation);
        simulation.Spawn("acceptor", () => server.Listen(ServerEnd).Accept());
        simulation.Spawn("program", () => new TaskCompletionSource().Task);
        var e = Assert.Throws<SimulationDeadlockException>(() => simulation.Run());
        Assert.Contains("acceptor waits in inet_csk_accept", e.Message, StringComparison.Ordinal);
        Assert.Contains("program awaits what nothing in the simulation completes", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Programs_meet_by_whatever_NET_offers_and_each_goes_on_as_itself()
    {
        using var simulation = new Simulation();
        NetStack stack = simulation.CreateStack("host");
        var turn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Channel<int> channel = Channel.CreateBounded<int>(1);
        using var gate = new SemaphoreSlim(0);
        var names = new List<string?>();
        simulation.Spawn("waiter", async () =>
        {
            await turn.Task;
            names.Add(Thread.CurrentThread.Name);
            while (await channel.Reader.WaitToReadAsync() && channel.Reader.TryRead(out int _))
                names.Add(Thread.CurrentThread.Name);
            await gate.WaitAsync();
            names.Add(Thread.CurrentThread.Name);
            await Task.Yield();
            names.Add(Thread.CurrentThread.Name);
            await Task.Delay(TimeSpan.FromSeconds(1), stack.TimeProvider).ConfigureAwait(false);
            names.Add(Thread.CurrentThread.Name);
        });
        simulation.Spawn("blocking", turn.SetResult);
        simulation.Spawn("driver", async () =>
        {
            await channel.Writer.WriteAsync(1);
            await channel.Writer.WriteAsync(2);
            channel.Writer.Complete();
            gate.Release();
        });
        simulation.Run();
        Assert.Equal(Enumerable.Repeat<string?>("waiter", 6), names);
    }

    [Fact]
    public void A_program_that_leaves_for_the_thread_pool_fails_the_run()
    {
        using var simulation = new Simulation();
        NetStack stack = simulation.CreateStack("host");
        using var gone = new ManualResetEventSlim();
        simulation.Spawn("runaway", async () => await Task.Run(gone.Wait));
        // Something else goes on for ever, so the run would not end by itself.
        simulation.Spawn("clock", async () =>
        {
            while (true)
            {
                await Task.Delay(TimeSpan.FromSeconds(1), stack.TimeProvider);
                gone.Set();
            }
        });
        var e = Assert.Throws<InvalidOperationException>(() => simulation.Run());
        Assert.StartsWith("runaway went on on a thread", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_program_throws_leaves_the_run()
    {
        using var simulation = new Simulation();
        (NetStack client, _) = Hosts(simulation);
        simulation.Spawn("refused", async () => (await client.ConnectAsync(ServerEnd)).Dispose());
        var e = Assert.Throws<System.Net.Sockets.SocketException>(() => simulation.Run());
        Assert.Equal(System.Net.Sockets.SocketError.ConnectionRefused, e.SocketErrorCode);
    }

    [Fact]
    public void Delays_take_virtual_time_and_only_that()
    {
        using var simulation = new Simulation();
        NetStack stack = simulation.CreateStack("host");
        var times = new List<double>();
        simulation.Spawn("sleeper", async () =>
        {
            await Task.Delay(TimeSpan.FromDays(1), simulation.TimeProvider);
            times.Add(simulation.Now.TotalHours);
            long before = stack.TimeProvider.GetTimestamp();
            await Task.Delay(TimeSpan.FromMilliseconds(2), stack.TimeProvider);
            times.Add(stack.TimeProvider.GetElapsedTime(before).TotalMilliseconds);
        });
        simulation.Run();
        Assert.Equal([24, 2], times);
        Assert.Equal(DateTimeOffset.UnixEpoch + simulation.Now, simulation.TimeProvider.GetUtcNow());
    }

    [Fact]
    public void A_timeout_ends_a_read_at_its_virtual_time()
    {
        using var simulation = new Simulation();
        (NetStack client, NetStack server) = Hosts(simulation);
        TimeSpan begun = default, ended = default;
        simulation.Spawn("silent", async () =>
        {
            using TcpListener listener = server.Listen(ServerEnd);
            using TcpConnection connection = await listener.AcceptAsync();
            Assert.Equal(0, await connection.ReceiveAsync(new byte[1]));
        });
        simulation.Spawn("impatient", async () =>
        {
            using TcpConnection connection = await client.ConnectAsync(ServerEnd);
            using var timeout = new CancellationTokenSource(TimeSpan.FromMilliseconds(250), client.TimeProvider);
            begun = simulation.Now;
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await connection.ReceiveAsync(new byte[1], timeout.Token));
            ended = simulation.Now;
        });
        simulation.Run();
        // The calls themselves take a microsecond each.
        Assert.InRange((ended - begun).TotalMilliseconds, 249.99, 250.01);
    }

    [Fact]
    public void A_periodic_timer_rings_until_it_is_disposed_of()
    {
        using var simulation = new Simulation();
        var rings = new List<double>();
        simulation.Spawn("clock", async () =>
        {
            using ITimer timer = simulation.TimeProvider.CreateTimer(_ => rings.Add(simulation.Now.TotalSeconds), null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(2));
            await Task.Delay(TimeSpan.FromSeconds(6), simulation.TimeProvider);
        });
        simulation.Run(TimeSpan.FromSeconds(20));
        Assert.Equal([1, 3, 5], rings);
        Assert.Equal(20, simulation.Now.TotalSeconds);
    }

    [Fact]
    public async Task The_provider_of_a_stack_on_real_threads_rings_too()
    {
        using var stack = new NetStack();
        long before = stack.TimeProvider.GetTimestamp();
        await Task.Delay(TimeSpan.FromMilliseconds(2), stack.TimeProvider, TestContext.Current.CancellationToken);
        Assert.True(stack.TimeProvider.GetElapsedTime(before) >= TimeSpan.FromMilliseconds(2));
    }

    [Fact]
    public void A_run_stops_where_it_is_told_and_goes_on_from_there()
    {
        using var simulation = new Simulation();
        (NetStack client, NetStack server) = Hosts(simulation);
        byte[] answer = [];
        simulation.Spawn("echo", () => EchoOnce(server));
        simulation.Spawn("asker", async () => answer = await Ask(client, [1, 2, 3]));
        simulation.Run(TimeSpan.FromMilliseconds(15));
        Assert.Equal(15, simulation.Now.TotalMilliseconds);
        Assert.Empty(answer);
        simulation.Run(until: () => answer.Length > 0);
        Assert.Equal([1, 2, 3], answer);
    }
}
