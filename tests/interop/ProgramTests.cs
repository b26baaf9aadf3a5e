using System;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Threading.Tasks;

namespace Millrace.Interop;

/// <summary>Programs that know nothing of us: curl and nc, each way.</summary>
public sealed class ProgramTests
{
    private static readonly byte[] s_document = RandomNumberGenerator.GetBytes(3_000_000);

    [KernelTheory]
    [InlineData(Link.Plain, "http://10.77.0.2:8080/document")]
    [InlineData(Link.Offload, "http://10.77.0.2:8080/document")]
    [InlineData(Link.Offload, "http://[fd77::2]:8080/document")]
    [InlineData(Link.Tap, "http://10.77.0.2:8080/document")]
    [InlineData(Link.Packet, "http://[fd77::2]:8080/document")]
    [InlineData(Link.Xdp, "http://10.77.0.2:8080/document")]
    public async Task Curl_gets_a_document_from_us(Link link, string url)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        using TcpListener listener = lab.Stack.Listen(new IPEndPoint(IPAddress.IPv6Any, 8080));
        Task served = ServeAsync(listener, async (head, stream) =>
        {
            Assert.StartsWith("GET /document HTTP/1.1", head, StringComparison.Ordinal);
            await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nContent-Length: {s_document.Length}\r\nConnection: close\r\n\r\n"));
            await stream.WriteAsync(s_document);
        });
        Outcome curl = (await lab.RunAsync("curl", "-sS", "--max-time", "60", url)).Succeeded("curl");
        await served;
        Assert.Equal(s_document, Encoding.Latin1.GetBytes(curl.Output));
    }

    [KernelFact]
    public async Task Curl_puts_a_document_to_us()
    {
        await using Lab lab = await Lab.OpenAsync();
        using TcpListener listener = lab.Stack.Listen(new IPEndPoint(Lab.OurAddress, 8080));
        byte[] body = new byte[s_document.Length];
        Task served = ServeAsync(listener, async (head, stream) =>
        {
            Assert.Contains($"Content-Length: {body.Length}\r\n", head, StringComparison.Ordinal);
            if (head.Contains("Expect: 100-continue", StringComparison.OrdinalIgnoreCase))
                await stream.WriteAsync("HTTP/1.1 100 Continue\r\n\r\n"u8.ToArray());
            await stream.ReadExactlyAsync(body);
            await stream.WriteAsync("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"u8.ToArray());
        });
        (await lab.RunAsync(new MemoryStream(s_document), "curl", "-sS", "--max-time", "60", "--data-binary", "@-",
            "http://10.77.0.2:8080/upload")).Succeeded("curl");
        await served;
        Assert.Equal(s_document, body);
    }

    [KernelTheory]
    [InlineData(Link.Plain, false)]
    [InlineData(Link.Offload, true)]
    public async Task Nc_talks_to_our_echo(Link link, bool v6)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        IPAddress address = v6 ? Lab.OurAddress6 : Lab.OurAddress;
        using TcpListener listener = lab.Stack.Listen(new IPEndPoint(address, 7));
        Task served = EchoAsync(listener);
        Outcome nc = (await lab.RunAsync(new MemoryStream(s_document), "nc", "-N", address.ToString(), "7")).Succeeded("nc");
        await served;
        Assert.Equal(s_document, Encoding.Latin1.GetBytes(nc.Output));
    }

    [KernelTheory]
    [InlineData(Link.Plain, false)]
    [InlineData(Link.Offload, true)]
    public async Task We_talk_to_a_listening_nc(Link link, bool v6)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        IPAddress address = v6 ? Lab.KernelAddress6 : Lab.KernelAddress;
        Task<Outcome> nc = lab.RunAsync(new MemoryStream(s_document), "nc", "-N", "-l", address.ToString(), "7000");
        using TcpConnection client = await ConnectWhenReadyAsync(lab, new IPEndPoint(address, 7000));
        Stream stream = client.GetStream();
        byte[] got = new byte[s_document.Length];
        Task received = stream.ReadExactlyAsync(got).AsTask();
        await stream.WriteAsync(s_document);
        await received;
        // Not before: a listening nc goes when it has heard all, whatever it has left to say.
        client.Shutdown(SocketShutdown.Send);
        Assert.Equal(s_document, got);
        Assert.Equal(s_document, Encoding.Latin1.GetBytes((await nc).Succeeded("nc").Output));
    }

    [KernelFact]
    public async Task We_get_a_document_from_the_kernels_web_server()
    {
        await using Lab lab = await Lab.OpenAsync();
        string answer = $"HTTP/1.0 200 OK\r\nContent-Length: {s_document.Length}\r\n\r\n";
        using Socket listener = lab.KernelListener(Lab.KernelAddress);
        Task served = Task.Run(async () =>
        {
            using Socket accepted = await listener.AcceptAsync();
            await using var stream = new NetworkStream(accepted);
            string head = await ReadHeadAsync(stream);
            Assert.StartsWith("GET /document HTTP/1.0", head, StringComparison.Ordinal);
            await stream.WriteAsync(Encoding.ASCII.GetBytes(answer));
            await stream.WriteAsync(s_document);
        });
        using TcpConnection client = await lab.Stack.ConnectAsync((IPEndPoint)listener.LocalEndPoint!);
        await using Stream connection = client.GetStream();
        await connection.WriteAsync("GET /document HTTP/1.0\r\n\r\n"u8.ToArray());
        var all = new MemoryStream();
        await connection.CopyToAsync(all);
        await served;
        Assert.Equal([.. Encoding.ASCII.GetBytes(answer), .. s_document], all.ToArray());
    }

    [KernelFact]
    public async Task Nothing_is_left_behind()
    {
        Lab lab = await Lab.OpenAsync();
        Assert.Contains(Lab.Device, (await lab.RunAsync("ip", "-br", "link")).Output, StringComparison.Ordinal);
        lab.Stack.Dispose();
        Assert.DoesNotContain(Lab.Device, (await lab.RunAsync("ip", "-br", "link")).Output, StringComparison.Ordinal);
        await lab.DisposeAsync();
        Assert.DoesNotContain(lab.Space, (await Shell.RunAsync("ip", "netns")).Output, StringComparison.Ordinal);
    }

    // Nobody tells when a program listens.
    private static async Task<TcpConnection> ConnectWhenReadyAsync(Lab lab, IPEndPoint to)
    {
        TcpConnection? connection = null;
        await lab.UntilAsync(async () =>
        {
            try
            {
                connection = await lab.Stack.ConnectAsync(to);
                return true;
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
            {
                return false;
            }
        });
        return connection!;
    }

    private static async Task ServeAsync(TcpListener listener, Func<string, Stream, Task> answer)
    {
        using TcpConnection connection = await listener.AcceptAsync();
        await using Stream stream = connection.GetStream();
        await answer(await ReadHeadAsync(stream), stream);
        connection.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await stream.ReadAsync(new byte[1]));
    }

    private static async Task EchoAsync(TcpListener listener)
    {
        using TcpConnection connection = await listener.AcceptAsync();
        byte[] buffer = new byte[65536];
        while (await connection.ReceiveAsync(buffer) is var read and > 0)
            await connection.SendAsync(buffer.AsMemory(0, read));
    }

    private static async Task<string> ReadHeadAsync(Stream stream)
    {
        var head = new StringBuilder();
        byte[] one = new byte[1];
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal) && await stream.ReadAsync(one) > 0)
            head.Append((char)one[0]);
        return head.ToString();
    }
}
