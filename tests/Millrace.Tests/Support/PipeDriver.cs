using System;
using System.Collections.Concurrent;
using System.Linq;
using System.Threading;

namespace Millrace.Tests.Support;

/// <summary>A cable between two stacks whose copy stands for the device's own memory access; what one sends on a queue, the other
/// receives on the same.</summary>
internal sealed class PipeDriver(bool offload, int queues = 1) : NetDriver
{
    private readonly Line[] _lines = [.. Enumerable.Range(0, queues).Select(static _ => new Line())];

    /// <summary>The other end.</summary>
    public PipeDriver? Peer { get; set; }

    /// <summary>Sees each packet that is sent, on the sending thread.</summary>
    public Action<int, byte[]>? Sent { get; set; }

    public override string Name => "eth0";

    public override int Mtu => 1500;

    public override int Queues => queues;

    public override DriverFlags Flags => offload ? DriverFlags.Offload : DriverFlags.None;

    public override unsafe int Receive(int queue, ReadOnlySpan<IoVec> pieces, ref PacketOffload offload)
    {
        if (!_lines[queue].Incoming.TryDequeue(out (byte[] Bytes, PacketOffload Offload) packet))
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
        Sent?.Invoke(queue, bytes);
        Peer!._lines[queue].Incoming.Enqueue((bytes, offload));
        Peer.Wake(queue);
        return length;
    }

    public override void Wait(int queue, TimeSpan timeout)
    {
        Line line = _lines[queue];
        if (line.Incoming.IsEmpty)
            line.Awake.Wait(timeout < TimeSpan.Zero ? Timeout.InfiniteTimeSpan : timeout);
        line.Awake.Reset();
    }

    public override void Wake(int queue) => _lines[queue].Awake.Set();

    protected override void Dispose(bool disposing)
    {
    }

    private sealed class Line
    {
        public readonly ConcurrentQueue<(byte[] Bytes, PacketOffload Offload)> Incoming = new();
        public readonly ManualResetEventSlim Awake = new();
    }
}
