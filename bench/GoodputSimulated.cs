using System;
using System.Collections.Generic;
using System.Net;
using System.Net.Sockets;

namespace Millrace.Bench;

/// <summary>A bulk transfer between two of our stacks in virtual time.</summary>
internal static class GoodputSimulated
{
    private static readonly IPEndPoint s_server = new(IPAddress.Parse("10.77.0.2"), 7000);

    /// <summary>Returns bits per second that the receiving program got, from the moment the connection stood.</summary>
    public static GoodputFigure Transfer(GoodputPath path, ulong seed)
    {
        using var simulation = new Simulation(seed);
        NetStack client = simulation.CreateStack("client"), server = simulation.CreateStack("server");
        NetStack.Wire(client, "eth0", server, "eth0", new WireOptions { Offload = false });
        client.AddAddress("eth0", IPAddress.Parse("10.77.0.1"), 24);
        server.AddAddress("eth0", s_server.Address, 24);
        client.Impair("eth0", path.Impairment(seed * 2));
        server.Impair("eth0", path.Impairment((seed * 2) + 1));
        TcpConnection? connection = null;
        long received = 0;
        simulation.Spawn("receiver", () =>
        {
            using TcpListener listener = server.Listen(s_server);
            using TcpConnection peer = listener.Accept();
            byte[] buffer = new byte[GoodputFigure.ChunkBytes];
            while (peer.Receive(buffer) is > 0 and int got)
                received += got;
        });
        simulation.Spawn("sender", () =>
        {
            connection = Connect(client);
            byte[] data = new byte[GoodputFigure.ChunkBytes];
            while (true)
                connection.Send(data);
        });
        simulation.Run(until: () => connection is not null);
        simulation.Run(TimeSpan.FromSeconds(path.Seconds));
        double bits = received * 8.0 / path.Seconds;
        TcpInfo? info = null;
        simulation.Spawn("reader", () => info = connection!.GetInfo());
        simulation.Run(until: () => info is not null);
        return new GoodputFigure(bits, info!.Value.Rtt, info.Value.MinRtt, Counters(client.Counters));
    }

    // A SYN may be lost as often as the stack is willing to send it.
    private static TcpConnection Connect(NetStack stack)
    {
        while (true)
        {
            try
            {
                return stack.Connect(s_server);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.TimedOut)
            {
            }
        }
    }

    private static Dictionary<string, long> Counters(NetCounters all)
    {
        var some = new Dictionary<string, long>();
        foreach (string name in GoodputFigure.Telling)
            some[name] = all[name];
        return some;
    }
}
