using System;
using System.Collections.Generic;
using Millrace.Inet;
using Millrace.Tcp;

namespace Millrace.Tests.Syscalls;

/// <summary>Sending and receiving on a connection, and its end.</summary>
internal static partial class ErrnoCases
{
    private static void AddTransfers(Dictionary<string, Func<CallBench, Outcome>> all)
    {
        all["send_enotsock"] = static k => k.Send(PipeFd(k), "x");
        all["send_zero"] = static k => k.Send(k.Pair().Client, "");
        all["sendto_connected_addr"] = static k => k.P.SendTo(k.Pair().Client, "hello"u8, 0, CallBench.Loopback(9));
        all["recv_zero_len"] = static k =>
        {
            int fd = k.Pair().Client;
            k.SetTimeout(fd, So.RcvTimeo, 100);
            return k.Recv(fd, 0);
        };
        all["recv_zero_len_dontwait"] = static k => k.Recv(k.Pair().Client, 0, CallBench.DontWait);
        all["recv_oob_none"] = static k => k.Recv(k.Pair().Client, 1, MessageFlags.OutOfBand);
        all["recvfrom_addrlen"] = static k =>
        {
            (int client, int server, _) = k.Pair();
            CallBench.Ok(k.Send(server, "x"));
            Span<byte> name = stackalloc byte[16];
            var header = new MessageHeader { Name = name, NameLength = name.Length };
            CallBench.Ok(k.P.RecvMsg(client, ref header, 0));
            return header.NameLength;
        };
        all["send_nb_full"] = static k => k.Send(k.FullClient(), "x", CallBench.DontWait);
        all["send_sndtimeo_full"] = static k =>
        {
            int fd = k.FullClient();
            k.SetTimeout(fd, So.SndTimeo, 100);
            return k.Send(fd, "x");
        };
        all["send_eintr_full"] = static k =>
        {
            int fd = k.FullClient();
            return k.P.Send(fd, "x"u8, 0, k.SignalAfter(60));
        };
        all["lseek_socket"] = static k => k.P.LSeek(k.Tcp(), 0, 0);
        all["pread_socket"] = static k => k.P.PRead(k.Tcp(), new byte[10], 0);
        all["fionread_3"] = static k =>
        {
            (int client, int server, _) = k.Pair();
            CallBench.Ok(k.Send(client, "abc"));
            return Ioctl(k, server, SiocInq);
        };
        all["siocoutq_peer"] = static k =>
        {
            int client = k.Pair().Client;
            CallBench.Ok(k.Send(client, "abc"));
            k.Sleep(50);
            return Ioctl(k, client, SiocOutq);
        };
    }

    private static void AddShutdowns(Dictionary<string, Func<CallBench, Outcome>> all)
    {
        all["send_after_shut_wr_nosig"] = static k => k.Send(HalfClosed(k).Client, "x", CallBench.NoSignal);
        all["shutdown_wr_twice"] = static k => k.P.Shutdown(HalfClosed(k).Client, 1);
        all["shut_wr_peer_state"] = static k => k.State(HalfClosed(k).Server);
        all["poll_shut_wr"] = static k => k.Poll(HalfClosed(k).Client);
        all["recv_peer_fin"] = static k => k.Recv(HalfClosed(k).Server, 10);
        all["recv_peer_fin_again"] = static k => Twice(k, HalfClosed(k).Server);
        all["recv_in_fin_wait2"] = static k =>
        {
            (int client, int server) = HalfClosed(k);
            Assert.Equal("FIN_WAIT2", k.State(client));
            CallBench.Ok(k.Send(server, "data"));
            return k.Recv(client, 10);
        };
        all["timewait_user_state"] = static k => k.State(InTimeWait(k));
        all["recv_timewait"] = static k => k.Recv(InTimeWait(k), 10);
        all["send_timewait"] = static k => k.Send(InTimeWait(k), "x");
        all["getpeername_timewait"] = static k => k.P.GetPeerName(InTimeWait(k), out _);
        all["connect_timewait_user"] = static k => k.P.Connect(InTimeWait(k), CallBench.Loopback(9));
        all["shutdown_badhow"] = static k => k.P.Shutdown(k.Pair().Client, 5);

        all["shutdown_rd"] = static k => k.P.Shutdown(k.Pair().Client, 0);
        all["poll_shut_rd"] = static k => k.Poll(ClosedForReading(k).Client);
        all["shut_rd_peer_state"] = static k => k.State(ClosedForReading(k).Server);
        all["recv_after_shut_rd_data"] = static k => ReadAfterShutdown(k, again: false);
        all["recv_after_shut_rd_data2"] = static k => ReadAfterShutdown(k, again: true);
    }

    private static (int Client, int Server) HalfClosed(CallBench k)
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.P.Shutdown(client, 1));
        k.Sleep(60);
        return (client, server);
    }

    private static int InTimeWait(CallBench k)
    {
        (int client, int server) = HalfClosed(k);
        CallBench.Ok(k.P.Close(server));
        k.Sleep(60);
        return client;
    }

    private static (int Client, int Server) ClosedForReading(CallBench k)
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.P.Shutdown(client, 0));
        k.Sleep(20);
        return (client, server);
    }

    private static SysResult ReadAfterShutdown(CallBench k, bool again)
    {
        (int client, int server) = ClosedForReading(k);
        CallBench.Ok(k.Send(server, "data"));
        k.Sleep(20);
        SysResult first = k.Recv(client, 10);
        return again ? k.Recv(client, 10) : first;
    }

    private static void AddResets(Dictionary<string, Func<CallBench, Outcome>> all)
    {
        all["send_peer_closed_1"] = static k => SendToClosed(k, 1).Last;
        all["send_peer_closed_2"] = static k => SendToClosed(k, 2).Last;
        all["send_peer_closed_3"] = static k => SendToClosed(k, 3).Last;
        all["send_peer_closed_state"] = static k => k.State(SendToClosed(k, 1).Fd);
        all["so_error_peer_closed_rst"] = static k => k.Get(SendToClosed(k, 3).Fd, CallBench.SolSocket, So.Error);

        all["rst_state"] = static k => k.State(k.ResetByPeer());
        all["send_rst_1"] = static k => k.Send(k.ResetByPeer(), "x");
        all["send_rst_2"] = static k =>
        {
            int fd = k.ResetByPeer();
            k.Send(fd, "x");
            return k.Send(fd, "x");
        };
        all["recv_rst_1"] = static k => k.Recv(k.ResetByPeer(), 10);
        all["recv_rst_2"] = static k => Twice(k, k.ResetByPeer());
        all["shutdown_rst"] = static k => k.P.Shutdown(k.ResetByPeer(), 1);
        all["getpeername_rst"] = static k => k.P.GetPeerName(k.ResetByPeer(), out _);
        all["connect_after_rst"] = static k => k.P.Connect(k.ResetByPeer(), k.ClosedPort());
        all["so_error_rst"] = static k => k.Get(k.ResetByPeer(), CallBench.SolSocket, So.Error);
        all["recv_rst_after_so_error"] = static k =>
        {
            int fd = k.ResetByPeer();
            k.Get(fd, CallBench.SolSocket, So.Error);
            return k.Recv(fd, 10);
        };
        all["recv_data_then_rst_1"] = static k => k.Recv(DataThenReset(k), 10);
        all["recv_data_then_rst_3"] = static k =>
        {
            int fd = DataThenReset(k);
            k.Recv(fd, 10);
            CallBench.Fails(Errno.ECONNRESET, k.Recv(fd, 10));
            return k.Recv(fd, 10);
        };
        all["close_with_unread"] = static k =>
        {
            (int client, int server, _) = k.Pair();
            CallBench.Ok(k.Send(client, "unread"));
            CallBench.Ok(k.P.Close(server));
            return k.Recv(client, 10);
        };
    }

    private static (int Fd, SysResult Last) SendToClosed(CallBench k, int times)
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.P.Close(server));
        k.Sleep(60);
        SysResult last = 0;
        for (int i = 0; i < times; i++)
        {
            last = k.Send(client, "0123456789");
            k.Sleep(20);
        }
        return (client, last);
    }

    private static int DataThenReset(CallBench k)
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.Send(server, "data"));
        k.Abort(server);
        k.Sleep(20);
        return client;
    }

    private static void AddReceives(Dictionary<string, Func<CallBench, Outcome>> all)
    {
        all["recv_blocked_fin"] = static k =>
        {
            (int client, int server, _) = k.Pair();
            k.After(60, () => CallBench.Ok(k.P.Close(server)));
            return k.Recv(client, 10);
        };
        all["recv_blocked_close"] = static k =>
        {
            (int client, int server, _) = k.Pair();
            k.After(60, () => CallBench.Ok(k.P.Close(client)));
            k.After(150, () => CallBench.Ok(k.Send(server, "0123456789")));
            return k.Recv(client, 100);
        };
        all["recv_rcvtimeo"] = static k => k.Recv(WithTimeout(k, 100).Client, 10);
        all["recv_waitall_rcvtimeo_partial"] = static k =>
        {
            (int client, int server) = WithTimeout(k, 100);
            k.After(50, () => CallBench.Ok(k.Send(server, "0123456789")));
            return k.Recv(client, 100, MessageFlags.WaitAll);
        };
        all["recv_lowat"] = static k =>
        {
            (int client, int server) = WithLowWater(k);
            k.After(20, () => CallBench.Ok(k.P.Send(server, new byte[60])));
            k.After(80, () => CallBench.Ok(k.P.Send(server, new byte[60])));
            return k.Recv(client, 1000);
        };
        all["poll_lowat_below"] = static k =>
        {
            (int client, int server) = WithLowWater(k);
            CallBench.Ok(k.P.Send(server, new byte[60]));
            return k.Poll(client);
        };
        all["recv_lowat_smallbuf"] = static k =>
        {
            (int client, int server) = WithLowWater(k);
            k.SetTimeout(client, So.RcvTimeo, 300);
            k.After(20, () => CallBench.Ok(k.P.Send(server, new byte[60])));
            return k.Recv(client, 30);
        };
        all["recv_lowat_smallbuf_queued"] = static k =>
        {
            (int client, int server) = WithLowWater(k);
            CallBench.Ok(k.P.Send(server, new byte[60]));
            return k.Recv(client, 30);
        };
        all["recv_eintr"] = static k => k.Recv(k.Pair().Client, 10, 0, k.SignalAfter(60));
        all["recv_restart_rcvtimeo"] = static k => k.Recv(WithTimeout(k, 1000).Client, 10, 0, k.SignalAfter(60));
        all["recv_waitall_signal_partial"] = static k =>
        {
            (int client, int server, _) = k.Pair();
            k.After(50, () => CallBench.Ok(k.Send(server, "0123456789")));
            return k.Recv(client, 100, MessageFlags.WaitAll, k.SignalAfter(100));
        };
        all["peek_4"] = static k => k.Recv(TenQueued(k), 4, MessageFlags.Peek);
        all["peek_all"] = static k => k.Recv(TenQueued(k), 100, MessageFlags.Peek);
        all["after_trunc"] = static k =>
        {
            int fd = TenQueued(k);
            CallBench.Ok(k.Recv(fd, 4, MessageFlags.Truncate));
            var buffer = new byte[100];
            int rest = CallBench.Ok(k.P.Recv(fd, buffer));
            return rest * 1000 + buffer[0];
        };
        all["peek_waitall"] = static k =>
        {
            (int client, int server, _) = k.Pair();
            k.After(20, () => CallBench.Ok(k.Send(server, "0123456789")));
            k.After(80, () => CallBench.Ok(k.Send(server, "0123456789")));
            return k.Recv(client, 20, MessageFlags.Peek | MessageFlags.WaitAll);
        };
        all["waitall_fin"] = static k => WaitAllUntil(k, reset: false).First;
        all["after_waitall_fin"] = static k => k.Recv(WaitAllUntil(k, reset: false).Fd, 10);
        all["after_waitall_rst"] = static k => k.Recv(WaitAllUntil(k, reset: true).Fd, 10);
        all["after_waitall_rst2"] = static k => Twice(k, WaitAllUntil(k, reset: true).Fd);
    }

    private static (int Client, int Server) WithTimeout(CallBench k, int milliseconds)
    {
        (int client, int server, _) = k.Pair();
        k.SetTimeout(client, So.RcvTimeo, milliseconds);
        return (client, server);
    }

    private static (int Client, int Server) WithLowWater(CallBench k)
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.P.SetSockOpt(client, CallBench.SolSocket, So.RcvLowat, 100));
        return (client, server);
    }

    private static int TenQueued(CallBench k)
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.Send(server, "abcdefghij"));
        return client;
    }

    private static (int Fd, SysResult First) WaitAllUntil(CallBench k, bool reset)
    {
        (int client, int server, _) = k.Pair();
        k.After(20, () => CallBench.Ok(k.Send(server, "0123456789")));
        k.After(60, () =>
        {
            if (reset)
                k.Abort(server);
            else
                CallBench.Ok(k.P.Close(server));
        });
        return (client, k.Recv(client, 100, MessageFlags.WaitAll));
    }

    private static void AddOptions(Dictionary<string, Func<CallBench, Outcome>> all)
    {
        const int socket = CallBench.SolSocket;
        all["setsockopt_rcvlowat_neg"] = static k => SetThenGet(k, So.RcvLowat, -1);
        all["setsockopt_rcvlowat_0"] = static k => SetThenGet(k, So.RcvLowat, 0);
        all["setsockopt_badopt"] = static k => k.P.SetSockOpt(k.Tcp(), socket, 9999, 1);
        all["setsockopt_badopt_tcp"] = static k => k.P.SetSockOpt(k.Tcp(), CallBench.SolTcp, 9999, 1);
        all["getsockopt_badopt"] = static k => k.Get(k.Tcp(), socket, 9999);
        all["so_rcvbuf_double"] = static k => SetThenGet(k, So.RcvBuf, 10000);
        all["so_rcvbuf_min"] = static k => SetThenGet(k, So.RcvBuf, 1);
        all["so_acceptconn"] = static k => k.Get(k.Listening(out _), socket, So.AcceptConn);
        all["tcp_maxseg_default"] = static k => k.Get(k.Tcp(), CallBench.SolTcp, TcpOption.MaxSeg);
    }

    private static SysResult SetThenGet(CallBench k, int option, int value)
    {
        int fd = k.Tcp();
        CallBench.Ok(k.P.SetSockOpt(fd, CallBench.SolSocket, option, value));
        return k.Get(fd, CallBench.SolSocket, option);
    }
}
