using System;
using Millrace.Sched;

namespace Millrace.Sockets;

/// <summary>
/// What an address family does with each system call on a socket of one type. Abstract: every family must answer. Virtual: a family
/// that says nothing refuses.
/// </summary>
/// <remarks>Linux: proto_ops; sock_no_* where a default refuses.</remarks>
internal abstract class ProtoOps
{
    public abstract int Family { get; }

    public abstract void Release(ref TaskContext context, Socket socket);

    public abstract Errno Bind(ref TaskContext context, Socket socket, scoped ReadOnlySpan<byte> address);

    public abstract Errno Connect(ref TaskContext context, Socket socket, scoped ReadOnlySpan<byte> address, bool nonBlocking);

    /// <summary>As <see cref="Connect"/>, by somebody who owns the socket.</summary>
    public abstract Errno ConnectOwned(ref TaskContext context, Socket socket, scoped ReadOnlySpan<byte> address, bool nonBlocking);

    /// <summary>Waits, with the socket owned, until the connection that is being opened is open; EINPROGRESS: it is not yet.</summary>
    public virtual Errno AwaitConnection(ref TaskContext context, Socket socket, bool nonBlocking) => Errno.EOPNOTSUPP;

    /// <summary>Grafts an established connection onto <paramref name="newSocket"/>.</summary>
    public virtual Errno Accept(ref TaskContext context, Socket socket, Socket newSocket, bool nonBlocking) => Errno.EOPNOTSUPP;

    /// <summary>As <see cref="Accept"/>, by somebody who owns the listener and does not wait; EAGAIN: no connection is ready.</summary>
    public virtual Errno AcceptOwned(Cpu cpu, Socket socket, Socket newSocket) => Errno.EOPNOTSUPP;

    /// <summary>The local address, or the other side's.</summary>
    /// <param name="accepting">For accept: who has gone already is named all the same.</param>
    public abstract Errno GetName(ref TaskContext context, Socket socket, bool peer, out SockAddr address, bool accepting = false);

    public abstract PollEvents Poll(ref TaskContext context, Socket socket, PollTable? table);

    public abstract Errno Ioctl(ref TaskContext context, Socket socket, uint request, ref int value);

    public virtual Errno Listen(ref TaskContext context, Socket socket, int backlog) => Errno.EOPNOTSUPP;

    public abstract Errno Shutdown(ref TaskContext context, Socket socket, int how);

    public abstract Errno SetOption(ref TaskContext context, Socket socket, int level, int option, ReadOnlySpan<byte> value);

    /// <summary>Fills <paramref name="value"/> and cuts it to what was filled.</summary>
    public abstract Errno GetOption(ref TaskContext context, Socket socket, int level, int option, ref Span<byte> value);

    public abstract SysResult SendMessage(ref TaskContext context, Socket socket, ref MsgHdr message);

    public abstract SysResult ReceiveMessage(ref TaskContext context, Socket socket, ref MsgHdr message);
}
