using System;
using System.Buffers.Binary;
using System.IO;
using System.Net;
using Millrace.Tests.Scripted;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests.Devices;

/// <summary>Frames that are for the stack, frames that are not, and two stacks on an Ethernet in memory.</summary>
public sealed class EthernetTests
{
    private static readonly Segment s_syn = new()
    {
        From = new IPEndPoint(EthernetLink.PeerAddress, 4000),
        To = new IPEndPoint(EthernetLink.StackAddress, 80),
        Seq = 1,
        Flags = TcpFlags.Syn,
    };

    private static void Run(Action<EthernetLink> story)
    {
        using var host = new ScriptedHost();
        host.Run(() =>
        {
            EthernetLink link = host.AddEthernet();
            link.Send(EthernetLink.WhoHas(EthernetLink.StackAddress));
            link.TakeAll();
            story(link);
        });
    }

    private static void IsAnswered(EthernetLink link) => Assert.Equal("peer: ip 10.10.0.1 > 10.10.0.2 proto 6", link.Take());

    private static void IsDropped(EthernetLink link, DropReason reason)
    {
        Assert.Equal("nothing", link.Take());
        Assert.Equal(1, link.Host.Stack.Counters.Drops[reason.KernelName()]);
    }

    [Fact]
    public void A_frame_to_the_stack_is_taken() => Run(link =>
    {
        link.Send(s_syn);
        IsAnswered(link);
    });

    [Fact]
    public void A_frame_to_another_station_is_dropped() => Run(link =>
    {
        link.Send(s_syn, to: EthernetLink.OtherMac);
        IsDropped(link, DropReason.OtherHost);
    });

    [Theory]
    [InlineData(0xffff_ffff_ffff)]
    [InlineData(0x0100_5e00_0001)]
    public void A_packet_to_the_stack_in_a_frame_to_many_is_dropped(ulong to) => Run(link =>
    {
        link.Send(s_syn, to: new MacAddr(to));
        IsDropped(link, DropReason.UnicastInL2Multicast);
    });

    [Fact]
    public void An_IPv6_packet_to_the_stack_in_a_frame_to_many_is_dropped() => Run(link =>
    {
        link.Send(EthernetLink.Discovery(Icmp6Type.NeighborSolicitation, 0, EthernetLink.StackAddress6, EthernetLink.PeerAddress6,
            EthernetLink.StackAddress6, MacAddr.Broadcast, EthernetLink.PeerMac));
        IsDropped(link, DropReason.UnicastInL2Multicast);
    });

    [Theory]
    [InlineData(0x8100)]
    [InlineData(0x88a8)]
    public void A_frame_of_a_VLAN_is_dropped(int tag) => Run(link =>
    {
        link.Send(Tagged(tag, 7));
        IsDropped(link, DropReason.OtherHost);
    });

    [Fact]
    public void A_tag_with_a_priority_alone_is_skipped() => Run(link =>
    {
        link.Send(Tagged(0x8100, 0xe000));
        IsAnswered(link);
    });

    [Fact]
    public void A_frame_that_ends_in_its_header_is_dropped() => Run(link =>
    {
        link.Send(new byte[13]);
        link.Send(Tagged(0x8100, 0)[..17]);
        Assert.Equal(2, link.Host.Stack.Counters.Drops[DropReason.DevHdr.KernelName()]);
    });

    [Theory]
    [InlineData(0x88cc)]
    [InlineData(100)]
    public void A_frame_of_an_unknown_protocol_is_dropped(ushort type) => Run(link =>
    {
        link.Send(EthernetLink.Frame(EthernetLink.StackMac, EthernetLink.PeerMac, type, new byte[100]));
        IsDropped(link, DropReason.UnhandledProto);
    });

    [Fact]
    public void Padding_behind_a_short_packet_is_cut_off() => Run(link =>
    {
        byte[] packet = (s_syn with { Options = [] }).ToBytes();
        link.Send(EthernetLink.Frame(EthernetLink.StackMac, EthernetLink.PeerMac, 0x0800, [.. packet, 1, 2, 3, 4, 5, 6]));
        IsAnswered(link);
    });

    private static byte[] Tagged(int tag, int control) => EthernetLink.Frame(EthernetLink.StackMac, EthernetLink.PeerMac, (ushort)tag,
        [(byte)(control >> 8), (byte)control, 8, 0, .. s_syn.ToBytes()]);

    [Theory]
    [InlineData(false, true)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    [InlineData(true, false)]
    public void Two_stacks_on_an_Ethernet_find_each_other_and_every_byte_arrives(bool v6, bool offload)
    {
        using var simulation = new Simulation(seed: 7);
        NetStack a = simulation.CreateStack("a"), b = simulation.CreateStack("b");
        NetStack.Wire(a, "eth0", b, "eth0", new WireOptions { Ethernet = true, Offload = offload, Gro = !offload });
        IPAddress addressA = IPAddress.Parse(v6 ? "fd00::1" : "10.0.0.1"), addressB = IPAddress.Parse(v6 ? "fd00::2" : "10.0.0.2");
        a.AddAddress("eth0", addressA, v6 ? 64 : 24);
        b.AddAddress("eth0", addressB, v6 ? 64 : 24);
        Assert.NotEqual(a.HardwareAddressOf("eth0"), b.HardwareAddressOf("eth0"));
        byte[] data = new byte[1_000_000], got = new byte[data.Length];
        new Random(1).NextBytes(data);
        simulation.Spawn("server", async () =>
        {
            await using TcpListener listener = b.Listen(new IPEndPoint(addressB, 80));
            await using TcpConnection connection = await listener.AcceptAsync();
            for (int n = 0; n < got.Length;)
                n += await connection.ReceiveAsync(got.AsMemory(n));
        });
        simulation.Spawn("client", async () =>
        {
            await using TcpConnection connection = await a.ConnectAsync(new IPEndPoint(addressB, 80));
            await connection.SendAsync(data);
        });
        simulation.Run();
        Assert.Equal(data, got);
        NeighbourEntry seen = Assert.Single(a.ListNeighbours());
        Assert.Equal((addressB, b.HardwareAddressOf("eth0")), (seen.Address, seen.HardwareAddress));
        Assert.Equal(offload, a.Cpus.Read(Mib.MillraceGsoSegments) == 0);
        Assert.Equal(offload, b.Cpus.Read(Mib.MillraceGroMerged) == 0);
    }

    [Fact]
    public void A_capture_of_an_Ethernet_holds_frames()
    {
        using var simulation = new Simulation(seed: 7);
        NetStack a = simulation.CreateStack("a"), b = simulation.CreateStack("b");
        NetStack.Wire(a, "eth0", b, "eth0", new WireOptions { Ethernet = true });
        a.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        b.AddAddress("eth0", IPAddress.Parse("10.0.0.2"), 24);
        var stream = new MemoryStream();
        IDisposable capture = a.Capture("eth0", stream);
        simulation.Spawn("client", () =>
            Assert.Throws<System.Net.Sockets.SocketException>(() => a.Connect(new IPEndPoint(IPAddress.Parse("10.0.0.2"), 80), cancel: TestContext.Current.CancellationToken)));
        simulation.Run();
        capture.Dispose();
        byte[] file = stream.ToArray();
        // Behind the section's header: the interface's description, whose link type is Ethernet's; then the first packet, a question to all.
        int at = (int)BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(4));
        Assert.Equal(1, BinaryPrimitives.ReadUInt16LittleEndian(file.AsSpan(at + 8)));
        at += (int)BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 4));
        Assert.Equal([0xff, 0xff, 0xff, 0xff, 0xff, 0xff], file.AsSpan(at + 28, 6).ToArray());
        Assert.Equal([0x08, 0x06], file.AsSpan(at + 28 + 12, 2).ToArray());
    }
}
