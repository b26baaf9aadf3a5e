using System;
using System.Collections.Generic;
using System.Linq;
using System.Net;
using System.Text.RegularExpressions;
using Millrace.Tests.Support;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests.Scripted;

/// <summary>Each reason for which the stack drops a packet, produced and seen counted.</summary>
public sealed partial class DropReasonTests
{
    /// <summary>Reasons in the stack that no packet of a test can produce yet, and why.</summary>
    private static readonly Dictionary<DropReason, string> s_unproduced = new()
    {
        [DropReason.TcpOldAck] = "no drop: it tells the caller that the ACK was overtaken, and what else the segment brings is taken",
        [DropReason.BadOffload] = "a driver's mistake: only a device of the outside world can make it",
        [DropReason.TcpFastopen] = "a Fast Open child's odd segment: with the Fast Open tests",
        [DropReason.PktTooBig] = "TCP cuts to its route's MTU, and nothing else sends without leave to fragment",
    };

    private static readonly IPEndPoint s_listener = new(ScriptedHost.Address, 7001), s_looped = new(IPAddress.Loopback, 7);
    private static readonly byte[] s_mss = Segment.MssOption(1460), s_sack = [.. s_mss, .. Segment.SackPermittedOption];

    // No digest of anything.
    private static readonly byte[] s_signature = [1, 1, 19, 18, .. new byte[16]];

    private static readonly Dictionary<DropReason, Action<ScriptedHost>> s_stories = new()
    {
        // ---- Below TCP ----
        [DropReason.PktTooSmall] = host => host.Send(Stray().ToBytes()[..30]),
        [DropReason.IpCsum] = host => host.Send(Changed(Stray(), 10, fix: false)),
        [DropReason.IpInhdr] = host => host.Send(Changed(Stray(), 0, 0x44)),
        [DropReason.IpInvalidSource] = host => host.Send((Stray() with { From = new IPEndPoint(IPAddress.Broadcast, 1) }).ToBytes()),
        [DropReason.IpInvalidDest] = host => host.Send((Stray() with { To = new IPEndPoint(IPAddress.Any, 1) }).ToBytes()),
        [DropReason.IpLocalSource] = host => host.Send((Stray() with { From = new IPEndPoint(ScriptedHost.Address, 1) }).ToBytes()),
        [DropReason.IpLocalnet] = host => host.Send((Stray() with { From = new IPEndPoint(IPAddress.Loopback, 1) }).ToBytes()),
        [DropReason.IpInAddrErrors] = host => host.Send((Stray() with { To = new IPEndPoint(IPAddress.Parse("192.0.2.1"), 1) }).ToBytes()),
        [DropReason.OtherHost] = host => host.Send((Stray() with { To = new IPEndPoint(IPAddress.Parse("224.0.0.1"), 1) }).ToBytes()),
        [DropReason.IpNoproto] = host => host.Send(Changed(Stray(), 9, 200)),
        [DropReason.IcmpCsum] = host => host.Send(Changed(Stray(), 9, (byte)IpProtocol.Icmp)),
        // The sequence number's bytes are a datagram's length, 40, and a checksum that is none.
        [DropReason.UdpCsum] = host => host.Send(Changed(Stray() with { Seq = 40 << 16 | 1 }, 9, (byte)IpProtocol.Udp)),
        [DropReason.UnhandledProto] = host => host.Send(Stray().ToBytes(), EtherType.Arp),
        [DropReason.IpReasmUnsupported] = host => SendV6(host, 44, [6, 0, 0, 1, 0, 0, 0, 1]),
        [DropReason.Ipv6BadExthdr] = host => SendV6(host, 0, [6, 200, 0, 0, 0, 0, 0, 0]),
        [DropReason.DevReady] = host =>
        {
            ScriptedPeer peer = Open(host);
            host.Device.Dispose();
            host.Process.Send(peer.Fd, new byte[1]);
        },
        [DropReason.FullRing] = host => RawPackets.Send(host.Stack, "lo",
            [.. Enumerable.Repeat((Stray() with { From = s_looped, To = s_looped }).ToBytes(), 1001)]),
        [DropReason.IpOutNoroutes] = host =>
        {
            Open(host);
            host.Send(Stray() with { From = new IPEndPoint(IPAddress.Parse("192.0.2.1"), 1), To = s_listener, Flags = TcpFlags.Syn });
        },
        [DropReason.WireLoss] = host =>
        {
            host.Stack.Impair("eth0", new ImpairmentOptions { Loss = 1 });
            host.Send(Stray());
        },
        [DropReason.QdiscDrop] = host =>
        {
            host.Stack.Impair("eth0", new ImpairmentOptions { Rate = 1000, QueueBytes = 10 });
            for (int i = 0; i < 3; i++)
                host.Send(Stray());
        },

        // ---- On an Ethernet ----
        [DropReason.DevHdr] = host => host.AddEthernet().Send(new byte[13]),
        [DropReason.InvalidProto] = host => host.AddEthernet().Send(EthernetLink.Frame(EthernetLink.StackMac, EthernetLink.PeerMac, 0x0806, new byte[28])),
        [DropReason.UnicastInL2Multicast] = host => host.AddEthernet().Send(
            Stray() with { From = new IPEndPoint(EthernetLink.PeerAddress, 1), To = new IPEndPoint(EthernetLink.StackAddress, 1) }, to: MacAddr.Broadcast),
        [DropReason.Ipv6NdiscBadMessage] = host => host.AddEthernet().Send(EthernetLink.Discovery(Icmp6Type.NeighborSolicitation, 0,
            EthernetLink.StackAddress6, EthernetLink.PeerAddress6, EthernetLink.StackAddress6, EthernetLink.StackMac, hopLimit: 254)),
        [DropReason.NeighFailed] = host =>
        {
            host.AddEthernet();
            host.Process.Connect(host.Socket(), new IPEndPoint(EthernetLink.PeerAddress, 1));
        },
        [DropReason.NeighDead] = host =>
        {
            host.AddEthernet();
            host.Process.Connect(host.Socket(nonBlocking: true), new IPEndPoint(EthernetLink.PeerAddress, 1));
            host.Stack.RemoveDevice("eth1");
        },
        [DropReason.NeighCreatefail] = host =>
        {
            host.AddEthernet();
            host.Stack.Sysctls.Neigh4.GcThresh3 = host.Stack.Sysctls.Neigh4.GcThresh2 = 0;
            host.Process.Connect(host.Socket(nonBlocking: true), new IPEndPoint(EthernetLink.PeerAddress, 1));
        },
        [DropReason.NeighQueuefull] = host =>
        {
            host.AddEthernet();
            host.Stack.Sysctls.Neigh4.UnresQlenBytes = 1;
            for (int i = 0; i < 2; i++)
                host.Process.Connect(host.Socket(nonBlocking: true), new IPEndPoint(EthernetLink.PeerAddress, 1));
        },

        // ---- No connection ----
        [DropReason.NoSocket] = host => host.Send(Stray()),
        [DropReason.TcpCsum] = host => host.Send(Changed(Stray(), 30)),
        [DropReason.TcpFlags] = host => Open(host).Send(Stray() with { Flags = TcpFlags.Ack, To = s_listener }),
        [DropReason.TcpListenOverflow] = host =>
        {
            var at = new IPEndPoint(ScriptedHost.Address, 7003);
            host.Stack.Sysctls.TcpSyncookies = 0;
            int listener = host.Socket();
            host.Process.Bind(listener, at);
            host.Process.Listen(listener, 0);
            for (ushort port = 1; port <= 3; port++)
                host.Send(Stray() with { To = at, From = new IPEndPoint(ScriptedHost.PeerAddress, port), Flags = TcpFlags.Syn });
        },
        [DropReason.TcpTimewait] = host =>
        {
            ScriptedPeer peer = Open(host);
            host.Process.Close(peer.Fd);
            peer.Take();
            peer.Fin();
            peer.Send(peer.Make(TcpFlags.Ack));
        },

        // ---- Signatures ----
        [DropReason.TcpMd5Unexpected] = host =>
        {
            ScriptedPeer peer = Open(host);
            peer.Send(peer.Make(TcpFlags.Ack, 1) with { Options = s_signature });
        },
        [DropReason.TcpAuthHdr] = host =>
        {
            ScriptedPeer peer = Open(host);
            peer.Send(peer.Make(TcpFlags.Ack, 1) with { Options = [.. s_signature, .. s_signature] });
        },
        [DropReason.TcpMd5NotFound] = host =>
        {
            ScriptedPeer peer = OpenThenKeyed(host);
            peer.Data(1);
        },
        [DropReason.TcpMd5Failure] = host =>
        {
            ScriptedPeer peer = OpenThenKeyed(host);
            peer.Send(peer.Make(TcpFlags.Ack, 1) with { Options = s_signature });
        },

        // ---- On a connection ----
        [DropReason.TcpReset] = host =>
        {
            ScriptedPeer peer = Open(host);
            peer.Send(peer.Make(TcpFlags.Rst) with { Seq = peer.Seq + 10 });
        },
        [DropReason.TcpInvalidSyn] = host =>
        {
            ScriptedPeer peer = Open(host);
            peer.Send(peer.Make(TcpFlags.Syn));
        },
        [DropReason.TcpOldSequence] = host =>
        {
            ScriptedPeer peer = Open(host);
            peer.Data(100);
            peer.Send(peer.Make(TcpFlags.Ack, 50) with { Seq = peer.Seq - 100 });
        },
        [DropReason.TcpOldData] = host =>
        {
            ScriptedPeer peer = Open(host);
            host.Forget();
            // The ACK of the second is delayed: until then the first is inside what was offered.
            peer.Data(100);
            for (int i = 0; i < 40; i++)
                peer.Data(1);
            peer.Send(peer.Make(TcpFlags.Ack, 1) with { Seq = peer.Seq - 1 });
        },
        [DropReason.TcpInvalidSequence] = host =>
        {
            ScriptedPeer peer = Open(host);
            peer.Send(peer.Make(TcpFlags.Ack, 10) with { Seq = peer.Seq + 100_000 });
        },
        [DropReason.TcpInvalidEndSequence] = host =>
        {
            ScriptedPeer peer = WithSmallBuffer(host);
            peer.Data(100);
            peer.Send(peer.Make(TcpFlags.Ack, host.Take().Window + 1));
        },
        [DropReason.TcpOverwindow] = host =>
        {
            ScriptedPeer peer = WithSmallBuffer(host);
            peer.Data(100);
            Segment ack = host.Take();
            host.Process.Recv(peer.Fd, new byte[100]);
            peer.Send(peer.Make(TcpFlags.Ack, 100) with { Seq = peer.Seq + ack.Window });
        },
        [DropReason.TcpZeroWindow] = host =>
        {
            // An empty queue takes what goes beyond the window, which is zero then; and who has shut reading down sends no update of
            // it when he empties the queue.
            ScriptedPeer peer = WithSmallBuffer(host);
            host.Process.Shutdown(peer.Fd, 0);
            peer.Data(100);
            Segment ack = host.Take();
            host.Process.Recv(peer.Fd, new byte[100]);
            peer.Data(ack.Window + 500);
            host.Sleep(50);
            Assert.Equal(0, host.Take().Window);
            host.Process.Recv(peer.Fd, new byte[10_000]);
            peer.Data(1);
        },
        [DropReason.TcpOfoQueuePrune] = host =>
        {
            // Each byte costs a buffer: they outgrow the receive buffer long before the window.
            ScriptedPeer peer = WithSmallBuffer(host, s_sack);
            for (uint i = 0; i < 500; i++)
                peer.Send(peer.Make(TcpFlags.Ack, 1) with { Seq = peer.Seq + 2000 - 2 * i });
        },
        [DropReason.ProtoMem] = host =>
        {
            ScriptedPeer peer = Open(host);
            host.Stack.Tcp.Memory.Limits = [0, 0, 0];
            for (int i = 0; i < 40; i++)
                peer.Data(1000);
        },
        [DropReason.TcpInvalidAckSequence] = host =>
        {
            ScriptedPeer peer = ScriptedPeer.Awaits(host, out Segment syn);
            peer.Send(peer.Make(TcpFlags.Syn | TcpFlags.Ack) with { Ack = syn.End + 1000 });
            peer.Send(peer.Make(TcpFlags.Rst | TcpFlags.Ack));
        },
        [DropReason.TcpOfoMerge] = host =>
        {
            ScriptedPeer peer = Open(host, s_sack);
            peer.Send(peer.Make(TcpFlags.Ack, 300) with { Seq = peer.Seq + 1000 });
            peer.Send(peer.Make(TcpFlags.Ack, 100) with { Seq = peer.Seq + 1100 });
        },
        [DropReason.TcpRfc7323Paws] = host =>
        {
            ScriptedPeer peer = Open(host, s_mss, timestamp: 1000);
            peer.Data(1);
            peer.TsVal = 1;
            peer.Data(1);
        },
        [DropReason.TcpRfc7323PawsAck] = host =>
        {
            ScriptedPeer peer = Open(host, s_mss, timestamp: 1000);
            peer.Data(100);
            peer.TsVal = 1;
            peer.Send(peer.Make(TcpFlags.Ack) with { Seq = peer.Seq - 50 });
        },
        [DropReason.TcpTooOldAck] = host =>
        {
            ScriptedPeer peer = Open(host);
            peer.Send(peer.Make(TcpFlags.Ack, 1) with { Ack = peer.Expected - 100_000 });
        },
        [DropReason.TcpAckUnsentData] = host =>
        {
            ScriptedPeer peer = Open(host);
            peer.Send(peer.Make(TcpFlags.Ack) with { Ack = peer.Expected + 1 });
        },
        [DropReason.TcpAbortOnData] = host =>
        {
            ScriptedPeer peer = Open(host);
            // A lingering time longer than a mini-sock's keeps the orphan a full sock.
            host.Process.SetSockOpt(peer.Fd, 6, 8, 100);
            host.Process.Close(peer.Fd);
            peer.Take();
            peer.Data(10);
        },
        [DropReason.TcpMinTtl] = host =>
        {
            ScriptedPeer peer = Open(host);
            host.Process.SetSockOpt(peer.Fd, 0, 21, 200);
            peer.Data(1);
        },
        [DropReason.TcpClose] = host =>
        {
            ScriptedPeer peer = Open(host);
            ReceiveWhileOwned(host, peer, () =>
            {
                peer.Send(peer.Make(TcpFlags.Rst));
                peer.Data(1);
            });
        },
        [DropReason.SocketBacklog] = host =>
        {
            ScriptedPeer peer = WithSmallBuffer(host);
            ReceiveWhileOwned(host, peer, () =>
            {
                for (int i = 0; i < 1000; i++)
                    peer.Data(1000);
            });
        },
    };

    public static TheoryData<string> Produced => [.. s_stories.Keys.Select(r => r.ToString())];

    [Theory]
    [MemberData(nameof(Produced))]
    public void A_drop_is_counted_under_its_reason(string reason)
    {
        DropReason expected = Enum.Parse<DropReason>(reason);
        using var host = new ScriptedHost();
        host.Run(() =>
        {
            s_stories[expected](host);
            host.Sleep(1);
            Assert.True(host.Stack.Counters.Drops[expected.KernelName()] > 0,
                $"dropped: {string.Join(' ', host.Stack.Counters.Drops.Where(d => d.Value > 0))}");
        });
    }

    [Fact]
    public void Every_reason_that_the_stack_gives_has_a_story_or_says_why_not()
    {
        IEnumerable<string> given = Repository.StackSources.Where(s => !s.Key.StartsWith("Tracing/", StringComparison.Ordinal))
            .SelectMany(s => Given().Matches(s.Value)).Select(m => m.Groups[1].Value).Distinct().Where(r => r != nameof(DropReason.None));
        IEnumerable<string> known = s_stories.Keys.Concat(s_unproduced.Keys).Select(r => r.ToString());
        Assert.Empty(given.Except(known));
        Assert.Empty(known.Except(given));
    }

    [GeneratedRegex(@"DropReason\.(\w+)")]
    private static partial Regex Given();

    // ---- Helpers ----

    private static Segment Stray() => new()
    {
        From = new IPEndPoint(ScriptedHost.PeerAddress, 12345),
        To = new IPEndPoint(ScriptedHost.Address, 54321),
        Seq = 1,
        Ack = 1,
        Flags = TcpFlags.Ack,
        Data = new byte[20],
    };

    // A packet with one byte of it changed, and the IP header's checksum right again.
    private static unsafe byte[] Changed(Segment segment, int at, byte? to = null, bool fix = true)
    {
        byte[] packet = segment.ToBytes();
        packet[at] = to ?? (byte)(packet[at] ^ 1);
        if (fix)
        {
            fixed (byte* p = packet)
                Ipv4Header.WriteChecksum(p);
        }
        return packet;
    }

    private static ScriptedPeer Open(ScriptedHost host, byte[]? options = null, uint? timestamp = null) =>
        ScriptedPeer.Opens(host, options ?? s_mss, timestamp: timestamp);

    // A connection that has a key for its peer from now on.
    private static ScriptedPeer OpenThenKeyed(ScriptedHost host)
    {
        const int tcp = 6, md5Sig = 14, size = 216, lengthAt = 130;
        ScriptedPeer peer = Open(host);
        var key = new byte[size];
        key[0] = 2;
        ScriptedHost.PeerAddress.GetAddressBytes().CopyTo(key, 4);
        key[lengthAt] = 1;
        Assert.Equal(0, host.Process.SetSockOpt(peer.Fd, tcp, md5Sig, key).Value);
        return peer;
    }

    // An IPv6 packet with one extension header and nothing behind it.
    private static void SendV6(ScriptedHost host, byte nextHeader, byte[] extension)
    {
        IPAddress mine = IPAddress.Parse("2001:db8::2"), theirs = IPAddress.Parse("2001:db8::1");
        host.Stack.AddAddress("eth0", theirs, 64);
        host.Send([0x60, 0, 0, 0, 0, (byte)extension.Length, nextHeader, 64, .. mine.GetAddressBytes(), .. theirs.GetAddressBytes(),
            .. extension]);
    }

    private static ScriptedPeer WithSmallBuffer(ScriptedHost host, byte[]? options = null) =>
        ScriptedPeer.Opens(host, options ?? s_mss, configureListener: fd => host.Process.SetSockOpt(fd, 1, 8, 4096));

    // What arrives while the reader's call owns the socket.
    private static void ReceiveWhileOwned(ScriptedHost host, ScriptedPeer peer, Action arrive) =>
        Recordings.RecordedStories.WhileOwned(host.Stack, peer.StackPort, arrive);
}
