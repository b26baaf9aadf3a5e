using System;
using System.Net;

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
            me.Process.SetSockOpt(fd, SolSocket, SoLinger, [1, 0, 0, 0, 0, 0, 0, 0]);
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
