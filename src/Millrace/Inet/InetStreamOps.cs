using System;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;

namespace Millrace.Inet;

/// <summary>System calls on a stream socket of an Internet family.</summary>
/// <remarks>Linux: inet_stream_ops, inet6_stream_ops.</remarks>
internal class InetStreamOps(int family, InetBinder binder, SocketOptions options) : ProtoOps
{
    /// <summary>A sockaddr_in6 without its scope, which old programs pass. Linux: SIN6_LEN_RFC2133.</summary>
    private const int ShortInet6Length = 24;

    public override int Family => family;

    // Linux: inet_release.
    public override void Release(ref TaskContext context, Socket socket)
    {
        Sock sk = socket.Sk!;
        context.Cpu.Trace(Tp.inet_release, sk);
        Micros timeout = sk.Has(SockFlags.Linger) ? sk.LingerTime : Micros.Zero;
        sk.Proto.Close(ref context, sk, timeout);
        socket.Sk = null;
    }

    public override Errno Bind(ref TaskContext context, Socket socket, scoped ReadOnlySpan<byte> address) =>
        binder.Bind(ref context, (InetSock)socket.Sk!, family, address);

    // Linux: inet_stream_connect.
    public override Errno Connect(ref TaskContext context, Socket socket, scoped ReadOnlySpan<byte> address, bool nonBlocking)
    {
        Sock sk = socket.Sk!;
        context.Cpu.Trace(Tp.inet_stream_connect, sk);
        sk.LockSock(ref context);
        Errno error = ConnectOwned(ref context, socket, address, nonBlocking);
        sk.ReleaseSock(context.Cpu);
        return error;
    }

    // Linux: __inet_stream_connect.
    public override Errno ConnectOwned(ref TaskContext context, Socket socket, scoped ReadOnlySpan<byte> address, bool nonBlocking)
    {
        Sock sk = socket.Sk!;
        if (address.Length < 2)
            return Errno.EINVAL;
        SockAddr to = SockAddr.Read(address);
        if (to.Family == Af.Unspec)
        {
            Errno failed = sk.Proto.Disconnect(context.Cpu, sk);
            socket.State = failed != Errno.OK ? SocketState.Disconnecting : SocketState.Unconnected;
            return failed;
        }
        Errno error;
        switch (socket.State)
        {
            case SocketState.Connected:
                return Errno.EISCONN;
            case SocketState.Connecting:
                error = sk.DefersConnect ? Errno.EISCONN : Errno.EALREADY;
                break;
            case SocketState.Unconnected:
                if (sk.State != TcpState.Close)
                    return Errno.EISCONN;
                error = CheckConnectAddress(to, address.Length);
                if (error == Errno.OK)
                    error = sk.Proto.Connect(ref context, sk, to);
                if (error != Errno.OK)
                    return error;
                socket.State = SocketState.Connecting;
                if (sk.DefersConnect)
                    return Errno.OK;
                error = Errno.EINPROGRESS;
                break;
            case SocketState.Disconnecting:
            default:
                return Errno.EINVAL;
        }
        return FinishConnect(ref context, socket, sk, nonBlocking, error);
    }

    public override Errno AwaitConnection(ref TaskContext context, Socket socket, bool nonBlocking) =>
        FinishConnect(ref context, socket, socket.Sk!, nonBlocking, Errno.EINPROGRESS);

    private static Errno FinishConnect(ref TaskContext context, Socket socket, Sock sk, bool nonBlocking, Errno unfinished)
    {
        Micros deadline = sk.SendDeadline(context.Cpu, nonBlocking);
        if (sk.State.IsAny(TcpStateSet.SynSent | TcpStateSet.SynRecv))
        {
            if (deadline == Micros.Zero || !WaitForConnect(ref context, socket, sk, deadline))
                return unfinished;
            if (context.Task.SignalPending && sk.State.IsAny(TcpStateSet.SynSent | TcpStateSet.SynRecv))
                return Sock.InterruptedErrno(deadline);
        }
        // Closed by an error, a RST, or a timeout; or by a disconnect of another thread.
        if (sk.State == TcpState.Close)
        {
            Errno error = sk.TakeError();
            if (error == Errno.OK)
                error = Errno.ECONNABORTED;
            socket.State = SocketState.Unconnected;
            if (sk.Proto.Disconnect(context.Cpu, sk) != Errno.OK)
                socket.State = SocketState.Disconnecting;
            return error;
        }
        socket.State = SocketState.Connected;
        return Errno.OK;
    }

    // False: the time is over. Linux: inet_wait_for_connect.
    private static bool WaitForConnect(ref TaskContext context, Socket socket, Sock sk, Micros deadline)
    {
        while (sk.State.IsAny(TcpStateSet.SynSent | TcpStateSet.SynRecv))
        {
            Cpu cpu = context.Cpu;
            if (cpu.Now >= deadline)
                return false;
            if (context.Task.SignalPending)
                return true;
            socket.Wait.Prepare(cpu, context.Task, PollEvents.Writable | PollEvents.Terminal, exclusive: false);
            sk.ReleaseSock(cpu);
            Scheduler.ScheduleTimeout(ref context, deadline, "inet_wait_for_connect");
            sk.LockSock(ref context);
            socket.Wait.Finish(context.Cpu, context.Task);
        }
        return true;
    }

    private Errno CheckConnectAddress(in SockAddr to, int length)
    {
        if (length < (family == Af.Inet6 ? ShortInet6Length : SockAddr.InetLength))
            return Errno.EINVAL;
        return to.Family == family ? Errno.OK : Errno.EAFNOSUPPORT;
    }

    // Linux: inet_accept.
    public override Errno Accept(ref TaskContext context, Socket socket, Socket newSocket, bool nonBlocking)
    {
        Sock sk = socket.Sk!;
        context.Cpu.Trace(Tp.inet_accept, sk);
        Sock? child = sk.Proto.Accept(ref context, sk, nonBlocking, out Errno error);
        if (child is null)
            return error;
        child.LockSock(ref context);
        child.Graft(newSocket);
        newSocket.State = SocketState.Connected;
        child.ReleaseSock(context.Cpu);
        return Errno.OK;
    }

    public override Errno AcceptOwned(Cpu cpu, Socket socket, Socket newSocket)
    {
        Sock? child = socket.Sk!.Proto.AcceptOwned(cpu, socket.Sk, out Errno error);
        if (child is null)
            return error;
        // Somebody who lists or ends all connections may own it. He minds no user's end that comes, for which nobody sleeps yet.
        cpu.BhDisable();
        child.Lock.Lock(cpu);
        child.Graft(newSocket);
        child.Lock.Unlock(cpu);
        cpu.BhEnable();
        newSocket.State = SocketState.Connected;
        return Errno.OK;
    }

    // Linux: inet_getname, inet6_getname.
    public override Errno GetName(ref TaskContext context, Socket socket, bool peer, out SockAddr address, bool accepting = false)
    {
        var sk = (InetSock)socket.Sk!;
        address = default;
        sk.LockSock(ref context);
        Errno error = Errno.OK;
        if (!peer)
        {
            address = new SockAddr(family, sk.LocalAddr, sk.LocalPort);
        }
        else if (sk.RemotePort == 0 || (!accepting && sk.State.IsAny(TcpStateSet.Close | TcpStateSet.SynSent) && socket.Type == SocketType.Stream))
        {
            error = Errno.ENOTCONN;
        }
        else
        {
            address = new SockAddr(family, sk.RemoteAddr, sk.RemotePort);
        }
        sk.ReleaseSock(context.Cpu);
        return error;
    }

    // Linux: sock_poll, tcp_poll.
    public override PollEvents Poll(ref TaskContext context, Socket socket, PollTable? table)
    {
        table?.Wait(context.Cpu, ref socket.Wait);
        return socket.Sk!.Proto.Poll(context.Cpu, socket.Sk);
    }

    public override Errno Ioctl(ref TaskContext context, Socket socket, uint request, ref int value) =>
        socket.Sk!.Proto.Ioctl(ref context, socket.Sk, request, ref value);

    // Linux: inet_listen.
    public override Errno Listen(ref TaskContext context, Socket socket, int backlog)
    {
        var sk = (InetConnectionSock)socket.Sk!;
        context.Cpu.Trace(Tp.inet_listen, sk, backlog);
        sk.LockSock(ref context);
        Errno error = Errno.EINVAL;
        if (socket.State == SocketState.Unconnected && sk.State.IsAny(TcpStateSet.Close | TcpStateSet.Listen))
        {
            sk.MaxAcceptBacklog = backlog;
            error = sk.State == TcpState.Listen ? Errno.OK : sk.StartListening(context.Cpu);
        }
        sk.ReleaseSock(context.Cpu);
        return error;
    }

    // Linux: inet_shutdown.
    public override Errno Shutdown(ref TaskContext context, Socket socket, int how)
    {
        if (how is < 0 or > 2)
            return Errno.EINVAL;
        var mask = (ShutdownMask)(how + 1);
        Sock sk = socket.Sk!;
        context.Cpu.Trace(Tp.inet_shutdown, sk, how);
        sk.LockSock(ref context);
        if (socket.State == SocketState.Connecting)
        {
            socket.State = sk.State.IsAny(TcpStateSet.SynSent | TcpStateSet.SynRecv | TcpStateSet.Close)
                ? SocketState.Disconnecting
                : SocketState.Connected;
        }
        Errno error = Errno.OK;
        bool disconnect = sk.State == TcpState.SynSent || (sk.State == TcpState.Listen && (mask & ShutdownMask.Receive) != 0);
        if (disconnect)
        {
            error = sk.Proto.Disconnect(context.Cpu, sk);
            socket.State = error != Errno.OK ? SocketState.Disconnecting : SocketState.Unconnected;
        }
        else if (sk.State != TcpState.Listen)
        {
            if (sk.State == TcpState.Close)
                error = Errno.ENOTCONN;
            sk.Shutdown |= mask;
            sk.Proto.Shutdown(context.Cpu, sk, mask);
        }
        sk.StateChange(context.Cpu);
        sk.ReleaseSock(context.Cpu);
        return error;
    }

    public override Errno SetOption(ref TaskContext context, Socket socket, int level, int option, ReadOnlySpan<byte> value) =>
        options.Set(ref context, socket.Sk!, level, option, value);

    public override Errno GetOption(ref TaskContext context, Socket socket, int level, int option, ref Span<byte> value) =>
        options.Get(ref context, socket.Sk!, level, option, ref value);

    // Linux: inet_sendmsg.
    public override SysResult SendMessage(ref TaskContext context, Socket socket, ref MsgHdr message)
    {
        context.Cpu.Trace(Tp.inet_sendmsg);
        return socket.Sk!.Proto.SendMessage(ref context, socket.Sk, ref message);
    }

    // Linux: inet_recvmsg.
    public override SysResult ReceiveMessage(ref TaskContext context, Socket socket, ref MsgHdr message)
    {
        context.Cpu.Trace(Tp.inet_recvmsg);
        return socket.Sk!.Proto.ReceiveMessage(ref context, socket.Sk, ref message);
    }
}
