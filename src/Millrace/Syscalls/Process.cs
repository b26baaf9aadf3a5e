using System;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Threading;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Syscalls;
using Millrace.Tracing;

namespace Millrace;

/// <summary>
/// A process of the stack: a table of descriptors, and the system calls on them. Every call behaves, blocks and fails as Linux's does;
/// addresses and options are given as the bytes that C programs pass, or as .NET's own types.
/// </summary>
/// <remarks>
/// Calls may be made by any thread. A call that blocks parks its thread; its token, if any, stands where Linux has signals: the call then
/// returns <see cref="Errno.EINTR"/>, or what it has done so far.
/// </remarks>
public sealed partial class Process : IDisposable
{
    private const int SockNonBlock = 2048, SockCloseOnExec = 524288, SockTypeMask = 0xf;

    private readonly CpuSet _cpus;
    private readonly NetFamilies _families;
    private readonly SecurityPolicy _security;
    private readonly Sysctls _sysctls;
    private readonly FdTable _files;
    private readonly Credentials _credentials;

    internal Process(CpuSet cpus, NetFamilies families, SecurityPolicy security, Sysctls sysctls, Credentials credentials, int fileLimit)
    {
        _cpus = cpus;
        _families = families;
        _security = security;
        _sysctls = sysctls;
        _credentials = credentials;
        _files = new FdTable(fileLimit);
    }

    /// <summary>Makes a socket. Linux: socket(2).</summary>
    public SysResult Socket(int domain, int type, int protocol)
    {
        TaskContext context = _cpus.Enter();
        try
        {
            context.Cpu.Trace(Tp.__sys_socket, domain, type, protocol);
            int flags = type & ~SockTypeMask;
            if ((flags & ~(SockNonBlock | SockCloseOnExec)) != 0)
                return Errno.EINVAL;
            Errno error = _families.Create(ref context, domain, type & SockTypeMask, protocol, _credentials, _security, out Socket? socket);
            if (error != Errno.OK)
                return error;
            socket!.NonBlocking = (flags & SockNonBlock) != 0;
            return Install(ref context, socket, (flags & SockCloseOnExec) != 0);
        }
        finally
        {
            _cpus.Leave(ref context);
        }
    }

    /// <summary>Gives a socket its local address. Linux: bind(2).</summary>
    public SysResult Bind(int fd, ReadOnlySpan<byte> address)
    {
        using var call = new SocketCall(this, fd, Tp.__sys_bind);
        if (call.Failed)
            return call.Error;
        return call.Socket.Bind(ref call.Context, address);
    }

    /// <inheritdoc cref="Bind(int, ReadOnlySpan{byte})"/>
    public SysResult Bind(int fd, IPEndPoint address)
    {
        Span<byte> bytes = stackalloc byte[SockAddr.Inet6Length];
        return Bind(fd, bytes[..SockAddr.From(address).Write(bytes)]);
    }

    /// <summary>Makes a socket a listener. Linux: listen(2).</summary>
    public SysResult Listen(int fd, int backlog)
    {
        using var call = new SocketCall(this, fd, Tp.__sys_listen);
        if (call.Failed)
            return call.Error;
        return call.Socket.Listen(ref call.Context, backlog, _sysctls.SoMaxConn);
    }

    /// <summary>Takes a connection from a listener. Linux: accept(2), with no address.</summary>
    public SysResult Accept(int fd, int flags = 0, CancellationToken cancel = default) => Accept(fd, flags, wantName: false, out _, cancel);

    /// <summary>
    /// Takes a connection from a listener; <paramref name="flags"/> are SOCK_NONBLOCK and SOCK_CLOEXEC. ECONNABORTED if it has gone
    /// and so has no peer any more. Linux: accept4(2).
    /// </summary>
    public SysResult Accept4(int fd, int flags, out IPEndPoint? peer, CancellationToken cancel = default)
    {
        SysResult result = Accept(fd, flags, wantName: true, out SockAddr address, cancel);
        peer = result.IsError ? null : address.ToIPEndPoint();
        return result;
    }

    internal SysResult Accept(int fd, int flags, bool wantName, out SockAddr peer, CancellationToken cancel)
    {
        peer = default;
        if ((flags & ~(SockNonBlock | SockCloseOnExec)) != 0)
            return Errno.EINVAL;
        using var call = new SocketCall(this, fd, Tp.__sys_accept4, cancel);
        if (call.Failed)
            return call.Error;
        SysResult accepted = _files.Reserve();
        if (accepted.IsError)
            return accepted;
        Socket? socket = call.Socket.Accept(ref call.Context, out Errno error);
        if (socket is not null && wantName && socket.Ops.GetName(ref call.Context, socket, peer: true, out peer, accepting: true) != Errno.OK)
        {
            error = Errno.ECONNABORTED;
            socket.Release(ref call.Context);
            socket = null;
        }
        if (socket is null)
        {
            _files.Unreserve(accepted.Value);
            return error;
        }
        socket.NonBlocking = (flags & SockNonBlock) != 0;
        _files.Fill(accepted.Value, socket, (flags & SockCloseOnExec) != 0);
        call.Context.Cpu.Trace(Tp.fd_install, accepted.Value);
        return accepted;
    }

    /// <summary>Connects a socket. Linux: connect(2).</summary>
    public SysResult Connect(int fd, ReadOnlySpan<byte> address, CancellationToken cancel = default)
    {
        using var call = new SocketCall(this, fd, Tp.__sys_connect, cancel);
        if (call.Failed)
            return call.Error;
        return call.Socket.Connect(ref call.Context, address, call.Socket.NonBlocking);
    }

    /// <inheritdoc cref="Connect(int, ReadOnlySpan{byte}, CancellationToken)"/>
    public SysResult Connect(int fd, IPEndPoint address, CancellationToken cancel = default)
    {
        Span<byte> bytes = stackalloc byte[SockAddr.Inet6Length];
        return Connect(fd, bytes[..SockAddr.From(address).Write(bytes)], cancel);
    }

    /// <summary>Receives. Linux: recv(2).</summary>
    public SysResult Recv(int fd, Span<byte> buffer, MessageFlags flags = MessageFlags.None, CancellationToken cancel = default) =>
        RecvFrom(fd, buffer, flags, out _, cancel);

    /// <summary>Receives, and tells from whom; null on a connected stream. Linux: recvfrom(2).</summary>
    public SysResult RecvFrom(int fd, Span<byte> buffer, MessageFlags flags, out IPEndPoint? from, CancellationToken cancel = default)
    {
        from = null;
        using var call = new SocketCall(this, fd, Tp.__sys_recvfrom, cancel);
        if (call.Failed)
            return call.Error;
        var message = new MsgHdr { Iter = new IoIter(buffer), Flags = flags };
        SysResult result = call.Socket.ReceiveMessage(ref call.Context, ref message);
        if (!result.IsError && message.HasName)
            from = message.Name.ToIPEndPoint();
        return result;
    }

    /// <summary>Sends. Linux: send(2).</summary>
    public SysResult Send(int fd, ReadOnlySpan<byte> data, MessageFlags flags = MessageFlags.None, CancellationToken cancel = default) =>
        SendTo(fd, data, flags, null, cancel);

    /// <summary>Sends, to an address if one is given. Linux: sendto(2).</summary>
    public SysResult SendTo(int fd, ReadOnlySpan<byte> data, MessageFlags flags, IPEndPoint? to, CancellationToken cancel = default)
    {
        using var call = new SocketCall(this, fd, Tp.__sys_sendto, cancel);
        if (call.Failed)
            return call.Error;
        var message = new MsgHdr { Iter = IoIter.ForReading(data), Flags = flags };
        if (to is not null)
        {
            message.Name = SockAddr.From(to);
            message.HasName = true;
        }
        return call.Socket.SendMessage(ref call.Context, ref message);
    }

    /// <summary>Receives into several pieces, with control data. Linux: recvmsg(2).</summary>
    public SysResult RecvMsg(int fd, ref MessageHeader header, MessageFlags flags, CancellationToken cancel = default)
    {
        using var call = new SocketCall(this, fd, Tp.__sys_recvmsg, cancel);
        if (call.Failed)
            return call.Error;
        var message = new MsgHdr { Iter = new IoIter(header.Pieces), Flags = flags, Control = header.Control };
        SysResult result = call.Socket.ReceiveMessage(ref call.Context, ref message);
        header.NameLength = message.HasName ? message.Name.Write(header.Name) : 0;
        header.ControlLength = message.ControlLength;
        header.Flags = message.OutFlags;
        return result;
    }

    /// <summary>Sends several pieces, with control data. Linux: sendmsg(2).</summary>
    public SysResult SendMsg(int fd, in MessageHeader header, MessageFlags flags, CancellationToken cancel = default)
    {
        using var call = new SocketCall(this, fd, Tp.__sys_sendmsg, cancel);
        if (call.Failed)
            return call.Error;
        var message = new MsgHdr { Iter = new IoIter(header.Pieces), Flags = flags, Control = header.Control };
        if (header.NameLength > 0)
        {
            message.Name = SockAddr.Read(header.Name[..header.NameLength]);
            message.HasName = true;
        }
        return call.Socket.SendMessage(ref call.Context, ref message);
    }

    /// <summary>Closes one side of a connection, or both. Linux: shutdown(2).</summary>
    public SysResult Shutdown(int fd, int how)
    {
        using var call = new SocketCall(this, fd, Tp.__sys_shutdown);
        if (call.Failed)
            return call.Error;
        return call.Socket.Shutdown(ref call.Context, how);
    }

    /// <summary>Sets an option. Linux: setsockopt(2).</summary>
    public SysResult SetSockOpt(int fd, int level, int option, ReadOnlySpan<byte> value)
    {
        using var call = new SocketCall(this, fd, Tp.__sys_setsockopt);
        if (call.Failed)
            return call.Error;
        return call.Socket.SetOption(ref call.Context, level, option, value);
    }

    /// <inheritdoc cref="SetSockOpt(int, int, int, ReadOnlySpan{byte})"/>
    public SysResult SetSockOpt(int fd, int level, int option, int value) => SetSockOpt(fd, level, option, BitConverter.GetBytes(value));

    /// <summary>Reads an option into <paramref name="value"/>; the result is its length. Linux: getsockopt(2).</summary>
    public SysResult GetSockOpt(int fd, int level, int option, Span<byte> value)
    {
        using var call = new SocketCall(this, fd, Tp.__sys_getsockopt);
        if (call.Failed)
            return call.Error;
        Errno error = call.Socket.GetOption(ref call.Context, level, option, ref value);
        return error != Errno.OK ? error : value.Length;
    }

    /// <summary>Reads an option that is a number.</summary>
    public SysResult GetSockOpt(int fd, int level, int option, out int value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        bytes.Clear();
        SysResult result = GetSockOpt(fd, level, option, bytes);
        value = result.IsError ? 0 : BitConverter.ToInt32(bytes);
        return result.IsError ? result : 0;
    }

    /// <summary>The local address. Linux: getsockname(2).</summary>
    public SysResult GetSockName(int fd, out IPEndPoint? address) => GetName(fd, peer: false, out address);

    /// <summary>The other side's address. Linux: getpeername(2).</summary>
    public SysResult GetPeerName(int fd, out IPEndPoint? address) => GetName(fd, peer: true, out address);

    private SysResult GetName(int fd, bool peer, out IPEndPoint? address)
    {
        SysResult result = GetName(fd, peer, out SockAddr name);
        address = result.IsError ? null : name.ToIPEndPoint();
        return result;
    }

    internal SysResult GetName(int fd, bool peer, out SockAddr name)
    {
        name = default;
        using var call = new SocketCall(this, fd, Tp.none);
        if (call.Failed)
            return call.Error;
        return call.Socket.GetName(ref call.Context, peer, out name);
    }

    private SysResult Install(ref TaskContext context, File file, bool closeOnExec)
    {
        SysResult fd = _files.Install(file, closeOnExec);
        if (fd.IsError)
            file.Release(ref context);
        else
            context.Cpu.Trace(Tp.fd_install, fd.Value);
        return fd;
    }

    /// <summary>Closes all descriptors, as the end of a process does.</summary>
    public void Dispose()
    {
        TaskContext context = _cpus.Enter();
        foreach (File file in _files.RemoveAll())
            file.Release(ref context);
        _cpus.Leave(ref context);
    }

    /// <summary>A call on a socket.</summary>
    [SuppressMessage("Design", "CA1001", Justification = "a ref struct's own Dispose")]
    private ref struct SocketCall
    {
        private FileCall _call;
        public readonly Socket Socket = null!;
        public readonly Errno Error;

        public SocketCall(Process process, int fd, Tp point, CancellationToken cancel = default)
        {
            _call = new FileCall(process._cpus, process._files.Get(fd), cancel);
            if (point != Tp.none)
                _call.Context.Cpu.Trace(point, fd);
            if (_call.Error != Errno.OK)
                Error = _call.Error;
            else if (_call.File is Socket socket)
                Socket = socket;
            else
                Error = Errno.ENOTSOCK;
        }

        public readonly bool Failed => Error != Errno.OK;

        [UnscopedRef]
        public ref TaskContext Context => ref _call.Context;

        public void Dispose() => _call.Dispose();
    }
}

/// <summary>A message of several pieces. Linux: struct msghdr.</summary>
public ref struct MessageHeader
{
    /// <summary>The pieces, in order.</summary>
    public ReadOnlySpan<IoVec> Pieces;

    /// <summary>The other side's address: given, or room for it.</summary>
    public Span<byte> Name;

    /// <summary>Bytes of the address.</summary>
    public int NameLength;

    /// <summary>Control data: given, or room for it.</summary>
    public Span<byte> Control;

    /// <summary>Out: bytes of control data.</summary>
    public int ControlLength;

    /// <summary>Out: what was special about the message.</summary>
    public MessageFlags Flags;
}
