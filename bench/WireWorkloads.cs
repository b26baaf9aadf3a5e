using System;
using System.Diagnostics;
using System.Net;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Bench;

/// <summary>Two stacks on an in-memory wire, both in this process.</summary>
internal static class WireWorkloads
{
    private const int ChunkBytes = 128 * 1024;

    private static readonly IPEndPoint s_server = new(IPAddress.Parse("10.0.0.2"), 7000);

    /// <summary>
    /// Runs one workload for as long as it is told, after a warm-up. Returns megabytes or round trips a second of the clock, and of the
    /// processor's time.
    /// </summary>
    public static string Run(string workload, double seconds)
    {
        Sample figure = workload switch
        {
            "bulk-checksums" => Bulk(offload: false, seconds),
            "bulk-super" => Bulk(offload: true, seconds),
            "ping-pong-async" => PingPongAsync(seconds),
            "ping-pong-blocking" => PingPongBlocking(seconds),
            _ => throw new ArgumentException($"unknown workload {workload}"),
        };
        return figure.ToString();
    }

    // One thread takes turns at both ends: it sends until there is no room, and receives until there is nothing.
    private static Sample Bulk(bool offload, double seconds)
    {
        using var pair = new Pair(new WireOptions { Offload = offload }, inline: false);
        byte[] data = new byte[ChunkBytes], buffer = new byte[ChunkBytes];
        using Process sender = pair.Client.CreateProcess(), receiver = pair.Server.CreateProcess();
        int listening = receiver.Socket(2, 1, 0).Value;
        receiver.Bind(listening, s_server);
        receiver.Listen(listening, 1);
        int to = sender.Socket(2, 1, 0).Value;
        sender.Connect(to, s_server);
        int from = receiver.Accept(listening).Value;
        long received = 0;
        return Measure(seconds, 8, () =>
        {
            while (!sender.Send(to, data, MessageFlags.DontWait).IsError)
            {
            }
            while (receiver.Recv(from, buffer, MessageFlags.DontWait) is { IsError: false } got)
                received += got.Value;
        }, () => received / 1e6);
    }

    private static Sample PingPongAsync(double seconds)
    {
        using var pair = new Pair(new WireOptions { Offload = true }, inline: true);
        (TcpConnection client, TcpConnection server) = pair.Connect();
        long trips = 0;
        bool stop = false;
        Task echo = EchoAsync(server);
        Task ping = PingAsync();
        Sample rate = Watch(seconds, () => (double)Volatile.Read(ref trips));
        Volatile.Write(ref stop, true);
        ping.Wait();
        client.Dispose();
        echo.Wait();
        return rate;

        async Task PingAsync()
        {
            byte[] one = new byte[1];
            await Task.Yield();
            while (!Volatile.Read(ref stop))
            {
                await client.SendAsync(one).ConfigureAwait(false);
                await client.ReceiveAsync(one).ConfigureAwait(false);
                trips++;
            }
        }
    }

    private static Sample PingPongBlocking(double seconds)
    {
        using var pair = new Pair(new WireOptions { Offload = true }, inline: false);
        (TcpConnection client, TcpConnection server) = pair.Connect();
        var echo = new Thread(() =>
        {
            byte[] one = new byte[1];
            while (server.Receive(one) > 0)
                server.Send(one);
        });
        echo.Start();
        byte[] one = new byte[1];
        long trips = 0;
        Sample rate = Measure(seconds, 64, () =>
        {
            client.Send(one);
            client.Receive(one);
            trips++;
        }, () => trips);
        client.Dispose();
        echo.Join();
        return rate;
    }

    private static async Task EchoAsync(TcpConnection connection)
    {
        byte[] one = new byte[1];
        while (await connection.ReceiveAsync(one).ConfigureAwait(false) > 0)
            await connection.SendAsync(one).ConfigureAwait(false);
    }

    // Looks at the clock after every few steps.
    private static Sample Measure(double seconds, int steps, Action step, Func<double> count)
    {
        RunFor(WarmUp, steps, step);
        return Sample.Of(count, () => RunFor(seconds, steps, step));
    }

    private static Sample Watch(double seconds, Func<double> count)
    {
        Thread.Sleep(TimeSpan.FromSeconds(WarmUp));
        return Sample.Of(count, () => Thread.Sleep(TimeSpan.FromSeconds(seconds)));
    }

    // Long enough for the hot methods to be compiled twice.
    private const double WarmUp = 1.5;

    private static void RunFor(double seconds, int steps, Action step)
    {
        long end = Stopwatch.GetTimestamp() + (long)(seconds * Stopwatch.Frequency);
        do
        {
            for (int i = 0; i < steps; i++)
                step();
        }
        while (Stopwatch.GetTimestamp() < end);
    }

    private sealed class Pair : IDisposable
    {
        public Pair(WireOptions options, bool inline)
        {
            Client = new NetStack(new NetStackOptions { InlineCompletions = inline });
            Server = new NetStack(new NetStackOptions { InlineCompletions = inline });
            NetStack.Wire(Client, "eth0", Server, "eth0", options);
            Client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
            Server.AddAddress("eth0", s_server.Address, 24);
        }

        public NetStack Client { get; }

        public NetStack Server { get; }

        public (TcpConnection Client, TcpConnection Server) Connect()
        {
            using TcpListener listener = Server.Listen(s_server);
            TcpConnection client = Client.Connect(s_server);
            TcpConnection server = listener.Accept();
            client.NoDelay = server.NoDelay = true;
            return (client, server);
        }

        public void Dispose()
        {
            Client.Dispose();
            Server.Dispose();
        }
    }
}
