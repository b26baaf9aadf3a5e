using System;
using System.Collections.Generic;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tcp;

namespace Millrace.Tests;

/// <summary>The list of sockets, and the ends of a connection that .NET programs see: hang-up and abort.</summary>
public sealed class TcpSocketListTests
{
    private static readonly IPEndPoint Server = new(IPAddress.Loopback, 80);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static TcpSocketEntry Only(NetStack stack, Func<TcpSocketEntry, bool> which) => Assert.Single(stack.ListTcpSockets(), which.Invoke);

    [Fact]
    public void A_stack_without_sockets_lists_none()
    {
        using var stack = new NetStack();
        Assert.Empty(stack.ListTcpSockets());
    }

    [Fact]
    public async Task A_listeners_queues_are_its_accept_queue_and_its_limit()
    {
        using var stack = new NetStack();
        await using TcpListener listener = stack.Listen(Server, new TcpListenOptions { Backlog = 7 });
        await using TcpConnection first = await stack.ConnectAsync(Server, cancel: Cancel);
        await using TcpConnection second = await stack.ConnectAsync(Server, cancel: Cancel);
        TcpSocketEntry entry = Only(stack, e => e.State == TcpState.Listen);
        Assert.Equal((Server, new IPEndPoint(IPAddress.Any, 0), 2, 7), (entry.Local, entry.Remote, entry.ReceiveQueue, entry.SendQueue));
        Assert.Equal(SocketTimer.None, entry.Timer);
        Assert.Equal((byte)TcpState.Listen, entry.Info!.Value.State);
        Assert.Equal(4, stack.ListTcpSockets().Count(e => e.State == TcpState.Established));
    }

    [Fact]
    public async Task A_connections_queues_are_what_is_unread_and_what_is_unacknowledged()
    {
        using var stack = new NetStack();
        await using TcpListener listener = stack.Listen(Server);
        await using TcpConnection client = await stack.ConnectAsync(Server, cancel: Cancel);
        await using TcpConnection server = await listener.AcceptAsync(Cancel);
        await client.SendAsync(new byte[1234], cancel: Cancel);
        byte[] one = new byte[1];
        await server.ReceiveAsync(one, Cancel);
        TcpSocketEntry theirs = Only(stack, e => e.Local.Equals(server.LocalEndPoint) && e.State == TcpState.Established);
        TcpSocketEntry ours = Only(stack, e => e.Local.Equals(client.LocalEndPoint));
        Assert.Equal((1233, "cubic"), (theirs.ReceiveQueue, theirs.CongestionControl));
        Assert.Equal(client.LocalEndPoint, theirs.Remote);
        Assert.Equal((0, 0), (ours.ReceiveQueue, ours.Timer == SocketTimer.None ? ours.SendQueue : 0));
        Assert.Equal(1234ul, theirs.Info!.Value.BytesReceived);
    }

    [Fact]
    public async Task Who_closes_first_is_in_TIME_WAIT_with_its_timer_and_no_numbers()
    {
        using var stack = new NetStack();
        await using TcpListener listener = stack.Listen(Server);
        await using TcpConnection client = await stack.ConnectAsync(Server, cancel: Cancel);
        await using TcpConnection server = await listener.AcceptAsync(Cancel);
        IPEndPoint port = client.LocalEndPoint!;
        client.Dispose();
        Assert.True(await server.WaitForHangUpAsync(Cancel));
        server.Dispose();
        TcpSocketEntry entry = Only(stack, e => e.State != TcpState.Listen);
        Assert.Equal((TcpState.TimeWait, port, Server, SocketTimer.TimeWait), (entry.State, entry.Local, entry.Remote, entry.Timer));
        Assert.InRange(entry.TimerExpires, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(61));
        Assert.Null(entry.Info);
    }

    [Fact]
    public async Task A_SYN_into_the_void_waits_for_its_retransmission_and_keepalive_shows_its_timer()
    {
        using var a = new NetStack();
        using var b = new NetStack();
        NetStack.Wire(a, "eth0", b, "eth0");
        a.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        using var giveUp = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        ValueTask<TcpConnection> connect = a.ConnectAsync(new IPEndPoint(IPAddress.Parse("10.0.0.2"), 80), cancel: giveUp.Token);
        TcpSocketEntry entry = Only(a, static _ => true);
        Assert.Equal((TcpState.SynSent, SocketTimer.Retransmit), (entry.State, entry.Timer));
        await giveUp.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await connect);
        Assert.Empty(a.ListTcpSockets());
    }

    [Fact]
    public async Task An_idle_connection_with_keepalive_shows_when_it_will_be_probed()
    {
        using var stack = new NetStack();
        await using TcpListener listener = stack.Listen(Server);
        await using TcpConnection client = await stack.ConnectAsync(Server, cancel: Cancel);
        client.SetOption(1, 9, 1);
        TcpSocketEntry entry = Only(stack, e => e.Local.Equals(client.LocalEndPoint));
        Assert.Equal(SocketTimer.KeepAlive, entry.Timer);
        Assert.InRange(entry.TimerExpires, TimeSpan.FromMinutes(100), TimeSpan.FromMinutes(120));
    }

    [Fact]
    public async Task Lists_are_made_while_connections_come_and_go()
    {
        using var stack = new NetStack();
        // On loopback a port in TIME_WAIT is taken again after a second.
        stack.Sysctls.TcpTwReuse = 0;
        await using TcpListener listener = stack.Listen(Server);
        using var stop = new CancellationTokenSource();
        Task lister = Task.Run(() =>
        {
            var states = new HashSet<TcpState>();
            while (!stop.IsCancellationRequested)
                states.UnionWith(stack.ListTcpSockets().Select(static e => e.State));
            Assert.DoesNotContain(TcpState.Close, states);
        }, Cancel);
        for (int i = 0; i < 500; i++)
        {
            await using TcpConnection client = await stack.ConnectAsync(Server, cancel: Cancel);
            await using TcpConnection server = await listener.AcceptAsync(Cancel);
            if (i % 2 == 0)
                client.Abort();
        }
        await stop.CancelAsync();
        await lister;
        // The last segments may still be in the hands of another thread.
        int Waiting() => stack.ListTcpSockets().Count(static e => e.State == TcpState.TimeWait);
        SpinWait.SpinUntil(() => Waiting() == 250, TimeSpan.FromSeconds(10));
        Assert.Equal(250, Waiting());
    }

    [Fact]
    public async Task A_connection_can_be_accepted_while_it_is_being_listed()
    {
        using var stack = new NetStack();
        await using TcpListener listener = stack.Listen(Server);
        await using TcpConnection client = await stack.ConnectAsync(Server, cancel: Cancel);
        SpinWait.SpinUntil(() => stack.ListTcpSockets().Any(static e => e.State == TcpState.Listen && e.ReceiveQueue == 1));
        TcpSock child = Own(stack, client.LocalEndPoint!.Port);
        await using TcpConnection server = await listener.AcceptAsync(Cancel);
        Assert.True(child.Lock.IsOwned);
        Release(stack, child);
        await client.SendAsync(new byte[3], cancel: Cancel);
        Assert.Equal(3, await server.ReceiveAsync(new byte[9], MessageFlags.None, Cancel));
    }

    // As whoever lists does, for as long as he reads.
    private static TcpSock Own(NetStack stack, int remotePort)
    {
        TaskContext context = stack.Cpus.Enter();
        var find = new ByRemotePort(remotePort, []);
        stack.Tcp.Established.ForEach(context.Cpu, ref find);
        TcpSock sk = Assert.Single(find.Found);
        sk.LockSock(ref context);
        stack.Cpus.Leave(ref context);
        return sk;
    }

    private static void Release(NetStack stack, TcpSock sk)
    {
        TaskContext context = stack.Cpus.Enter();
        sk.ReleaseSock(context.Cpu);
        stack.Cpus.Leave(ref context);
    }

    private readonly struct ByRemotePort(int port, List<TcpSock> found) : ISockVisitor
    {
        public List<TcpSock> Found => found;

        public void Visit(Cpu cpu, SockCommon sock)
        {
            if (sock is TcpSock sk && sk.RemotePort == port)
                found.Add(sk);
        }
    }

    [Fact]
    public async Task An_abort_is_a_reset_and_no_fin_though_a_reader_waits()
    {
        using var stack = new NetStack();
        await using TcpListener listener = stack.Listen(Server);
        await using TcpConnection client = await stack.ConnectAsync(Server, cancel: Cancel);
        await using TcpConnection server = await listener.AcceptAsync(Cancel);
        Task<int> read = server.ReceiveAsync(new byte[1], Cancel).AsTask();
        server.Abort();
        SocketException here = await Assert.ThrowsAsync<SocketException>(() => read);
        Assert.Equal(SocketError.OperationAborted, here.SocketErrorCode);
        SocketException there = await Assert.ThrowsAsync<SocketException>(() => client.ReceiveAsync(new byte[1], Cancel).AsTask());
        Assert.Equal(SocketError.ConnectionReset, there.SocketErrorCode);
    }

    [Fact]
    public async Task A_hang_up_is_told_without_taking_data_or_error()
    {
        using var stack = new NetStack();
        await using TcpListener listener = stack.Listen(Server);
        await using TcpConnection client = await stack.ConnectAsync(Server, cancel: Cancel);
        await using TcpConnection server = await listener.AcceptAsync(Cancel);
        Task<bool> end = server.WaitForHangUpAsync(Cancel).AsTask();
        await client.SendAsync(new byte[3], cancel: Cancel);
        Assert.False(end.IsCompleted);
        client.Shutdown(SocketShutdown.Send);
        Assert.True(await end);
        Assert.Equal(3, await server.ReceiveAsync(new byte[10], Cancel));
        client.Abort();
        Assert.True(await server.WaitForHangUpAsync(Cancel));
    }

    [Fact]
    public async Task A_hang_up_is_waited_for_until_the_connection_is_disposed_of_or_the_wait_cancelled()
    {
        using var stack = new NetStack();
        await using TcpListener listener = stack.Listen(Server);
        await using TcpConnection client = await stack.ConnectAsync(Server, cancel: Cancel);
        await using TcpConnection server = await listener.AcceptAsync(Cancel);
        using var cancel = new CancellationTokenSource();
        Task<bool> cancelled = server.WaitForHangUpAsync(cancel.Token).AsTask();
        Task<bool> disposed = server.WaitForHangUpAsync(Cancel).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        Assert.False(disposed.IsCompleted);
        server.Dispose();
        Assert.False(await disposed);
    }
}
