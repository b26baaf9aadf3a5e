#if DEBUG
using System;
using System.Net;
using Millrace.Tracing;

namespace Millrace.Tests.Cost;

/// <summary>Atomic operations on a segment's way. Only a debug build counts them.</summary>
public sealed class AtomicTests(ITestOutputHelper output)
{
    private const int Rounds = 1000;

    private static readonly IPEndPoint Service = new(IPAddress.Parse("10.0.0.2"), 80);

    private static void Run(WireOptions wire, Action<NetStack, NetStack, TcpConnection, TcpConnection> story)
    {
        using var client = new NetStack();
        using var server = new NetStack();
        NetStack.Wire(client, "eth0", server, "eth0", wire);
        client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        server.AddAddress("eth0", Service.Address, 24);
        using TcpListener listener = server.Listen(Service);
        using TcpConnection near = client.Connect(Service, new TcpConnectOptions { NoDelay = true });
        using TcpConnection far = listener.Accept();
        far.NoDelay = true;
        story(client, server, near, far);
    }

    private static double PerRound(Action round)
    {
        for (int i = 0; i < 100; i++)
            round();
        long before = Atomic.Count;
        for (int i = 0; i < Rounds; i++)
            round();
        return (double)(Atomic.Count - before) / Rounds;
    }

    /// <summary>
    /// A segment alone, from the sender's queue to the receiver's, on one thread: the calls that send and receive it are measured apart,
    /// where they move a byte and no segment. A ratchet; docs/performance.md names each.
    /// </summary>
    [Fact]
    public void A_lone_segment_costs_at_most_thirteen()
    {
        double lone = 0;
        Run(new WireOptions(), (_, _, near, far) =>
        {
            var byteBuffer = new byte[1];
            double roundTrip = PerRound(() =>
            {
                near.Send(byteBuffer);
                far.Receive(byteBuffer);
                far.Send(byteBuffer);
                near.Receive(byteBuffer);
            });
            double send = PerRound(() => near.Send(byteBuffer, MessageFlags.More));
            near.Send(byteBuffer);
            // It leaves bytes behind, and looks for another reader: one fence that a receive of everything does not have.
            double receive = PerRound(() => far.Receive(byteBuffer)) - 1;
            lone = (roundTrip / 2) - send - receive;
            output.WriteLine($"a round trip {roundTrip}, a send that waits {send}, a receive of what is there {receive}, a segment {lone}");
        });
        // A timer of the stack may fall into one of the rounds.
        Assert.InRange(lone, 1, 13.2);
    }

    /// <summary>Segments of a stream, with the calls that send and receive them, their acknowledgements and all.</summary>
    [Fact]
    public void A_segment_of_a_stream_costs_at_most_eight()
    {
        double perSegment = 0;
        Run(new WireOptions { Offload = false }, (client, server, near, far) =>
        {
            var data = new byte[64 * 1024];
            long segments = -Segments(client, server);
            double round = PerRound(() =>
            {
                near.Send(data);
                for (int got = 0; got < data.Length;)
                    got += far.Receive(data);
            });
            segments += Segments(client, server);
            perSegment = round * (Rounds + 100) / segments;
            output.WriteLine($"{round} for 64 KiB, {perSegment} for a segment");
        });
        Assert.InRange(perSegment, 0.5, 8);
    }

    private static long Segments(NetStack client, NetStack server) => client.Cpus.Read(Mib.TcpInSegs) + server.Cpus.Read(Mib.TcpInSegs);
}
#endif
