using System;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;

#pragma warning disable xUnit1051 // the calls must end by what the story does, not by the test's token

namespace Millrace.Tests.Concurrency;

/// <summary>Many tasks that open, accept, close and cancel at once.</summary>
public sealed class ConnectionStormTests
{
    /// <summary>Each connection wakes one acceptor, and none is forgotten in the queue.</summary>
    [Fact]
    public void Each_connection_wakes_one_of_many_acceptors() => Arena.Both(seeds: 30, times: 40, arena =>
    {
        const int acceptors = 8;
        (Process server, int listener) = arena.Listen();
        for (int i = 0; i < acceptors; i++)
            arena.Spawn($"acceptor{i}", () => server.Accept(listener).Must());
        for (int i = 0; i < 2; i++)
        {
            arena.Spawn($"client{i}", () =>
            {
                for (int n = 0; n < acceptors / 2; n++)
                    arena.Connect();
            });
        }
        arena.Run();
        Assert.InRange(arena.Server.Count(Mib.MillraceWakeups), 0, acceptors + arena.Server.Count(Mib.MillraceHandovers));
    });

    /// <summary>
    /// A connection that is queued between an asynchronous accept's look and its place on the wait queue is not overlooked: softirqs add
    /// to the accept queue without owning the listener.
    /// </summary>
    [Fact]
    public void Asynchronous_accepts_overlook_no_connection() => Arena.Both(seeds: 60, times: 100, arena =>
    {
        const int connections = 12;
        TcpListener listener = arena.Server.Listen(arena.EndPoint());
        int accepted = 0;
        async Task AcceptAsync()
        {
            for (int i = 0; i < connections / 3; i++)
            {
                TcpConnection c = await listener.AcceptAsync();
                Interlocked.Increment(ref accepted);
                c.Dispose();
            }
        }
        for (int i = 0; i < 3; i++)
            arena.Spawn($"acceptor{i}", () => _ = AcceptAsync());
        for (int i = 0; i < 3; i++)
        {
            arena.Spawn($"client{i}", () =>
            {
                for (int n = 0; n < connections / 3; n++)
                    arena.Client.Connect(arena.EndPoint()).Dispose();
            });
        }
        arena.Run(() => Volatile.Read(ref accepted) == connections);
    });

    /// <summary>Connect, echo, close, from both ends at once, on few CPUs.</summary>
    [Fact]
    public void Connections_come_and_go_in_a_storm() => Arena.Both(seeds: 20, times: 10, arena =>
    {
        const int tasks = 3;
        int rounds = arena.IsSimulated ? 4 : 50;
        (Process server, int listener) = arena.Listen();
        for (int i = 0; i < tasks; i++)
        {
            arena.Spawn($"server{i}", () =>
            {
                var buffer = new byte[100];
                for (int n = 0; n < rounds; n++)
                {
                    int fd = server.Accept(listener).Must();
                    int got;
                    while ((got = server.Recv(fd, buffer).Must()) > 0)
                        server.Send(fd, buffer.AsSpan(0, got)).Must();
                    server.Close(fd).Must();
                }
            });
            arena.Spawn($"client{i}", () =>
            {
                var buffer = new byte[100];
                for (int n = 0; n < rounds; n++)
                {
                    (Process client, int fd) = arena.Connect();
                    client.Send(fd, new byte[100]).Must();
                    Assert.Equal(100, client.Recv(fd, buffer, MessageFlags.WaitAll).Must());
                    // Some shut down first, some close at once: both sides meet every order of FINs.
                    if (n % 2 == 0)
                    {
                        client.Shutdown(fd, 1).Must();
                        Assert.Equal(0, client.Recv(fd, buffer).Must());
                    }
                    client.Close(fd).Must();
                }
            });
        }
        arena.Run();
        // A look-up that misses a connection which is there answers with a RST.
        Assert.Equal(0, arena.Server.Count(Mib.TcpOutRsts) + arena.Client.Count(Mib.TcpOutRsts));
    });

    /// <summary>Two stacks that send to each other at the same time, with one CPU each, wait for each other's CPU and must not for ever.</summary>
    [Fact]
    public void Two_stacks_that_send_crosswise_do_not_wait_for_each_other() => Arena.Both(seeds: 20, times: 5, arena =>
    {
        int bytes = arena.IsSimulated ? 300_000 : 8_000_000;
        (Process server, int listener) = arena.Listen();
        int connection = 0, outgoing = 0;
        (Process Process, int Fd) client = default;
        arena.Spawn("accept", () => Interlocked.Exchange(ref connection, server.Accept(listener).Must()));
        arena.Spawn("connect", () =>
        {
            client = arena.Connect();
            Interlocked.Exchange(ref outgoing, 1);
        });
        void Send(string name, Func<(Process, int)> end) => arena.Spawn(name, () =>
        {
            (Process p, int fd) = end();
            var data = new byte[5000];
            for (int sent = 0; sent < bytes;)
                sent += p.Send(fd, data.AsSpan(0, Math.Min(data.Length, bytes - sent))).Must();
        });
        void Receive(string name, Func<(Process, int)> end) => arena.Spawn(name, () =>
        {
            (Process p, int fd) = end();
            var data = new byte[5000];
            for (int got = 0; got < bytes;)
                got += p.Recv(fd, data).Must();
        });
        (Process, int) Server() => (server, ReaderTests.WaitFor(server, ref connection));
        (Process, int) Client()
        {
            ReaderTests.WaitFor(server, ref outgoing);
            return client;
        }
        Send("server sends", Server);
        Receive("server receives", Server);
        Send("client sends", Client);
        Receive("client receives", Client);
        arena.Run();
    });

    [Fact]
    public void Disposing_of_a_listener_ends_every_accept() => Arena.Both(seeds: 30, times: 50, arena =>
    {
        TcpListener listener = arena.Server.Listen(arena.EndPoint());
        int ended = 0;
        void Expect(Exception? e)
        {
            Assert.True(e is SocketException { SocketErrorCode: SocketError.OperationAborted or SocketError.Interrupted } or ObjectDisposedException,
                e?.ToString() ?? "accepted");
            Interlocked.Increment(ref ended);
        }
        for (int i = 0; i < 3; i++)
        {
            arena.Spawn($"acceptor{i}", () => Expect(Record.Exception(() => listener.Accept())));
            arena.Spawn($"awaiter{i}", () => _ = AwaitAsync());
        }
        async Task AwaitAsync() => Expect(await Record.ExceptionAsync(async () => await listener.AcceptAsync()));
        arena.Spawn("closer", listener.Dispose);
        arena.Run(() => Volatile.Read(ref ended) == 6);
    });

    [Fact]
    public void Disposing_of_a_connection_ends_every_call_on_it() => Arena.Both(seeds: 30, times: 50, arena =>
    {
        TcpListener listener = arena.Server.Listen(arena.EndPoint());
        TcpConnection? connection = null;
        int ended = 0;
        void Expect(Exception? e)
        {
            Assert.True(e is SocketException { SocketErrorCode: SocketError.OperationAborted or SocketError.ConnectionAborted } or ObjectDisposedException,
                e?.ToString() ?? "received");
            Interlocked.Increment(ref ended);
        }
        async Task AwaitAsync(TcpConnection c) => Expect(await Record.ExceptionAsync(async () => await c.ReceiveAsync(new byte[1])));
        for (int i = 0; i < 3; i++)
        {
            arena.Spawn($"reader{i}", () =>
            {
                TcpConnection c = ReaderTests.WaitFor(arena, ref connection);
                Expect(Record.Exception(() => c.Receive(new byte[1])));
            });
            arena.Spawn($"awaiter{i}", () => _ = AwaitAsync(ReaderTests.WaitFor(arena, ref connection)));
        }
        arena.Spawn("accept", () =>
        {
            TcpConnection c = listener.Accept();
            Volatile.Write(ref connection, c);
            c.Dispose();
        });
        arena.Spawn("client", () => arena.Client.Connect(arena.EndPoint()));
        arena.Run(() => Volatile.Read(ref ended) == 6);
    });

    /// <summary>
    /// An asynchronous receive that is cancelled while a message wakes it either has the message or leaves it to the next one; and its
    /// slot is used again only when the cancellation is through with it.
    /// </summary>
    [Fact]
    public void A_cancelled_asynchronous_reader_passes_the_wake_up_on() => Arena.Both(seeds: 60, times: 100, arena =>
    {
        TcpListener listener = arena.Server.Listen(arena.EndPoint());
        TcpConnection? connection = null;
        int got = 0, cancelled = 0, ended = 0;
        using var cancel = new CancellationTokenSource();
        async Task ReadAsync(TcpConnection c, CancellationToken token)
        {
            try
            {
                Interlocked.Add(ref got, await c.ReceiveAsync(new byte[1], token));
            }
            catch (OperationCanceledException)
            {
                Interlocked.Increment(ref cancelled);
            }
            Interlocked.Increment(ref ended);
        }
        arena.Spawn("reader", () =>
        {
            TcpConnection c = listener.Accept();
            _ = ReadAsync(c, cancel.Token);
            _ = ReadAsync(c, default);
            Volatile.Write(ref connection, c);
        });
        arena.Spawn("canceller", () =>
        {
            ReaderTests.WaitFor(arena, ref connection);
            cancel.Cancel();
        });
        arena.Spawn("writer", () =>
        {
            TcpConnection c = arena.Client.Connect(arena.EndPoint());
            ReaderTests.WaitFor(arena, ref connection);
            c.Send("a"u8);
            Process idle = arena.Client.CreateProcess();
            while (Volatile.Read(ref ended) == 0)
                idle.Close(-1);
            c.Send("b"u8);
        });
        arena.Run(() => Volatile.Read(ref ended) == 2);
        Assert.Equal(2, got + cancelled);
        Assert.NotEqual(0, got);
    });

    /// <summary>A family that goes while sockets are made of it: a create finds it whole, or finds none.</summary>
    [Fact]
    public void Families_come_and_go_while_sockets_are_made() => Arena.Both(seeds: 10, times: 5, arena =>
    {
        int rounds = arena.IsSimulated ? 50 : 5000;
        const int family = 40;
        NetFamilies families = arena.Server.Families;
        int made = 0, refused = 0;
        for (int i = 0; i < 2; i++)
        {
            arena.Spawn($"maker{i}", () =>
            {
                Process p = arena.Server.CreateProcess();
                for (int n = 0; n < rounds; n++)
                {
                    SysResult r = p.Socket(family, 1, 0);
                    if (r.Error == Errno.EAFNOSUPPORT)
                    {
                        Interlocked.Increment(ref refused);
                        continue;
                    }
                    Interlocked.Increment(ref made);
                    p.Close(r.Must()).Must();
                }
            });
        }
        arena.Spawn("registrar", () =>
        {
            Process p = arena.Server.CreateProcess();
            for (int n = 0; n < rounds; n++)
            {
                Assert.Equal(Errno.OK, families.Register(new EmptyFamily(family)));
                Assert.Equal(Errno.EEXIST, families.Register(new EmptyFamily(family)));
                p.Close(-1);
                families.Unregister(family);
                p.Close(-1);
            }
        });
        arena.Run();
        Assert.Equal(2 * rounds, made + refused);
    });

    /// <summary>A family whose sockets have nothing behind them.</summary>
    private sealed class EmptyFamily(int number) : NetProtoFamily
    {
        public override int Family => number;

        public override Errno Create(Cpu cpu, Millrace.Sockets.Socket socket, int protocol, Credentials credentials) => Errno.OK;
    }
}
