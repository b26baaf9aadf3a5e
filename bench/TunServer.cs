using System;
using System.Net;
using System.Threading.Tasks;
using Millrace.Linux;

namespace Millrace.Bench;

/// <summary>
/// The stack under test behind a TUN device: discard on port 7001, character generator on 7002, echo on 7003, by asynchronous calls whose
/// continuations run on the device's thread.
/// </summary>
internal static class TunServer
{
    public const string Address = "10.9.0.2";
    private const int BufferBytes = 128 * 1024;

    /// <summary>Serves until standard input ends.</summary>
    /// <param name="space">The network namespace of the kernel's side.</param>
    /// <param name="kind">"plain", "vnet" or "jumbo".</param>
    public static void Serve(string space, string kind)
    {
        using var stack = new NetStack(new NetStackOptions { InlineCompletions = true });
        TunDevice tun = stack.AddTun("tun9", Address + "/16", new TunOptions
        {
            NetworkNamespace = space,
            Offload = kind == "vnet",
            Mtu = kind == "jumbo" ? 65535 : 1500,
        });
        // Sources for many short connections, so that ports in TIME_WAIT do not run out.
        for (int i = 1; i <= 32; i++)
            tun.AddAddress(IPAddress.Parse($"10.9.1.{i}"), 32);
        _ = AcceptAsync(stack, 7001, DiscardAsync);
        _ = AcceptAsync(stack, 7002, GenerateAsync);
        _ = AcceptAsync(stack, 7003, EchoAsync);
        Console.WriteLine("ready");
        while (Console.In.Read() >= 0)
        {
        }
    }

    private static async Task AcceptAsync(NetStack stack, int port, Func<TcpConnection, Task> serve)
    {
        using TcpListener listener = stack.Listen(new IPEndPoint(IPAddress.Parse(Address), port));
        while (true)
            _ = ServeAsync(await listener.AcceptAsync().ConfigureAwait(false), serve);
    }

    private static async Task ServeAsync(TcpConnection connection, Func<TcpConnection, Task> serve)
    {
        try
        {
            connection.NoDelay = true;
            await serve(connection).ConfigureAwait(false);
        }
        catch (System.Net.Sockets.SocketException)
        {
            // The load generator goes without a good-bye.
        }
        connection.Dispose();
    }

    private static async Task DiscardAsync(TcpConnection connection)
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(BufferBytes, pinned: true);
        while (await connection.ReceiveAsync(buffer).ConfigureAwait(false) > 0)
        {
        }
    }

    private static async Task GenerateAsync(TcpConnection connection)
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(BufferBytes, pinned: true);
        while (true)
            await connection.SendAsync(buffer).ConfigureAwait(false);
    }

    private static async Task EchoAsync(TcpConnection connection)
    {
        byte[] buffer = new byte[4096];
        while (await connection.ReceiveAsync(buffer).ConfigureAwait(false) is var read and > 0)
            await connection.SendAsync(buffer.AsMemory(0, read)).ConfigureAwait(false);
    }
}
