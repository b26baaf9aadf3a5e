using System;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Inet;
using Socket = System.Net.Sockets.Socket;

namespace Millrace.Tests.Face;

/// <summary>The .NET face beside System.Net.Sockets on the host's loopback: the same outcome for the same thing.</summary>
public sealed class SystemSocketsTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static readonly IPEndPoint s_any = new(IPAddress.Loopback, 0);

    /// <summary>One connection of one of the two kinds, as the scenarios use it.</summary>
    private abstract class Side : IDisposable
    {
        public abstract Task<int> ReceiveAsync(byte[] buffer, CancellationToken cancel);

        public abstract int Receive(byte[] buffer);

        public abstract int Send(byte[] data);

        public abstract Task<int> SendAsync(byte[] data, CancellationToken cancel);

        public abstract void Shutdown(SocketShutdown how);

        public abstract void Abort();

        public abstract Stream Stream { get; }

        public abstract void Dispose();
    }

    private sealed class SystemSide(Socket socket) : Side
    {
        private readonly NetworkStream _stream = new(socket, ownsSocket: false);

        public override Task<int> ReceiveAsync(byte[] buffer, CancellationToken cancel) => socket.ReceiveAsync(buffer.AsMemory(), cancel).AsTask();

        public override int Receive(byte[] buffer) => socket.Receive(buffer);

        public override int Send(byte[] data) => socket.Send(data);

        public override Task<int> SendAsync(byte[] data, CancellationToken cancel) => socket.SendAsync(data.AsMemory(), cancel).AsTask();

        public override void Shutdown(SocketShutdown how) => socket.Shutdown(how);

        public override void Abort() => socket.Close(0);

        public override Stream Stream => _stream;

        public override void Dispose() => socket.Dispose();
    }

    private sealed class MillraceSide(TcpConnection connection) : Side
    {
        public override Task<int> ReceiveAsync(byte[] buffer, CancellationToken cancel) => connection.ReceiveAsync(buffer, cancel).AsTask();

        public override int Receive(byte[] buffer) => connection.Receive(buffer, cancel: CancellationToken.None);

        public override int Send(byte[] data) => connection.Send(data, cancel: CancellationToken.None);

        public override Task<int> SendAsync(byte[] data, CancellationToken cancel) => connection.SendAsync(data, cancel: cancel).AsTask();

        public override void Shutdown(SocketShutdown how) => connection.Shutdown(how);

        public override void Abort() => connection.Abort();

        public override Stream Stream => connection.GetStream();

        public override void Dispose() => connection.Dispose();
    }

    private static string Outcome(Exception failure) => failure switch
    {
        SocketException e => $"SocketException {e.SocketErrorCode}",
        IOException { InnerException: SocketException e } => $"IOException of {e.SocketErrorCode}",
        ObjectDisposedException => "ObjectDisposedException",
        OperationCanceledException => "OperationCanceledException",
        _ => failure.GetType().Name,
    };

    private static async Task<string> Outcome<T>(Func<Task<T>> call)
    {
        try
        {
            return $"{await call()}";
        }
        catch (Exception e)
        {
            return Outcome(e);
        }
    }

    private static string Outcome<T>(Func<T> call)
    {
        try
        {
            return $"{call()}";
        }
        catch (Exception e)
        {
            return Outcome(e);
        }
    }

    // What a blocking call in another thread comes to when its object is disposed of. Nobody can see from outside that it blocks: a call
    // that has not begun by then finds the object gone, and it is tried again with more time.
    private static async Task<string> DisposedUnder<T>(Func<Task<(IDisposable Target, Func<T> Call)>> prepare)
    {
        string? outcome = null;
        for (int wait = 20; outcome is null or "ObjectDisposedException"; wait *= 2)
        {
            (IDisposable target, Func<T> call) = await prepare();
            var thread = new Thread(() => outcome = Outcome(call)) { IsBackground = true };
            thread.Start();
            await Task.Delay(wait, Cancel);
            target.Dispose();
            Assert.True(thread.Join(10_000), "the blocked call was let go");
        }
        return outcome;
    }

    private static async Task Same(Func<Side, Side, Task<string>> scenario)
    {
        (Side client, Side server) = await SystemPair();
        string expected = await scenario(client, server);
        using var stack = new NetStack();
        (Side mine, Side theirs) = await OurPair(stack);
        Assert.Equal(expected, await scenario(mine, theirs));
    }

    private static async Task<(Side Client, Side Server)> SystemPair()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(s_any);
        listener.Listen(4);
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(listener.LocalEndPoint!, Cancel);
        return (new SystemSide(client), new SystemSide(await listener.AcceptAsync(Cancel)));
    }

    private static async Task<(Side Client, Side Server)> OurPair(NetStack stack)
    {
        using TcpListener listener = stack.Listen(s_any);
        TcpConnection client = await stack.ConnectAsync(listener.LocalEndPoint!, cancel: Cancel);
        return (new MillraceSide(client), new MillraceSide(await listener.AcceptAsync(Cancel)));
    }

    private static readonly byte[] s_four = new byte[4];

    [Fact]
    public Task Receive_after_a_reset_and_again() => Same(async (client, server) =>
    {
        server.Abort();
        string first = await Outcome(() => client.ReceiveAsync(new byte[4], Cancel));
        return first + ", " + Outcome(() => client.Receive(new byte[4]));
    });

    [Fact]
    public Task Blocking_receive_after_a_reset() => Same((client, server) =>
    {
        server.Abort();
        return Task.FromResult(Outcome(() => client.Receive(new byte[4])));
    });

    [Fact]
    public Task Stream_read_after_a_reset() => Same(async (client, server) =>
    {
        server.Abort();
        return Outcome(() => client.Stream.Read(new byte[4], 0, 4)) + ", " + await Outcome(() => client.Stream.ReadAsync(new byte[4], 0, 4, Cancel));
    });

    [Fact]
    public Task Receive_after_the_end() => Same(async (client, server) =>
    {
        server.Dispose();
        return await Outcome(() => client.ReceiveAsync(new byte[4], Cancel)) + ", " + Outcome(() => client.Receive(new byte[4]));
    });

    [Fact]
    public Task Send_after_shutdown() => Same(async (client, server) =>
    {
        client.Shutdown(SocketShutdown.Send);
        return Outcome(() => client.Send(s_four)) + ", " + await Outcome(() => client.SendAsync(s_four, Cancel)) + ", " + Outcome(() => server.Receive(new byte[4]));
    });

    [Fact]
    public Task Send_to_a_peer_that_has_reset() => Same(async (client, server) =>
    {
        server.Abort();
        string first = await Outcome(() => client.SendAsync(s_four, Cancel));
        return first + ", " + Outcome(() => client.Send(s_four));
    });

    [Fact]
    public Task Shutdown_of_a_connection_that_was_reset() => Same((client, server) =>
    {
        server.Abort();
        Outcome(() => client.Receive(new byte[4]));
        return Task.FromResult(Outcome(() =>
        {
            client.Shutdown(SocketShutdown.Both);
            return 0;
        }));
    });

    [Fact]
    public Task Dispose_ends_a_pending_receive() => Same(async (client, _) =>
    {
        Task<int> pending = client.ReceiveAsync(new byte[4], CancellationToken.None);
        client.Dispose();
        return await Outcome(() => pending);
    });

    [Fact]
    public async Task Dispose_ends_a_blocked_receive_and_a_blocked_send()
    {
        using var stack = new NetStack();

        Task<string> Receive(Func<Task<(Side Client, Side Server)>> pair) => DisposedUnder<int>(async () =>
        {
            (Side client, _) = await pair();
            return (client, () => client.Receive(new byte[4]));
        });

        Task<string> Send(Func<Task<(Side Client, Side Server)>> pair) => DisposedUnder<int>(async () =>
        {
            (Side client, _) = await pair();
            return (client, () => client.Send(new byte[64 << 20]));
        });

        // There it is sometimes ConnectionReset: what unblocks the call is a reset, and the two race.
        string[] theirs = ["SocketException ConnectionAborted", "SocketException ConnectionReset"];
        Assert.Contains(await Receive(SystemPair), theirs);
        Assert.Contains(await Send(SystemPair), theirs);
        Assert.Equal(theirs[0], await Receive(() => OurPair(stack)));
        Assert.Equal(theirs[0], await Send(() => OurPair(stack)));
    }

    [Fact]
    public Task Dispose_ends_a_pending_send() => Same(async (client, _) =>
    {
        Task<int> pending = client.SendAsync(new byte[64 << 20], CancellationToken.None);
        client.Dispose();
        return await Outcome(() => pending);
    });

    [Fact]
    public Task Calls_on_what_was_disposed_of() => Same(async (client, _) =>
    {
        Stream stream = client.Stream;
        client.Dispose();
        client.Dispose();
        return string.Join(", ", Outcome(() => client.Receive(new byte[4])), Outcome(() => client.Send(s_four)),
            await Outcome(() => client.ReceiveAsync(new byte[4], Cancel)), await Outcome(() => client.SendAsync(s_four, Cancel)));
    });

    [Fact]
    public Task A_receive_that_is_cancelled() => Same(async (client, server) =>
    {
        using var source = new CancellationTokenSource();
        Task<int> pending = client.ReceiveAsync(new byte[4], source.Token);
        await source.CancelAsync();
        string cancelled = await Outcome(() => pending);
        string already = await Outcome(() => client.ReceiveAsync(new byte[4], source.Token));
        server.Send(s_four);
        return cancelled + ", " + already + ", " + await Outcome(() => client.ReceiveAsync(new byte[4], Cancel));
    });

    [Fact]
    public Task A_send_that_is_cancelled() => Same(async (client, _) =>
    {
        using var source = new CancellationTokenSource();
        Task<int> pending = client.SendAsync(new byte[64 << 20], source.Token);
        await source.CancelAsync();
        return await Outcome(() => pending);
    });

    [Fact]
    public Task A_read_that_takes_too_long() => Same((client, _) =>
    {
        client.Stream.ReadTimeout = 50;
        return Task.FromResult(Outcome(() => client.Stream.Read(new byte[4], 0, 4)));
    });

    [Fact]
    public Task A_receive_of_nothing_waits_for_something() => Same(async (client, server) =>
    {
        Task<int> pending = client.ReceiveAsync([], Cancel);
        bool early = pending.IsCompleted;
        server.Send(s_four);
        return $"{early}, {await Outcome(() => pending)}, {await Outcome(() => client.ReceiveAsync(new byte[8], Cancel))}";
    });

    [Fact]
    public Task Blocking_and_asynchronous_calls_mix() => Same(async (client, server) =>
    {
        Task<int> first = client.ReceiveAsync(new byte[4], Cancel);
        server.Send(s_four);
        string text = $"{await first}";
        server.Send(new byte[2]);
        text += $", {client.Receive(new byte[4])}";
        await server.SendAsync(new byte[3], Cancel);
        return text + $", {client.Stream.Read(new byte[8], 0, 8)}";
    });

    // ---- Without a connection ----

    [Fact]
    public async Task Connecting_where_nobody_listens()
    {
        int port;
        using (var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp))
        {
            probe.Bind(s_any);
            port = ((IPEndPoint)probe.LocalEndPoint!).Port;
        }
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        string expected = await Outcome(async () =>
        {
            await client.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), Cancel);
            return 0;
        });
        using var stack = new NetStack();
        Assert.Equal(expected, await Outcome(() => stack.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), cancel: Cancel).AsTask()));
        Assert.Equal(expected, Outcome(() => stack.Connect(new IPEndPoint(IPAddress.Loopback, port), cancel: Cancel)));
        Assert.Equal("SocketException ConnectionRefused", expected);
    }

    [Fact]
    public void Listening_on_what_is_taken_or_not_ours()
    {
        static string System(IPEndPoint at) => Outcome(() =>
        {
            using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            listener.Bind(at);
            listener.Listen(1);
            return 0;
        });

        using var taken = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(s_any);
        taken.Listen(1);
        using var stack = new NetStack();
        using TcpListener ours = stack.Listen(s_any);
        Assert.Equal(System((IPEndPoint)taken.LocalEndPoint!), Outcome(() => stack.Listen(ours.LocalEndPoint!)));
        var foreign = new IPEndPoint(IPAddress.Parse("192.0.2.1"), 80);
        Assert.Equal(System(foreign), Outcome(() => stack.Listen(foreign)));
    }

    [Fact]
    public async Task Disposing_of_a_listener_ends_who_waits_at_it()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(s_any);
        listener.Listen(1);
        Task<Socket> pending = listener.AcceptAsync(CancellationToken.None).AsTask();
        listener.Dispose();
        string expected = await Outcome(() => pending);
        using var stack = new NetStack();
        TcpListener ours = stack.Listen(s_any);
        Task<TcpConnection> waiting = ours.AcceptAsync(CancellationToken.None).AsTask();
        ours.Dispose();
        Assert.Equal(expected, await Outcome(() => waiting));

        Assert.Equal("ObjectDisposedException", Outcome(() => ours.Accept(Cancel)));
    }

    [Fact]
    public async Task Disposing_of_a_listener_ends_who_is_blocked_at_it()
    {
        string expected = await DisposedUnder<Socket>(() =>
        {
            var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            listener.Bind(s_any);
            listener.Listen(1);
            return Task.FromResult<(IDisposable, Func<Socket>)>((listener, listener.Accept));
        });
        using var stack = new NetStack();
        Assert.Equal(expected, await DisposedUnder<TcpConnection>(() =>
        {
            TcpListener listener = stack.Listen(s_any);
            return Task.FromResult<(IDisposable, Func<TcpConnection>)>((listener, () => listener.Accept(CancellationToken.None)));
        }));
    }

    [Fact]
    public async Task Cancelling_an_accept_loses_no_connection()
    {
        using var stack = new NetStack();
        using TcpListener listener = stack.Listen(s_any);
        using var source = new CancellationTokenSource();
        Task<TcpConnection> pending = listener.AcceptAsync(source.Token).AsTask();
        await source.CancelAsync();
        Assert.Equal("OperationCanceledException", await Outcome(() => pending));
        using TcpConnection client = await stack.ConnectAsync(listener.LocalEndPoint!, cancel: Cancel);
        using TcpConnection server = await listener.AcceptAsync(Cancel);
        Assert.Equal(client.LocalEndPoint, server.RemoteEndPoint);
    }

    [Fact]
    public void The_configured_options_hold_before_the_connection_is_made()
    {
        using var stack = new NetStack();
        using TcpListener listener = stack.Listen(s_any);
        var from = new IPEndPoint(IPAddress.Parse("127.0.0.9"), 4321);
        using TcpConnection client = stack.Connect(listener.LocalEndPoint!, new TcpConnectOptions
        {
            LocalEndPoint = from,
            NoDelay = true,
            Configure = static c => c.SetOption(SocketLevel.Socket, So.KeepAlive, 1),
        }, Cancel);
        using TcpConnection server = listener.Accept(Cancel);
        Assert.Equal(from, server.RemoteEndPoint);
        Assert.True(client.NoDelay);
        Span<byte> value = stackalloc byte[4];
        Assert.Equal(4, client.GetOption(SocketLevel.Socket, So.KeepAlive, value));
        Assert.Equal(1, value[0]);
    }
}
