using System;
using System.Net;
using System.Net.Sockets;
using System.Threading.Tasks;

namespace Millrace.Interop;

/// <summary>How connections end, seen from both sides.</summary>
public sealed class ClosingTests
{
    private static readonly byte[] s_buffer = new byte[4096];

    [KernelTheory]
    [InlineData(Link.Plain, false)]
    [InlineData(Link.Offload, true)]
    public async Task The_kernel_closes_first_and_keeps_the_time_wait(Link link, bool v6)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        Pair pair = await Pair.ByKernelAsync(lab, v6);
        int port = pair.Ours.LocalEndPoint!.Port;
        pair.Kernel.Dispose();
        Assert.Equal(0, await pair.Ours.ReceiveAsync(s_buffer));
        Assert.Equal([TcpState.CloseWait], lab.OurStates(port));
        Assert.Equal(["FIN-WAIT-2"], await lab.KernelStatesAsync(port));
        pair.Ours.Dispose();
        await lab.UntilAsync(async () => await lab.KernelStatesAsync(port) is ["TIME-WAIT"]);
        await lab.UntilAsync(() => lab.OurStates(port).Length == 0);
    }

    [KernelTheory]
    [InlineData(Link.Plain, true)]
    [InlineData(Link.Offload, false)]
    public async Task We_close_first_and_keep_the_time_wait(Link link, bool v6)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        Pair pair = await Pair.ByKernelAsync(lab, v6);
        int port = pair.Ours.LocalEndPoint!.Port;
        pair.Ours.Dispose();
        Assert.Equal(0, await pair.Kernel.ReceiveAsync(s_buffer));
        Assert.Equal(["CLOSE-WAIT"], await lab.KernelStatesAsync(port));
        await lab.UntilAsync(() => lab.OurStates(port) is [TcpState.TimeWait or TcpState.FinWait2]);
        pair.Kernel.Dispose();
        await lab.UntilAsync(() => lab.OurStates(port) is [TcpState.TimeWait]);
        await lab.UntilAsync(async () => (await lab.KernelStatesAsync(port)).Length == 0);
    }

    [KernelFact]
    public async Task The_kernel_says_all_first_and_still_hears_us()
    {
        await using Lab lab = await Lab.OpenAsync();
        using Pair pair = await Pair.ByKernelAsync(lab);
        pair.Kernel.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await pair.Ours.ReceiveAsync(s_buffer));
        await HearsAsync(b => pair.Kernel.Receive(b), d => pair.Ours.Send(d), () => pair.Ours.Shutdown(SocketShutdown.Send));
    }

    [KernelFact]
    public async Task We_say_all_first_and_still_hear_the_kernel()
    {
        await using Lab lab = await Lab.OpenAsync();
        using Pair pair = await Pair.ByUsAsync(lab);
        pair.Ours.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await pair.Kernel.ReceiveAsync(s_buffer));
        await HearsAsync(b => pair.Ours.Receive(b), d => pair.KernelSend(d), () => pair.Kernel.Shutdown(SocketShutdown.Send));
    }

    [KernelTheory]
    [InlineData(Link.Plain)]
    [InlineData(Link.Offload)]
    public async Task The_kernel_resets(Link link)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        using Pair pair = await Pair.ByKernelAsync(lab);
        ValueTask<int> waiting = pair.Ours.ReceiveAsync(s_buffer);
        pair.Kernel.LingerState = new LingerOption(true, 0);
        pair.Kernel.Dispose();
        var e = await Assert.ThrowsAsync<SocketException>(async () => await waiting);
        Assert.Equal(SocketError.ConnectionReset, e.SocketErrorCode);
        Assert.Empty(lab.OurStates(pair.Ours.LocalEndPoint!.Port));
    }

    [KernelFact]
    public async Task We_reset()
    {
        await using Lab lab = await Lab.OpenAsync();
        using Pair pair = await Pair.ByKernelAsync(lab);
        int port = pair.Ours.LocalEndPoint!.Port;
        Task<int> waiting = pair.Kernel.ReceiveAsync(s_buffer);
        pair.Ours.Abort();
        var e = await Assert.ThrowsAsync<SocketException>(() => waiting);
        Assert.Equal(SocketError.ConnectionReset, e.SocketErrorCode);
        Assert.Empty(lab.OurStates(port));
    }

    [KernelFact]
    public async Task Closing_with_unread_data_resets()
    {
        await using Lab lab = await Lab.OpenAsync();
        using Pair pair = await Pair.ByKernelAsync(lab);
        pair.KernelSend(new byte[1000]);
        await pair.Ours.ReceiveAsync(Memory<byte>.Empty);
        pair.Ours.Dispose();
        var e = await Assert.ThrowsAsync<SocketException>(() => pair.Kernel.ReceiveAsync(s_buffer));
        Assert.Equal(SocketError.ConnectionReset, e.SocketErrorCode);
    }

    [KernelTheory]
    [InlineData("10.77.0.2")]
    [InlineData("fd77::2")]
    public async Task Our_port_refuses(string address)
    {
        await using Lab lab = await Lab.OpenAsync();
        var e = await Assert.ThrowsAsync<SocketException>(() => lab.KernelConnectAsync(new IPEndPoint(IPAddress.Parse(address), 9)));
        Assert.Equal(SocketError.ConnectionRefused, e.SocketErrorCode);
    }

    [KernelTheory]
    [InlineData("10.77.0.1")]
    [InlineData("fd77::1")]
    public async Task The_kernels_port_refuses(string address)
    {
        await using Lab lab = await Lab.OpenAsync();
        var e = await Assert.ThrowsAsync<SocketException>(async () => await lab.Stack.ConnectAsync(new IPEndPoint(IPAddress.Parse(address), 9)));
        Assert.Equal(SocketError.ConnectionRefused, e.SocketErrorCode);
    }

    [KernelFact]
    public async Task The_kernel_reuses_a_port_that_we_hold_in_time_wait()
    {
        await using Lab lab = await Lab.OpenAsync();
        using TcpListener listener = lab.Stack.Listen(new IPEndPoint(Lab.OurAddress, 0));
        IPEndPoint at = listener.LocalEndPoint!, from = new(Lab.KernelAddress, 40000);
        for (int i = 0; i < 3; i++)
        {
            using Socket client = lab.KernelSocket();
            client.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            client.Bind(from);
            await client.ConnectAsync(at);
            using TcpConnection server = await listener.AcceptAsync();
            server.Dispose();
            Assert.Equal(0, await client.ReceiveAsync(s_buffer));
            client.Dispose();
            await lab.UntilAsync(() => lab.OurStates(at.Port) is [TcpState.TimeWait]);
            await lab.UntilAsync(async () => (await lab.KernelStatesAsync(at.Port)).Length == 0);
        }
    }

    private static async Task HearsAsync(Traffic.Receive receive, Traffic.Send send, Action finish)
    {
        const long bytes = 1024 * 1024;
        Task<(long, string)> heard = Traffic.OnThread(() => Traffic.Drain(receive));
        string said = await Traffic.OnThread(() => Traffic.Pump(send, bytes, 7));
        finish();
        Assert.Equal((bytes, said), await heard);
    }
}
