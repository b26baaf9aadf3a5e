using System;
using System.Net;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Sockets;

/// <summary>Types of socket. Linux: SOCK_*.</summary>
internal enum SocketType : byte
{
    Stream = 1,
    Datagram = 2,
    Raw = 3,
    Rdm = 4,
    SeqPacket = 5,
    Dccp = 6,
    Packet = 10,
}

/// <summary>How far a socket is connected, as its user sees it. Linux: socket_state.</summary>
internal enum SocketState : byte
{
    Unconnected,
    Connecting,
    Connected,
    Disconnecting,
}

/// <summary>How a connection is closed.</summary>
[Flags]
internal enum ShutdownMask : byte
{
    None = 0,
    Receive = 1,
    Send = 2,
    Both = 3,
}

/// <summary>
/// The user's end of a connection: a file whose operations are the address family's. What the network sees is the <see cref="Sock"/>.
/// </summary>
/// <remarks>Linux: struct socket, with the file that refers to it.</remarks>
internal sealed class Socket(SocketType type, SecurityPolicy security) : File
{
    public SocketType Type { get; } = type;

    public SocketState State { get; set; }

    /// <summary>The family's operations. Set by its create. Linux: ops.</summary>
    public ProtoOps Ops { get; set; } = null!;

    /// <summary>Null before creation and after release. Linux: sk.</summary>
    public Sock? Sk { get; set; }

    public SecurityPolicy Security { get; } = security;

    /// <summary>Who waits for something to happen here. Linux: wq.</summary>
    public WaitQueueHead Wait;

    /// <summary>What the security policy has attached. Linux: sk_security.</summary>
    public object? SecurityBlob { get; set; }

    /// <summary>
    /// Asks the policy, which is user code: no lock is held, and the CPU is given up. Linux: security_socket_*.
    /// </summary>
    public Errno Ask(ref TaskContext context, Func<SecurityPolicy, SocketInfo, int, int, Errno> question, int a = 0, int b = 0)
    {
        if (Security.IsPermissive)
            return Errno.OK;
        CpuSet set = context.ExitToUser();
        try
        {
            return question(Security, new SocketInfo(this), a, b);
        }
        finally
        {
            context.ReturnFromUser(set);
        }
    }

    /// <summary>As <see cref="Ask"/>, about an address; null if it is of no Internet family.</summary>
    private Errno AskAbout(ref TaskContext context, scoped ReadOnlySpan<byte> address, Func<SecurityPolicy, SocketInfo, IPEndPoint?, Errno> question)
    {
        if (Security.IsPermissive)
            return Errno.OK;
        SockAddr a = SockAddr.Read(address);
        IPEndPoint? named = a.Family is Af.Inet or Af.Inet6 ? a.ToIPEndPoint() : null;
        CpuSet set = context.ExitToUser();
        try
        {
            return question(Security, new SocketInfo(this), named);
        }
        finally
        {
            context.ReturnFromUser(set);
        }
    }

    // ---- The system calls on a socket: the policy is asked, then the family's operation runs. Linux: __sys_bind and its kin. ----

    public Errno Bind(ref TaskContext context, scoped ReadOnlySpan<byte> address)
    {
        if (address.Length > SockAddr.StorageLength)
            return Errno.EINVAL;
        Errno denied = AskAbout(ref context, address, static (policy, socket, address) => policy.OnBind(socket, address));
        return denied != Errno.OK ? denied : Ops.Bind(ref context, this, address);
    }

    /// <param name="most">The longest backlog. Linux: net.core.somaxconn.</param>
    public Errno Listen(ref TaskContext context, int backlog, int most)
    {
        backlog = (int)Math.Min((uint)backlog, (uint)most);
        Errno denied = Ask(ref context, static (policy, socket, n, _) => policy.OnListen(socket, n), backlog);
        return denied != Errno.OK ? denied : Ops.Listen(ref context, this, backlog);
    }

    /// <summary>Takes a connection; null with an error.</summary>
    public Socket? Accept(ref TaskContext context, out Errno error)
    {
        // The socket is made before the wait.
        Socket socket = NewForAccept();
        error = AskAccept(ref context);
        if (error == Errno.OK)
            error = Ops.Accept(ref context, this, socket, NonBlocking);
        return error == Errno.OK ? socket : null;
    }

    /// <summary>The user's end of a connection that is about to be accepted.</summary>
    public Socket NewForAccept() => new(Type, Security) { Ops = Ops };

    public Errno AskAccept(ref TaskContext context) => Ask(ref context, static (policy, s, _, _) => policy.OnAccept(s));

    public Errno AskConnect(ref TaskContext context, in SockAddr address)
    {
        Span<byte> bytes = stackalloc byte[SockAddr.Inet6Length];
        return AskConnect(ref context, bytes[..address.Write(bytes)]);
    }

    private Errno AskConnect(ref TaskContext context, scoped ReadOnlySpan<byte> address) =>
        AskAbout(ref context, address, static (policy, socket, address) => policy.OnConnect(socket, address));

    public Errno AskReceive(ref TaskContext context)
    {
        context.Cpu.Trace(Tp.security_socket_recvmsg);
        return Ask(ref context, static (policy, socket, _, _) => policy.OnReceiveMessage(socket));
    }

    public Errno AskSend(ref TaskContext context)
    {
        context.Cpu.Trace(Tp.security_socket_sendmsg);
        return Ask(ref context, static (policy, socket, _, _) => policy.OnSendMessage(socket));
    }

    public Errno Connect(ref TaskContext context, scoped ReadOnlySpan<byte> address, bool nonBlocking)
    {
        if (address.Length > SockAddr.StorageLength)
            return Errno.EINVAL;
        Errno denied = AskConnect(ref context, address);
        return denied != Errno.OK ? denied : Ops.Connect(ref context, this, address, nonBlocking);
    }

    public Errno Shutdown(ref TaskContext context, int how)
    {
        Errno denied = Ask(ref context, static (policy, socket, h, _) => policy.OnShutdown(socket, h), how);
        return denied != Errno.OK ? denied : Ops.Shutdown(ref context, this, how);
    }

    public Errno SetOption(ref TaskContext context, int level, int option, ReadOnlySpan<byte> value)
    {
        Errno denied = Ask(ref context, static (policy, socket, l, o) => policy.OnSetOption(socket, l, o), level, option);
        return denied != Errno.OK ? denied : Ops.SetOption(ref context, this, level, option, value);
    }

    /// <summary>Fills <paramref name="value"/> and cuts it to what was filled.</summary>
    public Errno GetOption(ref TaskContext context, int level, int option, ref Span<byte> value)
    {
        Errno denied = Ask(ref context, static (policy, socket, l, o) => policy.OnGetOption(socket, l, o), level, option);
        return denied != Errno.OK ? denied : Ops.GetOption(ref context, this, level, option, ref value);
    }

    public Errno GetName(ref TaskContext context, bool peer, out SockAddr name)
    {
        name = default;
        Errno denied = Ask(ref context, static (policy, socket, p, _) => policy.OnGetName(socket, p != 0), peer ? 1 : 0);
        return denied != Errno.OK ? denied : Ops.GetName(ref context, this, peer, out name);
    }

    protected override void OnLastRelease(ref TaskContext context)
    {
        if (Sk is not null)
            Ops.Release(ref context, this);
    }

    public override PollEvents Poll(ref TaskContext context, PollTable? table) => Ops.Poll(ref context, this, table);

    public override SysResult Read(ref TaskContext context, ref MsgHdr message) => ReceiveMessage(ref context, ref message);

    public override SysResult Write(ref TaskContext context, ref MsgHdr message) => SendMessage(ref context, ref message);

    public override Errno Ioctl(ref TaskContext context, uint request, ref int value) => Ops.Ioctl(ref context, this, request, ref value);

    /// <summary>Receives with the policy's consent. Linux: sock_recvmsg.</summary>
    public SysResult ReceiveMessage(ref TaskContext context, ref MsgHdr message)
    {
        context.Cpu.Trace(Tp.sock_recvmsg);
        Errno denied = AskReceive(ref context);
        return denied != Errno.OK ? denied : ReceiveMessageNoSec(ref context, ref message);
    }

    /// <summary>Receives where consent has been given already. Linux: sock_recvmsg_nosec.</summary>
    public SysResult ReceiveMessageNoSec(ref TaskContext context, ref MsgHdr message)
    {
        if (NonBlocking)
            message.Flags |= MessageFlags.DontWait;
        Sock? sk = Sk;
        context.Cpu.Trace(Tp.sock_recvmsg_nosec);
        SysResult result = Ops.ReceiveMessage(ref context, this, ref message);
        if (sk is not null)
            TraceReceived(context.Cpu, sk, result, message.Flags);
        return result;
    }

    // A peek takes nothing. Linux: call_trace_sock_recv_length.
    private static void TraceReceived(Cpu cpu, Sock sk, SysResult result, MessageFlags flags)
    {
        bool takes = !result.IsError && (flags & MessageFlags.Peek) == 0;
        cpu.Trace(Tp.sock_recv_length, sk, takes ? result.Value : 0, (long)result.Error, (long)flags);
    }

    /// <summary>Sends with the policy's consent. Linux: sock_sendmsg.</summary>
    public SysResult SendMessage(ref TaskContext context, ref MsgHdr message)
    {
        Errno denied = AskSend(ref context);
        return denied != Errno.OK ? denied : SendMessageNoSec(ref context, ref message);
    }

    /// <summary>Linux: sock_sendmsg_nosec.</summary>
    public SysResult SendMessageNoSec(ref TaskContext context, ref MsgHdr message)
    {
        if (NonBlocking)
            message.Flags |= MessageFlags.DontWait;
        Sock? sk = Sk;
        SysResult result = Ops.SendMessage(ref context, this, ref message);
        if (sk is not null)
            context.Cpu.Trace(Tp.sock_send_length, sk, result.IsError ? 0 : result.Value, (long)result.Error, (long)message.Flags);
        return result;
    }
}
