using System;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Syscalls;
using Millrace.Tcp;
using Socket = Millrace.Sockets.Socket;

namespace Millrace;

/// <summary>
/// A TCP connection of a stack. Blocking and asynchronous calls take the same path; errors are the <see cref="SocketException"/>s that
/// System.Net.Sockets throws for the same thing.
/// </summary>
/// <remarks>One receive and one send may be under way at the same time, and more: readers are served first come, first served.</remarks>
public sealed class TcpConnection : IDisposable, IAsyncDisposable
{
    private readonly SocketHolder _holder;
    private TcpStream? _stream;

    internal TcpConnection(SocketFace face, Socket socket) => _holder = new SocketHolder(face, socket);

    /// <summary>Null once the connection is disposed of.</summary>
    public IPEndPoint? LocalEndPoint => _holder.Name(peer: false);

    /// <summary>Null once the connection is gone.</summary>
    public IPEndPoint? RemoteEndPoint => _holder.Name(peer: true);

    /// <summary>Sends small writes at once. RFC 9293 §3.7.4; Linux: TCP_NODELAY.</summary>
    public bool NoDelay
    {
        get => _holder.GetOption(SocketLevel.Tcp, TcpOption.NoDelay) != 0;
        set => _holder.SetOption(SocketLevel.Tcp, TcpOption.NoDelay, value ? 1 : 0);
    }

    /// <summary>The connection's numbers, now. Linux: TCP_INFO.</summary>
    public TcpInfo GetInfo()
    {
        Span<byte> bytes = stackalloc byte[TcpInfo.Length];
        _holder.GetOption(SocketLevel.Tcp, TcpOption.Info, bytes);
        return TcpInfo.Read(bytes);
    }

    /// <summary>Sets an option by Linux's numbers.</summary>
    public void SetOption(int level, int option, ReadOnlySpan<byte> value) => _holder.SetOption(level, option, value);

    /// <inheritdoc cref="SetOption(int, int, ReadOnlySpan{byte})"/>
    public void SetOption(int level, int option, int value) => _holder.SetOption(level, option, value);

    /// <summary>Reads an option by Linux's numbers; returns its length in bytes.</summary>
    public int GetOption(int level, int option, Span<byte> value) => _holder.GetOption(level, option, value);

    /// <summary>The connection as a stream, which disposes of it when it is disposed of itself. Always the same one.</summary>
    public Stream GetStream() => _stream ?? Interlocked.CompareExchange(ref _stream, new TcpStream(this), null) ?? _stream;

    /// <summary>Receives at least one byte, blocking until it is there. 0: the peer has sent all it will.</summary>
    /// <exception cref="SocketException"/>
    /// <exception cref="OperationCanceledException"/>
    public int Receive(Span<byte> buffer, MessageFlags flags = MessageFlags.None, CancellationToken cancel = default) =>
        Value(ReceiveCore(buffer, flags, cancel), cancel);

    /// <summary>Sends all of <paramref name="data"/>, blocking while there is no room for it.</summary>
    /// <exception cref="SocketException"/>
    /// <exception cref="OperationCanceledException"/>
    public int Send(ReadOnlySpan<byte> data, MessageFlags flags = MessageFlags.None, CancellationToken cancel = default) =>
        Value(SendCore(data, flags, cancel), cancel);

    /// <summary>
    /// Receives at least one byte, without blocking a thread. 0: the peer has sent all it will. With an empty buffer it waits until
    /// there is something to receive, and holds no memory meanwhile.
    /// </summary>
    public ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken cancel = default) =>
        ReceiveAsync(buffer, MessageFlags.None, forStream: false, cancel);

    /// <inheritdoc cref="ReceiveAsync(Memory{byte}, CancellationToken)"/>
    public ValueTask<int> ReceiveAsync(Memory<byte> buffer, MessageFlags flags, CancellationToken cancel = default) =>
        ReceiveAsync(buffer, flags, forStream: false, cancel);

    /// <summary>Sends all of <paramref name="data"/>, without blocking a thread.</summary>
    public ValueTask<int> SendAsync(ReadOnlyMemory<byte> data, MessageFlags flags = MessageFlags.None, CancellationToken cancel = default)
    {
        if (cancel.IsCancellationRequested)
            return ValueTask.FromCanceled<int>(cancel);
        TaskContext context = _holder.Enter();
        Errno denied = _holder.Socket.AskSend(ref context);
        if (denied != Errno.OK)
        {
            _holder.GiveUp(ref context);
            return ValueTask.FromException<int>(denied.ToException());
        }
        var call = new SendCall(data, flags);
        ValueTask<int> sent = _holder.Face.Sends.Run(ref context, _holder.Socket, ref call, forStream: false, cancel);
        _holder.Face.Cpus.Leave(ref context);
        return sent;
    }

    /// <summary>Says that no more will be sent, or takes no more, or both.</summary>
    public void Shutdown(SocketShutdown how) => _holder.Shutdown((int)how);

    /// <summary>Ends the connection with a RST, and throws away what was not sent.</summary>
    public void Abort() => _holder.Abort();

    /// <summary>
    /// Waits for the end of the connection without receiving. True: the peer has sent all it will, or the connection has failed, which
    /// a receive will tell. False: it was disposed of here.
    /// </summary>
    /// <remarks>Linux: POLLRDHUP. Data that came before the end may still be there to be received.</remarks>
    public ValueTask<bool> WaitForHangUpAsync(CancellationToken cancel = default) => WaitForHangUpAsync(bothDirections: false, cancel);

    /// <summary>As <see cref="WaitForHangUpAsync(CancellationToken)"/>.</summary>
    /// <param name="bothDirections">
    /// Whether the peer's end alone is none: it must have been answered by ours, or the connection have failed. Linux: POLLHUP.
    /// </param>
    public ValueTask<bool> WaitForHangUpAsync(bool bothDirections, CancellationToken cancel = default)
    {
        if (cancel.IsCancellationRequested)
            return ValueTask.FromCanceled<bool>(cancel);
        TaskContext context = _holder.Enter();
        var call = new HangUpCall(bothDirections);
        ValueTask<bool> ended = _holder.Face.HangUps.Run(ref context, _holder.Socket, ref call, forStream: false, cancel);
        _holder.Face.Cpus.Leave(ref context);
        return ended;
    }

    /// <summary>
    /// Closes the connection: what is queued is still sent, then a FIN. Calls that wait on it end with
    /// <see cref="SocketError.OperationAborted"/>, blocked ones with <see cref="SocketError.ConnectionAborted"/>.
    /// </summary>
    public void Dispose() => _holder.Dispose();

    /// <inheritdoc cref="Dispose"/>
    public ValueTask DisposeAsync()
    {
        Dispose();
        return default;
    }

    internal SysResult ReceiveCore(Span<byte> buffer, MessageFlags flags, CancellationToken cancel)
    {
        using FileCall call = _holder.Call(cancel);
        ObjectDisposedException.ThrowIf(call.Error != Errno.OK, this);
        var message = new MsgHdr { Iter = new IoIter(buffer), Flags = flags };
        SysResult result = _holder.Socket.ReceiveMessage(ref call.Context, ref message);
        return _holder.Judge(result, Errno.ECONNABORTED);
    }

    internal SysResult SendCore(ReadOnlySpan<byte> data, MessageFlags flags, CancellationToken cancel)
    {
        using FileCall call = _holder.Call(cancel);
        ObjectDisposedException.ThrowIf(call.Error != Errno.OK, this);
        int sent = 0;
        do
        {
            var message = new MsgHdr { Iter = IoIter.ForReading(data[sent..]), Flags = flags };
            SysResult result = _holder.Socket.SendMessage(ref call.Context, ref message);
            if (result.IsError)
                return _holder.Judge(result, Errno.ECONNABORTED);
            sent += result.Value;
        }
        while (sent < data.Length);
        return sent;
    }

    internal ValueTask<int> ReceiveAsync(Memory<byte> buffer, MessageFlags flags, bool forStream, CancellationToken cancel)
    {
        if (cancel.IsCancellationRequested)
            return ValueTask.FromCanceled<int>(cancel);
        TaskContext context = _holder.Enter();
        Errno denied = _holder.Socket.AskReceive(ref context);
        if (denied != Errno.OK)
        {
            _holder.GiveUp(ref context);
            return ValueTask.FromException<int>(forStream ? denied.ToStreamException() : denied.ToException());
        }
        var call = new ReceiveCall(buffer, flags);
        ValueTask<int> received = _holder.Face.Receives.Run(ref context, _holder.Socket, ref call, forStream, cancel);
        _holder.Face.Cpus.Leave(ref context);
        return received;
    }

    internal ValueTask SendForStreamAsync(ReadOnlyMemory<byte> data, CancellationToken cancel)
    {
        if (cancel.IsCancellationRequested)
            return ValueTask.FromCanceled(cancel);
        TaskContext context = _holder.Enter();
        Errno denied = _holder.Socket.AskSend(ref context);
        if (denied != Errno.OK)
        {
            _holder.GiveUp(ref context);
            return ValueTask.FromException(denied.ToStreamException());
        }
        var call = new SendCall(data, MessageFlags.None);
        ValueTask sent = _holder.Face.Sends.RunForStream(ref context, _holder.Socket, ref call, cancel);
        _holder.Face.Cpus.Leave(ref context);
        return sent;
    }

    internal static TcpConnection Connect(SocketFace face, Socket socket, IPEndPoint remote, TcpConnectOptions? options, CancellationToken cancel)
    {
        var connection = new TcpConnection(face, socket);
        try
        {
            options?.Apply(connection);
            connection.Connect(remote, cancel);
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    internal static async ValueTask<TcpConnection> ConnectAsync(SocketFace face, Socket socket, IPEndPoint remote, TcpConnectOptions? options,
        CancellationToken cancel)
    {
        var connection = new TcpConnection(face, socket);
        try
        {
            options?.Apply(connection);
            await connection.ConnectAsync(remote, cancel).ConfigureAwait(false);
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    internal void Bind(IPEndPoint local) => _holder.Bind(local);

    private void Connect(IPEndPoint remote, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        using FileCall call = _holder.Call(cancel);
        Span<byte> bytes = stackalloc byte[SockAddr.Inet6Length];
        Errno error = _holder.Socket.Connect(ref call.Context, bytes[..SockAddr.From(remote).Write(bytes)], nonBlocking: false);
        Value(error, cancel);
    }

    private ValueTask<int> ConnectAsync(IPEndPoint remote, CancellationToken cancel)
    {
        if (cancel.IsCancellationRequested)
            return ValueTask.FromCanceled<int>(cancel);
        TaskContext context = _holder.Enter();
        SockAddr address = SockAddr.From(remote);
        Errno denied = _holder.Socket.AskConnect(ref context, address);
        if (denied != Errno.OK)
        {
            _holder.GiveUp(ref context);
            return ValueTask.FromException<int>(denied.ToException());
        }
        var call = new ConnectCall(address);
        ValueTask<int> connected = _holder.Face.Connects.Run(ref context, _holder.Socket, ref call, forStream: false, cancel);
        _holder.Face.Cpus.Leave(ref context);
        return connected;
    }

    private static int Value(SysResult result, CancellationToken cancel)
    {
        if (!result.IsError)
            return result.Value;
        if (result.Error == Errno.EINTR)
            throw new OperationCanceledException(cancel);
        throw result.Error.ToException();
    }
}

/// <summary>How a connection is to be made.</summary>
public sealed class TcpConnectOptions
{
    /// <summary>The address and port to connect from; null: the stack chooses.</summary>
    public IPEndPoint? LocalEndPoint { get; set; }

    /// <inheritdoc cref="TcpConnection.NoDelay"/>
    public bool NoDelay { get; set; }

    /// <summary>Called before the connection is made, for any option that must be set by then.</summary>
    public Action<TcpConnection>? Configure { get; set; }

    internal void Apply(TcpConnection connection)
    {
        if (NoDelay)
            connection.NoDelay = true;
        Configure?.Invoke(connection);
        if (LocalEndPoint is { } local)
            connection.Bind(local);
    }
}
