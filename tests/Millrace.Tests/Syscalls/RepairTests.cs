using System;
using System.Linq;
using System.Net;
using System.Runtime.InteropServices;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Tcp;

namespace Millrace.Tests.Syscalls;

/// <summary>TCP_REPAIR: who may, what is refused, and a connection that moves to another stack. What is expected here, 6.18 did.</summary>
public sealed class RepairTests
{
    private const int On = 1, Off = 0, OffWithoutProbe = -1, NoQueue = 0, ReceiveQueue = 1, SendQueue = 2;
    private const uint SiocInq = 0x541b, SiocOutq = 0x5411;
    private const int Tcp = SocketLevel.Tcp;

    private static SysResult Set(CallBench k, int fd, int option, params int[] values) =>
        k.P.SetSockOpt(fd, Tcp, option, MemoryMarshal.AsBytes(values.AsSpan()));

    private static SysResult Get(CallBench k, int fd, int option) => k.Get(fd, Tcp, option);

    private static SysResult Get(CallBench k, int fd, int option, int room) => k.P.GetSockOpt(fd, Tcp, option, new byte[room]);

    private static int InRepair(CallBench k, int queue = NoQueue)
    {
        int fd = k.Tcp();
        CallBench.Ok(Set(k, fd, TcpOption.Repair, On));
        CallBench.Ok(Set(k, fd, TcpOption.RepairQueue, queue));
        return fd;
    }

    private static int ConnectionInRepair(CallBench k, int queue = NoQueue)
    {
        (int client, _, _) = k.Pair();
        CallBench.Ok(Set(k, client, TcpOption.Repair, On));
        CallBench.Ok(Set(k, client, TcpOption.RepairQueue, queue));
        return client;
    }

    [Fact]
    public void Who_may_not_administer_the_network_may_not_repair() => CallBench.Run(k =>
    {
        Process user = k.Stack.CreateProcess(uid: 1000);
        int fd = CallBench.Ok(user.Socket(CallBench.Inet, CallBench.Stream, 0));
        foreach (int value in new[] { On, Off, OffWithoutProbe, 5 })
            CallBench.Fails(Errno.EPERM, user.SetSockOpt(fd, Tcp, TcpOption.Repair, value));
        CallBench.Fails(Errno.EPERM, user.SetSockOpt(fd, Tcp, TcpOption.RepairQueue, SendQueue));
        CallBench.Fails(Errno.EPERM, user.SetSockOpt(fd, Tcp, TcpOption.Timestamp, 2));
        CallBench.Fails(Errno.EINVAL, user.SetSockOpt(fd, Tcp, TcpOption.QueueSeq, 2));
    });

    [Fact]
    public void A_listener_cannot_be_repaired() => CallBench.Run(k =>
        CallBench.Fails(Errno.EPERM, Set(k, k.Listening(out _), TcpOption.Repair, On)));

    [Fact]
    public void Without_repair_nothing_of_it_is_there() => CallBench.Run(k =>
    {
        int fd = k.Tcp();
        Assert.Equal(0, Get(k, fd, TcpOption.Repair).Value);
        CallBench.Fails(Errno.EINVAL, Get(k, fd, TcpOption.RepairQueue));
        CallBench.Fails(Errno.EINVAL, Get(k, fd, TcpOption.QueueSeq));
        CallBench.Fails(Errno.ENOPROTOOPT, Get(k, fd, TcpOption.RepairOptions));
        CallBench.Fails(Errno.EPERM, Get(k, fd, TcpOption.RepairWindow, 20));
        CallBench.Fails(Errno.EINVAL, Get(k, fd, TcpOption.RepairWindow, 4));
        CallBench.Fails(Errno.EPERM, Set(k, fd, TcpOption.RepairQueue, SendQueue));
        CallBench.Fails(Errno.EINVAL, Set(k, fd, TcpOption.QueueSeq, 1));
        CallBench.Fails(Errno.EINVAL, Set(k, fd, TcpOption.RepairOptions, 2, 1000));
        CallBench.Fails(Errno.EPERM, Set(k, fd, TcpOption.RepairWindow, 0, 0, 0, 0));
        CallBench.Fails(Errno.EPERM, Set(k, fd, TcpOption.Timestamp, 2));
        CallBench.Fails(Errno.EINVAL, k.P.SetSockOpt(fd, Tcp, TcpOption.Repair, new byte[1]));
    });

    [Fact]
    public void Switches_take_their_values_and_no_others() => CallBench.Run(k =>
    {
        int fd = InRepair(k);
        foreach (int value in new[] { 2, -2, 3 })
            CallBench.Fails(Errno.EINVAL, Set(k, fd, TcpOption.Repair, value));
        Assert.Equal((1, 0), (Get(k, fd, TcpOption.Repair).Value, Get(k, fd, TcpOption.RepairQueue).Value));
        foreach (int value in new[] { 3, -1 })
            CallBench.Fails(Errno.EINVAL, Set(k, fd, TcpOption.RepairQueue, value));
        CallBench.Fails(Errno.EINVAL, Set(k, fd, TcpOption.QueueSeq, 7));
        CallBench.Ok(Set(k, fd, TcpOption.RepairQueue, SendQueue));
        CallBench.Ok(Set(k, fd, TcpOption.QueueSeq, 77));
        Assert.Equal(77, Get(k, fd, TcpOption.QueueSeq).Value);
        CallBench.Ok(Set(k, fd, TcpOption.RepairQueue, ReceiveQueue));
        CallBench.Ok(Set(k, fd, TcpOption.QueueSeq, -88));
        CallBench.Ok(k.P.GetSockOpt(fd, Tcp, TcpOption.QueueSeq, out int seq));
        Assert.Equal(-88, seq);
        CallBench.Ok(Set(k, fd, TcpOption.Repair, OffWithoutProbe));
        Assert.Equal(0, Get(k, fd, TcpOption.Repair).Value);
        CallBench.Fails(Errno.EINVAL, Get(k, fd, TcpOption.RepairQueue));
        CallBench.Ok(Set(k, fd, TcpOption.Repair, On));
        Assert.Equal(NoQueue, Get(k, fd, TcpOption.RepairQueue).Value);
    });

    [Fact]
    public void A_connection_has_its_numbers_and_keeps_them() => CallBench.Run(k =>
    {
        int fd = ConnectionInRepair(k, SendQueue);
        CallBench.Fails(Errno.EPERM, Set(k, fd, TcpOption.QueueSeq, 5));
        int closed = InRepair(k);
        CallBench.Fails(Errno.EPERM, Set(k, closed, TcpOption.RepairOptions, 2, 1000));
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.Send(client, "sent"));
        Assert.Equal(4, k.Recv(server, 4).Value);
        CallBench.Ok(Set(k, client, TcpOption.Repair, On));
        CallBench.Fails(Errno.EPERM, Set(k, client, TcpOption.RepairOptions, 2, 1000));
    });

    [Fact]
    public void Options_of_the_handshake_are_checked() => CallBench.Run(k =>
    {
        int fd = ConnectionInRepair(k);
        (int[] Pair, Errno Expected)[] cases =
        [
            ([2, 1000], Errno.OK), ([3, 15], Errno.EFBIG), ([3, 15 << 16], Errno.EFBIG), ([3, 14 << 16 | 7], Errno.OK), ([4, 0], Errno.OK),
            ([4, 1], Errno.EINVAL), ([8, 0], Errno.OK), ([8, 1], Errno.EINVAL), ([99, 5], Errno.OK), ([258, 7], Errno.OK), ([7], Errno.OK),
            ([4, 0, 3, 99], Errno.EFBIG),
        ];
        foreach ((int[] pair, Errno expected) in cases)
            Assert.Equal((pair[0], expected), (pair[0], Set(k, fd, TcpOption.RepairOptions, pair).Error));
        Assert.Equal(1000, Get(k, fd, TcpOption.MaxSeg).Value);
    });

    [Fact]
    public void A_window_must_be_possible() => CallBench.Run(k =>
    {
        int fd = ConnectionInRepair(k);
        var window = new RepairWindow[1];
        Span<byte> bytes = MemoryMarshal.AsBytes(window.AsSpan());
        CallBench.Fails(Errno.EINVAL, Get(k, fd, TcpOption.RepairWindow, 24));
        CallBench.Ok(k.P.GetSockOpt(fd, Tcp, TcpOption.RepairWindow, bytes));
        RepairWindow real = window[0];
        CallBench.Ok(k.P.SetSockOpt(fd, Tcp, TcpOption.RepairWindow, bytes));
        CallBench.Fails(Errno.EINVAL, k.P.SetSockOpt(fd, Tcp, TcpOption.RepairWindow, new byte[24]));
        RepairWindow[] impossible =
        [
            real with { MaxWindow = real.SndWnd - 1 },
            real with { SndWl1 = real.RcvWup + real.RcvWnd + 1_000_000 },
            real with { RcvWup = real.RcvWup + 1_000_000 },
        ];
        foreach (RepairWindow wrong in impossible)
        {
            window[0] = wrong;
            CallBench.Fails(Errno.EINVAL, k.P.SetSockOpt(fd, Tcp, TcpOption.RepairWindow, bytes));
        }
    });

    [Fact]
    public void The_clock_of_timestamps_can_be_set() => CallBench.Run(k =>
    {
        int fd = InRepair(k);
        CallBench.Ok(Set(k, fd, TcpOption.Timestamp, 1000));
        Assert.Equal(1000, Get(k, fd, TcpOption.Timestamp).Value);
        k.Sleep(50);
        Assert.Equal(1050, Get(k, fd, TcpOption.Timestamp).Value);
        // Microseconds, which there are not.
        CallBench.Fails(Errno.EINVAL, Set(k, fd, TcpOption.Timestamp, 1001));
    });

    [Fact]
    public void Calls_touch_the_chosen_queue_alone() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.Send(server, "hello"));
        CallBench.Ok(Set(k, client, TcpOption.Repair, On));
        CallBench.Fails(Errno.EPERM, k.Recv(client, 5));
        CallBench.Fails(Errno.EINVAL, k.Recv(client, 5, MessageFlags.Peek));
        CallBench.Fails(Errno.EINVAL, k.Send(client, "x"));
        CallBench.Ok(Set(k, client, TcpOption.RepairQueue, ReceiveQueue));
        Assert.Equal(6, k.Send(client, " world").Value);
        Assert.Equal(0, k.Send(client, "").Value);
        var all = new byte[20];
        Assert.Equal(11, k.P.Recv(client, all, MessageFlags.Peek).Value);
        Assert.Equal("hello world"u8.ToArray(), all[..11]);
        Assert.Equal(71328, k.P.Send(client, new byte[100_000]).Value);
        CallBench.Ok(Set(k, client, TcpOption.RepairQueue, SendQueue));
        Assert.Equal(0, k.Recv(client, 5, MessageFlags.Peek).Value);
        CallBench.Fails(Errno.EPERM, k.Recv(client, 5));
    });

    [Fact]
    public void There_is_an_end_of_what_can_be_put_into_the_receive_queue() => CallBench.Run(k =>
    {
        int fd = ConnectionInRepair(k, ReceiveQueue);
        SysResult result;
        int calls = 0;
        do
            result = k.P.Send(fd, new byte[60_000]);
        while (!result.IsError && ++calls < 1000);
        Assert.Equal(Errno.ENOMEM, result.Error);
    });

    [Fact]
    public void What_is_not_connected_has_no_queues() => CallBench.Run(k =>
    {
        int fd = InRepair(k, ReceiveQueue);
        CallBench.Fails(Errno.ENOTCONN, k.Recv(fd, 5, MessageFlags.Peek));
        CallBench.Fails(Errno.EPERM, k.Recv(fd, 5));
        CallBench.Fails(Errno.EPIPE, k.Send(fd, "x", CallBench.NoSignal));
        k.Listening(out IPEndPoint at);
        CallBench.Fails(Errno.EPIPE, k.P.SendTo(fd, "x"u8, MessageFlags.FastOpen | CallBench.NoSignal, at));
    });

    [Fact]
    public void A_port_in_use_is_no_hindrance_and_a_connection_in_use_is() => CallBench.Run(k =>
    {
        (int client, _, _) = k.Pair();
        int fd = InRepair(k);
        Assert.Equal(2, k.Get(fd, SocketLevel.Socket, So.ReuseAddr).Value);
        CallBench.Ok(k.P.Bind(fd, k.NameOf(client)));
        CallBench.Ok(k.P.GetPeerName(client, out IPEndPoint? server));
        CallBench.Fails(Errno.EADDRNOTAVAIL, k.P.Connect(fd, server!));
        int another = InRepair(k);
        CallBench.Ok(k.P.Bind(another, server!));
        int plain = k.Tcp();
        CallBench.Fails(Errno.EADDRINUSE, k.P.Bind(plain, server!));
        CallBench.Ok(Set(k, fd, TcpOption.Repair, OffWithoutProbe));
        Assert.Equal(0, k.Get(fd, SocketLevel.Socket, So.ReuseAddr).Value);
    });

    [Fact]
    public void Connecting_says_nothing_to_anybody() => CallBench.Run(k =>
    {
        PacketTap tap = PacketTap.On(k.Stack, "lo");
        int fd = InRepair(k, ReceiveQueue);
        CallBench.Ok(Set(k, fd, TcpOption.QueueSeq, 2000));
        CallBench.Ok(k.P.Connect(fd, k.ClosedPort()));
        Assert.Equal("ESTABLISHED", k.State(fd));
        Assert.Equal(2000, Get(k, fd, TcpOption.QueueSeq).Value);
        Assert.Empty(tap.Sent);
        CallBench.Ok(Set(k, fd, TcpOption.Repair, Off));
        Assert.NotEmpty(tap.Sent);
        Assert.Equal("CLOSE", k.State(fd));
    });

    [Fact]
    public void A_connection_moves_to_another_stack()
    {
        var world = new SimulatedWorld(1, explore: false);
        NetStack stack(ulong seed) => new(new NetStackOptions { Seed = seed, Cpus = 1 }, world.AddHost(), ownsHost: false, buffers: null);
        using NetStack home = stack(1), other = stack(2), peer = stack(3);
        IPAddress moving = IPAddress.Parse("10.0.0.1"), staying = IPAddress.Parse("10.0.0.2");
        NetStack.Wire(home, "eth0", peer, "eth0");
        NetStack.Wire(other, "eth0", peer, "eth1");
        home.AddAddress("eth0", moving, 24);
        other.AddAddress("eth0", moving, 24);
        peer.AddAddress("eth0", staying, 24);
        using Process from = home.CreateProcess(), to = other.CreateProcess(), server = peer.CreateProcess();
        bool ended = false;
        world.Spawn("test", () =>
        {
            int listener = CallBench.Ok(server.Socket(2, 1, 0));
            CallBench.Ok(server.Bind(listener, new IPEndPoint(staying, 80)));
            CallBench.Ok(server.Listen(listener, 1));
            int client = CallBench.Ok(from.Socket(2, 1, 0));
            CallBench.Ok(from.Connect(client, new IPEndPoint(staying, 80)));
            int accepted = CallBench.Ok(server.Accept(listener));
            byte[] up = [.. Enumerable.Range(0, 5000).Select(static i => (byte)(i * 7))], down = [.. up.Reverse()];
            CallBench.Ok(server.Send(accepted, down.AsSpan(0, 700)));
            CallBench.Ok(from.Send(client, up.AsSpan(0, 1000)));
            CallBench.Ok(server.Recv(accepted, new byte[1000], MessageFlags.WaitAll));
            // What is sent now gets lost.
            home.Impair("eth0", new ImpairmentOptions { Loss = 1 });
            CallBench.Ok(from.Send(client, up.AsSpan(1000, 3000)));

            Image image = Image.Dump(from, client);
            Assert.Equal((3000, 700), (image.Sent.Length, image.Received.Length));
            CallBench.Ok(from.Close(client));
            peer.AddRoute(moving, 32, "eth1");
            int moved = image.Restore(to);
            CallBench.Ok(to.SetSockOpt(moved, Tcp, TcpOption.Repair, Off));

            var got = new byte[4000];
            Assert.Equal(3000, server.Recv(accepted, got.AsSpan(0, 3000), MessageFlags.WaitAll).Value);
            Assert.Equal(up[1000..4000], got[..3000]);
            CallBench.Ok(to.Send(moved, up.AsSpan(4000)));
            Assert.Equal(1000, server.Recv(accepted, got.AsSpan(0, 1000), MessageFlags.WaitAll).Value);
            Assert.Equal(up[4000..], got[..1000]);
            CallBench.Ok(server.Send(accepted, down.AsSpan(700, 500)));
            Assert.Equal(1200, to.Recv(moved, got.AsSpan(0, 1200), MessageFlags.WaitAll).Value);
            Assert.Equal(down[..1200], got[..1200]);
            CallBench.Ok(server.Close(accepted));
            Assert.Equal(0, to.Recv(moved, got).Value);
            CallBench.Ok(to.Close(moved));
            ended = true;
        });
        world.Run(Micros.FromSeconds(600), () => ended);
        Assert.True(ended);
    }

    /// <summary>Everything that a connection is.</summary>
    private sealed record Image(IPEndPoint Local, IPEndPoint Peer, byte[] Sent, int SentSeq, byte[] Received, int ReceivedSeq, byte[] Window,
        int[] Options, int Timestamp)
    {
        public static Image Dump(Process p, int fd)
        {
            CallBench.Ok(p.SetSockOpt(fd, Tcp, TcpOption.Repair, On));
            CallBench.Ok(p.GetSockName(fd, out IPEndPoint? local));
            CallBench.Ok(p.GetPeerName(fd, out IPEndPoint? peer));
            (byte[] sent, int sentSeq) = Queue(p, fd, SendQueue, SiocOutq);
            (byte[] received, int receivedSeq) = Queue(p, fd, ReceiveQueue, SiocInq);
            var window = new byte[20];
            CallBench.Ok(p.GetSockOpt(fd, Tcp, TcpOption.RepairWindow, window));
            var info = new byte[8];
            CallBench.Ok(p.GetSockOpt(fd, Tcp, TcpOption.Info, info));
            Assert.Equal(7, info[5] & 7);
            int[] options = [2, Number(p, fd, TcpOption.MaxSeg), 3, info[6] & 15 | info[6] >> 4 << 16, 4, 0, 8, 0];
            return new Image(local!, peer!, sent, sentSeq, received, receivedSeq, window, options, Number(p, fd, TcpOption.Timestamp));
        }

        public int Restore(Process p)
        {
            int fd = CallBench.Ok(p.Socket(2, 1, 0));
            void set(int option, int value) => CallBench.Ok(p.SetSockOpt(fd, Tcp, option, value));
            set(TcpOption.Repair, On);
            set(TcpOption.RepairQueue, SendQueue);
            set(TcpOption.QueueSeq, SentSeq - Sent.Length);
            set(TcpOption.RepairQueue, ReceiveQueue);
            set(TcpOption.QueueSeq, ReceivedSeq - Received.Length);
            CallBench.Ok(p.Bind(fd, Local));
            CallBench.Ok(p.Connect(fd, Peer));
            CallBench.Ok(p.SetSockOpt(fd, Tcp, TcpOption.RepairOptions, MemoryMarshal.AsBytes(Options.AsSpan())));
            set(TcpOption.Timestamp, Timestamp);
            Assert.Equal(Received.Length, p.Send(fd, Received).Value);
            set(TcpOption.RepairQueue, SendQueue);
            Assert.Equal(Sent.Length, p.Send(fd, Sent).Value);
            CallBench.Ok(p.SetSockOpt(fd, Tcp, TcpOption.RepairWindow, Window));
            return fd;
        }

        private static int Number(Process p, int fd, int option)
        {
            CallBench.Ok(p.GetSockOpt(fd, Tcp, option, out int value));
            return value;
        }

        private static (byte[] Bytes, int Seq) Queue(Process p, int fd, int queue, uint request)
        {
            CallBench.Ok(p.SetSockOpt(fd, Tcp, TcpOption.RepairQueue, queue));
            int length = 0;
            CallBench.Ok(p.Ioctl(fd, request, ref length));
            var bytes = new byte[length];
            Assert.Equal(length, p.Recv(fd, bytes, MessageFlags.Peek).Value);
            return (bytes, Number(p, fd, TcpOption.QueueSeq));
        }
    }
}
