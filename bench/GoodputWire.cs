using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using Millrace.Devices;
using Millrace.Sched;

namespace Millrace.Bench;

/// <summary>One direction of a path between two devices in real time: what one hands out, the other gets, as the impairment has it.</summary>
internal sealed unsafe class GoodputWire : IDisposable
{
    private const int PacketBytes = 2048;
    private static readonly TimeSpan s_idle = TimeSpan.FromMilliseconds(100);

    private readonly NetDriver _from, _to;
    private readonly ImpairedLine<(byte[] Bytes, int Length)> _line;
    private readonly Stack<byte[]> _free = new();
    private readonly Thread _thread;
    private volatile bool _stop;

    public GoodputWire(NetDriver from, NetDriver to, ImpairmentOptions options)
    {
        _from = from;
        _to = to;
        _line = new ImpairedLine<(byte[], int)>(options);
        _thread = new Thread(Run);
        _thread.Start();
    }

    public void Dispose()
    {
        _stop = true;
        _from.Wake(0);
        _thread.Join();
    }

    private static Micros Now => Micros.From(Stopwatch.GetElapsedTime(0));

    private void Run()
    {
        NetSpace.GoFirst();
        while (!_stop)
        {
            while (TryTakeIn())
            {
            }
            LetOut();
            TimeSpan wait = _line.Next == Micros.Never ? s_idle : (_line.Next - Now).ToTimeSpan();
            if (wait > TimeSpan.Zero)
                _from.Wait(0, wait);
        }
    }

    private bool TryTakeIn()
    {
        byte[] buffer = _free.TryPop(out byte[]? old) ? old : GC.AllocateUninitializedArray<byte>(PacketBytes, pinned: true);
        PacketOffload none = default;
        int length = _from.Receive(0, [Piece(buffer, PacketBytes)], ref none);
        if (length <= 0 || _line.Judge().Lost || !_line.TryEnqueue(Now, length, (buffer, length)))
            _free.Push(buffer);
        return length > 0;
    }

    private void LetOut()
    {
        while (_line.TryDequeue(Now, out (byte[] Bytes, int Length) packet))
        {
            _to.Transmit(0, [Piece(packet.Bytes, packet.Length)], default);
            _free.Push(packet.Bytes);
        }
    }

    // The array is pinned.
    private static IoVec Piece(byte[] bytes, int length)
    {
        fixed (byte* p = bytes)
            return new IoVec((nint)p, length);
    }
}
