using System;
using System.Collections.Generic;
using System.Net;
using System.Runtime.InteropServices;
using System.Threading.Tasks;
using Millrace.Inet;
using Millrace.Tests.Syscalls;

namespace Millrace.Tests.Sockets;

/// <summary>The policy is asked once, before anything is touched, and what it denies does not happen.</summary>
public sealed class SecurityTests
{
    /// <summary>Notes what it is asked, and denies one thing.</summary>
    private sealed class Guard : SecurityPolicy
    {
        public List<string> Asked { get; } = [];

        public string? Denied { get; set; }

        /// <summary>What the policy does while it is asked.</summary>
        public Action? Meanwhile { get; set; }

        private Errno Ask(string what)
        {
            Asked.Add(what);
            Meanwhile?.Invoke();
            return what == Denied ? Errno.EACCES : Errno.OK;
        }

        public override Errno OnCreate(int family, int type, int protocol) => Ask("create");

        public override Errno OnBind(SocketInfo socket, IPEndPoint? address) => Ask("bind");

        public override Errno OnConnect(SocketInfo socket, IPEndPoint? address) => Ask("connect");

        public override Errno OnListen(SocketInfo socket, int backlog) => Ask("listen");

        public override Errno OnAccept(SocketInfo socket) => Ask("accept");

        public override Errno OnSendMessage(SocketInfo socket) => Ask("send");

        public override Errno OnReceiveMessage(SocketInfo socket) => Ask("receive");

        public override Errno OnGetName(SocketInfo socket, bool peer) => Ask(peer ? "getpeername" : "getsockname");

        public override Errno OnSetOption(SocketInfo socket, int level, int option) => Ask("setsockopt");

        public override Errno OnGetOption(SocketInfo socket, int level, int option) => Ask("getsockopt");

        public override Errno OnShutdown(SocketInfo socket, int how) => Ask("shutdown");
    }

    private static void Run(Action<CallBench, Guard> test)
    {
        var guard = new Guard();
        CallBench.Run(k => test(k, guard), security: guard);
    }

    // Denied once, nothing has happened, and allowed it happens: the check runs after each.
    private static void DenyThenAllow(Guard guard, string what, Func<SysResult> call, Action<bool> check)
    {
        guard.Denied = what;
        guard.Asked.Clear();
        CallBench.Fails(Errno.EACCES, call());
        Assert.Equal([what], guard.Asked);
        guard.Denied = null;
        check(false);
        guard.Asked.Clear();
        SysResult allowed = call();
        Assert.False(allowed.IsError, allowed.ToString());
        Assert.Equal([what], guard.Asked);
        check(true);
    }

    [Fact]
    public void Create() => Run((k, guard) =>
    {
        int before = k.Tcp();
        DenyThenAllow(guard, "create", () => k.P.Socket(CallBench.Inet, CallBench.Stream, 0), static _ => { });
        Assert.Equal(before + 2, k.Tcp());
    });

    [Fact]
    public void Bind() => Run((k, guard) =>
    {
        int fd = k.Tcp();
        DenyThenAllow(guard, "bind", () => k.P.Bind(fd, CallBench.Loopback(8080)), done => Assert.Equal(done ? 8080 : 0, k.NameOf(fd).Port));
    });

    [Fact]
    public void Listen_accept_and_connect() => Run((k, guard) =>
    {
        int listener = k.Bound(out IPEndPoint at);
        DenyThenAllow(guard, "listen", () => k.P.Listen(listener, 5), done => Assert.Equal(done ? "LISTEN" : "CLOSE", k.State(listener)));
        PacketTap tap = PacketTap.On(k.Stack, "lo");
        int client = k.Tcp();
        DenyThenAllow(guard, "connect", () => k.P.Connect(client, at), done => Assert.Equal(done, tap.Sent.Count > 0));
        DenyThenAllow(guard, "accept", () => k.P.Accept4(listener, 0, out _), done => Assert.Equal(done ? "none" : "IN", k.Poll(listener)));
    });

    public static TheoryData<string> Receives => ["recv", "recvmsg", "read", "readv"];

    [Theory, MemberData(nameof(Receives))]
    public void Receive(string call) => Run((k, guard) =>
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.Send(server, "x"));
        byte[] room = GC.AllocateArray<byte>(4, pinned: true);
        var piece = new IoVec(Marshal.UnsafeAddrOfPinnedArrayElement(room, 0), room.Length);
        DenyThenAllow(guard, "receive", () =>
        {
            switch (call)
            {
                case "recv":
                    return k.P.Recv(client, room);
                case "read":
                    return k.P.Read(client, room);
                case "readv":
                    return k.P.ReadV(client, [piece]);
                default:
                    ReadOnlySpan<IoVec> pieces = [piece];
                    var header = new MessageHeader { Pieces = pieces };
                    return k.P.RecvMsg(client, ref header, 0);
            }
        }, done => Assert.Equal(done ? 0 : (byte)'x', done ? 0 : Peek(k, guard, client)));
        Assert.Equal((byte)'x', room[0]);
    });

    private static byte Peek(CallBench k, Guard guard, int fd)
    {
        var one = new byte[1];
        CallBench.Ok(k.P.Recv(fd, one, MessageFlags.Peek));
        guard.Asked.Clear();
        return one[0];
    }

    public static TheoryData<string> Sends => ["send", "sendmsg", "write", "writev"];

    [Theory, MemberData(nameof(Sends))]
    public void Send(string call) => Run((k, guard) =>
    {
        (int client, int server, _) = k.Pair();
        byte[] data = GC.AllocateArray<byte>(4, pinned: true);
        var piece = new IoVec(Marshal.UnsafeAddrOfPinnedArrayElement(data, 0), data.Length);
        DenyThenAllow(guard, "send", () =>
        {
            switch (call)
            {
                case "send":
                    return k.P.Send(client, data);
                case "write":
                    return k.P.Write(client, data);
                case "writev":
                    return k.P.WriteV(client, [piece]);
                default:
                    ReadOnlySpan<IoVec> pieces = [piece];
                    var header = new MessageHeader { Pieces = pieces };
                    return k.P.SendMsg(client, header, 0);
            }
        }, done => Assert.Equal(done ? "IN OUT" : "OUT", k.Poll(server)));
    });

    [Fact]
    public void Shutdown_names_and_options() => Run((k, guard) =>
    {
        (int client, int server, _) = k.Pair();
        DenyThenAllow(guard, "getsockname", () => k.P.GetSockName(client, out _), static _ => { });
        DenyThenAllow(guard, "getpeername", () => k.P.GetPeerName(client, out _), static _ => { });
        DenyThenAllow(guard, "setsockopt", () => k.P.SetSockOpt(client, CallBench.SolSocket, So.KeepAlive, 1),
            done => Assert.Equal(done ? 1 : 0, k.Get(client, CallBench.SolSocket, So.KeepAlive).Value));
        DenyThenAllow(guard, "getsockopt", () => k.Get(client, CallBench.SolSocket, So.KeepAlive), static _ => { });
        DenyThenAllow(guard, "shutdown", () => k.P.Shutdown(client, 1), done => Assert.Equal(done ? "CLOSE_WAIT" : "ESTABLISHED", StateSoon(k, server)));
    });

    private static string StateSoon(CallBench k, int fd)
    {
        k.Sleep(60);
        return k.State(fd);
    }

    [Fact]
    public void The_policy_holds_no_lock_and_may_use_the_stack_itself() => Run((k, guard) =>
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.Send(server, "x"));
        bool inside = false;
        guard.Meanwhile = () =>
        {
            if (inside)
                return;
            inside = true;
            // The socket's own lock is taken by each of these.
            Assert.Equal("ESTABLISHED", k.State(client));
            CallBench.Ok(k.P.GetPeerName(client, out _));
            CallBench.Ok(k.Send(client, "y"));
            inside = false;
        };
        CallBench.Ok(k.Recv(client, 1));
        CallBench.Ok(k.Recv(server, 1));
    });

    [Fact]
    public void A_policy_can_keep_a_note_on_a_socket_and_sees_its_addresses() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        CallBench.Fails(Errno.EACCES, k.Send(client, "one"));
        CallBench.Ok(k.Send(client, "two"));
        Assert.Equal(3, k.Recv(server, 10).Value);
    }, security: new SecondTimeOnly());

    private sealed class SecondTimeOnly : SecurityPolicy
    {
        public override Errno OnSendMessage(SocketInfo socket)
        {
            Assert.Equal((2, 1), (socket.Family, socket.Type));
            Assert.Equal(IPAddress.Loopback, socket.Local!.Address);
            Assert.Equal(IPAddress.Loopback, socket.Remote!.Address);
            bool first = socket.Tag is null;
            socket.Tag = "seen";
            return first ? Errno.EACCES : Errno.OK;
        }
    }

    [Fact]
    public async Task An_asynchronous_call_that_has_to_wait_is_asked_about_once()
    {
        var guard = new Guard();
        using var stack = new NetStack(new NetStackOptions { Security = guard });
        using TcpListener listener = stack.Listen(new IPEndPoint(IPAddress.Loopback, 0));
        ValueTask<TcpConnection> accepting = listener.AcceptAsync(TestContext.Current.CancellationToken);
        await using TcpConnection client = await stack.ConnectAsync(listener.LocalEndPoint!, cancel: TestContext.Current.CancellationToken);
        await using TcpConnection server = await accepting;
        var buffer = new byte[4];
        ValueTask<int> receiving = server.ReceiveAsync(buffer, TestContext.Current.CancellationToken);
        await client.SendAsync(buffer, cancel: TestContext.Current.CancellationToken);
        Assert.Equal(4, await receiving);
        Assert.Single(guard.Asked, static a => a == "accept");
        Assert.Single(guard.Asked, static a => a == "connect");
        Assert.Single(guard.Asked, static a => a == "receive");
        Assert.Single(guard.Asked, static a => a == "send");
        guard.Denied = "receive";
        var denied = await Assert.ThrowsAsync<System.Net.Sockets.SocketException>(async () => await server.ReceiveAsync(buffer, TestContext.Current.CancellationToken));
        Assert.Equal(System.Net.Sockets.SocketError.AccessDenied, denied.SocketErrorCode);
    }
}
