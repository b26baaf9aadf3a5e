using System;
using System.Collections.Generic;
using System.Globalization;
using System.Net;
using System.Threading;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tests.Concurrency;

/// <summary>
/// Two stacks on one wire, and tasks that run on them: under the simulator, which explores, or under real threads. A story that takes an
/// arena is run in both. It is bounded by what it does, not by time; a limit only turns a hang into a failure.
/// </summary>
internal abstract class Arena : IDisposable
{
    public static readonly IPAddress ServerAddress = IPAddress.Parse("10.0.0.2");

    // MILLRACE_THOROUGHNESS multiplies seeds and rounds, for a night's run.
    private static uint Thoroughness { get; } =
        uint.TryParse(Environment.GetEnvironmentVariable("MILLRACE_THOROUGHNESS"), CultureInfo.InvariantCulture, out uint n) ? n : 1;

    public abstract NetStack Server { get; }

    public abstract NetStack Client { get; }

    /// <summary>How often a task of the server had slept when the story's readers began.</summary>
    public long ParksBefore { get; set; }

    public bool IsSimulated => this is SimulatedArena;

    /// <summary>Runs the story under the simulator, once for each seed, exploring.</summary>
    public static void Explore(int seeds, Action<Arena> story)
    {
        for (ulong seed = 1; seed <= (ulong)seeds * Thoroughness; seed++)
        {
            using var arena = new SimulatedArena(seed);
            try
            {
                story(arena);
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"seed {seed}: {e.Message}", e);
            }
        }
    }

    /// <summary>Runs the story on real threads so many times.</summary>
    public static void OnThreads(int times, Action<Arena> story)
    {
        for (int i = 0; i < times * (int)Thoroughness; i++)
        {
            using var arena = new ThreadArena();
            story(arena);
        }
    }

    /// <summary>Runs it in both.</summary>
    public static void Both(int seeds, int times, Action<Arena> story)
    {
        Explore(seeds, story);
        OnThreads(times, story);
    }

    public abstract void Spawn(string name, Action body);

    /// <summary>Runs until all tasks have ended and <paramref name="also"/> holds; fails with what a task failed with.</summary>
    public abstract void Run(Func<bool>? also = null);

    public abstract void Dispose();

    protected static void WireUp(NetStack server, NetStack client)
    {
        NetStack.Wire(client, "eth0", server, "eth0");
        client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        server.AddAddress("eth0", ServerAddress, 24);
    }

    private sealed class SimulatedArena : Arena
    {
        private readonly SimulatedWorld _world;

        public SimulatedArena(ulong seed)
        {
            _world = new SimulatedWorld(seed, explore: true);
            // More CPUs and fewer by turns: with one, who has none must leave his work to its holder.
            int cpus = 1 + (int)(seed % 3);
            Server = new NetStack(new NetStackOptions { Name = "server", Seed = seed, Cpus = cpus }, _world.AddHost(), false, null);
            Client = new NetStack(new NetStackOptions { Name = "client", Seed = ~seed, Cpus = cpus }, _world.AddHost(), false, null);
            WireUp(Server, Client);
        }

        public override NetStack Server { get; }

        public override NetStack Client { get; }

        public override void Spawn(string name, Action body) => _world.Spawn(name, body);

        public override void Run(Func<bool>? also = null)
        {
            _world.Run(Micros.Never);
            if (also is null)
                return;
            _world.Run(Micros.FromSeconds(300), also);
            Assert.True(also(), "the story did not end");
        }

        public override void Dispose() => _world.Dispose();
    }

    private sealed class ThreadArena : Arena
    {
        private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

        private readonly List<Thread> _threads = [];
        private Exception? _failure;

        public ThreadArena()
        {
            // As many CPUs as threads would like, and only one: the cases differ in who must wait for whom.
            Server = new NetStack(new NetStackOptions { Name = "server", Cpus = 1 });
            Client = new NetStack(new NetStackOptions { Name = "client", Cpus = 2 });
            WireUp(Server, Client);
        }

        public override NetStack Server { get; }

        public override NetStack Client { get; }

        public override void Spawn(string name, Action body)
        {
            _threads.Add(new Thread(() =>
            {
                try
                {
                    body();
                }
                catch (Exception e)
                {
                    Interlocked.CompareExchange(ref _failure, e, null);
                }
            })
            { IsBackground = true, Name = name });
        }

        public override void Run(Func<bool>? also = null)
        {
            foreach (Thread t in _threads)
                t.Start();
            DateTime limit = DateTime.UtcNow + Limit;
            foreach (Thread t in _threads)
            {
                while (!t.Join(50) && _failure is null)
                    Assert.True(DateTime.UtcNow < limit, $"{t.Name} hangs");
            }
            if (_failure is not null)
                throw new InvalidOperationException(_failure.Message, _failure);
            while (also?.Invoke() == false)
            {
                Assert.True(DateTime.UtcNow < limit, "the story did not end");
                Thread.Yield();
            }
            _threads.Clear();
        }

        public override void Dispose()
        {
            Client.Dispose();
            Server.Dispose();
        }
    }
}

/// <summary>System calls that must not fail, and how stories count.</summary>
internal static class ArenaCalls
{
    private static readonly IPEndPoint Service = new(Arena.ServerAddress, 80);

    public static int Must(this SysResult result)
    {
        Assert.False(result.IsError, result.ToString());
        return result.Value;
    }

    /// <summary>A process of the server with a listening socket.</summary>
    public static (Process Process, int Fd) Listen(this Arena arena, int backlog = 128)
    {
        Process p = arena.Server.CreateProcess();
        int fd = p.Socket(2, 1, 0).Must();
        p.Bind(fd, Service).Must();
        p.Listen(fd, backlog).Must();
        return (p, fd);
    }

    /// <summary>A process of the client with a connected socket that delays nothing.</summary>
    public static (Process Process, int Fd) Connect(this Arena arena)
    {
        Process p = arena.Client.CreateProcess();
        int fd = p.Socket(2, 1, 0).Must();
        const int tcp = 6, noDelay = 1;
        p.SetSockOpt(fd, tcp, noDelay, 1).Must();
        p.Connect(fd, Service).Must();
        return (p, fd);
    }

    public static IPEndPoint EndPoint(this Arena arena) => Service;

    public static long Count(this NetStack stack, Mib mib) => stack.Cpus.Read(mib);
}
