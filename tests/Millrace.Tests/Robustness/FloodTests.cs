using System;
using System.Buffers.Binary;
using System.Net;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tests.Robustness;

/// <summary>Floods that cost the attacker little: what they make the stack hold is bounded, and given back.</summary>
public sealed class FloodTests
{
    private const int MemInfo = 55;

    private static (HostileLink Link, Process Process, int Listener) Listening(int backlog, Action<NetStackOptions>? configure = null)
    {
        var link = new HostileLink(configure);
        Process p = link.Stack.CreateProcess();
        int fd = p.Socket(2, 1 | 0x800, 0).Value;
        Assert.False(p.Bind(fd, new IPEndPoint(HostileLink.Local4, 80)).IsError);
        Assert.False(p.Listen(fd, backlog).IsError);
        return (link, p, fd);
    }

    /// <summary>A connection with the forger at the other end; returns its descriptor and both sequence numbers.</summary>
    private static (int Fd, uint Peer, uint Own) Establish(HostileLink link, PacketForge forge, Process p, int listener, ushort port)
    {
        link.Inject(forge.Segment(false, 9, port, 80, 1000, 0, PacketForge.Syn, [2, 4, 5, 180, 1, 3, 3, 7], 0));
        uint own = BinaryPrimitives.ReadUInt32BigEndian(link.Sent[0][24..]) + 1;
        link.Inject(forge.Segment(false, 9, port, 80, 1001, own, PacketForge.Ack, [], 0));
        SysResult fd = p.Accept(listener, 0x800);
        Assert.False(fd.IsError, fd.ToString());
        return (fd.Value, 1001, own);
    }

    private static int ReceiveAllocated(Process p, int fd)
    {
        var info = new byte[36];
        Assert.False(p.GetSockOpt(fd, 1, MemInfo, info).IsError);
        return BitConverter.ToInt32(info);
    }

    [Fact]
    public void A_flood_of_SYNs_fills_the_queue_and_no_more()
    {
        const int backlog = 64;
        (HostileLink link, Process _, int _) = Listening(backlog);
        using (link)
        {
            var forge = new PacketForge(1) { IsPlain = true };
            for (int i = 0; i < 50_000; i++)
                link.Inject(forge.Segment(false, (byte)(2 + (i % 200)), (ushort)(1024 + (i % 60_000)), 80, (uint)i, 0, PacketForge.Syn, [2, 4, 5, 180], 0));
            Assert.InRange(link.Stack.Tcp.Established.Count, 1, backlog + 1);
            Assert.Equal(0, link.InUse.Buffers);
            link.Advance(Micros.FromSeconds(200));
            Assert.Equal(0, link.Stack.Tcp.Established.Count);
        }
    }

    /// <summary>One byte in each segment and a hole before it: what is held stays within the receive buffer's bound.</summary>
    [Fact]
    public void A_flood_of_tiny_segments_with_holes_stays_within_the_buffer()
    {
        (HostileLink link, Process p, int listener) = Listening(8);
        using (link)
        {
            var forge = new PacketForge(1) { IsPlain = true };
            (int fd, uint peer, uint own) = Establish(link, forge, p, listener, 2000);
            int most = 0;
            for (int i = 0; i < 60_000; i++)
            {
                uint at = peer + 1 + (2 * (uint)forge.Random.Below(30_000));
                link.Inject(forge.Segment(false, 9, 2000, 80, at, own, PacketForge.Ack, [], 1));
                if (i % 100 == 0)
                    most = Math.Max(most, ReceiveAllocated(p, fd));
            }
            Assert.InRange(most, 1, 2 * link.Stack.Sysctls.TcpRmem.Max);
            Assert.True(link.Stack.Cpus.Read(Mib.TcpExtOfoPruned) + link.Stack.Cpus.Read(Mib.TcpExtRcvPruned) + link.Stack.Cpus.Read(Mib.TcpExtTCPOFOQueue) > 0);
            p.Close(fd);
            link.Advance(Micros.FromSeconds(1000));
            Assert.Equal(0, link.Stack.Tcp.Memory.Allocated);
            Assert.Equal((0, 0), link.InUse);
        }
    }

    /// <summary>In order, a byte a segment, never read: the overhead is merged away, and the window closes.</summary>
    [Fact]
    public void A_flood_of_tiny_segments_in_order_stays_within_the_buffer()
    {
        (HostileLink link, Process p, int listener) = Listening(8);
        using (link)
        {
            var forge = new PacketForge(1) { IsPlain = true };
            (int fd, uint peer, uint own) = Establish(link, forge, p, listener, 2000);
            for (uint i = 0; i < 60_000; i++)
                link.Inject(forge.Segment(false, 9, 2000, 80, peer + i, own, PacketForge.Ack, [], 1));
            Assert.InRange(ReceiveAllocated(p, fd), 1, 2 * link.Stack.Sysctls.TcpRmem.Max);
            p.Close(fd);
            link.Advance(Micros.FromSeconds(1000));
            Assert.Equal((0, 0), link.InUse);
        }
    }

    /// <summary>Many connections that hold what they get share one budget, and it is kept.</summary>
    [Fact]
    public void The_budget_of_the_stack_bounds_all_connections_together()
    {
        const int budget = 4 << 20, connections = 100;
        (HostileLink link, Process p, int listener) = Listening(256, o => o.MemoryBudget = budget);
        using (link)
        {
            var forge = new PacketForge(1) { IsPlain = true };
            var ends = new (int Fd, uint Peer, uint Own)[connections];
            for (int c = 0; c < connections; c++)
                ends[c] = Establish(link, forge, p, listener, (ushort)(2000 + c));
            long most = 0;
            for (int i = 0; i < 40_000; i++)
            {
                int c = i % connections;
                uint at = ends[c].Peer + (uint)(forge.Random.Below(2) == 0 ? 1000 * (i / connections) : 2 * forge.Random.Below(30_000));
                link.Inject(forge.Segment(false, 9, (ushort)(2000 + c), 80, at, ends[c].Own, PacketForge.Ack, [], 1 + forge.Random.Below(1000)));
                most = Math.Max(most, link.Stack.Tcp.Memory.Allocated * 4096);
            }
            // Each may have its minimum whatever the rest have.
            Assert.InRange(most, budget / 4, budget + (connections * 8192L));
            foreach ((int fd, uint _, uint _) in ends)
                p.Close(fd);
            link.Advance(Micros.FromSeconds(1000));
            Assert.Equal(0, link.Stack.Tcp.Memory.Allocated);
            Assert.Equal((0, 0), link.InUse);
        }
    }

    [Fact]
    public void A_flood_of_fragments_stays_within_its_bound()
    {
        (HostileLink link, Process _, int _) = Listening(8);
        using (link)
        {
            var forge = new PacketForge(1) { IsPlain = true };
            int most = 0;
            for (int i = 0; i < 30_000; i++)
            {
                link.Inject(forge.Piece((ushort)forge.Random.Below(65536), forge.Random.Below(4000), more: true, 8));
                most = Math.Max(most, link.InUse.Pages);
            }
            Assert.InRange(most, 1, 2000);
            link.Advance(Micros.FromSeconds(40));
            Assert.Equal((0, 0), link.InUse);
        }
    }
}
