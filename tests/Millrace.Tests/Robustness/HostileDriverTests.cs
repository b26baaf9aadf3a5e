using System;
using System.Net;
using System.Threading;
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
    [InlineData(1)]
    [InlineData(2)]
    public void Offload_headers_that_lie_do_no_harm(ulong seed)
    {
        using var stack = new NetStack(new NetStackOptions { Seed = seed });
        var driver = new LyingDriver(seed, Packets);
        stack.AddDevice(driver);
        stack.AddAddress(driver.Name, HostileLink.Local4, 8);
        stack.AddAddress(driver.Name, HostileLink.Local6, 16);
        using TcpListener listener = stack.Listen(new IPEndPoint(HostileLink.Local4, 80));
        Assert.True(driver.Done.Wait(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken), "the packets are taken");
        Assert.True(stack.Cpus.Read(Mib.MillraceBadOffload) > Packets / 20, "some headers are refused");
        Assert.True(stack.Cpus.Read(Mib.TcpInSegs) > Packets / 20, "some segments get in");
        Assert.True(stack.Cpus.Read(Mib.TcpPassiveOpens) > 0, "some connect");
    }

    private sealed class LyingDriver(ulong seed, int packets) : NetDriver
    {
        private readonly PacketForge _forge = new(seed);
        private readonly SentPackets _sent = new();
        private readonly ManualResetEventSlim _wake = new();
        private int _left = packets;

        public ManualResetEventSlim Done { get; } = new();

        public override string Name => "liar";

        public override int Mtu => 1500;

        public override DriverFlags Flags => DriverFlags.Offload;

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
            int length = Scatter(packet, pieces);
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
            int length = 0;
            foreach (IoVec piece in pieces)
                length += (int)piece.Length;
            lock (_sent)
            {
                Span<byte> kept = _sent.Add(length);
                foreach (IoVec piece in pieces)
                {
                    int take = (int)Math.Min(piece.Length, kept.Length);
                    new ReadOnlySpan<byte>((void*)piece.Address, take).CopyTo(kept);
                    kept = kept[take..];
                }
            }
            return length;
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
