using System;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Linq;
using System.Net;
using System.Threading.Tasks;
using Millrace.Tests.Support;

namespace Millrace.Tests.Devices;

/// <summary>Devices with several queues, on real threads.</summary>
public sealed class QueueTests
{
    private const int Flows = 24, BytesEach = 100_000;

    private static readonly IPEndPoint ServerEnd = new(IPAddress.Parse("10.0.0.2"), 7);

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(4, false)]
    [InlineData(4, true)]
    public async Task Every_flow_is_whole_and_leaves_by_one_queue(int queues, bool offload)
    {
        PipeDriver left = new(offload, queues), right = new(offload, queues) { Peer = left };
        left.Peer = right;
        var queueOf = new ConcurrentDictionary<(int From, int To), ConcurrentDictionary<int, bool>>();
        left.Sent = right.Sent = (queue, packet) => queueOf.GetOrAdd(Ports(packet), static _ => new()).TryAdd(queue, true);
        using NetStack client = new(), server = new();
        client.AddDevice(left);
        server.AddDevice(right);
        client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        server.AddAddress("eth0", ServerEnd.Address, 24);
        using TcpListener listener = server.Listen(ServerEnd);
        Task[] echoes = [.. Enumerable.Range(0, Flows).Select(_ => Echo(listener))];
        await Task.WhenAll(Enumerable.Range(0, Flows).Select(i => Ask(client, i)));
        await Task.WhenAll(echoes);
        Assert.Equal(2 * Flows, queueOf.Count);
        Assert.All(queueOf.Values, static used => Assert.Single(used));
        Assert.InRange(queueOf.Values.SelectMany(static used => used.Keys).Distinct().Count(), queues > 1 ? 2 : 1, queues);
    }

    private static (int From, int To) Ports(byte[] packet) =>
        (BinaryPrimitives.ReadUInt16BigEndian(packet.AsSpan(20)), BinaryPrimitives.ReadUInt16BigEndian(packet.AsSpan(22)));

    private static async Task Echo(TcpListener listener)
    {
        using TcpConnection connection = await listener.AcceptAsync();
        await connection.GetStream().CopyToAsync(connection.GetStream());
    }

    private static async Task Ask(NetStack client, int flow)
    {
        byte[] question = new byte[BytesEach], answer = new byte[BytesEach];
        new Random(flow).NextBytes(question);
        using TcpConnection connection = await client.ConnectAsync(ServerEnd);
        Task reading = connection.GetStream().ReadExactlyAsync(answer).AsTask();
        await connection.GetStream().WriteAsync(question);
        await reading;
        Assert.Equal(question, answer);
    }
}
