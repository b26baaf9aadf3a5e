using System;
using System.Buffers;
using System.Net;
using System.Runtime.CompilerServices;
using System.Threading.Tasks;
using Millrace.Linux;

namespace Millrace.Bench;

/// <summary>
/// `serve`: the stack under test behind a TUN device: discard on port 7001, character generator on 7002, echo on 7003, by asynchronous calls
/// whose continuations run on the device's thread.
/// </summary>
internal static class TunServer
{
    private const int BufferBytes = 128 * 1024;

    /// <summary>As long as a measurement never pauses; a server that nobody measures goes to sleep.</summary>
    private static readonly TimeSpan s_spin = TimeSpan.FromMilliseconds(20);

    /// <summary>Serves until standard input ends, and answers each line of it with the meters' readings.</summary>
    /// <param name="space">The network namespace of the kernel's side.</param>
    /// <param name="offload">Whether super-packets cross the device.</param>
    /// <param name="spin">Whether the device's thread looks for packets instead of sleeping.</param>
    public static void Serve(string space, bool offload, int mtu, bool spin)
    {
        using var stack = new NetStack(new NetStackOptions { InlineCompletions = true });
        TunDevice tun = stack.AddTun(Server.Device, Server.Address + "/16", new TunOptions
        {
            NetworkNamespace = space,
            Offload = offload,
            Mtu = mtu,
            BusyPoll = spin ? s_spin : TimeSpan.Zero,
        });
        foreach (string source in Server.Sources)
            tun.AddAddress(IPAddress.Parse(source), 32);
        _ = AcceptAsync(stack, 7001, DiscardAsync);
        _ = AcceptAsync(stack, 7002, GenerateAsync);
        _ = AcceptAsync(stack, 7003, EchoAsync);
        Console.WriteLine("ready");
        var meter = new SelfMeter(stack);
        while (Console.ReadLine() is not null)
            Console.WriteLine(meter.Read().ToJson());
    }

    private static async Task AcceptAsync(NetStack stack, int port, Func<TcpConnection, ValueTask> serve)
    {
        using TcpListener listener = stack.Listen(new IPEndPoint(IPAddress.Parse(Server.Address), port));
        while (true)
            _ = ServeAsync(await listener.AcceptAsync().ConfigureAwait(false), serve);
    }

    private static async Task ServeAsync(TcpConnection connection, Func<TcpConnection, ValueTask> serve)
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

    private static async ValueTask DiscardAsync(TcpConnection connection)
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(BufferBytes, pinned: true);
        while (await connection.ReceiveAsync(buffer).ConfigureAwait(false) > 0)
        {
        }
    }

    private static async ValueTask GenerateAsync(TcpConnection connection)
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(BufferBytes, pinned: true);
        while (true)
            await connection.SendAsync(buffer).ConfigureAwait(false);
    }

    // What a connection costs is to be the stack's, so the server's own part is used again.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask EchoAsync(TcpConnection connection)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes / 32);
        try
        {
            while (await connection.ReceiveAsync(buffer).ConfigureAwait(false) is var read and > 0)
                await connection.SendAsync(buffer.AsMemory(0, read)).ConfigureAwait(false);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
