using System;
using System.IO;
using System.IO.Pipelines;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Cli.Serving;
using Millrace.Cli.Transfers;

namespace Millrace.Cli.Tests;

/// <summary>What nc and serve do with a connection, over one stack's loopback.</summary>
public sealed class TransferTests : IDisposable
{
    private static readonly IPEndPoint At = new(IPAddress.Loopback, 7);

    private readonly NetStack _stack = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _stack.Dispose();

    private async Task<(TcpConnection Here, TcpConnection There)> ConnectAsync()
    {
        await using TcpListener listener = _stack.Listen(At);
        TcpConnection here = await _stack.ConnectAsync(At, cancel: Cancel);
        return (here, await listener.AcceptAsync(Cancel));
    }

    [Fact]
    public async Task Each_direction_of_a_relay_ends_on_its_own()
    {
        (TcpConnection here, TcpConnection there) = await ConnectAsync();
        var output = new MemoryStream();
        Task relay = Relay.RunAsync(here, new MemoryStream(new byte[100_000]), output, isTerminal: false, Cancel);
        byte[] buffer = new byte[200_000];
        Assert.Equal(100_000, await there.ReceiveAsync(buffer, MessageFlags.WaitAll, Cancel));
        // The end of the input is our FIN, and no end of what comes.
        Assert.Equal(0, await there.ReceiveAsync(buffer, Cancel));
        Assert.False(relay.IsCompleted);
        await there.SendAsync("the answer"u8.ToArray(), cancel: Cancel);
        there.Dispose();
        await relay;
        Assert.Equal("the answer", Encoding.ASCII.GetString(output.ToArray()));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task After_the_peers_end_a_pipe_is_read_to_its_end_but_nobody_waits_for_who_types(bool isTerminal)
    {
        (TcpConnection here, TcpConnection there) = await ConnectAsync();
        var typed = new Pipe();
        Task relay = Relay.RunAsync(here, typed.Reader.AsStream(), Stream.Null, isTerminal, Cancel);
        there.Shutdown(SocketShutdown.Send);
        if (!isTerminal)
        {
            await typed.Writer.WriteAsync("late"u8.ToArray(), Cancel);
            byte[] buffer = new byte[10];
            Assert.Equal(4, await there.ReceiveAsync(buffer, Cancel));
            Assert.False(relay.IsCompleted);
            await typed.Writer.CompleteAsync();
        }
        await relay;
    }

    [Fact]
    public async Task A_reset_is_the_relays_failure()
    {
        (TcpConnection here, TcpConnection there) = await ConnectAsync();
        Task relay = Relay.RunAsync(here, null, Stream.Null, isTerminal: true, Cancel);
        there.Abort();
        SocketException error = await Assert.ThrowsAsync<SocketException>(() => relay);
        Assert.Equal(SocketError.ConnectionReset, error.SocketErrorCode);
    }

    [Fact]
    public async Task Echo_returns_everything_and_then_the_end()
    {
        await using SmallService service = SmallService.Start(_stack, At, SmallService.EchoAsync);
        await using TcpConnection client = await _stack.ConnectAsync(At, cancel: Cancel);
        await client.SendAsync("hello"u8.ToArray(), cancel: Cancel);
        client.Shutdown(SocketShutdown.Send);
        byte[] buffer = new byte[10];
        Assert.Equal(5, await client.ReceiveAsync(buffer, MessageFlags.WaitAll, Cancel));
        Assert.Equal(0, await client.ReceiveAsync(buffer, Cancel));
    }

    [Fact]
    public async Task Chargen_turns_its_pattern_by_one_each_line_and_the_service_resets_who_still_reads()
    {
        SmallService service = SmallService.Start(_stack, At, SmallService.ChargenAsync);
        await using TcpConnection client = await _stack.ConnectAsync(At, cancel: Cancel);
        byte[] lines = new byte[96 * 74];
        Assert.Equal(lines.Length, await client.ReceiveAsync(lines, MessageFlags.WaitAll, Cancel));
        string[] text = Encoding.ASCII.GetString(lines).Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.All(text, static line => Assert.Equal(72, line.Length));
        Assert.Equal(text[0][1..], text[1][..^1]);
        Assert.Equal(text[0], text[95]);
        Assert.Equal(95, text.Distinct().Count());
        Task stop = service.DisposeAsync().AsTask();
        await Assert.ThrowsAsync<SocketException>(async () =>
        {
            while (await client.ReceiveAsync(lines, Cancel) > 0)
            {
            }
        });
        await stop;
    }

    [Fact]
    public async Task A_service_takes_the_next_client_after_one_that_reset()
    {
        await using SmallService service = SmallService.Start(_stack, At, SmallService.DiscardAsync);
        for (int i = 0; i < 20; i++)
        {
            await using TcpConnection client = await _stack.ConnectAsync(At, cancel: Cancel);
            await client.SendAsync(new byte[1], cancel: Cancel);
            client.Abort();
        }
        await using TcpConnection last = await _stack.ConnectAsync(At, cancel: Cancel);
        last.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await last.ReceiveAsync(new byte[1], Cancel));
    }

    [Fact]
    public async Task A_download_without_a_bar_copies_and_writes_nothing_else()
    {
        byte[] body = new byte[1_000_000];
        new Random(1).NextBytes(body);
        var copy = new MemoryStream();
        await Download.CopyAsync(new MemoryStream(body), copy, body.Length, title: null, Cancel);
        Assert.Equal(body, copy.ToArray());
    }
}
