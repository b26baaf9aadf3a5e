using System;
using System.Linq;
using System.Net;
using Millrace.Tests.Scripted;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests.Inet;

/// <summary>IPv4 over an Ethernet, frame by frame: who is asked and when, what is believed and for how long, what is answered.</summary>
public sealed class ArpTests
{
    private const string Asks = "all: arp who-has 10.10.0.2 tell 10.10.0.1", AsksPeer = "peer: arp who-has 10.10.0.2 tell 10.10.0.1";
    private const string Tcp = "peer: ip 10.10.0.1 > 10.10.0.2 proto 6";

    private static void Run(Action<EthernetLink> story, Action<NetStack>? configure = null)
    {
        using var host = new ScriptedHost(configure);
        host.Run(() => story(host.AddEthernet()));
    }

    // A socket whose SYN needs the neighbour.
    private static int Connect(EthernetLink link, IPAddress? to = null)
    {
        int fd = link.Host.Socket(nonBlocking: true);
        Assert.Equal(Errno.EINPROGRESS, link.Host.Process.Connect(fd, new IPEndPoint(to ?? EthernetLink.PeerAddress, 80)).Error);
        return fd;
    }

    // The neighbour is known, and has answered just now.
    private static void Resolve(EthernetLink link)
    {
        Connect(link);
        link.Answer();
        link.TakeAll();
        Assert.Equal(NeighbourState.Reachable, link.StateOf(EthernetLink.PeerAddress));
    }

    private static long Dropped(EthernetLink link, DropReason reason) => link.Host.Stack.Counters.Drops[reason.KernelName()];

    [Fact]
    public void The_first_packet_asks_and_leaves_when_the_answer_comes() => Run(link =>
    {
        Connect(link);
        Assert.Equal(Asks, link.Take());
        Assert.Equal("nothing", link.Take());
        Assert.Equal(NeighbourState.Incomplete, link.StateOf(EthernetLink.PeerAddress));
        link.Answer();
        Assert.Equal(Tcp, link.Take());
        Assert.Equal("nothing", link.Take());
        Assert.Equal(NeighbourState.Reachable, link.StateOf(EthernetLink.PeerAddress));
        Connect(link);
        Assert.Equal(Tcp, link.Take());
    });

    [Fact]
    public void Nobody_answers_three_questions_and_connect_fails_with_EHOSTUNREACH() => Run(link =>
    {
        long start = link.Host.Now;
        int fd = link.Host.Socket();
        Assert.Equal(Errno.EHOSTUNREACH, link.Host.Process.Connect(fd, new IPEndPoint(EthernetLink.PeerAddress, 80)).Error);
        Assert.InRange(link.Host.Now - start, 3_000_000, 3_000_100);
        Assert.Equal([Asks, Asks, Asks], link.TakeAll());
        Assert.Equal(NeighbourState.Failed, link.StateOf(EthernetLink.PeerAddress));
        Assert.True(Dropped(link, DropReason.NeighFailed) >= 1);
        // The next one asks anew.
        Connect(link);
        Assert.Equal(Asks, link.Take());
    });

    [Fact]
    public void A_gateway_is_asked_for_in_the_place_of_what_is_behind_it() => Run(link =>
    {
        link.Host.Stack.AddRoute(IPAddress.Parse("192.0.2.0"), 24, "eth1", EthernetLink.PeerAddress);
        Connect(link, IPAddress.Parse("192.0.2.7"));
        Assert.Equal(Asks, link.Take());
        link.Answer();
        Assert.Equal("peer: ip 10.10.0.1 > 192.0.2.7 proto 6", link.Take());
    });

    [Fact]
    public void A_dead_gateway_is_EHOSTUNREACH_for_what_is_behind_it() => Run(link =>
    {
        link.Host.Stack.AddRoute(IPAddress.Parse("192.0.2.0"), 24, "eth1", EthernetLink.PeerAddress);
        int fd = link.Host.Socket();
        Assert.Equal(Errno.EHOSTUNREACH, link.Host.Process.Connect(fd, new IPEndPoint(IPAddress.Parse("192.0.2.7"), 80)).Error);
    });

    [Fact]
    public void A_question_for_an_own_address_is_answered_and_who_asks_is_known_from_then_on() => Run(link =>
    {
        link.Send(EthernetLink.WhoHas(EthernetLink.StackAddress));
        Assert.Equal("peer: arp reply 10.10.0.1 is-at stack", link.Take());
        Assert.Equal(NeighbourState.Stale, link.StateOf(EthernetLink.PeerAddress));
        Connect(link);
        Assert.Equal(Tcp, link.Take());
        Assert.Equal(NeighbourState.Delay, link.StateOf(EthernetLink.PeerAddress));
    });

    [Theory]
    [InlineData("10.10.0.3")]
    [InlineData("127.0.0.1")]
    [InlineData("224.0.0.1")]
    [InlineData("10.10.0.255")]
    public void A_question_for_another_address_is_not_answered_and_teaches_nothing(string target) => Run(link =>
    {
        link.Send(EthernetLink.WhoHas(IPAddress.Parse(target)));
        Assert.Equal("nothing", link.Take());
        Assert.Empty(link.Host.Stack.ListNeighbours());
    });

    [Fact]
    public void Who_tests_whether_an_own_address_is_free_hears_that_it_is_not_and_is_not_remembered() => Run(link =>
    {
        link.Send(EthernetLink.WhoHas(EthernetLink.StackAddress, tell: IPAddress.Any));
        Assert.Equal("peer: arp reply 10.10.0.1 is-at stack", link.Take());
        Assert.Empty(link.Host.Stack.ListNeighbours());
    });

    [Fact]
    public void Who_claims_an_own_address_is_not_believed() => Run(link =>
    {
        link.Send(EthernetLink.Arp(ArpOperation.Request, EthernetLink.PeerMac, EthernetLink.StackAddress, default, EthernetLink.StackAddress));
        Assert.Equal("nothing", link.Take());
        Assert.Empty(link.Host.Stack.ListNeighbours());
        Assert.Equal(1, Dropped(link, DropReason.IpLocalSource));
    });

    [Fact]
    public void An_answer_that_nobody_asked_for_is_not_remembered() => Run(link =>
    {
        link.Answer();
        Assert.Empty(link.Host.Stack.ListNeighbours());
    });

    [Fact]
    public void What_has_answered_is_reachable_for_a_while_then_stale_and_asked_when_it_is_needed_again() => Run(link =>
    {
        Resolve(link);
        // At most one and a half times base_reachable_time.
        link.Host.Sleep(45_001);
        link.TakeAll();
        Assert.Equal(NeighbourState.Stale, Quiet(link));
        Connect(link);
        Assert.Equal(Tcp, link.Take());
        Assert.Equal(NeighbourState.Delay, link.StateOf(EthernetLink.PeerAddress));
        link.Host.Sleep(4_999);
        Assert.DoesNotContain(AsksPeer, link.TakeAll());
        link.Host.Sleep(2);
        Assert.Equal([AsksPeer], link.TakeAll());
        Assert.Equal(NeighbourState.Probe, link.StateOf(EthernetLink.PeerAddress));
        link.Answer();
        Assert.Equal(NeighbourState.Reachable, link.StateOf(EthernetLink.PeerAddress));
    }, Once);

    [Fact]
    public void What_was_known_and_answers_no_more_is_asked_three_times_then_failed() => Run(link =>
    {
        Resolve(link);
        link.Host.Sleep(45_001);
        link.TakeAll();
        Quiet(link);
        Connect(link);
        link.Host.Sleep(8_001);
        Assert.Equal(3, link.TakeAll().Count(f => f == AsksPeer));
        Assert.Equal(NeighbourState.Failed, link.StateOf(EthernetLink.PeerAddress));
    }, Once);

    // One SYN only, so that time passes without a packet.
    private static void Once(NetStack stack) => stack.Sysctls.TcpSynRetries = 1;

    private static NeighbourState Quiet(EthernetLink link)
    {
        link.Host.Sleep(60_000);
        link.TakeAll();
        return link.StateOf(EthernetLink.PeerAddress);
    }

    [Fact]
    public void A_connection_that_makes_progress_confirms_the_neighbour_without_a_question() => Run(link =>
    {
        var mine = new IPEndPoint(EthernetLink.PeerAddress, 80);
        int fd = Connect(link);
        link.Answer();
        Assert.Equal(Asks, link.Take());
        Segment syn = TakeSegment(link);
        uint seq = 5000;
        link.Send(new Segment { From = mine, To = syn.From, Seq = seq++, Ack = syn.End, Flags = TcpFlags.Syn | TcpFlags.Ack });
        TakeSegment(link);
        // Long after its answer was old, every second a byte that is acknowledged.
        uint acknowledged = syn.End;
        for (int i = 0; i < 120; i++)
        {
            link.Host.Process.Send(fd, new byte[1]);
            TakeSegment(link);
            link.Send(new Segment { From = mine, To = syn.From, Seq = seq, Ack = ++acknowledged, Flags = TcpFlags.Ack });
            link.Host.Sleep(1000);
        }
        Assert.Equal("nothing", link.Take());
        Assert.Contains(link.StateOf(EthernetLink.PeerAddress), new[] { NeighbourState.Reachable, NeighbourState.Delay });
    });

    private static Segment TakeSegment(EthernetLink link) =>
        Segment.Parse(link.TakeFrame()[EthernetHeader.Length..], 0) ?? throw new Xunit.Sdk.XunitException("no segment");

    [Fact]
    public void Packets_wait_in_bounded_memory_and_the_oldest_make_room() => Run(link =>
    {
        for (int i = 0; i < 1000; i++)
            Connect(link);
        Assert.True(Dropped(link, DropReason.NeighQueuefull) > 500);
        Assert.Equal([Asks], link.TakeAll());
        link.Answer();
        string[] sent = link.TakeAll();
        Assert.All(sent, f => Assert.Equal(Tcp, f));
        Assert.Equal(1000, sent.Length + Dropped(link, DropReason.NeighQueuefull));
    });

    [Fact]
    public void Of_several_answers_the_first_stays_for_a_second() => Run(link =>
    {
        Resolve(link);
        link.Answer(EthernetLink.OtherMac);
        Assert.Equal(EthernetLink.PeerMac, link.MacOf(EthernetLink.PeerAddress));
        link.Host.Sleep(1001);
        link.Answer(EthernetLink.OtherMac);
        Assert.Equal(EthernetLink.OtherMac, link.MacOf(EthernetLink.PeerAddress));
    });

    [Fact]
    public void Who_announces_his_new_address_to_all_is_believed_at_once_but_must_prove_it() => Run(link =>
    {
        Resolve(link);
        link.Send(EthernetLink.Arp(ArpOperation.Request, EthernetLink.OtherMac, EthernetLink.PeerAddress, default, EthernetLink.PeerAddress));
        Assert.Equal(EthernetLink.OtherMac, link.MacOf(EthernetLink.PeerAddress));
        Assert.Equal(NeighbourState.Stale, link.StateOf(EthernetLink.PeerAddress));
        Connect(link);
        Assert.Equal("other: ip 10.10.0.1 > 10.10.0.2 proto 6", link.Take());
    });

    [Fact]
    public void A_new_address_is_announced_if_the_setting_says_so() => Run(link =>
    {
        link.Host.Stack.AddAddress("eth1", IPAddress.Parse("10.10.0.5"), 24);
        Assert.Equal("nothing", link.Take());
        link.Host.Stack.Sysctls.ArpNotify = true;
        link.Host.Stack.AddAddress("eth1", IPAddress.Parse("10.10.0.6"), 24);
        Assert.Equal("all: arp who-has 10.10.0.6 tell 10.10.0.6", link.Take());
    });

    [Fact]
    public void A_flood_of_askers_fills_the_table_and_no_more_and_makes_room_when_it_is_old() => Run(link =>
    {
        void Flood(byte from)
        {
            for (int i = 0; i < 5000; i++)
                link.Send(EthernetLink.WhoHas(EthernetLink.StackAddress, new IPAddress([10, from, (byte)(i >> 8), (byte)i])));
        }
        link.Host.Stack.AddRoute(IPAddress.Parse("10.0.0.0"), 8, "eth1");
        Flood(11);
        Assert.Equal(1024, link.Host.Stack.ListNeighbours().Count);
        link.TakeAll();
        Connect(link);
        Assert.Equal(1, Dropped(link, DropReason.NeighCreatefail));
        link.Host.Sleep(5001);
        Connect(link);
        Assert.Contains(Asks, link.TakeAll());
        Assert.True(link.Host.Stack.ListNeighbours().Count <= 512);
    });

    [Fact]
    public void A_large_table_forgets_what_nobody_uses() => Run(link =>
    {
        for (int i = 0; i < 300; i++)
            link.Send(EthernetLink.WhoHas(EthernetLink.StackAddress, new IPAddress([10, 10, 1, (byte)i])));
        Assert.Equal(256, link.Host.Stack.ListNeighbours().Count);
        link.Host.Sleep(100_000);
        Assert.Equal(127, link.Host.Stack.ListNeighbours().Count);
    });

    [Fact]
    public void A_device_that_is_taken_out_takes_its_neighbours_along() => Run(link =>
    {
        Connect(link);
        link.Host.Stack.RemoveDevice("eth1");
        Assert.Empty(link.Host.Stack.ListNeighbours());
        Assert.Equal(1, Dropped(link, DropReason.NeighDead));
    });

    [Fact]
    public void Malformed_packets_are_dropped_and_nothing_comes_of_them() => Run(link =>
    {
        byte[] good = EthernetLink.WhoHas(EthernetLink.StackAddress);
        for (int length = 1; length < good.Length; length++)
            link.Send(good[..length]);
        foreach ((int at, byte to) in new (int, byte)[] { (14, 9), (16, 9), (18, 7), (19, 16), (22, 1), (28, 224) })
        {
            byte[] bad = [.. good];
            bad[at] = to;
            link.Send(bad);
        }
        Assert.Equal("nothing", link.Take());
        Assert.Empty(link.Host.Stack.ListNeighbours());
    });

    [Fact]
    public void Broadcasts_go_to_all_and_groups_to_their_stations_without_a_question()
    {
        Assert.Equal(new MacAddr(0x0100_5e01_0203), MacAddr.OfGroup(IpAddr.Parse("239.129.2.3")));
        Assert.Equal(new MacAddr(0x3333_ff00_0001), MacAddr.OfGroup(IpAddr.Parse("ff02::1:ff00:1")));
        Assert.Equal(MacAddr.Broadcast, MacAddr.OfGroup(IpAddr.Parse("10.10.0.255")));
    }
}
