using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using Millrace.Linux;
using OsSocket = System.Net.Sockets.Socket;

namespace Millrace.Bench;

/// <summary>The same transfer between two namespaces of the kernel, over two TUN devices and our wire, in real time.</summary>
internal static class GoodputKernel
{
    private const int TcpLevel = 6, Info = 11, Congestion = 13;

    private static readonly IPEndPoint s_server = new(IPAddress.Parse("10.77.0.2"), 7000);

    public static GoodputFigure Transfer(GoodputPath path, ulong seed)
    {
        using var client = new NetSpace($"goodput-{Environment.ProcessId}-{seed}-a");
        using var server = new NetSpace($"goodput-{Environment.ProcessId}-{seed}-b");
        using TunDevice clientTun = AddTun(client, "10.77.0.1"), serverTun = AddTun(server, "10.77.0.2");
        using var there = new GoodputWire(clientTun, serverTun, path.Impairment(seed * 2));
        using var back = new GoodputWire(serverTun, clientTun, path.Impairment((seed * 2) + 1));
        long received = 0;
        using var listening = new ManualResetEventSlim();
        using var connected = new ManualResetEventSlim();
        OsSocket? outward = null, listener = null, inward = null;
        Thread receiver = server.Start(() => UntilClosed(() =>
        {
            listener = NewSocket();
            listener.Bind(s_server);
            listener.Listen();
            listening.Set();
            inward = listener.Accept();
            byte[] buffer = new byte[GoodputFigure.ChunkBytes];
            while (inward.Receive(buffer) is > 0 and int got)
                Interlocked.Add(ref received, got);
        }));
        listening.Wait();
        Thread sender = client.Start(() => UntilClosed(() =>
        {
            outward = Connect();
            connected.Set();
            byte[] data = new byte[GoodputFigure.ChunkBytes];
            while (true)
                outward.Send(data);
        }));
        connected.Wait();
        long start = Stopwatch.GetTimestamp();
        Thread.Sleep(TimeSpan.FromSeconds(path.Seconds));
        double bits = Interlocked.Read(ref received) * 8.0 / Stopwatch.GetElapsedTime(start).TotalSeconds;
        Dictionary<string, long> counters = client.Counters();
        TcpInfo info = ReadInfo(outward!);
        var figure = new GoodputFigure(bits, info.Rtt, info.MinRtt, GoodputFigure.Telling.ToDictionary(name => name, name => counters.GetValueOrDefault(name)));
        outward!.Close(0);
        inward?.Close(0);
        listener!.Dispose();
        sender.Join();
        receiver.Join();
        return figure;
    }

    private static TunDevice AddTun(NetSpace space, string address)
    {
        space.SetSysctl("net.ipv4.tcp_rmem", "4096 131072 33554432");
        space.SetSysctl("net.ipv4.tcp_wmem", "4096 16384 4194304");
        TunDevice device = TunDevice.Create("goodput0", new TunOptions { Offload = false, NetworkNamespace = space.Name });
        device.AddAddress(IPAddress.Parse(address), 24);
        device.BringUp();
        return device;
    }

    private static TcpInfo ReadInfo(OsSocket socket)
    {
        Span<byte> bytes = stackalloc byte[TcpInfo.Length];
        return TcpInfo.Read(bytes[..socket.GetRawSocketOption(TcpLevel, Info, bytes)]);
    }

    private static OsSocket NewSocket()
    {
        var socket = new OsSocket(AddressFamily.InterNetwork, SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp);
        socket.SetRawSocketOption(TcpLevel, Congestion, "cubic"u8);
        return socket;
    }

    private static OsSocket Connect()
    {
        while (true)
        {
            OsSocket socket = NewSocket();
            try
            {
                socket.Connect(s_server);
                return socket;
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.TimedOut)
            {
                socket.Dispose();
            }
        }
    }

    // A socket that is closed elsewhere ends the call that waits on it.
    private static void UntilClosed(Action body)
    {
        NetSpace.GoFirst();
        try
        {
            body();
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
        }
    }
}
