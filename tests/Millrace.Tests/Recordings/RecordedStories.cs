using System;
using System.Net;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tcp;
using Millrace.Tests.Scripted;
using Millrace.Wire;

namespace Millrace.Tests.Recordings;

/// <summary>
/// The lives of connections in which the recordings were made, played again: what the client and the server do, at which millisecond.
/// Each opens a window on its host for the recording that its next calls correspond to.
/// </summary>
internal static class RecordedStories
{
    private const int Inet = 2, Stream = 1;
    private const int SolSocket = 1, SoReuseAddr = 2, SoLinger = 13;
    private const int ShutWrite = 1;
    private static readonly IPEndPoint s_server = new(RecordedRun.ServerAddress, RecordedRun.Port);

    /// <summary>SO_LINGER on, for no time.</summary>
    private static readonly byte[] s_abort = [1, 0, 0, 0, 0, 0, 0, 0];

    /// <summary>Half a round trip is longer than any call, so every answer finds the caller asleep.</summary>
    private static readonly TimeSpan s_delay = TimeSpan.FromMilliseconds(1.5);

    /// <summary>One connection from its birth to the closing of its listener, the client closing first.</summary>
    public static RecordedRun Life()
    {
        var run = new RecordedRun(s_delay);
        run.Spawn(run.Server, "server", LifeOfServer);
        run.Spawn(run.Client, "client", LifeOfClient);
        run.Run();
        return run;
    }

    private static void LifeOfServer(Actor me)
    {
        var buffer = new byte[4096];
        me.Open("socket_create");
        int listener = me.Do(p => p.Socket(Inet, Stream, 0));
        me.Process.SetSockOpt(listener, SolSocket, SoReuseAddr, 1);
        me.Do(p => p.Bind(listener, s_server));
        me.Do(p => p.Listen(listener, 128));
        me.Close();

        me.At(1000);
        me.Open("handshake_server");
        int fd = me.Do(p => p.Accept(listener));
        me.Close();

        me.At(2000);
        me.Open("recv_blocking");
        Assert.Equal(1000, me.Do(p => p.Recv(fd, buffer)));
        me.Close();

        me.At(3000);
        me.Open("recv_ready");
        me.At(3500);
        Assert.Equal(1000, me.Do(p => p.Recv(fd, buffer)));
        me.Close();

        me.At(4000);
        me.Open("recv_peek");
        me.At(4300);
        Assert.Equal(1000, me.Do(p => p.Recv(fd, buffer, MessageFlags.Peek)));
        me.At(4500);
        Assert.Equal(400, me.Do(p => p.Recv(fd, buffer.AsSpan(0, 400))));
        me.At(4700);
        Assert.Equal(600, me.Do(p => p.Recv(fd, buffer)));
        me.Close();

        me.At(5000);
        me.Open("recv_waitall");
        Assert.Equal(2000, me.Do(p => p.Recv(fd, buffer.AsSpan(0, 2000), MessageFlags.WaitAll)));
        me.Close();

        me.At(6000);
        me.Open("recv_dontwait");
        Assert.Equal(Errno.EAGAIN, me.Try(p => p.Recv(fd, buffer, MessageFlags.DontWait)).Error);
        me.Close();

        me.At(7000);
        me.Open("request_reply_delack");
        Assert.Equal(50, me.Do(p => p.Recv(fd, buffer)));
        Assert.Equal(100, me.Do(p => p.Send(fd, buffer.AsSpan(0, 100))));
        me.At(7400);
        Assert.Equal(50, me.Do(p => p.Recv(fd, buffer)));
        me.At(7900);
        me.Close();

        me.At(8000);
        Assert.Equal(0, me.Do(p => p.Recv(fd, buffer)));
        me.At(8500);
        me.Do(p => p.Close(fd));

        me.At(9000);
        me.Open("close_listener");
        me.Do(p => p.Close(listener));
        me.Close();
    }

    private static void LifeOfClient(Actor me)
    {
        var buffer = new byte[4096];
        int fd = me.Process.Socket(Inet, Stream, 0).Value;
        me.At(1100);
        me.Open("connect_client");
        me.Do(p => p.Connect(fd, s_server));
        me.Close();

        me.At(2100);
        me.Open("send");
        me.Do(p => p.Send(fd, buffer.AsSpan(0, 1000)));
        me.At(2900);
        me.Close();

        foreach (int at in new[] { 3100, 4100, 5100, 5300 })
        {
            me.At(at);
            me.Do(p => p.Send(fd, buffer.AsSpan(0, 1000)));
        }

        me.At(7100);
        me.Open("request_reply_delack_client");
        me.Do(p => p.Send(fd, buffer.AsSpan(0, 50)));
        Assert.Equal(100, me.Do(p => p.Recv(fd, buffer)));
        me.At(7600);
        me.Do(p => p.Send(fd, buffer.AsSpan(0, 50)));
        me.At(7900);
        me.Close();

        me.At(8100);
        me.Open("close_active");
        me.Do(p => p.Close(fd));
        me.At(8900);
        me.Close();
    }

    /// <summary>The client shuts its side down and waits for the server's end; the connection was accepted after it was made.</summary>
    public static RecordedRun HalfClose()
    {
        var run = new RecordedRun(s_delay);
        run.Spawn(run.Server, "server", me =>
        {
            int listener = Listen(me);
            me.At(1000);
            me.Open("accept_ready");
            int fd = me.Do(p => p.Accept(listener));
            me.Close();
            me.At(3000);
            me.Do(p => p.Close(fd));
        });
        run.Spawn(run.Client, "client", me =>
        {
            int fd = Connect(me, 500);
            me.At(2000);
            me.Open("close_active_shutdown");
            me.Do(p => p.Shutdown(fd, ShutWrite));
            me.At(2500);
            Assert.Equal(0, me.Do(p => p.Recv(fd, new byte[4096])));
            me.At(4000);
            me.Do(p => p.Close(fd));
            me.Close();
        });
        run.Run();
        return run;
    }

    /// <summary>The client connects to a port where nobody listens.</summary>
    public static RecordedRun Refused()
    {
        var run = new RecordedRun(s_delay);
        run.Spawn(run.Client, "client", me =>
        {
            int fd = me.Process.Socket(Inet, Stream, 0).Value;
            me.At(1000);
            run.Open(run.Server, "refused_server");
            me.Open("refused");
            Assert.Equal(Errno.ECONNREFUSED, me.Try(p => p.Connect(fd, new IPEndPoint(RecordedRun.ServerAddress, 7999))).Error);
            me.Close();
            run.Close(run.Server);
        });
        run.Run();
        return run;
    }

    /// <summary>The client aborts while the server waits for data.</summary>
    public static RecordedRun Abort()
    {
        var run = new RecordedRun(s_delay);
        run.Spawn(run.Server, "server", me =>
        {
            int listener = Listen(me);
            int fd = me.Process.Accept(listener).Value;
            me.At(1000);
            me.Open("recv_reset");
            Assert.Equal(Errno.ECONNRESET, me.Try(p => p.Recv(fd, new byte[4096])).Error);
            me.Close();
        });
        run.Spawn(run.Client, "client", me =>
        {
            int fd = Connect(me, 500);
            me.Process.SetSockOpt(fd, SolSocket, SoLinger, s_abort);
            me.At(1100);
            me.Open("close_linger0");
            me.Do(p => p.Close(fd));
            me.Close();
        });
        run.Run();
        return run;
    }

    /// <summary>The server closes last, on a wire so short that the answer to its FIN arrives while it still owns the socket.</summary>
    public static RecordedRun PassiveClose()
    {
        var run = new RecordedRun();
        run.Spawn(run.Server, "server", me =>
        {
            int listener = Listen(me);
            int fd = me.Process.Accept(listener).Value;
            // A short exchange has brought the server into ping-pong mode.
            me.Process.Recv(fd, new byte[100]);
            me.Process.Send(fd, new byte[100]);
            me.At(1000);
            me.Open("close_passive");
            Assert.Equal(0, me.Do(p => p.Recv(fd, new byte[4096])));
            me.At(1500);
            me.Do(p => p.Close(fd));
            me.Close();
        });
        run.Spawn(run.Client, "client", me =>
        {
            int fd = Connect(me, 500);
            me.Process.Send(fd, new byte[50]);
            me.Process.Recv(fd, new byte[100]);
            me.At(1100);
            me.Process.Close(fd);
        });
        run.Run();
        return run;
    }

    /// <summary>
    /// The server's end is gone without a word, as after a crash; the client sends into the void on a wire so short that the RST
    /// arrives while it still owns the socket.
    /// </summary>
    public static RecordedRun SendIntoTheVoid()
    {
        var run = new RecordedRun();
        var wire = new LosingLayer();
        run.Server.Devices.ByName("eth1")!.Wrap(wire);
        run.Spawn(run.Server, "server", me =>
        {
            int listener = Listen(me);
            int fd = me.Process.Accept(listener).Value;
            me.At(1000);
            me.Process.SetSockOpt(fd, SolSocket, SoLinger, s_abort);
            me.Open("stray_segment.B");
            wire.LosesSent = true;
            me.Do(p => p.Close(fd));
            wire.LosesSent = false;
            me.At(1900);
            me.Close();
        });
        run.Spawn(run.Client, "client", me =>
        {
            int fd = Connect(me, 500);
            me.At(1500);
            me.Open("stray_segment_client");
            Assert.Equal(100, me.Do(p => p.Send(fd, new byte[100])));
            me.At(1600);
            Assert.Equal(Errno.ECONNRESET, me.Try(p => p.Recv(fd, new byte[4096])).Error);
            me.At(1700);
            Assert.Equal(Errno.EPIPE, me.Try(p => p.Send(fd, new byte[10])).Error);
            me.Close();
        });
        run.Run();
        return run;
    }

    /// <summary>A segment for a port where nothing is, and one that lies outside the window of a connection in TIME_WAIT.</summary>
    public static RecordedRun Strays()
    {
        var run = new RecordedRun(s_delay);
        run.Spawn(run.Server, "server", me =>
        {
            int listener = Listen(me);
            int fd = me.Process.Accept(listener).Value;
            Assert.Equal(0, me.Process.Recv(fd, new byte[1]).Value);
            me.Process.Close(fd);
            me.At(2000);
            run.Open(run.Client, "stray_segment.A");
            SendStray(run, 40000);
            me.At(2900);
            run.Close(run.Client);
            run.Open(run.Client, "stray_segment.C");
            SendStray(run, run.ClientPort);
            me.At(3900);
            run.Close(run.Client);
        });
        run.Spawn(run.Client, "client", me =>
        {
            int fd = Connect(me, 500);
            run.ClientPort = (ushort)LocalPort(me, fd);
            me.At(1000);
            me.Process.Close(fd);
        });
        run.Run();
        return run;
    }

    private static void SendStray(RecordedRun run, ushort port) => RawPackets.Send(run.Server, "eth1", new Segment
    {
        From = s_server,
        To = new IPEndPoint(RecordedRun.ClientAddress, port),
        Seq = 12345,
        Ack = 54321,
        Flags = TcpFlags.Ack,
    }.ToBytes());

    private static int LocalPort(Actor me, int fd)
    {
        me.Process.GetSockName(fd, out IPEndPoint? name);
        return name!.Port;
    }

    // ---- Eight threads on one socket, over loopback ----

    private static readonly IPEndPoint s_loopback = new(IPAddress.Loopback, 9101);
    private const int Herd = 8;

    /// <summary>Eight threads wait in accept; one connection comes, and then the listener is shut down.</summary>
    public static RecordedRun HerdAccepts()
    {
        var run = new RecordedRun();
        int listener = -1;
        Process shared = run.Server.CreateProcess();
        run.Spawn(run.Server, "ex_main", me =>
        {
            listener = shared.Socket(Inet, Stream, 0).Value;
            Assert.False(shared.Bind(listener, s_loopback).IsError);
            Assert.False(shared.Listen(listener, 128).IsError);
            me.At(1000);
            int fd = shared.Socket(Inet, Stream, 0).Value;
            me.Open("wake_accept8", marked: false);
            me.Do(_ => shared.Connect(fd, s_loopback));
            me.At(1500);
            me.Close();
            me.At(2000);
            me.Open("wake_accept8_shutdown", marked: false);
            me.Do(_ => shared.Shutdown(listener, 0));
            me.At(2500);
            me.Close();
        });
        for (int i = 0; i < Herd; i++)
        {
            run.Spawn(run.Server, "w" + i, me =>
            {
                me.At(500);
                while (!shared.Accept(listener).IsError)
                {
                }
            });
        }
        run.Run();
        return run;
    }

    /// <summary>Eight threads wait in recv on one socket; one byte comes, and then the peer's end.</summary>
    public static RecordedRun HerdReads()
    {
        var run = new RecordedRun();
        int server = -1;
        Process shared = run.Server.CreateProcess();
        run.Spawn(run.Server, "ex_main", me =>
        {
            int listener = shared.Socket(Inet, Stream, 0).Value;
            Assert.False(shared.Bind(listener, s_loopback).IsError);
            Assert.False(shared.Listen(listener, 128).IsError);
            int fd = shared.Socket(Inet, Stream, 0).Value;
            Assert.False(shared.Connect(fd, s_loopback).IsError);
            server = shared.Accept(listener).Value;
            me.At(1000);
            me.Open("wake_recv8", marked: false);
            me.Do(_ => shared.Send(fd, new byte[1]));
            me.At(1500);
            me.Close();
            me.At(2000);
            me.Open("wake_recv8_fin", marked: false);
            me.Do(_ => shared.Shutdown(fd, ShutWrite));
            me.At(2500);
            me.Close();
        });
        for (int i = 0; i < Herd; i++)
        {
            run.Spawn(run.Server, "w" + i, me =>
            {
                me.At(500);
                var buffer = new byte[4096];
                while (shared.Recv(server, buffer) is { IsError: false, Value: > 0 })
                {
                }
            });
        }
        run.Run();
        return run;
    }

    // ---- The backlog ----

    /// <summary>
    /// A segment comes while the reader owns the socket: it waits on the backlog, and the same receive returns it. What holds the
    /// reader up is the test here, and was a page fault there.
    /// </summary>
    public static RecordedRun Backlog()
    {
        var run = new RecordedRun();
        Process shared = run.Server.CreateProcess();
        run.Spawn(run.Server, "ex_snd", me =>
        {
            int listener = shared.Socket(Inet, Stream, 0).Value;
            Assert.False(shared.Bind(listener, s_loopback).IsError);
            Assert.False(shared.Listen(listener, 128).IsError);
            int fd = shared.Socket(Inet, Stream, 0).Value;
            Assert.False(shared.Connect(fd, s_loopback).IsError);
            Assert.Equal(1000, shared.Send(fd, new byte[1000]).Value);
            me.At(1000);
            me.Open("backlog");
            me.At(1100);
            me.Do(_ => shared.Send(fd, new byte[500]));
            me.At(1900);
            me.Close();
        });
        run.Spawn(run.Server, "ex_rcv", me =>
        {
            me.At(1050);
            Assert.Equal(1500, me.Do(_ => ReceiveLate(run.Server, (ushort)s_loopback.Port, new byte[4096], 100)));
        });
        run.Run();
        return run;
    }

    // Owns the accepted connection's socket, sleeps, and then receives.
    private static SysResult ReceiveLate(NetStack stack, ushort port, byte[] buffer, int milliseconds)
    {
        TaskContext context = stack.Cpus.Enter();
        TcpSock sk = FindConnection(stack, context.Cpu, port);
        sk.LockSock(ref context);
        context.Task.SetState(TaskState.Interruptible);
        Scheduler.ScheduleTimeout(ref context, context.Cpu.Now + Micros.FromMilliseconds(milliseconds), "a page fault");
        context.Task.SetState(TaskState.Running);
        var message = new MsgHdr { Iter = new IoIter(buffer) };
        SysResult result = stack.Tcp.ReceiveOwned(ref context, sk, ref message);
        sk.ReleaseSock(context.Cpu);
        stack.Cpus.Leave(ref context);
        return result;
    }

    /// <summary>Owns the connection of a local port while <paramref name="act"/> lets packets arrive.</summary>
    public static void WhileOwned(NetStack stack, ushort port, Action act)
    {
        TaskContext context = stack.Cpus.Enter();
        TcpSock sk = FindConnection(stack, context.Cpu, port);
        sk.LockSock(ref context);
        act();
        sk.ReleaseSock(context.Cpu);
        stack.Cpus.Leave(ref context);
    }

    /// <summary>The connection of a local port. Called by a task that has entered the stack.</summary>
    public static TcpSock FindConnection(NetStack stack, Cpu cpu, ushort port)
    {
        var finder = new SockFinder(port);
        stack.Tcp.Established.ForEach(cpu, ref finder);
        return finder.Found!;
    }

    private struct SockFinder(ushort localPort) : ISockVisitor
    {
        public TcpSock? Found;

        public void Visit(Cpu cpu, SockCommon sock)
        {
            if (sock is TcpSock sk && sk.LocalPort == localPort)
                Found = sk;
        }
    }

    private static int Listen(Actor me)
    {
        int listener = me.Process.Socket(Inet, Stream, 0).Value;
        Assert.False(me.Process.Bind(listener, s_server).IsError);
        Assert.False(me.Process.Listen(listener, 128).IsError);
        return listener;
    }

    private static int Connect(Actor me, int at)
    {
        int fd = me.Process.Socket(Inet, Stream, 0).Value;
        me.At(at);
        Assert.False(me.Process.Connect(fd, s_server).IsError);
        return fd;
    }
}
