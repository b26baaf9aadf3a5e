using System;
using System.Runtime.CompilerServices;

namespace Millrace.Wire;

/// <summary>
/// The hash with which network cards spread flows over their queues: each set bit of the input adds the 32 bits of the key that start
/// at the bit's own place.
/// </summary>
/// <remarks>Microsoft, "RSS hashing functions", whose examples the tests use. Linux: netdev_rss_key.</remarks>
internal sealed class Toeplitz
{
    /// <summary>Addresses and ports of two IPv6 ends, in bytes.</summary>
    public const int MaxInput = 36;

    /// <summary>Bytes of a key.</summary>
    public const int KeyLength = MaxInput + 4;

    // What each value of each input byte adds.
    private readonly uint[] _table = new uint[MaxInput * 256];

    /// <param name="key"><see cref="KeyLength"/> bytes; whoever knows them can choose flows that share a queue.</param>
    public Toeplitz(ReadOnlySpan<byte> key)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(key.Length, KeyLength);
        for (int at = 0; at < MaxInput; at++)
        {
            ulong window = 0;
            foreach (byte b in key.Slice(at, 5))
                window = window << 8 | b;
            Span<uint> row = _table.AsSpan(at * 256, 256);
            for (int bit = 0; bit < 8; bit++)
            {
                uint add = (uint)(window >> 8 - bit);
                int mask = 0x80 >> bit;
                for (int value = 0; value < 256; value++)
                    row[value] ^= (value & mask) != 0 ? add : 0;
            }
        }
    }

    /// <summary>The hash of at most <see cref="MaxInput"/> bytes: source and destination address, source and destination port.</summary>
    public uint Hash(ReadOnlySpan<byte> input)
    {
        uint hash = 0;
        for (int at = 0; at < input.Length; at++)
            hash ^= _table[at * 256 + input[at]];
        return hash;
    }

    /// <summary>Spreads a hash evenly over <paramref name="count"/> places. Linux: reciprocal_scale.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Scale(uint hash, int count) => (int)((ulong)hash * (uint)count >> 32);
}
