using System;
using System.Collections.Generic;
using System.Threading;
using Millrace.Tracing;

namespace Millrace.Tests.Concurrency;

/// <summary>Many readers of one connection: each byte wakes one of them, and what one leaves another gets.</summary>
public sealed class ReaderTests
{
    private const int Readers = 6;

    /// <summary>
    /// One segment holds a piece for each reader, and wakes one of them. The others get theirs only because each who leaves data hands
    /// over: without the hand-over this hangs.
    /// </summary>
    [Fact]
    public void One_segment_feeds_all_readers_by_hand_over() => Arena.Both(seeds: 40, times: 100, arena =>
    {
        const int piece = 10;
        (Process server, int listener) = arena.Listen();
        int connection = 0;
        arena.Spawn("acceptor", () => Publish(arena, server.Accept(listener).Must(), ref connection));
        for (int i = 0; i < Readers; i++)
        {
            arena.Spawn($"reader{i}", () =>
            {
                int fd = WaitFor(server, ref connection);
                Span<byte> buffer = stackalloc byte[piece];
                Assert.Equal(piece, server.Recv(fd, buffer).Must());
            });
        }
        arena.Spawn("writer", () =>
        {
            (Process client, int fd) = arena.Connect();
            WaitFor(client, ref connection);
            WaitUntilParked(arena, client, Readers);
            Assert.Equal(Readers * piece, client.Send(fd, new byte[Readers * piece]).Must());
        });
        arena.Run();
        AssertWakeUpsBounded(arena, dataSegments: 1, calls: Readers);
    });

    /// <summary>Every byte of many small segments is read once, and wake-ups are no more than rule 17 allows.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(64)]
    public void Readers_share_a_stream_of_small_segments(int size) => Arena.Both(seeds: 15, times: 25, arena =>
    {
        const int messages = 60;
        (Process server, int listener) = arena.Listen();
        int connection = 0;
        long read = 0, calls = 0;
        arena.Spawn("acceptor", () => Publish(arena, server.Accept(listener).Must(), ref connection));
        for (int i = 0; i < Readers; i++)
        {
            int room = 1 + (i * 5);
            arena.Spawn($"reader{i}", () =>
            {
                int fd = WaitFor(server, ref connection);
                var buffer = new byte[room];
                int n;
                do
                {
                    n = server.Recv(fd, buffer).Must();
                    Interlocked.Add(ref read, n);
                    Interlocked.Increment(ref calls);
                }
                while (n > 0);
            });
        }
        arena.Spawn("writer", () =>
        {
            (Process client, int fd) = arena.Connect();
            for (int i = 0; i < messages; i++)
                client.Send(fd, new byte[size]).Must();
            client.Shutdown(fd, 1).Must();
        });
        arena.Run();
        Assert.Equal(messages * size, read);
        AssertWakeUpsBounded(arena, arena.Server.Count(Mib.TcpInSegs), calls);
    });

    /// <summary>Readers that peek for more than there is sleep until there is more, and do not wake each other for ever.</summary>
    [Fact]
    public void Peeking_readers_that_want_more_do_not_wake_each_other() => Arena.Both(seeds: 40, times: 50, arena =>
    {
        const int first = 10, all = 40, peekers = 3;
        (Process server, int listener) = arena.Listen();
        int connection = 0;
        arena.Spawn("acceptor", () => Publish(arena, server.Accept(listener).Must(), ref connection));
        for (int i = 0; i < peekers; i++)
        {
            arena.Spawn($"peeker{i}", () =>
            {
                int fd = WaitFor(server, ref connection);
                Span<byte> buffer = stackalloc byte[all];
                Assert.Equal(all, server.Recv(fd, buffer, MessageFlags.Peek | MessageFlags.WaitAll).Must());
            });
        }
        arena.Spawn("writer", () =>
        {
            (Process client, int fd) = arena.Connect();
            WaitFor(client, ref connection);
            client.Send(fd, new byte[first]).Must();
            WaitUntilParked(arena, client, peekers);
            client.Send(fd, new byte[all - first]).Must();
        });
        arena.Run();
        // Acceptor; two arrivals; each peeker may hand over once per sleep or exit.
        Assert.InRange(arena.Server.Count(Mib.MillraceWakeups), 1, 1 + 2 + (3 * peekers));
    });

    /// <summary>FIN, like every end, wakes all.</summary>
    [Fact]
    public void The_end_of_the_stream_wakes_every_reader() => Arena.Both(seeds: 20, times: 30, arena =>
    {
        (Process server, int listener) = arena.Listen();
        int connection = 0;
        arena.Spawn("acceptor", () => Publish(arena, server.Accept(listener).Must(), ref connection));
        for (int i = 0; i < Readers; i++)
            arena.Spawn($"reader{i}", () => Assert.Equal(0, server.Recv(WaitFor(server, ref connection), new byte[1]).Must()));
        arena.Spawn("writer", () =>
        {
            (Process client, int fd) = arena.Connect();
            WaitFor(client, ref connection);
            WaitUntilParked(arena, client, Readers);
            client.Close(fd).Must();
        });
        arena.Run();
    });

    /// <summary>A message wakes a reader whose call is being cancelled: the other reader gets it then, and it is never lost.</summary>
    [Fact]
    public void A_cancelled_reader_passes_the_wake_up_on() => Arena.Both(seeds: 60, times: 150, arena =>
    {
        (Process server, int listener) = arena.Listen();
        using var cancel = new CancellationTokenSource();
        int connection = 0, got = 0, interrupted = 0;
        arena.Spawn("acceptor", () => Publish(arena, server.Accept(listener).Must(), ref connection));
        void Read(CancellationToken token)
        {
            SysResult r = server.Recv(WaitFor(server, ref connection), new byte[1], cancel: token);
            if (r.Error == Errno.EINTR)
                Interlocked.Increment(ref interrupted);
            else
                Interlocked.Add(ref got, r.Must());
        }
        arena.Spawn("cancelled", () => Read(cancel.Token));
        arena.Spawn("patient", () => Read(default));
        arena.Spawn("canceller", () =>
        {
            WaitFor(server, ref connection);
            server.Fcntl(listener, 3).Must();
            cancel.Cancel();
        });
        arena.Spawn("writer", () =>
        {
            (Process client, int fd) = arena.Connect();
            WaitFor(client, ref connection);
            client.Send(fd, "a"u8).Must();
            // If nobody was interrupted, the second reader wants one, too.
            while (Volatile.Read(ref got) + Volatile.Read(ref interrupted) == 0)
                client.Fcntl(fd, 3).Must();
            client.Send(fd, "b"u8).Must();
        });
        arena.Run();
        Assert.Equal(2, got + interrupted);
        Assert.NotEqual(0, got);
    });

    /// <summary>errno.tsv recv_blocked_close: closing the descriptor takes nothing from who is blocked on the file.</summary>
    [Fact]
    public void Close_under_a_blocked_reader_leaves_him_his_file() => Arena.Both(seeds: 20, times: 30, arena =>
    {
        (Process server, int listener) = arena.Listen();
        int connection = 0, closed = 0;
        arena.Spawn("acceptor", () => Publish(arena, server.Accept(listener).Must(), ref connection));
        arena.Spawn("reader", () => Assert.Equal(10, server.Recv(WaitFor(server, ref connection), new byte[100]).Must()));
        arena.Spawn("closer", () =>
        {
            int fd = WaitFor(server, ref connection);
            WaitUntilParked(arena, server, 1);
            server.Close(fd).Must();
            Interlocked.Exchange(ref closed, 1);
        });
        arena.Spawn("writer", () =>
        {
            (Process client, int fd) = arena.Connect();
            WaitFor(client, ref closed);
            client.Send(fd, new byte[10]).Must();
        });
        arena.Run();
    });

    [Fact]
    public void Shutdown_under_blocked_readers_ends_their_calls() => Arena.Both(seeds: 20, times: 30, arena =>
    {
        (Process server, int listener) = arena.Listen();
        int connection = 0;
        arena.Spawn("acceptor", () => Publish(arena, server.Accept(listener).Must(), ref connection));
        for (int i = 0; i < Readers; i++)
            arena.Spawn($"reader{i}", () => Assert.Equal(0, server.Recv(WaitFor(server, ref connection), new byte[100]).Must()));
        arena.Spawn("shutter", () =>
        {
            int fd = WaitFor(server, ref connection);
            WaitUntilParked(arena, server, Readers);
            server.Shutdown(fd, 2).Must();
        });
        arena.Spawn("client", () => arena.Connect());
        arena.Run();
    });

    /// <summary>An edge-triggered poller sees an edge for each arrival, and none because a blocked reader hands over.</summary>
    [Fact]
    public void A_hand_over_is_no_edge_to_epoll() => Arena.Both(seeds: 30, times: 40, arena =>
    {
        const uint edgeTriggered = 1u << 31, readable = 1;
        (Process server, int listener) = arena.Listen();
        int connection = 0, done = 0, edges = 0;
        arena.Spawn("poller", () =>
        {
            int fd = server.Accept(listener).Must();
            int epoll = server.EpollCreate().Must();
            server.EpollCtl(epoll, 1, fd, readable | edgeTriggered, 7).Must();
            Interlocked.Exchange(ref connection, fd);
            Span<EpollEvent> events = stackalloc EpollEvent[4];
            while (Volatile.Read(ref done) < Readers)
            {
                if (server.EpollWait(epoll, events, arena.IsSimulated ? 1000 : 5).Must() > 0)
                    edges++;
            }
        });
        for (int i = 0; i < Readers; i++)
        {
            arena.Spawn($"reader{i}", () =>
            {
                Assert.Equal(10, server.Recv(WaitFor(server, ref connection), new byte[10]).Must());
                Interlocked.Increment(ref done);
            });
        }
        arena.Spawn("writer", () =>
        {
            (Process client, int fd) = arena.Connect();
            WaitFor(client, ref connection);
            client.Send(fd, new byte[10 * Readers]).Must();
        });
        arena.Run();
        Assert.InRange(edges, 0, 1);
    });

    /// <summary>Blocked and awaiting readers take turns on one connection, and no byte is lost or read twice.</summary>
    [Fact]
    public void Blocking_and_asynchronous_readers_share_a_connection() => Arena.Both(seeds: 25, times: 40, arena =>
    {
        const int total = 3000;
        TcpListener listener = arena.Server.Listen(arena.EndPoint());
        TcpConnection? connection = null;
        var seen = new List<byte[]>();
        int ended = 0;
        arena.Spawn("acceptor", () =>
        {
            TcpConnection c = listener.Accept();
            for (int i = 0; i < 3; i++)
                _ = ReadAsync(c);
            Volatile.Write(ref connection, c);
        });
        void Take(ReadOnlySpan<byte> bytes)
        {
            lock (seen)
                seen.Add(bytes.ToArray());
        }
        async System.Threading.Tasks.Task ReadAsync(TcpConnection c)
        {
            var buffer = new byte[37];
            int n;
            while ((n = await c.ReceiveAsync(buffer)) > 0)
                Take(buffer.AsSpan(0, n));
            Interlocked.Increment(ref ended);
        }
        for (int i = 0; i < 3; i++)
        {
            arena.Spawn($"reader{i}", () =>
            {
                TcpConnection c = WaitFor(arena, ref connection);
                var buffer = new byte[53];
                int n;
                while ((n = c.Receive(buffer)) > 0)
                    Take(buffer.AsSpan(0, n));
                Interlocked.Increment(ref ended);
            });
        }
        arena.Spawn("writer", () =>
        {
            using TcpConnection c = arena.Client.Connect(arena.EndPoint());
            c.NoDelay = true;
            var message = new byte[total];
            for (int i = 0; i < total; i++)
                message[i] = (byte)i;
            for (int at = 0; at < total; at += 100)
                c.Send(message.AsSpan(at, 100));
        });
        arena.Run(() => Volatile.Read(ref ended) == 6);
        var counts = new int[256];
        int sum = 0;
        foreach (byte[] piece in seen)
        {
            foreach (byte b in piece)
                counts[b]++;
            sum += piece.Length;
        }
        Assert.Equal(total, sum);
        for (int i = 0; i < 256; i++)
            Assert.Equal((total - i + 255) / 256, counts[i]);
    });

    private static void AssertWakeUpsBounded(Arena arena, long dataSegments, long calls)
    {
        long wakeups = arena.Server.Count(Mib.MillraceWakeups);
        long handovers = arena.Server.Count(Mib.MillraceHandovers);
        // Beside arrivals and hand-overs there are the acceptor, and all who sleep at the end of the stream.
        Assert.InRange(wakeups, 0, dataSegments + handovers + 1 + Readers);
        Assert.InRange(handovers, 0, calls + arena.Server.Count(Mib.MillraceParks));
    }

    // Polls by a call that does nothing, so that the simulator's clock and its other tasks go on.
    internal static int WaitFor(Process p, ref int value)
    {
        int now;
        while ((now = Volatile.Read(ref value)) == 0)
        {
            p.Close(-1);
            Thread.Yield();
        }
        return now;
    }

    internal static T WaitFor<T>(Arena arena, ref T? value)
        where T : class
    {
        Process p = arena.Client.CreateProcess();
        T? now;
        while ((now = Volatile.Read(ref value)) is null)
        {
            p.Close(-1);
            Thread.Yield();
        }
        return now;
    }

    // The readers begin; those who sleep from now on are they.
    private static void Publish(Arena arena, int fd, ref int connection)
    {
        arena.ParksBefore = arena.Server.Count(Mib.MillraceParks);
        Interlocked.Exchange(ref connection, fd);
    }

    private static void WaitUntilParked(Arena arena, Process p, int sleepers)
    {
        while (arena.Server.Count(Mib.MillraceParks) - arena.ParksBefore < sleepers)
        {
            p.Close(-1);
            Thread.Yield();
        }
    }
}
