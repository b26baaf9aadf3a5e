using System;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Cli.Serving;

/// <summary>A listener whose connections are each talked to by one routine: echo, discard, chargen.</summary>
internal sealed class SmallService : IAsyncDisposable
{
    private const int BufferSize = 64 * 1024, ChargenLine = 72;

    private readonly TcpListener _listener;
    private readonly Func<TcpConnection, CancellationToken, Task> _talk;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<Task, byte> _talks = new();
    private readonly Task _accepting;

    private SmallService(TcpListener listener, Func<TcpConnection, CancellationToken, Task> talk)
    {
        _listener = listener;
        _talk = talk;
        _accepting = AcceptAsync();
    }

    /// <exception cref="SocketException">The port is taken.</exception>
    public static SmallService Start(NetStack stack, IPEndPoint local, Func<TcpConnection, CancellationToken, Task> talk) =>
        new(stack.Listen(local), talk);

    /// <summary>RFC 862. What the peer has sent comes back, and after its end ours.</summary>
    public static async Task EchoAsync(TcpConnection connection, CancellationToken stop)
    {
        byte[] buffer = new byte[BufferSize];
        while (await connection.ReceiveAsync(buffer, stop) is var n and > 0)
            await connection.SendAsync(buffer.AsMemory(0, n), cancel: stop);
    }

    /// <summary>RFC 863.</summary>
    public static async Task DiscardAsync(TcpConnection connection, CancellationToken stop)
    {
        byte[] buffer = new byte[BufferSize];
        while (await connection.ReceiveAsync(buffer, stop) > 0)
        {
        }
    }

    /// <summary>RFC 864: lines of 72 printing characters, each starting one further, until the peer ends it. What it sends is thrown away.</summary>
    public static async Task ChargenAsync(TcpConnection connection, CancellationToken stop)
    {
        byte[] pattern = Pattern();
        Task discard = DiscardAsync(connection, stop);
        while (!discard.IsCompleted)
            await connection.SendAsync(pattern, cancel: stop);
        await discard;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _listener.DisposeAsync();
        await _accepting;
        await Task.WhenAll(_talks.Keys);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            try
            {
                TcpConnection connection = await _listener.AcceptAsync(_stop.Token);
                Task talk = TalkAsync(connection);
                _talks.TryAdd(talk, 0);
                _ = talk.ContinueWith(static (t, talks) => ((ConcurrentDictionary<Task, byte>)talks!).TryRemove(t, out _), _talks,
                    CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException) when (!_stop.IsCancellationRequested)
            {
                // One that was gone before it was accepted.
            }
            catch (SocketException)
            {
                return;
            }
        }
    }

    private async Task TalkAsync(TcpConnection connection)
    {
        await Task.Yield();
        await using (connection)
        {
            try
            {
                await _talk(connection, _stop.Token);
            }
            catch (OperationCanceledException)
            {
                // The service ends: its peers must not take it for the end of the answer.
                connection.Abort();
            }
            catch (SocketException)
            {
                // The peer is gone.
            }
        }
    }

    // All 95 starts of a line.
    private static byte[] Pattern()
    {
        const int characters = '~' - ' ' + 1;
        byte[] pattern = new byte[characters * (ChargenLine + 2)];
        for (int line = 0, at = 0; line < characters; line++)
        {
            for (int i = 0; i < ChargenLine; i++)
                pattern[at++] = (byte)(' ' + (line + i) % characters);
            pattern[at++] = (byte)'\r';
            pattern[at++] = (byte)'\n';
        }
        return pattern;
    }
}
