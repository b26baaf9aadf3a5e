using System;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Interop;

/// <summary>Connections whose segments are signed, TCP_MD5SIG on both sides. RFC 2385.</summary>
public sealed class SignedTests
{
    private const int Tcp = 6, Md5Sig = 14, Inet = 2, Inet6 = 10, Stream = 1, Bytes = 200_000;

    // struct tcp_md5sig.
    private static byte[] Key(IPAddress peer, ReadOnlySpan<byte> secret)
    {
        var key = new byte[216];
        bool v4 = peer.AddressFamily == AddressFamily.InterNetwork;
        key[0] = (byte)(v4 ? Inet : Inet6);
        peer.GetAddressBytes().CopyTo(key, v4 ? 4 : 8);
        key[130] = (byte)secret.Length;
        secret.CopyTo(key.AsSpan(136));
        return key;
    }

    [KernelTheory]
    [InlineData(Link.Plain, false)]
    [InlineData(Link.Offload, true)]
    public async Task The_kernel_takes_our_signatures_and_we_its(Link link, bool v6)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        IPAddress ours = v6 ? Lab.OurAddress6 : Lab.OurAddress, kernels = v6 ? Lab.KernelAddress6 : Lab.KernelAddress;
        using Socket listener = lab.KernelListener(kernels);
        listener.SetRawSocketOption(Tcp, Md5Sig, Key(ours, "between us"u8));
        using Process process = lab.Stack.CreateProcess();
        int fd = process.Socket(v6 ? Inet6 : Inet, Stream, 0).Value;
        Assert.Equal(0, process.SetSockOpt(fd, Tcp, Md5Sig, Key(kernels, "between us"u8)).Value);
        byte[] data = [.. Enumerable.Range(0, Bytes).Select(static i => (byte)(i * 7 >> 3))];
        Task<byte[]> client = Task.Factory.StartNew(() =>
        {
            Assert.Equal(0, process.Connect(fd, (IPEndPoint)listener.LocalEndPoint!).Value);
            for (int sent = 0; sent < Bytes;)
                sent += process.Send(fd, data.AsSpan(sent)).Value;
            var back = new byte[Bytes];
            for (int got = 0; got < Bytes;)
                got += process.Recv(fd, back.AsSpan(got)).Value;
            return back;
        }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        using Socket accepted = await listener.AcceptAsync();
        var echo = new byte[Bytes];
        for (int got = 0; got < Bytes;)
            got += await accepted.ReceiveAsync(echo.AsMemory(got));
        for (int sent = 0; sent < Bytes;)
            sent += await accepted.SendAsync(echo.AsMemory(sent));
        Assert.Equal(data, await client);
    }
}
