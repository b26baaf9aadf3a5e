#pragma warning disable xUnit1051 // the end of the stack ends what waits
using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Tests;

/// <summary>The end of a stack is the end of what waits on it.</summary>
public sealed class StackDisposalTests
{
    private static readonly IPEndPoint s_at = new(IPAddress.Parse("10.0.0.2"), 80);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static (NetStack Client, NetStack Server) Two()
    {
        NetStack client = new(new NetStackOptions { Name = "client" }), server = new(new NetStackOptions { Name = "server" });
        NetStack.Wire(client, "eth0", server, "eth0");
        client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        server.AddAddress("eth0", s_at.Address, 24);
        return (client, server);
    }

    private static async Task<SocketError> ErrorOf(Task call)
    {
        Exception? e = await Record.ExceptionAsync(() => call.WaitAsync(TimeSpan.FromSeconds(30), Cancel));
        return e is IOException io ? Assert.IsType<SocketException>(io.InnerException).SocketErrorCode : Assert.IsType<SocketException>(e).SocketErrorCode;
    }

    private static Task Blocking(Action call) => Task.Factory.StartNew(call, Cancel, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    [Fact]
    public async Task Whatever_waits_ends_with_an_error_and_the_peer_is_reset()
    {
        (NetStack client, NetStack server) = Two();
        using TcpListener listener = server.Listen(s_at), other = server.Listen(new IPEndPoint(s_at.Address, 81));
        using TcpConnection near = await client.ConnectAsync(s_at, cancel: Cancel);
        using TcpConnection far = await listener.AcceptAsync(Cancel);
        using TcpConnection near2 = await client.ConnectAsync(s_at, cancel: Cancel);
        using TcpConnection far2 = await listener.AcceptAsync(Cancel);
        var waiting = new List<Task>
        {
            far.ReceiveAsync(new byte[1], Cancel).AsTask(),
            far.GetStream().ReadAsync(new byte[1], Cancel).AsTask(),
            far2.SendAsync(new byte[100_000_000], cancel: Cancel).AsTask(),
            listener.AcceptAsync(Cancel).AsTask(),
            server.ConnectAsync(new IPEndPoint(IPAddress.Parse("10.0.0.99"), 1), cancel: Cancel).AsTask(),
        };
        Task receive = Blocking(() => far.Receive(new byte[1], cancel: CancellationToken.None));
        Task accept = Blocking(() => other.Accept(CancellationToken.None));
        Task<int> peer = near.ReceiveAsync(new byte[1], Cancel).AsTask();
        await Task.Yield();
        server.Dispose();
        foreach (Task call in waiting)
            Assert.Equal(SocketError.OperationAborted, await ErrorOf(call));
        Assert.Equal(SocketError.ConnectionAborted, await ErrorOf(receive));
        Assert.Equal(SocketError.Interrupted, await ErrorOf(accept));
        Assert.Equal(SocketError.ConnectionReset, await ErrorOf(peer));
        client.Dispose();
    }

    [Fact]
    public async Task Nothing_begins_on_a_stack_that_has_ended()
    {
        (NetStack client, NetStack server) = Two();
        Process process = server.CreateProcess();
        int fd = process.Socket(2, 1, 0).Value, passive = process.Socket(2, 1, 0).Value;
        server.Dispose();
        Assert.Throws<ObjectDisposedException>(() => server.Listen(s_at));
        await Assert.ThrowsAsync<ObjectDisposedException>(async () => await server.ConnectAsync(s_at, cancel: Cancel));
        Assert.Equal(Errno.ENETDOWN, process.Connect(fd, s_at).Error);
        Assert.Equal(Errno.ENETDOWN, process.Listen(passive, 1).Error);
        client.Dispose();
        client.Dispose();
    }

    [Fact]
    public async Task Requests_that_wait_for_a_decision_end_too()
    {
        (NetStack client, NetStack server) = Two();
        var asked = new TaskCompletionSource<TcpConnectionRequest>();
        using TcpListener listener = server.Listen(s_at, new TcpListenOptions
        {
            OnRequest = request =>
            {
                asked.SetResult(request);
                return AcceptDecision.Later;
            },
        });
        Task<TcpConnection> connect = client.ConnectAsync(s_at, cancel: Cancel).AsTask();
        TcpConnectionRequest request = await asked.Task.WaitAsync(Cancel);
        var ended = new TaskCompletionSource();
        await using CancellationTokenRegistration registration = request.Ended.Register(() => ended.SetResult());
        server.Dispose();
        await ended.Task.WaitAsync(TimeSpan.FromSeconds(30), Cancel);
        Assert.False(request.Allow());
        client.Dispose();
        Assert.Equal(SocketError.OperationAborted, await ErrorOf(connect));
    }
}
