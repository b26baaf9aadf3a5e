using System;
using System.Collections.Generic;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Threading.Tasks;

namespace Millrace.Interop;

public sealed class ManyTests
{
    private const int Count = 1000;

    [KernelTheory]
    [InlineData(Link.Plain)]
    [InlineData(Link.OffloadTwoQueues)]
    [InlineData(Link.TapTwoQueues)]
    [InlineData(Link.PacketTwoQueues)]
    [InlineData(Link.XdpTwoQueues)]
    public async Task A_thousand_connections_from_the_kernel(Link link)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        using TcpListener listener = lab.Stack.Listen(new IPEndPoint(Lab.OurAddress, 7));
        Task<TcpConnection[]> accepting = AcceptAllAsync(() => listener.AcceptAsync().AsTask());
        Socket[] clients = await Task.WhenAll(Enumerable.Range(0, Count).Select(_ => lab.KernelConnectAsync(new IPEndPoint(Lab.OurAddress, 7))));
        TcpConnection[] servers = await accepting;
        Task echoes = Task.WhenAll(servers.Select(EchoAsync));
        await Task.WhenAll(clients.Select((socket, i) => TalkAsync(i, d => socket.SendAsync(d).AsTask(), b => socket.ReceiveAsync(b).AsTask())));
        foreach (Socket client in clients)
            client.Dispose();
        await echoes;
    }

    [KernelTheory]
    [InlineData(Link.PlainTwoQueues)]
    [InlineData(Link.Offload)]
    public async Task A_thousand_connections_to_the_kernel(Link link)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        using Socket listener = lab.KernelListener(Lab.KernelAddress);
        var to = (IPEndPoint)listener.LocalEndPoint!;
        Task<Socket[]> accepting = AcceptAllAsync(() => listener.AcceptAsync());
        TcpConnection[] clients = await Task.WhenAll(Enumerable.Range(0, Count).Select(_ => lab.Stack.ConnectAsync(to).AsTask()));
        Socket[] servers = await accepting;
        Task echoes = Task.WhenAll(servers.Select(EchoAsync));
        await Task.WhenAll(clients.Select((c, i) => TalkAsync(i, d => c.SendAsync(d).AsTask(), b => c.ReceiveAsync(b).AsTask())));
        foreach (TcpConnection client in clients)
            client.Dispose();
        await echoes;
    }

    private static async Task<T[]> AcceptAllAsync<T>(Func<Task<T>> accept)
    {
        var all = new List<T>();
        while (all.Count < Count)
            all.Add(await accept());
        return [.. all];
    }

    private static async Task TalkAsync(int number, Func<ReadOnlyMemory<byte>, Task<int>> send, Func<Memory<byte>, Task<int>> receive)
    {
        byte[] said = new byte[1024], heard = new byte[1024];
        new Random(number).NextBytes(said);
        for (int sent = 0; sent < said.Length;)
            sent += await send(said.AsMemory(sent));
        for (int got = 0; got < heard.Length;)
        {
            int read = await receive(heard.AsMemory(got));
            Assert.True(read > 0, "the echo ends too early");
            got += read;
        }
        Assert.Equal(said, heard);
    }

    private static async Task EchoAsync(TcpConnection connection)
    {
        byte[] buffer = new byte[2048];
        while (await connection.ReceiveAsync(buffer) is var read and > 0)
            await connection.SendAsync(buffer.AsMemory(0, read));
        connection.Dispose();
    }

    private static async Task EchoAsync(Socket socket)
    {
        byte[] buffer = new byte[2048];
        while (await socket.ReceiveAsync(buffer) is var read and > 0)
            await socket.SendAsync(buffer.AsMemory(0, read));
        socket.Dispose();
    }
}
