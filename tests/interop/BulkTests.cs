using System.Net;
using System.Net.Sockets;
using System.Threading.Tasks;

namespace Millrace.Interop;

public sealed class BulkTests
{
    private const long Bytes = 256L * 1024 * 1024;

    [KernelTheory]
    [InlineData(Link.Plain)]
    [InlineData(Link.Offload)]
    public async Task The_kernel_sends_256_MiB(Link link)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        using TcpListener listener = lab.Stack.Listen(new IPEndPoint(Lab.OurAddress, 7));
        using Socket client = await lab.KernelConnectAsync(new IPEndPoint(Lab.OurAddress, 7));
        using TcpConnection server = await listener.AcceptAsync();
        Task<(long, string)> received = Traffic.OnThread(() => Traffic.Drain(b => server.Receive(b)));
        string sent = await Traffic.OnThread(() => Traffic.Pump(d => SendAll(client, d), Bytes, 1));
        client.Shutdown(SocketShutdown.Send);
        Assert.Equal((Bytes, sent), await received);
    }

    [KernelTheory]
    [InlineData(Link.Plain)]
    [InlineData(Link.Offload)]
    public async Task We_send_256_MiB(Link link)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        using TcpListener listener = lab.Stack.Listen(new IPEndPoint(Lab.OurAddress, 7));
        using Socket client = await lab.KernelConnectAsync(new IPEndPoint(Lab.OurAddress, 7));
        using TcpConnection server = await listener.AcceptAsync();
        Task<(long, string)> received = Traffic.OnThread(() => Traffic.Drain(b => client.Receive(b)));
        string sent = await Traffic.OnThread(() => Traffic.Pump(d => server.Send(d), Bytes, 2));
        server.Shutdown(SocketShutdown.Send);
        Assert.Equal((Bytes, sent), await received);
    }

    private static void SendAll(Socket socket, System.ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty)
            data = data[socket.Send(data)..];
    }
}
