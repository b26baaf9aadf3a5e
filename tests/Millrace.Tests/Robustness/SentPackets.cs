using System;

namespace Millrace.Tests.Robustness;

/// <summary>The last packets that a stack has sent, for a forger to answer.</summary>
internal sealed class SentPackets
{
    public const int Remembered = 64;

    private const int MaxPacket = 2048;

    private readonly byte[][] _packets = new byte[Remembered][];
    private readonly int[] _lengths = new int[Remembered];
    private readonly byte[] _copy = new byte[MaxPacket];
    private long _count;

    /// <summary>Room for a packet of <paramref name="length"/> bytes, as far as they are kept; fill it before the next call.</summary>
    public Span<byte> Add(int length)
    {
        int slot = (int)(_count++ % Remembered);
        _packets[slot] ??= new byte[MaxPacket];
        _lengths[slot] = Math.Min(length, MaxPacket);
        return _packets[slot].AsSpan(0, _lengths[slot]);
    }

    /// <summary>The packet sent so many before the last one; empty if there was none.</summary>
    public ReadOnlySpan<byte> this[int back]
    {
        get
        {
            if (back >= _count)
                return default;
            int slot = (int)((_count - 1 - back) % Remembered);
            _packets[slot].CopyTo(_copy, 0);
            return _copy.AsSpan(0, _lengths[slot]);
        }
    }
}
