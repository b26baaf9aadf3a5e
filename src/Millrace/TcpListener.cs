using System;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Syscalls;
using Millrace.Tcp;
using Socket = Millrace.Sockets.Socket;

namespace Millrace;

/// <summary>A socket of a stack that takes TCP connections.</summary>
public sealed class TcpListener : IDisposable, IAsyncDisposable
{
    private readonly SocketHolder _holder;

    internal TcpListener(SocketFace face, Socket socket, IPEndPoint local, TcpListenOptions options, int most)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(options.DecisionTimeout, TimeSpan.Zero, nameof(options));
        _holder = new SocketHolder(face, socket);
        try
        {
            if (options.ReuseAddress)
                _holder.SetOption(SocketLevel.Socket, So.ReuseAddr, 1);
            if (options.ReusePort)
                _holder.SetOption(SocketLevel.Socket, So.ReusePort, 1);
            if (local.AddressFamily == AddressFamily.InterNetworkV6)
                _holder.SetOption(SocketLevel.Ipv6, Ipv6Option.V6Only, options.DualMode ? 0 : 1);
            if (options.OnRequest is not null)
                ((TcpSock)socket.Sk!).AcceptQueue = new GatedAcceptQueue(new TcpConnectionRequest.Gate(face, socket, options));
            _holder.Bind(local);
            Listen(options.Backlog, most);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Where it listens: the port that was chosen, if none was given. Null once disposed of.</summary>
    public IPEndPoint? LocalEndPoint => _holder.Name(peer: false);

    /// <summary>Sets an option by Linux's numbers; connections inherit most of them.</summary>
    public void SetOption(int level, int option, ReadOnlySpan<byte> value) => _holder.SetOption(level, option, value);

    /// <inheritdoc cref="SetOption(int, int, ReadOnlySpan{byte})"/>
    public void SetOption(int level, int option, int value) => _holder.SetOption(level, option, value);

    /// <summary>Takes a connection, blocking until there is one.</summary>
    /// <exception cref="SocketException"/>
    /// <exception cref="OperationCanceledException"/>
    public TcpConnection Accept(CancellationToken cancel = default)
    {
        cancel.ThrowIfCancellationRequested();
        using FileCall call = _holder.Call(cancel);
        ObjectDisposedException.ThrowIf(call.Error != Errno.OK, this);
        Socket? socket = _holder.Socket.Accept(ref call.Context, out Errno error);
        if (socket is not null)
            return new TcpConnection(_holder.Face, socket);
        if (error == Errno.EINTR)
            throw new OperationCanceledException(cancel);
        throw _holder.Judge(error, ifDisposed: Errno.EINTR).Error.ToException();
    }

    /// <summary>Takes a connection, without blocking a thread.</summary>
    public ValueTask<TcpConnection> AcceptAsync(CancellationToken cancel = default)
    {
        if (cancel.IsCancellationRequested)
            return ValueTask.FromCanceled<TcpConnection>(cancel);
        TaskContext context = _holder.Enter();
        Errno denied = _holder.Socket.AskAccept(ref context);
        if (denied != Errno.OK)
        {
            _holder.GiveUp(ref context);
            return ValueTask.FromException<TcpConnection>(denied.ToException());
        }
        var call = new AcceptCall(_holder.Face, _holder.Socket.NewForAccept());
        ValueTask<TcpConnection> accepted = _holder.Face.Accepts.Run(ref context, _holder.Socket, ref call, forStream: false, cancel);
        _holder.Face.Cpus.Leave(ref context);
        return accepted;
    }

    /// <summary>
    /// Stops listening: connections that nobody has accepted are reset; calls that wait end with <see cref="SocketError.OperationAborted"/>,
    /// blocked ones with <see cref="SocketError.Interrupted"/>.
    /// </summary>
    public void Dispose() => _holder.Dispose();

    /// <inheritdoc cref="Dispose"/>
    public ValueTask DisposeAsync()
    {
        Dispose();
        return default;
    }

    private void Listen(int backlog, int most)
    {
        using FileCall call = _holder.Call();
        Errno error = _holder.Socket.Listen(ref call.Context, backlog, most);
        if (error != Errno.OK)
            throw error.ToException();
    }
}

/// <summary>How to listen.</summary>
public sealed class TcpListenOptions
{
    /// <summary>Connections that may wait to be accepted; at most net.core.somaxconn.</summary>
    public int Backlog { get; set; } = 4096;

    /// <summary>Linux: SO_REUSEADDR: connections in TIME_WAIT do not keep the port from its next listener.</summary>
    public bool ReuseAddress { get; set; } = true;

    /// <summary>Linux: SO_REUSEPORT: several listeners share the port, and each gets a part of the connections.</summary>
    public bool ReusePort { get; set; }

    /// <summary>Whether an IPv6 listener takes IPv4 connections too.</summary>
    public bool DualMode { get; set; } = true;

    /// <summary>
    /// Asked about each SYN before it is answered; null: all are. It runs where continuations run, under no lock, and may be called by
    /// several threads at once. No SYN cookies are sent, and no Fast Open data is taken: SYNs beyond the backlog are dropped.
    /// </summary>
    public Func<TcpConnectionRequest, AcceptDecision>? OnRequest { get; set; }

    /// <summary>How long a request may wait for its decision; then it is dropped without an answer.</summary>
    public TimeSpan DecisionTimeout { get; set; } = TimeSpan.FromSeconds(60);
}
