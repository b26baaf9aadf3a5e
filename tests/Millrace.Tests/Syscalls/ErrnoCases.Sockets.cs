using System;
using System.Collections.Generic;
using System.Net;
using Millrace.Inet;

namespace Millrace.Tests.Syscalls;

/// <summary>socket and bind; listen and accept.</summary>
internal static partial class ErrnoCases
{
    private static void AddSockets(Dictionary<string, Func<CallBench, Outcome>> all)
    {
        const int inet = CallBench.Inet, stream = CallBench.Stream;
        all["socket_ok"] = static k => Outcome.Fd(k.P.Socket(inet, stream, 0));
        all["socket_stream_udp"] = static k => k.P.Socket(inet, stream, 17);
        all["socket_seqpacket"] = static k => k.P.Socket(inet, 5, 0);
        all["socket_rdm"] = static k => k.P.Socket(inet, 4, 0);
        all["socket_type_0"] = static k => k.P.Socket(inet, 0, 0);
        all["socket_type_11"] = static k => k.P.Socket(inet, 11, 0);
        all["socket_proto_255_stream"] = static k => k.P.Socket(inet, stream, 255);
        all["socket_proto_263"] = static k => k.P.Socket(inet, stream, 263);
        all["socket_family_neg"] = static k => k.P.Socket(-1, stream, 0);
        all["socket_family_99"] = static k => k.P.Socket(99, stream, 0);
        all["socket_nonblock"] = static k =>
            CallBench.Ok(k.P.Fcntl(CallBench.Ok(k.P.Socket(inet, stream | 2048 | 524288, 0)), 3)) & 2048;

        all["bind_ebadf"] = static k => k.P.Bind(-1, CallBench.Loopback(0));
        all["bind_enotsock"] = static k => k.P.Bind(PipeFd(k), CallBench.Loopback(0));
        all["bind_huge_len"] = static k => k.P.Bind(k.Tcp(), new byte[200]);
        all["bind_wrong_family"] = static k => k.P.Bind(k.Tcp(), Address(10, 0, 127, 0, 0, 1));
        all["bind_unspec_loopback"] = static k => k.P.Bind(k.Tcp(), Address(0, 0, 127, 0, 0, 1));
        all["bind_nonlocal"] = static k => k.P.Bind(k.Tcp(), new IPEndPoint(IPAddress.Parse("192.0.2.1"), 0));
        all["bind_broadcast"] = static k => k.P.Bind(k.Tcp(), new IPEndPoint(IPAddress.Broadcast, 0));
        all["bind_ok"] = static k => k.P.Bind(k.Tcp(), k.ClosedPort());
        all["bind_twice"] = static k => k.P.Bind(k.Bound(out _), CallBench.Loopback(0));
        all["bind_used_other_addr"] = static k =>
        {
            k.Bound(out IPEndPoint at);
            return k.P.Bind(k.Tcp(), new IPEndPoint(IPAddress.Parse("127.0.0.2"), at.Port));
        };
        all["bind_any_vs_specific"] = static k =>
        {
            k.Bound(out IPEndPoint at);
            return k.P.Bind(k.Tcp(), new IPEndPoint(IPAddress.Any, at.Port));
        };
        all["bind_reuseaddr_both_unlistened"] = static k => TwoBound(k, So.ReuseAddr, So.ReuseAddr, listen: false).Result;
        all["bind_reuseaddr_both_listening"] = static k => TwoBound(k, So.ReuseAddr, So.ReuseAddr, listen: true).Result;
        all["bind_reuseport_both_listening"] = static k => TwoBound(k, So.ReusePort, So.ReusePort, listen: true).Result;
        all["bind_reuseport_first_only"] = static k => TwoBound(k, So.ReusePort, 0, listen: true).Result;
        all["listen_reuseaddr_first"] = static k => k.P.Listen(TwoBound(k, So.ReuseAddr, So.ReuseAddr, listen: false).First, 1);
        all["bind_port_of_established"] = static k =>
        {
            (_, int server, int listener) = k.Pair();
            CallBench.Ok(k.P.Close(listener));
            return k.P.Bind(k.Tcp(), k.NameOf(server));
        };
        all["bind_port_of_timewait"] = static k => BindToTimeWait(k, reuse: false);
        all["bind_port_of_timewait_ra"] = static k => BindToTimeWait(k, reuse: true);
        all["bind_connected"] = static k => k.P.Bind(k.Pair().Client, CallBench.Loopback(0));
        all["bind_privileged_nonroot"] = static k =>
        {
            Process user = k.Stack.CreateProcess(uid: 65534);
            return user.Bind(CallBench.Ok(user.Socket(inet, stream, 0)), CallBench.Loopback(80));
        };
    }

    private static void AddListeners(Dictionary<string, Func<CallBench, Outcome>> all)
    {
        all["listen_unbound_port"] = static k =>
        {
            int fd = k.Tcp();
            CallBench.Ok(k.P.Listen(fd, 1));
            return k.NameOf(fd).Port != 0 ? 1 : 0;
        };
        all["listen_twice"] = static k => k.P.Listen(k.Listening(out _), 5);
        all["connect_on_listening"] = static k => k.P.Connect(k.Listening(out IPEndPoint at), at);
        all["recv_listening"] = static k => k.Recv(k.Listening(out _), 10);
        all["send_listening_nosig"] = static k => k.Send(k.Listening(out _), "x", CallBench.NoSignal);
        all["getpeername_listening"] = static k => k.P.GetPeerName(k.Listening(out _), out _);
        all["poll_listening_idle"] = static k => k.Poll(k.Listening(out _));
        all["listen_connected"] = static k => k.P.Listen(k.Pair().Client, 1);
        all["accept_bound_not_listening"] = static k => k.P.Accept(k.Bound(out _));
        all["accept_ebadf"] = static k => k.P.Accept(-1);
        all["accept_nonblock_empty"] = static k =>
        {
            int fd = k.Listening(out _);
            CallBench.Ok(k.P.Fcntl(fd, 4, CallBench.NonBlock));
            return k.P.Accept(fd);
        };
        all["accept4_badflags"] = static k => k.P.Accept4(k.Listening(out _), 0x12345, out _);
        all["poll_listening_ready"] = static k =>
        {
            int fd = k.Listening(out IPEndPoint at);
            CallBench.Ok(k.P.Connect(k.Tcp(), at));
            return k.Poll(fd);
        };
        all["accept_after_peer_rst"] = static k => Outcome.Fd(AcceptAfter(k, reset: true));
        all["accept_after_peer_rst_recv"] = static k => k.Recv(CallBench.Ok(AcceptAfter(k, reset: true)), 10);
        all["accept_after_peer_rst_recv2"] = static k => Twice(k, CallBench.Ok(AcceptAfter(k, reset: true)));
        all["accept_after_peer_fin_recv"] = static k => k.Recv(CallBench.Ok(AcceptAfter(k, reset: false)), 10);
        all["accept_after_peer_fin_recv2"] = static k => Twice(k, CallBench.Ok(AcceptAfter(k, reset: false)));
        all["listener_after_shutdown_rd_state"] = static k => k.State(ListenerShutDown(k, out _));
        all["accept_after_shutdown_rd"] = static k => k.P.Accept(ListenerShutDown(k, out _));
        all["connect_after_relisten"] = static k =>
        {
            // The accepted connection has the port too, so it cannot listen again.
            CallBench.Fails(Errno.EADDRINUSE, k.P.Listen(ListenerShutDown(k, out IPEndPoint at), 1));
            return k.P.Connect(k.Tcp(), at);
        };
        all["accept_blocked_close_other_thread"] = static k =>
        {
            int fd = k.Listening(out _);
            k.SetTimeout(fd, So.RcvTimeo, 400);
            k.After(60, () => CallBench.Ok(k.P.Close(fd)));
            return k.P.Accept(fd);
        };
        all["listen_after_shutdown_rd_clean"] = static k => k.P.Listen(CleanShutDown(k, out _), 1);
        all["connect_after_relisten_clean"] = static k =>
        {
            CallBench.Ok(k.P.Listen(CleanShutDown(k, out IPEndPoint at), 1));
            return k.P.Connect(k.Tcp(), at);
        };
        all["shutdown_wr_listener_state"] = static k =>
        {
            int fd = k.Listening(out _);
            CallBench.Ok(k.P.Shutdown(fd, 1));
            return k.State(fd);
        };
    }

    private static int PipeFd(CallBench k)
    {
        CallBench.Ok(k.P.Pipe(out _, out int write));
        return write;
    }

    private static byte[] Address(ushort family, ushort port, params byte[] ip) =>
        [(byte)family, 0, (byte)(port >> 8), (byte)port, .. ip, 0, 0, 0, 0, 0, 0, 0, 0];

    private static (int First, SysResult Result) TwoBound(CallBench k, int optionOfFirst, int optionOfSecond, bool listen)
    {
        int first = k.Bound(out IPEndPoint at, optionOfFirst);
        if (listen)
            CallBench.Ok(k.P.Listen(first, 1));
        int second = k.Tcp();
        if (optionOfSecond != 0)
            CallBench.Ok(k.P.SetSockOpt(second, CallBench.SolSocket, optionOfSecond, 1));
        return (first, k.P.Bind(second, at));
    }

    private static SysResult BindToTimeWait(CallBench k, bool reuse)
    {
        (int client, int server, int listener) = k.Pair();
        IPEndPoint at = k.NameOf(server);
        CallBench.Ok(k.P.Close(listener));
        CallBench.Ok(k.P.Close(server));
        CallBench.Ok(k.P.Close(client));
        k.Sleep(100);
        int fd = k.Tcp();
        if (reuse)
            CallBench.Ok(k.P.SetSockOpt(fd, CallBench.SolSocket, So.ReuseAddr, 1));
        return k.P.Bind(fd, at);
    }

    private static SysResult AcceptAfter(CallBench k, bool reset)
    {
        int listener = k.Listening(out IPEndPoint at);
        int client = k.Tcp();
        CallBench.Ok(k.P.Connect(client, at));
        if (reset)
        {
            k.Abort(client);
        }
        else
        {
            CallBench.Ok(k.Send(client, "hi"));
            CallBench.Ok(k.P.Close(client));
        }
        k.Sleep(50);
        return k.P.Accept(listener);
    }

    private static SysResult Twice(CallBench k, int fd)
    {
        k.Recv(fd, 10);
        return k.Recv(fd, 10);
    }

    // A listener that has accepted a connection, and is shut down for reading.
    private static int ListenerShutDown(CallBench k, out IPEndPoint at)
    {
        (_, _, int listener) = k.Pair();
        at = k.NameOf(listener);
        CallBench.Ok(k.P.Shutdown(listener, 0));
        return listener;
    }

    private static int CleanShutDown(CallBench k, out IPEndPoint at)
    {
        int listener = k.Listening(out at);
        CallBench.Ok(k.P.Shutdown(listener, 0));
        return listener;
    }
}
