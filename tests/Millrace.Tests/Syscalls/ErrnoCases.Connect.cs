using System;
using System.Collections.Generic;
using System.Net;
using Millrace.Inet;

namespace Millrace.Tests.Syscalls;

/// <summary>connect; sending and receiving before there is a connection.</summary>
internal static partial class ErrnoCases
{
    private static void AddConnects(Dictionary<string, Func<CallBench, Outcome>> all)
    {
        all["connect_ebadf"] = static k => k.P.Connect(-1, CallBench.Loopback(1));
        all["connect_len1"] = static k => k.P.Connect(k.Tcp(), new byte[1]);
        all["connect_refused"] = static k => k.P.Connect(k.Tcp(), k.ClosedPort());
        all["connect_refused_state"] = static k => k.State(Refused(k));
        all["connect_after_refused"] = static k =>
        {
            int fd = Refused(k);
            k.Listening(out IPEndPoint at);
            return k.P.Connect(fd, at);
        };
        all["connect_twice"] = static k =>
        {
            k.Listening(out IPEndPoint at);
            int fd = k.Tcp();
            CallBench.Ok(k.P.Connect(fd, at));
            return k.P.Connect(fd, at);
        };
        all["connect_unspec_state"] = static k => k.State(Disconnected(k).Client);
        all["connect_unspec_peer"] = static k => k.Recv(Disconnected(k).Server, 10);
        all["connect_after_unspec"] = static k =>
        {
            (int client, _, IPEndPoint at) = Disconnected(k);
            return k.P.Connect(client, at);
        };
        all["connect_unreach"] = static k => k.P.Connect(k.Tcp(), new IPEndPoint(IPAddress.Parse("192.0.2.1"), 80));
        all["connect_subnet_broadcast"] = static k => k.P.Connect(k.Tcp(), new IPEndPoint(IPAddress.Parse("10.99.0.255"), 80));
        all["connect_multicast"] = static k => k.P.Connect(k.Tcp(), new IPEndPoint(IPAddress.Parse("224.0.0.1"), 80));
        all["connect_any"] = static k =>
        {
            k.Listening(out IPEndPoint at);
            return k.P.Connect(k.Tcp(), new IPEndPoint(IPAddress.Any, at.Port));
        };
        all["connect_port0"] = static k => k.P.Connect(k.Tcp(), CallBench.Loopback(0));
        all["connect_nb_again"] = static k => k.P.Connect(Connecting(k), CallBench.BlackHole);
        all["poll_syn_sent"] = static k => k.Poll(Connecting(k));
        all["send_syn_sent_nb"] = static k => k.Send(Connecting(k), "x", CallBench.NoSignal);
        all["listen_syn_sent"] = static k => k.P.Listen(Connecting(k), 1);
        all["shutdown_syn_sent"] = static k => k.P.Shutdown(Connecting(k), 1);
        all["shutdown_syn_sent_state"] = static k =>
        {
            int fd = Connecting(k);
            CallBench.Ok(k.P.Shutdown(fd, 1));
            return k.State(fd);
        };
        all["poll_nb_done"] = static k => k.Poll(NonBlocking(k, out _));
        all["connect_nb_second"] = static k =>
        {
            int fd = NonBlocking(k, out IPEndPoint at);
            return k.P.Connect(fd, at);
        };
        all["connect_nb_refused"] = static k => k.P.Connect(k.Tcp(flags: CallBench.NonBlock), k.ClosedPort());
        all["poll_nb_refused"] = static k => k.Poll(NonBlockingRefused(k, out _));
        all["connect_nb_refused_soerror2"] = static k =>
        {
            int fd = NonBlockingRefused(k, out _);
            Assert.Equal((int)Errno.ECONNREFUSED, k.Get(fd, CallBench.SolSocket, So.Error).Value);
            return k.Get(fd, CallBench.SolSocket, So.Error);
        };
        all["recv_nb_refused_after_soerror"] = static k =>
        {
            int fd = NonBlockingRefused(k, out _);
            k.Get(fd, CallBench.SolSocket, So.Error);
            return k.Recv(fd, 10);
        };
        all["connect_nb_refused_again2"] = static k =>
        {
            int fd = NonBlockingRefused(k, out IPEndPoint at);
            Assert.True(k.P.Connect(fd, at).IsError);
            return k.P.Connect(fd, at);
        };
        all["connect_sndtimeo"] = static k =>
        {
            int fd = k.Tcp();
            k.SetTimeout(fd, So.SndTimeo, 150);
            return k.P.Connect(fd, CallBench.BlackHole);
        };
        all["connect_eintr"] = static k => k.P.Connect(k.Tcp(), CallBench.BlackHole, k.SignalAfter(60));
        all["connect_eintr_again"] = static k =>
        {
            int fd = k.Tcp();
            CallBench.Fails(Errno.EINTR, k.P.Connect(fd, CallBench.BlackHole, k.SignalAfter(60)));
            k.BeginCall();
            return k.P.Connect(fd, CallBench.BlackHole, k.SignalAfter(60));
        };
        all["connect_self"] = static k => ConnectSelf(k).Result;
        all["connect_self_state"] = static k => k.State(ConnectSelf(k).Fd);
        all["connect_self_recv"] = static k =>
        {
            int fd = ConnectSelf(k).Fd;
            CallBench.Ok(k.Send(fd, "hello"));
            return k.Recv(fd, 10);
        };
        all["connect_dup_tuple_bind"] = static k =>
        {
            k.Listening(out IPEndPoint at);
            int first = k.Bound(out IPEndPoint local, So.ReuseAddr);
            CallBench.Ok(k.P.Connect(first, at));
            int second = k.Tcp();
            CallBench.Ok(k.P.SetSockOpt(second, CallBench.SolSocket, So.ReuseAddr, 1));
            return k.P.Bind(second, local);
        };
        all["connect_sockaddr_un"] = static k => k.P.Connect(k.Tcp(), (byte[])[1, 0, .. "/tmp/nowhere-at-all\0"u8]);
        all["backlog1_connect_1"] = static k => ConnectNth(k, 1);
        all["backlog1_connect_3"] = static k => ConnectNth(k, 3);
        all["backlog1_connect_4"] = static k => ConnectNth(k, 4);

        all["send_unconnected_nosig"] = static k => k.Send(k.Tcp(), "x", CallBench.NoSignal);
        all["sendto_unconnected"] = static k => k.P.SendTo(k.Tcp(), "x"u8, 0, CallBench.Loopback(9));
        all["recv_unconnected"] = static k => k.Recv(k.Tcp(), 10);
        all["read_unconnected"] = static k => k.P.Read(k.Tcp(), new byte[10]);
        all["shutdown_unconnected"] = static k => k.P.Shutdown(k.Tcp(), 1);
        all["shutdown_unconnected_state"] = static k =>
        {
            int fd = k.Tcp();
            k.P.Shutdown(fd, 1);
            return k.State(fd);
        };
        all["getpeername_unconnected"] = static k => k.P.GetPeerName(k.Tcp(), out _);
        all["fionread_unconnected"] = static k => Ioctl(k, k.Tcp(), SiocInq);
    }

    private const uint SiocInq = 0x541b, SiocOutq = 0x5411;

    private static Outcome Ioctl(CallBench k, int fd, uint request)
    {
        int value = -1;
        SysResult result = k.P.Ioctl(fd, request, ref value);
        return result.IsError ? result : value;
    }

    private static int Refused(CallBench k)
    {
        int fd = k.Tcp();
        CallBench.Fails(Errno.ECONNREFUSED, k.P.Connect(fd, k.ClosedPort()));
        return fd;
    }

    private static (int Client, int Server, IPEndPoint Listener) Disconnected(CallBench k)
    {
        (int client, int server, int listener) = k.Pair();
        CallBench.Ok(k.P.Connect(client, new byte[16]));
        return (client, server, k.NameOf(listener));
    }

    private static int Connecting(CallBench k)
    {
        int fd = k.Tcp(flags: CallBench.NonBlock);
        CallBench.Fails(Errno.EINPROGRESS, k.P.Connect(fd, CallBench.BlackHole));
        return fd;
    }

    private static int NonBlocking(CallBench k, out IPEndPoint at)
    {
        k.Listening(out at);
        int fd = k.Tcp(flags: CallBench.NonBlock);
        CallBench.Fails(Errno.EINPROGRESS, k.P.Connect(fd, at));
        k.Sleep(20);
        return fd;
    }

    private static int NonBlockingRefused(CallBench k, out IPEndPoint at)
    {
        at = k.ClosedPort();
        int fd = k.Tcp(flags: CallBench.NonBlock);
        CallBench.Fails(Errno.EINPROGRESS, k.P.Connect(fd, at));
        k.Sleep(20);
        return fd;
    }

    private static (int Fd, SysResult Result) ConnectSelf(CallBench k)
    {
        int fd = k.Bound(out IPEndPoint at);
        return (fd, k.P.Connect(fd, at));
    }

    private static SysResult ConnectNth(CallBench k, int n)
    {
        k.Listening(out IPEndPoint at, backlog: 1);
        SysResult last = 0;
        for (int i = 0; i < n; i++)
        {
            int fd = k.Tcp();
            k.SetTimeout(fd, So.SndTimeo, 200);
            k.BeginCall();
            last = k.P.Connect(fd, at);
        }
        return last;
    }
}
