using System;
using System.Collections.Generic;
using System.Threading;

namespace Millrace.Native;

/// <summary>A device whose other side is the program: it is given what the stack sends, and hands in what the stack receives.</summary>
internal sealed unsafe class CallbackDevice(string name, int mtu, delegate* unmanaged<nint, byte*, nuint, void> transmit, nint user)
    : NetDriver
{
    /// <summary>Packets that may wait for the stack; more are refused.</summary>
    private const int MaxWaiting = 4096;

    private readonly Queue<byte[]> _waiting = new();
    private readonly AutoResetEvent _event = new(initialState: false);

    public override string Name => name;

    public override int Mtu => mtu;

    /// <summary>Hands a packet in, from any thread. False: too many wait already.</summary>
    public bool TryReceive(ReadOnlySpan<byte> packet)
    {
        lock (_waiting)
        {
            if (_waiting.Count >= MaxWaiting)
                return false;
            _waiting.Enqueue(packet.ToArray());
        }
        _event.Set();
        return true;
    }

    public override int Receive(int queue, ReadOnlySpan<IoVec> pieces, ref PacketOffload offload)
    {
        byte[]? packet;
        lock (_waiting)
        {
            if (!_waiting.TryDequeue(out packet))
                return 0;
        }
        int done = 0;
        foreach (IoVec piece in pieces)
        {
            int take = Math.Min(packet.Length - done, (int)piece.Length);
            packet.AsSpan(done, take).CopyTo(new Span<byte>((void*)piece.Address, take));
            done += take;
        }
        return done;
    }

    public override int Transmit(int queue, ReadOnlySpan<IoVec> pieces, in PacketOffload offload)
    {
        int length = 0;
        foreach (IoVec piece in pieces)
            length += (int)piece.Length;
        byte[] packet = new byte[length];
        int done = 0;
        foreach (IoVec piece in pieces)
        {
            new ReadOnlySpan<byte>((void*)piece.Address, (int)piece.Length).CopyTo(packet.AsSpan(done));
            done += (int)piece.Length;
        }
        fixed (byte* p = packet)
            transmit(user, p, (nuint)length);
        return length;
    }

    public override void Wait(int queue, TimeSpan timeout) => _event.WaitOne(timeout);

    public override void Wake(int queue) => _event.Set();

    protected override void Dispose(bool disposing) => _event.Dispose();
}
