using System;
using System.Net;
using System.Threading;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Syscalls;

namespace Millrace;

/// <summary>A .NET object's hold on a socket: calls that do not block, with errors as exceptions, and the end of it.</summary>
internal sealed class SocketHolder(SocketFace face, Socket socket)
{
    private int _disposed;

    public SocketFace Face => face;

    public Socket Socket => socket;

    /// <summary>A call on the socket, which it holds. Fails if the object is disposed of.</summary>
    public FileCall Call(CancellationToken cancel = default) => new(face.Cpus, TryHold() ? socket : null, cancel);

    /// <summary>Enters the stack with a reference to the socket, for an operation that gives it back.</summary>
    /// <exception cref="ObjectDisposedException"/>
    public TaskContext Enter()
    {
        ObjectDisposedException.ThrowIf(!TryHold(), this);
        return face.Cpus.Enter();
    }

    // Dispose marks the socket and then looks for holders; this holds it and then looks for the mark. So a call that begins meanwhile
    // sees the one or is seen by the other, and does not wait for ever on a socket that nobody will close.
    private bool TryHold()
    {
        if (!socket.TryHold())
            return false;
        if (!socket.IsAbandoned)
            return true;
        TaskContext context = face.Cpus.Enter();
        GiveUp(ref context);
        return false;
    }

    /// <summary>Gives back what <see cref="Enter"/> took, where no operation was begun.</summary>
    public void GiveUp(ref TaskContext context)
    {
        socket.Release(ref context);
        face.Cpus.Leave(ref context);
    }

    /// <summary>
    /// What a blocked call came to: if its object was disposed of under it, then, whatever the call says, what System.Net.Sockets makes
    /// of that.
    /// </summary>
    public SysResult Judge(SysResult result, Errno ifDisposed) => result.Value <= 0 && socket.IsAbandoned ? ifDisposed : result;

    public IPEndPoint? Name(bool peer)
    {
        using FileCall call = Call();
        return call.Error == Errno.OK && socket.GetName(ref call.Context, peer, out SockAddr name) == Errno.OK ? name.ToIPEndPoint() : null;
    }

    public void SetOption(int level, int option, ReadOnlySpan<byte> value)
    {
        using FileCall call = Call();
        Check(call.Error != Errno.OK ? call.Error : socket.SetOption(ref call.Context, level, option, value));
    }

    public void SetOption(int level, int option, int value) => SetOption(level, option, BitConverter.GetBytes(value));

    public int GetOption(int level, int option, Span<byte> value)
    {
        using FileCall call = Call();
        Check(call.Error != Errno.OK ? call.Error : socket.GetOption(ref call.Context, level, option, ref value));
        return value.Length;
    }

    public int GetOption(int level, int option)
    {
        Span<byte> value = stackalloc byte[sizeof(int)];
        value.Clear();
        GetOption(level, option, value);
        return BitConverter.ToInt32(value);
    }

    public void Bind(IPEndPoint local)
    {
        using FileCall call = Call();
        Span<byte> bytes = stackalloc byte[SockAddr.Inet6Length];
        Check(call.Error != Errno.OK ? call.Error : socket.Bind(ref call.Context, bytes[..SockAddr.From(local).Write(bytes)]));
    }

    /// <summary>Nothing if the connection is over already.</summary>
    public void Shutdown(int how)
    {
        using FileCall call = Call();
        Errno error = call.Error != Errno.OK ? call.Error : socket.Shutdown(ref call.Context, how);
        Check(error == Errno.ENOTCONN ? Errno.OK : error);
    }

    /// <summary>
    /// Lets go of the socket, which closes as a closed descriptor does. Whoever is blocked on it, or awaits it, is let go with an error.
    /// </summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        TaskContext context = face.Cpus.Enter();
        socket.Abandon();
        if (socket.IsShared)
            socket.Ops.Shutdown(ref context, socket, (int)ShutdownMask.Both - 1);
        socket.Release(ref context);
        face.Cpus.Leave(ref context);
    }

    /// <summary>
    /// Lets go of the socket and ends its connection with a RST: the peer sees no FIN, whoever still waits here.
    /// </summary>
    public void Abort()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        TaskContext context = face.Cpus.Enter();
        socket.Abandon();
        if (socket.Sk is { } sk)
            sk.Proto.Abort(ref context, sk, Errno.ECONNABORTED);
        socket.Release(ref context);
        face.Cpus.Leave(ref context);
    }

    private void Check(Errno error)
    {
        if (error == Errno.OK)
            return;
        ObjectDisposedException.ThrowIf(error == Errno.EBADF, this);
        throw error.ToException();
    }
}
