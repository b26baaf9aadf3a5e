using System;
using System.Net;
using Millrace.Tests.Scripted;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests.Inet;

/// <summary>IPv6 over an Ethernet, frame by frame. What the states do with time is ARP's too, and tested there.</summary>
public sealed class NeighbourDiscoveryTests
{
    private const string Asks = "33:33:ff:00:00:02: ip6 fd10::1 > ff02::1:ff00:2 who has fd10::2 lladdr stack";
    private const string Tcp = "peer: ip6 fd10::1 > fd10::2 proto 6";

    private static readonly IPAddress s_group = IPAddress.Parse("ff02::1:ff00:1");
    private static readonly MacAddr s_groupMac = MacAddr.OfGroup(IpAddr.From(s_group));

    private static void Run(Action<EthernetLink> story)
    {
        using var host = new ScriptedHost();
        host.Run(() => story(host.AddEthernet()));
    }

    private static int Connect(EthernetLink link)
    {
        int fd = link.Host.Process.Socket(10, 1 | 2048, 0).Value;
        Assert.Equal(Errno.EINPROGRESS, link.Host.Process.Connect(fd, new IPEndPoint(EthernetLink.PeerAddress6, 80)).Error);
        return fd;
    }

    private static byte[] Solicitation(IPAddress? target = null, IPAddress? source = null, IPAddress? destination = null, MacAddr? option = null,
        byte hopLimit = 255) =>
        EthernetLink.Discovery(Icmp6Type.NeighborSolicitation, 0, target ?? EthernetLink.StackAddress6, source ?? EthernetLink.PeerAddress6,
            destination ?? s_group, destination is null ? s_groupMac : EthernetLink.StackMac, option ?? EthernetLink.PeerMac, hopLimit);

    private static long Dropped(EthernetLink link, DropReason reason) => link.Host.Stack.Counters.Drops[reason.KernelName()];

    [Fact]
    public void The_first_packet_asks_the_group_and_leaves_when_the_answer_comes() => Run(link =>
    {
        Connect(link);
        Assert.Equal(Asks, link.Take());
        Assert.Equal("nothing", link.Take());
        link.Answer6();
        Assert.Equal(Tcp, link.Take());
        Assert.Equal(NeighbourState.Reachable, link.StateOf(EthernetLink.PeerAddress6));
        Assert.Equal(1, link.Host.Stack.Cpus.Read(Mib.Icmp6OutNeighborSolicits));
        Assert.Equal(1, link.Host.Stack.Cpus.Read(Mib.Icmp6InNeighborAdvertisements));
    });

    [Fact]
    public void Nobody_answers_three_questions_and_connect_fails_with_EHOSTUNREACH() => Run(link =>
    {
        int fd = link.Host.Process.Socket(10, 1, 0).Value;
        long start = link.Host.Now;
        Assert.Equal(Errno.EHOSTUNREACH, link.Host.Process.Connect(fd, new IPEndPoint(EthernetLink.PeerAddress6, 80)).Error);
        Assert.InRange(link.Host.Now - start, 3_000_000, 3_000_100);
        Assert.Equal([Asks, Asks, Asks], link.TakeAll());
    });

    [Fact]
    public void A_question_for_an_own_address_is_answered_and_who_asks_is_known_from_then_on() => Run(link =>
    {
        link.Send(Solicitation());
        Assert.Equal("peer: ip6 fd10::1 > fd10::2 tgt is solicited fd10::1 lladdr stack", link.Take());
        Assert.Equal(NeighbourState.Delay, link.StateOf(EthernetLink.PeerAddress6));
    });

    [Fact]
    public void Who_asks_from_an_address_to_which_there_is_no_route_is_answered() => Run(link =>
    {
        link.Send(Solicitation(source: IPAddress.Parse("fe80::77")));
        Assert.Equal("peer: ip6 fd10::1 > fe80::77 tgt is solicited fd10::1 lladdr stack", link.Take());
    });

    [Fact]
    public void A_question_without_the_askers_address_is_answered_when_that_is_found() => Run(link =>
    {
        link.Send(Solicitation(option: default(MacAddr)));
        Assert.Equal(Asks, link.Take());
        link.Answer6();
        Assert.Equal("peer: ip6 fd10::1 > fd10::2 tgt is solicited fd10::1 lladdr stack", link.Take());
    });

    [Fact]
    public void Who_tests_whether_an_own_address_is_free_hears_it_with_all_nodes() => Run(link =>
    {
        link.Send(Solicitation(source: IPAddress.IPv6Any, option: default(MacAddr)));
        Assert.Equal("33:33:00:00:00:01: ip6 fd10::1 > ff02::1 tgt is fd10::1 lladdr stack", link.Take());
        Assert.Empty(link.Host.Stack.ListNeighbours());
    });

    [Fact]
    public void What_is_not_the_stacks_is_not_answered() => Run(link =>
    {
        link.Send(Solicitation(target: IPAddress.Parse("fd10::aa00:1")));
        // An address of another device is not this link's.
        link.Host.Stack.AddAddress("eth0", IPAddress.Parse("fd11::1"), 64);
        link.Send(Solicitation(target: IPAddress.Parse("fd11::1")));
        Assert.Equal("nothing", link.Take());
        Assert.Empty(link.Host.Stack.ListNeighbours());
    });

    public static TheoryData<string> Refused => ["hop limit", "code", "multicast target", "short", "empty option", "cut option", "tested with an option", "tested at an address"];

    [Theory, MemberData(nameof(Refused))]
    public void What_the_RFC_forbids_is_dropped_and_nothing_comes_of_it(string what) => Run(link =>
    {
        byte[] good = Solicitation();
        byte[] bad = what switch
        {
            "hop limit" => Solicitation(hopLimit: 254),
            "code" => Changed(good, 55, 1),
            "multicast target" => Solicitation(target: s_group),
            "short" => Shortened(good, 16),
            "empty option" => Changed(good, 79, 0),
            "cut option" => Changed(good, 79, 2),
            "tested with an option" => Solicitation(source: IPAddress.IPv6Any),
            _ => Solicitation(source: IPAddress.IPv6Any, destination: EthernetLink.StackAddress6, option: default(MacAddr)),
        };
        link.Send(bad);
        Assert.Equal("nothing", link.Take());
        Assert.Empty(link.Host.Stack.ListNeighbours());
        Assert.Equal(1, Dropped(link, DropReason.Ipv6NdiscBadMessage));
    });

    [Fact]
    public void A_question_off_an_Ethernet_means_nothing() => Run(link =>
    {
        link.Host.Stack.AddAddress("eth0", IPAddress.Parse("fd10::1"), 64);
        link.Host.Send(Solicitation()[EthernetHeader.Length..]);
        link.Host.SentNothing();
        Assert.Equal(1, Dropped(link, DropReason.UnhandledProto));
    });

    [Fact]
    public void Another_address_without_the_override_flag_only_makes_the_known_one_doubtful() => Run(link =>
    {
        Connect(link);
        link.Answer6();
        link.Answer6(flags: 0, mac: EthernetLink.OtherMac);
        Assert.Equal(EthernetLink.PeerMac, link.MacOf(EthernetLink.PeerAddress6));
        Assert.Equal(NeighbourState.Stale, link.StateOf(EthernetLink.PeerAddress6));
        link.Answer6(flags: 0, mac: EthernetLink.OtherMac);
        Assert.Equal(EthernetLink.PeerMac, link.MacOf(EthernetLink.PeerAddress6));
    });

    [Fact]
    public void Another_address_with_the_override_flag_replaces_the_known_one() => Run(link =>
    {
        Connect(link);
        link.Answer6();
        link.Answer6(NeighbourMessage.Override, EthernetLink.OtherMac);
        Assert.Equal(EthernetLink.OtherMac, link.MacOf(EthernetLink.PeerAddress6));
        Assert.Equal(NeighbourState.Stale, link.StateOf(EthernetLink.PeerAddress6));
    });

    [Fact]
    public void An_answer_that_nobody_asked_for_is_not_remembered() => Run(link =>
    {
        link.Answer6();
        Assert.Empty(link.Host.Stack.ListNeighbours());
    });

    [Fact]
    public void A_solicited_answer_to_a_group_is_refused() => Run(link =>
    {
        Connect(link);
        link.Send(EthernetLink.Discovery(Icmp6Type.NeighborAdvertisement, NeighbourMessage.Solicited, EthernetLink.PeerAddress6,
            EthernetLink.PeerAddress6, IPAddress.Parse("ff02::1"), MacAddr.OfGroup(IpAddr.AllNodes), EthernetLink.PeerMac));
        Assert.Equal(NeighbourState.Incomplete, link.StateOf(EthernetLink.PeerAddress6));
        Assert.Equal(1, Dropped(link, DropReason.Ipv6NdiscBadMessage));
    });

    [Fact]
    public void To_a_group_the_stack_speaks_neighbour_discovery_and_nothing_else() => Run(link =>
    {
        byte[] echo = [.. Solicitation()];
        echo[54] = (byte)Icmp6Type.EchoRequest;
        link.Send(Fixed(echo));
        byte[] tcp = [.. Solicitation()];
        tcp[20] = IpProtocol.Tcp;
        link.Send(tcp);
        Assert.Equal("nothing", link.Take());
        Assert.Equal(1, Dropped(link, DropReason.OtherHost));
    });

    private static byte[] Changed(byte[] frame, int at, byte to)
    {
        byte[] changed = [.. frame];
        changed[at] = to;
        return Fixed(changed);
    }

    private static byte[] Shortened(byte[] frame, int icmpLength)
    {
        byte[] shorter = frame[..(54 + icmpLength)];
        shorter[19] = (byte)icmpLength;
        return Fixed(shorter);
    }

    // The checksum right again.
    private static unsafe byte[] Fixed(byte[] frame)
    {
        fixed (byte* p = frame)
        {
            byte* icmp = p + 54;
            int length = frame.Length - 54;
            Be.Put16(icmp + 2, 0);
            uint pseudo = Checksum.PseudoHeader(IpAddr.ReadV6(frame.AsSpan(22, 16)), IpAddr.ReadV6(frame.AsSpan(38, 16)), IpProtocol.IcmpV6, length);
            Be.PutRaw16(icmp + 2, Checksum.Finish(Checksum.Partial(icmp, length, pseudo)));
        }
        return frame;
    }
}
