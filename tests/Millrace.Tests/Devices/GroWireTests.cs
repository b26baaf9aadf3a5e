using System;
using System.Linq;
using System.Net;

namespace Millrace.Tests.Devices;

/// <summary>Whole stacks over a wire that cuts every packet to the MTU, and merges at the far end or does not.</summary>
public sealed class GroWireTests
{
    private const int Bytes = 1_000_000;

    private static readonly IPEndPoint ServerEnd = new(IPAddress.Parse("10.0.0.2"), 7);

    // The counters of the two ends after a transfer that arrived whole.
    private static (NetCounters Sender, NetCounters Receiver) Transfer(bool gro, double loss, bool turnedOff = false)
    {
        using var simulation = new Simulation(11);
        NetStack sender = simulation.CreateStack("sender"), receiver = simulation.CreateStack("receiver");
        NetStack.Wire(sender, "eth0", receiver, "eth0", new WireOptions { Offload = false, Gro = gro });
        if (turnedOff)
            receiver.SetGro("eth0", false);
        sender.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        receiver.AddAddress("eth0", ServerEnd.Address, 24);
        sender.Impair("eth0", new ImpairmentOptions { Delay = TimeSpan.FromMilliseconds(5), Loss = loss, Seed = 3 });
        byte[] sent = [.. Enumerable.Range(0, Bytes).Select(static i => (byte)(i * 31 >> 3))], got = new byte[Bytes];
        simulation.Spawn("sink", () =>
        {
            using TcpListener listener = receiver.Listen(ServerEnd);
            using TcpConnection connection = listener.Accept();
            connection.GetStream().ReadExactly(got);
        });
        simulation.Spawn("source", () =>
        {
            using TcpConnection connection = sender.Connect(ServerEnd);
            connection.GetStream().Write(sent);
        });
        simulation.Run();
        Assert.Equal(sent, got);
        return (sender.Counters, receiver.Counters);
    }

    [Fact]
    public void Merged_segments_are_acknowledged_together_and_counted_one_by_one()
    {
        (NetCounters plainSender, NetCounters plain) = Transfer(gro: false, loss: 0);
        (NetCounters mergingSender, NetCounters merging) = Transfer(gro: true, loss: 0);
        Assert.Equal(0, plain["MillraceGroMerged"]);
        Assert.InRange(merging["MillraceGroMerged"], Bytes / 1460 / 2, Bytes / 1460);
        Assert.InRange(mergingSender["TcpInSegs"], 1, plainSender["TcpInSegs"] / 3);
        Assert.Equal(0, mergingSender["TcpRetransSegs"]);
    }

    [Fact]
    public void Loss_is_seen_through_merging_and_repaired() => Transfer(gro: true, loss: 0.02);

    [Fact]
    public void It_can_be_turned_off() => Assert.Equal(0, Transfer(gro: true, loss: 0, turnedOff: true).Receiver["MillraceGroMerged"]);

    [Fact]
    public void Only_a_device_that_is_there_can_be_set()
    {
        using var stack = new NetStack();
        Assert.Throws<ArgumentException>(() => stack.SetGro("eth9", true));
    }
}
