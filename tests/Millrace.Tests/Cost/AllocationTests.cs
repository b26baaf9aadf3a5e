using System;
using System.Linq;
using System.Net;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Buffers;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Tests.Robustness;
using Millrace.Tracing;
using Millrace.Wire;

#pragma warning disable xUnit1030, xUnit1051 // a context to go back to, or a token, would be one more thing on the path that is measured

namespace Millrace.Tests.Cost;

/// <summary>Runs alone: it counts what all threads of the process allocate.</summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public sealed class Alone
{
}

/// <summary>In the steady state nothing is allocated: not by a thread that sends or receives, nor by any other.</summary>
[Collection(nameof(Alone))]
public sealed class AllocationTests(ITestOutputHelper output)
{
    /// <summary>It is measured several times, and the least counts: what else the process does meanwhile is not the path's.</summary>
    private const int Phases = 5;

    private const int WarmUp = 48 << 20, Phase = 32 << 20, Total = WarmUp + (Phases * Phase);

    /// <summary>What the test runner's own threads may allocate meanwhile; an object for each super-packet would be thrice that.</summary>
    private const long Noise = 4096;

    /// <summary>As <see cref="Noise"/>, where the phase has 23,000 packets and lasts longer: less than a byte for each.</summary>
    private const long LongNoise = 20_000;

    private static readonly IPEndPoint Service = new(IPAddress.Parse("10.0.0.2"), 80);

    private static (NetStack Client, NetStack Server) Pair(bool inline, bool offload = true)
    {
        var client = new NetStack(new NetStackOptions { InlineCompletions = inline });
        var server = new NetStack(new NetStackOptions { InlineCompletions = inline });
        NetStack.Wire(client, "eth0", server, "eth0", new WireOptions { Offload = offload });
        client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        server.AddAddress("eth0", Service.Address, 24);
        Fill(client);
        Fill(server);
        return (client, server);
    }

    // How much is in flight at most is up to the system's scheduler. The pools have grown to the most that windows allow before it counts.
    private static void Fill(NetStack stack)
    {
        Cpu cpu = stack.Cpus.Acquire();
        var all = new SkBuffHead();
        for (int i = 0; i < 20_000; i++)
            all.PushLast(i < 400 ? cpu.AllocLinear(60_000) : cpu.AllocSkb());
        cpu.FreeAll(all);
        stack.Cpus.Release(cpu);
    }

    private static (TcpConnection Near, TcpConnection Far) Connect(NetStack client, NetStack server)
    {
        using TcpListener listener = server.Listen(Service);
        TcpConnection near = client.Connect(Service);
        return (near, listener.Accept());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_blocking_transfer_allocates_nothing(bool offload)
    {
        (NetStack client, NetStack server) = Pair(inline: false, offload);
        using (client)
        using (server)
        {
            (TcpConnection near, TcpConnection far) = Connect(client, server);
            long sender = long.MaxValue, receiver = long.MaxValue, all = long.MaxValue;
            var receive = new Thread(() =>
            {
                var buffer = new byte[65536];
                long got = Transfer(0, WarmUp, b => far.Receive(b), buffer);
                Func<byte[], int> step = b => far.Receive(b);
                for (int phase = 1; phase <= Phases; phase++)
                {
                    long start = GC.GetTotalAllocatedBytes(precise: true), own = GC.GetAllocatedBytesForCurrentThread();
                    got = Transfer(got, WarmUp + (phase * Phase), step, buffer);
                    receiver = Math.Min(receiver, GC.GetAllocatedBytesForCurrentThread() - own);
                    all = Math.Min(all, GC.GetTotalAllocatedBytes(precise: true) - start);
                }
            });
            receive.Start();
            var data = new byte[65536];
            Func<byte[], int> send = b => near.Send(b);
            long sent = Transfer(0, WarmUp, send, data);
            for (int phase = 1; phase <= Phases; phase++)
            {
                long own = GC.GetAllocatedBytesForCurrentThread();
                sent = Transfer(sent, WarmUp + (phase * Phase), send, data);
                sender = Math.Min(sender, GC.GetAllocatedBytesForCurrentThread() - own);
            }
            receive.Join();
            output.WriteLine($"sender {sender}, receiver {receiver}, all threads {all} bytes for {Phase >> 20} MiB");
            Assert.Equal(0, sender);
            Assert.Equal(0, receiver);
            Assert.InRange(all, 0, offload ? Noise : LongNoise);
        }
    }

    [Fact]
    public void Blocking_ping_pong_allocates_nothing()
    {
        (NetStack client, NetStack server) = Pair(inline: false);
        using (client)
        using (server)
        {
            (TcpConnection near, TcpConnection far) = Connect(client, server);
            const int warmUp = 2000, rounds = 3000;
            var echo = new Thread(() =>
            {
                var buffer = new byte[64];
                for (int i = 0; i < warmUp + (Phases * rounds); i++)
                    far.Send(buffer.AsSpan(0, far.Receive(buffer)));
            });
            echo.Start();
            var data = new byte[64];
            PingPong(near, data, warmUp);
            long all = long.MaxValue;
            for (int phase = 0; phase < Phases; phase++)
            {
                long start = GC.GetTotalAllocatedBytes(precise: true);
                PingPong(near, data, rounds);
                all = Math.Min(all, GC.GetTotalAllocatedBytes(precise: true) - start);
            }
            echo.Join();
            output.WriteLine($"all threads {all} bytes for {rounds} round trips");
            Assert.InRange(all, 0, Noise);
        }
    }

    [Fact]
    public async Task An_asynchronous_transfer_with_inline_completions_allocates_nothing()
    {
        (NetStack client, NetStack server) = Pair(inline: true);
        using (client)
        using (server)
        {
            (TcpConnection near, TcpConnection far) = Connect(client, server);
            long all = long.MaxValue;
            Task receive = Task.Run(async () =>
            {
                var buffer = new byte[65536];
                long got = 0;
                for (; got < WarmUp; got += await far.ReceiveAsync(buffer).ConfigureAwait(false))
                {
                }
                for (int phase = 1; phase <= Phases; phase++)
                {
                    long start = GC.GetTotalAllocatedBytes(precise: true);
                    for (; got < WarmUp + (phase * Phase); got += await far.ReceiveAsync(buffer).ConfigureAwait(false))
                    {
                    }
                    all = Math.Min(all, GC.GetTotalAllocatedBytes(precise: true) - start);
                }
            });
            var data = new byte[65536];
            for (long sent = 0; sent < Total; sent += await near.SendAsync(data).ConfigureAwait(false))
            {
            }
            await receive.ConfigureAwait(false);
            output.WriteLine($"all threads {all} bytes for {Phase >> 20} MiB");
            Assert.InRange(all, 0, Noise);
        }
    }

    [Fact]
    public async Task Asynchronous_ping_pong_with_inline_completions_allocates_nothing()
    {
        (NetStack client, NetStack server) = Pair(inline: true);
        using (client)
        using (server)
        {
            (TcpConnection near, TcpConnection far) = Connect(client, server);
            const int warmUp = 2000, rounds = 3000;
            Task echo = Task.Run(async () =>
            {
                var buffer = new byte[64];
                for (int i = 0; i < warmUp + (Phases * rounds); i++)
                    await far.SendAsync(buffer.AsMemory(0, await far.ReceiveAsync(buffer).ConfigureAwait(false))).ConfigureAwait(false);
            });
            var data = new byte[64];
            long all = long.MaxValue, start = 0;
            for (int i = 0; i <= warmUp + (Phases * rounds); i++)
            {
                if (i >= warmUp && (i - warmUp) % rounds == 0)
                {
                    long now = GC.GetTotalAllocatedBytes(precise: true);
                    all = i == warmUp ? all : Math.Min(all, now - start);
                    start = now;
                    if (i == warmUp + (Phases * rounds))
                        break;
                }
                await near.SendAsync(data).ConfigureAwait(false);
                await near.ReceiveAsync(data).ConfigureAwait(false);
            }
            await echo.ConfigureAwait(false);
            output.WriteLine($"all threads {all} bytes for {rounds} round trips");
            Assert.InRange(all, 0, Noise);
        }
    }

    [Theory]
    [InlineData(false, 0)]
    [InlineData(false, 1400)]
    [InlineData(true, 0)]
    [InlineData(true, 1400)]
    public void An_answered_echo_allocates_nothing(bool v6, int payload)
    {
        using var link = new HostileLink();
        byte[] request = new PacketForge(1) { IsPlain = true }.Echo(v6, payload).ToArray();
        void Ping(int times)
        {
            for (int i = 0; i < times; i++)
                link.Inject(request);
        }
        Ping(500);
        Mib answers = v6 ? Mib.Icmp6OutEchoReplies : Mib.IcmpOutEchoReps;
        long answered = link.Stack.Cpus.Read(answers), before = GC.GetAllocatedBytesForCurrentThread();
        Ping(1000);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(1000, link.Stack.Cpus.Read(answers) - answered);
        Assert.Equal(0, allocated);
        int header = v6 ? 40 : 20;
        Assert.Equal(request[(header + 4)..], link.Sent[0][(header + 4)..].ToArray());
    }

    /// <summary>Connections come and go on a port, and are counted there anew each time.</summary>
    [Fact]
    public void A_port_that_changes_hands_allocates_nothing()
    {
        var port = new BindBucket(80);
        BindOwner[] owners = [.. Enumerable.Range(1, 5).Select(static i => new BindOwner(IpAddr.FromV4((uint)i), 0, false, false, 0, false, BindKind.Normal))];
        void Pass()
        {
            foreach (ref readonly BindOwner owner in owners.AsSpan())
                Assert.Equal(1, port.Add(owner).Count);
            Assert.Equal(2, port.Add(owners[2]).Count);
            port.Remove(owners[2]);
            foreach (ref readonly BindOwner owner in owners.AsSpan())
                port.Remove(owner);
            Assert.True(port.IsEmpty);
            Assert.False(port.Conflicts(owners[0], relax: false, asked: false));
        }
        Pass();
        long before = GC.GetAllocatedBytesForCurrentThread();
        port.Add(owners[3]);
        port.Add(owners[1]);
        port.Remove(owners[3]);
        Assert.True(port.Conflicts(owners[1], relax: false, asked: false));
        port.Remove(owners[1]);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Pass();
    }

    /// <summary>What a connection costs from connect to the last close, both ends, on the level of system calls. A ratchet.</summary>
    [Fact]
    public void A_connection_allocates_no_more_than_it_did()
    {
        const int warmUp = 500, measured = 1000, most = 3100;
        using var stack = new NetStack();
        Process p = stack.CreateProcess();
        var at = new IPEndPoint(IPAddress.Loopback, 80);
        int listener = p.Socket(2, 1, 0).Value;
        Assert.False(p.Bind(listener, at).IsError);
        Assert.False(p.Listen(listener, 10).IsError);
        var byteOfAddress = new byte[] { 2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 };
        void Run(int times)
        {
            for (int i = 0; i < times; i++)
            {
                int client = p.Socket(2, 1, 0).Value;
                Assert.False(p.Connect(client, byteOfAddress).IsError);
                int server = p.Accept(listener).Value;
                p.Close(client);
                p.Close(server);
            }
        }
        Run(warmUp);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Run(measured);
        long each = (GC.GetAllocatedBytesForCurrentThread() - before) / measured;
        output.WriteLine($"{each} bytes for each connection, both ends");
        Assert.InRange(each, 0, most);
    }

    // From so many bytes to so many; returns how far it came.
    private static long Transfer(long done, long end, Func<byte[], int> step, byte[] buffer)
    {
        for (; done < end; done += step(buffer))
        {
        }
        return done;
    }

    private static void PingPong(TcpConnection c, byte[] data, int rounds)
    {
        for (int i = 0; i < rounds; i++)
        {
            c.Send(data);
            c.Receive(data, MessageFlags.WaitAll);
        }
    }
}
