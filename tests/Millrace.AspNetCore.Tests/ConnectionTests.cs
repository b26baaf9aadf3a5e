using System;
using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.Extensions.Logging.Abstractions;

namespace Millrace.AspNetCore.Tests;

/// <summary>The transport below HTTP: half-close, aborts, backpressure, the listener's end.</summary>
public sealed class ConnectionTests
{
    private static CancellationToken Cancel => TwoStacks.Cancel;

    private static MillraceConnectionListenerFactory NewFactory(NetStack stack, MillraceTransportOptions? options = null) =>
        new(stack, options ?? new MillraceTransportOptions(), NullLoggerFactory.Instance);

    // A connection as the transport hands it to Kestrel, and its peer.
    private static async Task<(ConnectionContext Server, TcpConnection Client, IConnectionListener Listener)> AcceptAsync(TwoStacks stacks,
        MillraceTransportOptions? options = null)
    {
        IConnectionListener listener = await NewFactory(stacks.Server, options).BindAsync(new System.Net.IPEndPoint(stacks.Address, 80), Cancel);
        TcpConnection client = await stacks.ConnectAsync();
        ConnectionContext? server = await listener.AcceptAsync(Cancel);
        return (server!, client, listener);
    }

    [Fact]
    public async Task A_half_closed_connection_still_answers()
    {
        using var stacks = new TwoStacks();
        await using WebApplication app = await stacks.ServeAsync(async connection =>
        {
            long bytes = 0;
            while (true)
            {
                ReadResult read = await connection.Transport.Input.ReadAsync(Cancel);
                bytes += read.Buffer.Length;
                connection.Transport.Input.AdvanceTo(read.Buffer.End);
                if (read.IsCompleted)
                    break;
            }
            await connection.Transport.Output.WriteAsync(BitConverter.GetBytes(bytes), Cancel);
        });
        await using TcpConnection client = await stacks.ConnectAsync();
        await client.SendAsync(new byte[300_000], cancel: Cancel);
        client.Shutdown(SocketShutdown.Send);
        byte[] answer = new byte[16];
        Assert.Equal(8, await client.ReceiveAsync(answer, MessageFlags.WaitAll, Cancel));
        Assert.Equal(300_000, BitConverter.ToInt64(answer));
        Assert.Equal(0, await client.ReceiveAsync(answer, Cancel));
    }

    [Fact]
    public async Task Completing_the_output_sends_a_fin_and_input_goes_on()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        await using var _ = listener;
        await server.Transport.Output.WriteAsync("bye"u8.ToArray(), Cancel);
        await server.Transport.Output.CompleteAsync();
        byte[] buffer = new byte[16];
        Assert.Equal(3, await client.ReceiveAsync(buffer, MessageFlags.WaitAll, Cancel));
        Assert.Equal(0, await client.ReceiveAsync(buffer, Cancel));
        await client.SendAsync("still here"u8.ToArray(), cancel: Cancel);
        ReadResult read = await server.Transport.Input.ReadAtLeastAsync(10, Cancel);
        Assert.Equal("still here"u8, read.Buffer.ToArray());
        server.Transport.Input.AdvanceTo(read.Buffer.End);
        client.Dispose();
        await server.DisposeAsync();
    }

    [Fact]
    public async Task An_abort_wakes_the_reader_fires_the_token_and_resets_the_peer()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        await using var _ = listener;
        var closed = new TaskCompletionSource();
        server.ConnectionClosed.Register(closed.SetResult);
        Task<ReadResult> read = server.Transport.Input.ReadAsync(Cancel).AsTask();
        Assert.False(read.IsCompleted);
        var reason = new ConnectionAbortedException("enough");
        server.Abort(reason);
        Assert.Same(reason, await Assert.ThrowsAsync<ConnectionAbortedException>(() => read));
        await closed.Task.WaitAsync(Cancel);
        SocketException error = await Assert.ThrowsAsync<SocketException>(() => client.ReceiveAsync(new byte[1], Cancel).AsTask());
        Assert.Equal(SocketError.ConnectionReset, error.SocketErrorCode);
        // And it stays so: nothing hangs, nothing succeeds.
        Assert.Same(reason, await Assert.ThrowsAsync<ConnectionAbortedException>(() => server.Transport.Input.ReadAsync(Cancel).AsTask()));
        await server.Transport.Output.WriteAsync(new byte[10], Cancel);
        await server.DisposeAsync();
    }

    [Fact]
    public async Task An_abort_without_a_reason_ends_in_a_fin()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        await using var _ = listener;
        Task<ReadResult> read = server.Transport.Input.ReadAsync(Cancel).AsTask();
        server.Abort(null!);
        await Assert.ThrowsAsync<ConnectionAbortedException>(() => read);
        Assert.Equal(0, await client.ReceiveAsync(new byte[1], Cancel));
        client.Dispose();
        await server.DisposeAsync();
    }

    [Fact]
    public async Task A_peers_reset_is_a_connection_reset_and_fires_the_token()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        await using var _ = listener;
        var closed = new TaskCompletionSource();
        server.ConnectionClosed.Register(closed.SetResult);
        Task<ReadResult> read = server.Transport.Input.ReadAsync(Cancel).AsTask();
        client.Abort();
        await Assert.ThrowsAsync<ConnectionResetException>(() => read);
        await closed.Task.WaitAsync(Cancel);
        await server.DisposeAsync();
    }

    [Fact]
    public async Task The_token_fires_at_the_peers_fin_though_nobody_reads()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        await using var _ = listener;
        var closed = new TaskCompletionSource();
        server.ConnectionClosed.Register(closed.SetResult);
        await client.SendAsync(new byte[5], cancel: Cancel);
        client.Shutdown(SocketShutdown.Send);
        await closed.Task.WaitAsync(Cancel);
        ReadResult read = await server.Transport.Input.ReadAtLeastAsync(5, Cancel);
        Assert.Equal(5, read.Buffer.Length);
        server.Transport.Input.AdvanceTo(read.Buffer.End);
        await server.DisposeAsync();
    }

    [Fact]
    public async Task Where_half_close_is_allowed_the_token_fires_when_both_have_ended()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks, new MillraceTransportOptions { AllowHalfClose = true });
        await using var _ = listener;
        var closed = new TaskCompletionSource();
        server.ConnectionClosed.Register(closed.SetResult);
        client.Shutdown(SocketShutdown.Send);
        Assert.True((await server.Transport.Input.ReadAsync(Cancel)).IsCompleted);
        Assert.False(closed.Task.IsCompleted);
        await server.Transport.Output.CompleteAsync();
        await closed.Task.WaitAsync(Cancel);
        await server.DisposeAsync();
        client.Dispose();
    }

    [Fact]
    public async Task A_flush_waits_while_the_peer_does_not_read_and_goes_on_when_it_does()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        await using var _ = listener;
        byte[] block = new byte[64 * 1024];
        long written = 0;
        ValueTask<FlushResult> flush;
        do
        {
            flush = server.Transport.Output.WriteAsync(block, Cancel);
            written += block.Length;
        }
        while (flush.IsCompleted);
        byte[] sink = new byte[1 << 20];
        long received = 0;
        while (received < written)
            received += await client.ReceiveAsync(sink, Cancel);
        Assert.False((await flush).IsCompleted);
        Assert.Equal(written, received);
        client.Dispose();
        await server.DisposeAsync();
    }

    [Fact]
    public async Task A_flush_that_waits_ends_when_the_connection_is_aborted()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        await using var _ = listener;
        byte[] block = new byte[64 * 1024];
        ValueTask<FlushResult> flush;
        do
            flush = server.Transport.Output.WriteAsync(block, Cancel);
        while (flush.IsCompleted);
        server.Abort();
        Assert.True((await flush).IsCompleted);
        client.Dispose();
        await server.DisposeAsync();
    }

    [Fact]
    public async Task A_cancelled_flush_loses_and_repeats_nothing()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        await using var _ = listener;
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        int written = 0;
        ValueTask<FlushResult> flush;
        do
            flush = server.Transport.Output.WriteAsync(Numbers(ref written), cancel.Token);
        while (flush.IsCompleted);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => flush.AsTask());
        Task finish = server.Transport.Output.WriteAsync(Numbers(ref written), Cancel).AsTask();
        byte[] number = new byte[4];
        for (int i = 0; i < written; i++)
        {
            Assert.Equal(4, await client.ReceiveAsync(number, MessageFlags.WaitAll, Cancel));
            Assert.Equal(i, BitConverter.ToInt32(number));
        }
        await finish;
        client.Dispose();
        await server.DisposeAsync();
    }

    private static byte[] Numbers(ref int next)
    {
        byte[] block = new byte[64 * 1024];
        for (int i = 0; i < block.Length; i += 4)
            BitConverter.TryWriteBytes(block.AsSpan(i), next++);
        return block;
    }

    [Fact]
    public async Task A_cancelled_read_loses_nothing()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        await using var _ = listener;
        Task<ReadResult> read = server.Transport.Input.ReadAsync(Cancel).AsTask();
        server.Transport.Input.CancelPendingRead();
        ReadResult cancelled = await read;
        Assert.True(cancelled.IsCanceled);
        server.Transport.Input.AdvanceTo(cancelled.Buffer.Start);
        await client.SendAsync("abc"u8.ToArray(), cancel: Cancel);
        ReadResult next = await server.Transport.Input.ReadAtLeastAsync(3, Cancel);
        Assert.Equal("abc"u8, next.Buffer.ToArray());
        server.Transport.Input.AdvanceTo(next.Buffer.End);
        client.Dispose();
        await server.DisposeAsync();
    }

    [Fact]
    public async Task Output_that_ends_in_failure_is_no_clean_end()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        await using var _ = listener;
        await server.Transport.Output.CompleteAsync(new InvalidOperationException("half a message"));
        SocketException error = await Assert.ThrowsAsync<SocketException>(() => client.ReceiveAsync(new byte[1], Cancel).AsTask());
        Assert.Equal(SocketError.ConnectionReset, error.SocketErrorCode);
        await server.DisposeAsync();
    }

    [Fact]
    public async Task An_unbound_listener_accepts_null_and_refuses_while_its_connections_live()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        Task<ConnectionContext?> accept = listener.AcceptAsync(Cancel).AsTask();
        Assert.False(accept.IsCompleted);
        await listener.UnbindAsync(Cancel);
        Assert.Null(await accept);
        Assert.Null(await listener.AcceptAsync(Cancel));
        SocketException refused = await Assert.ThrowsAsync<SocketException>(() => stacks.ConnectAsync());
        Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
        await client.SendAsync("alive"u8.ToArray(), cancel: Cancel);
        ReadResult read = await server.Transport.Input.ReadAtLeastAsync(5, Cancel);
        Assert.Equal(5, read.Buffer.Length);
        server.Transport.Input.AdvanceTo(read.Buffer.End);
        client.Dispose();
        await server.DisposeAsync();
        await listener.DisposeAsync();
    }

    [Fact]
    public async Task Connections_have_ids_of_their_own_and_the_features_that_Kestrel_asks_for()
    {
        using var stacks = new TwoStacks();
        var (server, client, listener) = await AcceptAsync(stacks);
        await using var _ = listener;
        await using TcpConnection other = await stacks.ConnectAsync();
        await using ConnectionContext? second = await listener.AcceptAsync(Cancel);
        Assert.NotEqual(server.ConnectionId, second!.ConnectionId);
        Assert.Equal(client.LocalEndPoint, server.RemoteEndPoint);
        Assert.Equal(client.RemoteEndPoint, server.LocalEndPoint);
        Assert.Same(server, server.Features.Get<IConnectionLifetimeFeature>());
        Assert.NotNull(server.Features.Get<IMemoryPoolFeature>()!.MemoryPool);
        Assert.Equal(server.RemoteEndPoint, server.Features.Get<IConnectionEndPointFeature>()!.RemoteEndPoint);
        Assert.True(server.Features.Get<ITcpConnectionFeature>()!.Connection.NoDelay);
        client.Dispose();
        await server.DisposeAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Endpoints_that_are_not_selected_are_left_to_other_transports(bool selected)
    {
        using var stack = new NetStack();
        MillraceConnectionListenerFactory factory = NewFactory(stack, new MillraceTransportOptions { Selects = at => at.Port == 80 == selected });
        Assert.Equal(selected, factory.CanBind(new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 80)));
        Assert.False(factory.CanBind(new UnixDomainSocketEndPoint("/tmp/socket")));
    }
}
