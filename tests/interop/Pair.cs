using System;
using System.Net;
using System.Net.Sockets;
using System.Threading.Tasks;

namespace Millrace.Interop;

/// <summary>A connection: our end and the kernel's.</summary>
internal sealed record Pair(TcpConnection Ours, Socket Kernel) : IDisposable
{
    /// <summary>The kernel connects to us.</summary>
    public static async Task<Pair> ByKernelAsync(Lab lab, bool v6 = false)
    {
        using TcpListener listener = lab.Stack.Listen(new IPEndPoint(v6 ? Lab.OurAddress6 : Lab.OurAddress, 0));
        Socket client = await lab.KernelConnectAsync(listener.LocalEndPoint!);
        return new Pair(await listener.AcceptAsync(), client);
    }

    /// <summary>We connect to the kernel.</summary>
    public static async Task<Pair> ByUsAsync(Lab lab, bool v6 = false)
    {
        using Socket listener = lab.KernelListener(v6 ? Lab.KernelAddress6 : Lab.KernelAddress);
        TcpConnection client = await lab.Stack.ConnectAsync((IPEndPoint)listener.LocalEndPoint!);
        return new Pair(client, await listener.AcceptAsync());
    }

    public void KernelSend(ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty)
            data = data[Kernel.Send(data)..];
    }

    public void Dispose()
    {
        Ours.Dispose();
        Kernel.Dispose();
    }
}
