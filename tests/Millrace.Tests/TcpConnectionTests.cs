using System;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Tracing;

namespace Millrace.Tests;

/// <summary>Asynchronous receives that want all they asked for: MSG_WAITALL.</summary>
public sealed class TcpConnectionTests : IDisposable
{
    private static readonly IPEndPoint At = new(IPAddress.Loopback, 80);

    private readonly NetStack _stack = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _stack.Dispose();

    private async Task<(TcpConnection Sender, TcpConnection Reader)> ConnectAsync()
    {
        await using TcpListener listener = _stack.Listen(At);
        TcpConnection sender = await _stack.ConnectAsync(At, cancel: Cancel);
        return (sender, await listener.AcceptAsync(Cancel));
    }

    [Fact]
    public async Task A_receive_of_all_waits_for_the_last_byte()
    {
        (TcpConnection sender, TcpConnection reader) = await ConnectAsync();
        byte[] buffer = new byte[300_000];
        Task<int> read = reader.ReceiveAsync(buffer, MessageFlags.WaitAll, Cancel).AsTask();
        byte[] sent = new byte[buffer.Length];
        new Random(1).NextBytes(sent);
        await sender.SendAsync(sent.AsMemory(0, 1), cancel: Cancel);
        await sender.SendAsync(sent.AsMemory(1, sent.Length - 2), cancel: Cancel);
        Assert.False(read.IsCompleted);
        await sender.SendAsync(sent.AsMemory(sent.Length - 1), cancel: Cancel);
        Assert.Equal(buffer.Length, await read);
        Assert.Equal(sent, buffer);
        sender.Dispose();
        reader.Dispose();
    }

    [Fact]
    public async Task A_receive_of_all_returns_the_part_that_came_before_the_end()
    {
        (TcpConnection sender, TcpConnection reader) = await ConnectAsync();
        Task<int> read = reader.ReceiveAsync(new byte[10], MessageFlags.WaitAll, Cancel).AsTask();
        await sender.SendAsync(new byte[4], cancel: Cancel);
        sender.Dispose();
        Assert.Equal(4, await read);
        Assert.Equal(0, await reader.ReceiveAsync(new byte[10], MessageFlags.WaitAll, Cancel));
        reader.Dispose();
    }

    [Fact]
    public async Task A_receive_of_all_that_finds_a_part_and_the_end_waits_for_nothing()
    {
        (TcpConnection sender, TcpConnection reader) = await ConnectAsync();
        await sender.SendAsync(new byte[4], cancel: Cancel);
        sender.Dispose();
        Assert.True(await reader.WaitForHangUpAsync(Cancel));
        Assert.Equal(4, await reader.ReceiveAsync(new byte[10], MessageFlags.WaitAll, Cancel));
        reader.Dispose();
    }

    [Fact]
    public async Task A_receive_of_all_returns_the_part_that_came_before_a_reset_which_the_next_one_tells()
    {
        (TcpConnection sender, TcpConnection reader) = await ConnectAsync();
        Task<int> read = reader.ReceiveAsync(new byte[10], MessageFlags.WaitAll, Cancel).AsTask();
        await sender.SendAsync(new byte[4], cancel: Cancel);
        // It has taken the four before the reset comes.
        while (_stack.ListTcpSockets() is var list && Unread(list, reader) > 0)
            await Task.Yield();
        sender.Abort();
        Assert.Equal(4, await read);
        SocketException error = await Assert.ThrowsAsync<SocketException>(() => reader.ReceiveAsync(new byte[10], Cancel).AsTask());
        Assert.Equal(SocketError.ConnectionReset, error.SocketErrorCode);
        reader.Dispose();
    }

    [Fact]
    public async Task A_cancelled_receive_of_all_returns_the_part_that_it_took()
    {
        (TcpConnection sender, TcpConnection reader) = await ConnectAsync();
        using var cancel = new CancellationTokenSource();
        Task<int> read = reader.ReceiveAsync(new byte[10], MessageFlags.WaitAll, cancel.Token).AsTask();
        await sender.SendAsync(new byte[4], cancel: Cancel);
        await cancel.CancelAsync();
        Assert.Equal(4, await read);
        sender.Dispose();
        reader.Dispose();
    }

    [Fact]
    public async Task A_peek_of_all_waits_for_all_and_takes_nothing()
    {
        (TcpConnection sender, TcpConnection reader) = await ConnectAsync();
        var peeked = new byte[10];
        Task<int> peek = reader.ReceiveAsync(peeked, MessageFlags.Peek | MessageFlags.WaitAll, Cancel).AsTask();
        for (byte i = 0; i < 10; i++)
        {
            Assert.False(peek.IsCompleted);
            await sender.SendAsync(new[] { i }, cancel: Cancel);
        }
        Assert.Equal(10, await peek);
        Assert.Equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], peeked);
        var read = new byte[10];
        Assert.Equal(10, await reader.ReceiveAsync(read, MessageFlags.WaitAll, Cancel));
        Assert.Equal(peeked, read);
        sender.Dispose();
        reader.Dispose();
    }

    [Fact]
    public async Task A_peek_of_all_ends_with_what_there_is_at_the_end_the_urgent_byte_or_a_cancellation()
    {
        const MessageFlags peekAll = MessageFlags.Peek | MessageFlags.WaitAll;
        (TcpConnection sender, TcpConnection reader) = await ConnectAsync();
        using var cancel = new CancellationTokenSource();
        await sender.SendAsync(new byte[4], cancel: Cancel);
        Task<int> cancelled = reader.ReceiveAsync(new byte[10], peekAll, cancel.Token).AsTask();
        await cancel.CancelAsync();
        Assert.Equal(4, await cancelled);
        Task<int> marked = reader.ReceiveAsync(new byte[10], peekAll, Cancel).AsTask();
        await sender.SendAsync(new byte[3], MessageFlags.OutOfBand, Cancel);
        Assert.Equal(6, await marked);
        Assert.Equal(6, await reader.ReceiveAsync(new byte[6], MessageFlags.WaitAll, Cancel));
        Task<int> ended = reader.ReceiveAsync(new byte[10], peekAll, Cancel).AsTask();
        await sender.SendAsync(new byte[4], cancel: Cancel);
        sender.Dispose();
        Assert.Equal(4, await ended);
        reader.Dispose();
    }

    [Fact]
    public async Task Peeks_that_want_more_do_not_wake_each_other()
    {
        (TcpConnection sender, TcpConnection reader) = await ConnectAsync();
        Task<int>[] peeks = [.. Enumerable.Range(0, 3).Select(_ => reader.ReceiveAsync(new byte[10], MessageFlags.Peek | MessageFlags.WaitAll, Cancel).AsTask())];
        long before = _stack.Cpus.Read(Mib.MillraceAsyncWakeups);
        await sender.SendAsync(new byte[4], cancel: Cancel);
        await sender.SendAsync(new byte[6], cancel: Cancel);
        int[] seen = await Task.WhenAll(peeks);
        Assert.Equal([10, 10, 10], seen);
        // Each is woken once for each of the two writes.
        Assert.InRange(_stack.Cpus.Read(Mib.MillraceAsyncWakeups) - before, 3, 6);
        sender.Dispose();
        reader.Dispose();
    }

    private static int Unread(System.Collections.Generic.IReadOnlyList<TcpSocketEntry> list, TcpConnection reader)
    {
        foreach (TcpSocketEntry entry in list)
        {
            if (entry.Local.Equals(reader.LocalEndPoint) && entry.State == TcpState.Established && entry.Remote.Equals(reader.RemoteEndPoint))
                return entry.ReceiveQueue;
        }
        return 0;
    }
}
