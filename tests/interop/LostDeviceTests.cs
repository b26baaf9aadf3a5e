using System.Net;
using System.Net.Sockets;
using System.Threading.Tasks;

namespace Millrace.Interop;

/// <summary>The device goes away under a running stack.</summary>
public sealed class LostDeviceTests
{
    [KernelTheory]
    [InlineData(Link.Plain)]
    [InlineData(Link.OffloadTwoQueues)]
    [InlineData(Link.TapTwoQueues)]
    [InlineData(Link.PacketTwoQueues)]
    [InlineData(Link.XdpTwoQueues)]
    public async Task Connections_fail_and_the_owner_is_told(Link link)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        using TcpListener listener = lab.Stack.Listen(new IPEndPoint(Lab.OurAddress, 7));
        using Pair idle = await Pair.ByKernelAsync(lab), busy = await Pair.ByKernelAsync(lab);
        using Pair sending = await Pair.ByUsAsync(lab);
        ValueTask<int> waiting = idle.Ours.ReceiveAsync(new byte[1]);
        Task<SocketException> receiver = Traffic.OnThread(() => EndOf(b => busy.Ours.Receive(b)));
        Task<SocketException> sender = Traffic.OnThread(() => EndOf(b => sending.Ours.Send(b)));
        Task kernelSends = Traffic.OnThread(() => EndOf(b => busy.Kernel.Send(b)));
        Task kernelReceives = Traffic.OnThread(() => EndOf(b => sending.Kernel.Receive(b)));
        await lab.UntilAsync(() => busy.Ours.GetInfo().BytesReceived > 1_000_000 && sending.Ours.GetInfo().BytesAcked > 1_000_000);

        (await lab.RunAsync("ip", "link", "del", Lab.Device)).Succeeded("ip link del");

        Assert.Equal("the device mr0 was deleted", await lab.Lost.Task);
        Assert.Equal(SocketError.NetworkDown, (await Assert.ThrowsAsync<SocketException>(async () => await waiting)).SocketErrorCode);
        Assert.Equal(SocketError.NetworkDown, (await receiver).SocketErrorCode);
        Assert.Contains((await sender).SocketErrorCode, new[] { SocketError.NetworkDown, SocketError.Shutdown });
        var e = await Assert.ThrowsAsync<SocketException>(async () => await lab.Stack.ConnectAsync(new IPEndPoint(Lab.KernelAddress, 7)));
        Assert.Equal(SocketError.NetworkUnreachable, e.SocketErrorCode);
        busy.Kernel.Dispose();
        sending.Kernel.Dispose();
        await kernelSends;
        await kernelReceives;
    }

    [KernelFact]
    public async Task The_owner_may_dispose_of_the_stack_when_it_is_told()
    {
        await using Lab lab = await Lab.OpenAsync(Link.OffloadTwoQueues);
        Task<string> disposed = lab.Lost.Task.ContinueWith(lost =>
        {
            lab.Stack.Dispose();
            return lost.Result;
        }, TaskContinuationOptions.ExecuteSynchronously);
        (await lab.RunAsync("ip", "link", "del", Lab.Device)).Succeeded("ip link del");
        Assert.Equal("the device mr0 was deleted", await disposed);
    }

    [KernelFact]
    public async Task A_completion_that_runs_inline_may_dispose_of_the_stack()
    {
        await using Lab lab = await Lab.OpenAsync(options: new NetStackOptions { InlineCompletions = true });
        using Pair pair = await Pair.ByKernelAsync(lab);
        Task disposed = DisposeAfterReceiveAsync(lab, pair.Ours);
        pair.KernelSend(new byte[1]);
        await disposed;
        Assert.DoesNotContain(Lab.Device, (await lab.RunAsync("ip", "-br", "link")).Output);
    }

    private static async Task DisposeAfterReceiveAsync(Lab lab, TcpConnection connection)
    {
        Assert.Equal(1, await connection.ReceiveAsync(new byte[1]).ConfigureAwait(false));
        lab.Stack.Dispose();
    }

    private delegate int Call(byte[] buffer);

    private static SocketException EndOf(Call call)
    {
        byte[] buffer = new byte[100_000];
        try
        {
            while (call(buffer) > 0)
            {
            }
            return new SocketException((int)SocketError.Success);
        }
        catch (SocketException e)
        {
            return e;
        }
        catch (System.ObjectDisposedException)
        {
            return new SocketException((int)SocketError.OperationAborted);
        }
    }
}
