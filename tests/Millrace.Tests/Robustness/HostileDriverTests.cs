using System;
using System.Collections.Generic;
using System.Net;
using System.Net.NetworkInformation;
using System.Runtime.InteropServices;
using System.Threading;
using Millrace.Tests.Scripted;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests.Robustness;

/// <summary>
/// A driver whose packets and offload headers lie: super-packets that are none, checksums to be filled in outside the packet, lengths of
/// headers that are not there. The stack drops what contradicts itself, under its name, and goes on.
/// </summary>
public sealed class HostileDriverTests
{
#if DEBUG
    private const int Packets = 30_000;
#else
    private const int Packets = 150_000;
#endif

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(3, true)]
    public void Offload_headers_that_lie_do_no_harm(ulong seed, bool ethernet)
    {
        using var stack = new NetStack(new NetStackOptions { Seed = seed });
        var driver = new LyingDriver(seed, Packets, ethernet);
        stack.AddDevice(driver);
        stack.AddAddress(driver.Name, HostileLink.Local4, 8);
        stack.AddAddress(driver.Name, HostileLink.Local6, 16);
        using TcpListener listener = stack.Listen(new IPEndPoint(HostileLink.Local4, 80));
        Assert.True(driver.Done.Wait(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken), "the packets are taken");
        Assert.True(stack.Cpus.Read(Mib.MillraceBadOffload) > Packets / 20, "some headers are refused");
        Assert.True(stack.Cpus.Read(Mib.TcpInSegs) > Packets / 20, "some segments get in");
        Assert.True(stack.Cpus.Read(Mib.TcpPassiveOpens) > 0, "some connect");
        if (!ethernet)
            return;
        Assert.True(stack.Counters.Drops["OTHER_HOST"] > Packets / 100, "some frames are for others");
        Assert.True(stack.ListNeighbours().Count <= 2 * stack.Sysctls.Neigh4.GcThresh3, "the tables are bounded");
    }

    private sealed class LyingDriver(ulong seed, int packets, bool ethernet) : NetDriver
    {
        private readonly PacketForge _forge = new(seed);
        private readonly SentPackets _sent = new();
        private readonly ManualResetEventSlim _wake = new();
        private int _left = packets;
        private readonly Queue<IPAddress> _asked = new();

        public ManualResetEventSlim Done { get; } = new();

        public override string Name => "liar";

        public override int Mtu => 1500;

        public override DriverFlags Flags => DriverFlags.Offload;

        public override PhysicalAddress? HardwareAddress => ethernet ? EthernetLink.StackMac.ToPhysicalAddress() : null;

        public override int Receive(int queue, ReadOnlySpan<IoVec> pieces, ref PacketOffload offload)
        {
            if (Volatile.Read(ref _left) == 0)
                return 0;
            if (--_left == 0)
                Done.Set();
            ReadOnlySpan<byte> packet;
            lock (_sent)
                packet = _forge.Next(_sent);
            offload = Lie(packet);
            int length = Scatter(ethernet ? Frame(packet) : packet, pieces);
            // Sometimes far more than the packet says: a super-packet's tail of whatever was in memory.
            return _forge.Random.Below(5) == 0 ? length + _forge.Random.Below(60_000) : length;
        }

        // Half true: the offsets of a real header, one field of which is then made up.
        private PacketOffload Lie(ReadOnlySpan<byte> packet)
        {
            Prng random = _forge.Random;
            bool v6 = packet.Length > 0 && packet[0] >> 4 == 6;
            var offload = new PacketOffload();
            if (random.Below(3) == 0)
                return offload;
            offload.Flags = (byte)random.Below(4);
            offload.ChecksumStart = (ushort)(v6 ? 40 : 20);
            offload.ChecksumOffset = 16;
            offload.ChecksumStart += (ushort)(ethernet ? EthernetHeader.Length : 0);
            offload.HeaderLength = (ushort)(offload.ChecksumStart + 20);
            if (random.Below(2) == 0)
            {
                offload.Flags |= PacketOffload.NeedsChecksum;
                offload.Kind = (byte)(v6 ? SegmentKind.TcpV6 : SegmentKind.TcpV4);
                offload.SegmentSize = (ushort)random.Below(1500);
            }
            switch (random.Below(8))
            {
                case 0: offload.ChecksumStart = (ushort)random.Below(65536); break;
                case 1: offload.ChecksumOffset = (ushort)random.Below(65536); break;
                case 2: offload.Kind = (byte)random.Below(256); break;
                case 3: offload.SegmentSize = (ushort)random.Below(65536); break;
                case 4: offload.HeaderLength = (ushort)random.Below(65536); break;
                case 5: offload.ChecksumStart = (ushort)random.Below(80); break;
            }
            return offload;
        }

        // Half the time the station that the stack asks for answers, so that its packets leave; the rest are frames, some of them odd.
        private ReadOnlySpan<byte> Frame(ReadOnlySpan<byte> packet)
        {
            Prng random = _forge.Random;
            lock (_sent)
            {
                if (random.Below(2) == 0 && _asked.TryDequeue(out IPAddress? asked))
                    return EthernetLink.Arp(ArpOperation.Reply, EthernetLink.PeerMac, asked, EthernetLink.StackMac, HostileLink.Local4);
            }
            bool v6 = packet.Length > 0 && packet[0] >> 4 == 6;
            MacAddr to = random.Below(10) == 0 ? new MacAddr(random.NextUInt64() & MacAddr.Broadcast.Value) : EthernetLink.StackMac;
            ushort type = random.Below(20) switch { 0 => 0x0806, 1 => 0x8100, 2 => (ushort)random.Below(65536), _ => (ushort)(v6 ? 0x86dd : 0x0800) };
            byte[] frame = EthernetLink.Frame(to, EthernetLink.PeerMac, type, packet);
            return random.Below(50) == 0 ? frame.AsSpan(0, 1 + random.Below(frame.Length)) : frame;
        }

        private static unsafe int Scatter(ReadOnlySpan<byte> packet, ReadOnlySpan<IoVec> pieces)
        {
            int at = 0;
            foreach (IoVec piece in pieces)
            {
                int take = (int)Math.Min(piece.Length, packet.Length - at);
                packet.Slice(at, take).CopyTo(new Span<byte>((void*)piece.Address, take));
                at += take;
            }
            return at;
        }

        // What the stack sends is answered, so that connections come about.
        public override unsafe int Transmit(int queue, ReadOnlySpan<IoVec> pieces, in PacketOffload offload)
        {
            var packet = new List<byte>();
            foreach (IoVec piece in pieces)
                packet.AddRange(new ReadOnlySpan<byte>((void*)piece.Address, (int)piece.Length));
            lock (_sent)
            {
                ReadOnlySpan<byte> sent = CollectionsMarshal.AsSpan(packet);
                if (ethernet)
                    sent = Open(sent);
                Span<byte> kept = _sent.Add(sent.Length);
                sent[..kept.Length].CopyTo(kept);
            }
            return packet.Count;
        }

        // The packet in a frame; whom it asks for, if it is a question.
        private ReadOnlySpan<byte> Open(ReadOnlySpan<byte> frame)
        {
            if (frame[12] == 8 && frame[13] == 6)
                _asked.Enqueue(new IPAddress(frame.Slice(38, 4)));
            return frame[EthernetHeader.Length..];
        }

        public override void Wait(int queue, TimeSpan timeout)
        {
            if (Volatile.Read(ref _left) > 0)
                return;
            _wake.Wait(timeout < TimeSpan.Zero ? Timeout.InfiniteTimeSpan : timeout);
            _wake.Reset();
        }

        public override void Wake(int queue) => _wake.Set();

        protected override void Dispose(bool disposing)
        {
        }
    }
}
