using System;
using System.Collections.Concurrent;
using System.Net;
using System.Threading;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tests.Cost;

/// <summary>
/// A payload byte is copied by the CPU once on its way out, into the buffer that the device sends, and once on its way in, from the
/// device's memory to the caller's; and nowhere between.
/// </summary>
public sealed class CopyTests
{
    private const int Bytes = 5_000_000;

    private static readonly IPEndPoint Service = new(IPAddress.Parse("10.0.0.2"), 80);

    [Fact]
    public void Over_the_wire()
    {
        var client = new NetStack();
        var server = new NetStack();
        NetStack.Wire(client, "eth0", server, "eth0");
        AssertOneCopyEachWay(client, server);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Through_drivers(bool offload)
    {
        var client = new NetStack();
        var server = new NetStack();
        var near = new PipeDriver(offload);
        var far = new PipeDriver(offload);
        near.Peer = far;
        far.Peer = near;
        client.AddDevice(near);
        server.AddDevice(far);
        AssertOneCopyEachWay(client, server);
    }

    private static void AssertOneCopyEachWay(NetStack client, NetStack server)
    {
        using (client)
        using (server)
        {
            client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
            server.AddAddress("eth0", Service.Address, 24);
            using TcpListener listener = server.Listen(Service);
            var receive = new Thread(() =>
            {
                using TcpConnection far = listener.Accept();
                var buffer = new byte[30_000];
                int n, got = 0;
                while ((n = far.Receive(buffer)) > 0)
                    got += n;
                far.Send(BitConverter.GetBytes(got));
            });
            receive.Start();
            using TcpConnection near = client.Connect(Service);
            near.Send(new byte[Bytes]);
            near.Shutdown(System.Net.Sockets.SocketShutdown.Send);
            var answer = new byte[4];
            Assert.Equal(4, near.Receive(answer, MessageFlags.WaitAll));
            receive.Join();
            Assert.Equal(Bytes, BitConverter.ToInt32(answer));
            Assert.Equal(Bytes, client.Cpus.Read(Mib.MillraceCopiedOutBytes));
            Assert.Equal(4, client.Cpus.Read(Mib.MillraceCopiedInBytes));
            Assert.Equal(Bytes, server.Cpus.Read(Mib.MillraceCopiedInBytes));
            Assert.Equal(4, server.Cpus.Read(Mib.MillraceCopiedOutBytes));
            Assert.Equal(0, CopiedInside(client) + CopiedInside(server));
        }
    }

    private static long CopiedInside(NetStack stack)
    {
        long sum = 0;
        foreach (Cpu cpu in stack.Cpus.Cpus)
            sum += cpu.AppendedBytes;
        return sum;
    }

    /// <summary>A cable between two stacks whose copy stands for the device's own memory access.</summary>
    private sealed class PipeDriver(bool offload) : NetDriver
    {
        private readonly ConcurrentQueue<(byte[] Bytes, PacketOffload Offload)> _incoming = new();
        private readonly ManualResetEventSlim _wake = new();

        public PipeDriver? Peer { get; set; }

        public override string Name => "eth0";

        public override int Mtu => 1500;

        public override DriverFlags Flags => offload ? DriverFlags.Offload : DriverFlags.None;

        public override unsafe int Receive(int queue, ReadOnlySpan<IoVec> pieces, ref PacketOffload offload)
        {
            if (!_incoming.TryDequeue(out (byte[] Bytes, PacketOffload Offload) packet))
                return 0;
            offload = packet.Offload;
            int at = 0;
            foreach (IoVec piece in pieces)
            {
                int take = (int)Math.Min(piece.Length, packet.Bytes.Length - at);
                packet.Bytes.AsSpan(at, take).CopyTo(new Span<byte>((void*)piece.Address, take));
                at += take;
            }
            return at;
        }

        public override unsafe int Transmit(int queue, ReadOnlySpan<IoVec> pieces, in PacketOffload offload)
        {
            int length = 0;
            foreach (IoVec piece in pieces)
                length += (int)piece.Length;
            var bytes = new byte[length];
            int at = 0;
            foreach (IoVec piece in pieces)
            {
                new Span<byte>((void*)piece.Address, (int)piece.Length).CopyTo(bytes.AsSpan(at));
                at += (int)piece.Length;
            }
            Peer!._incoming.Enqueue((bytes, offload));
            Peer.Wake(0);
            return length;
        }

        public override void Wait(int queue, TimeSpan timeout)
        {
            if (_incoming.IsEmpty)
                _wake.Wait(timeout < TimeSpan.Zero ? Timeout.InfiniteTimeSpan : timeout);
            _wake.Reset();
        }

        public override void Wake(int queue) => _wake.Set();

        protected override void Dispose(bool disposing)
        {
        }
    }
}
