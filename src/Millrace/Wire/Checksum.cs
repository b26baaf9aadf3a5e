using System;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Millrace.Wire;

/// <summary>
/// The Internet checksum: the one's complement sum of 16-bit words. Sums are kept in the byte order of memory, which the
/// algorithm allows, so nothing is swapped until a byte of odd offset makes it necessary.
/// </summary>
/// <remarks>RFC 1071, RFC 1624. Linux: csum_partial, csum_fold, csum_block_add, csum_partial_copy.</remarks>
internal static unsafe class Checksum
{
    /// <summary>Below this many bytes the scalar loop wins over setting up vectors (measured).</summary>
    private const int VectorThreshold = 64;

    /// <summary>The 32-bit partial sum of the bytes; any number of partial sums of even-length pieces may be added up.</summary>
    public static uint Partial(ReadOnlySpan<byte> data, uint seed = 0)
    {
        fixed (byte* p = data)
            return Partial(p, data.Length, seed);
    }

    /// <summary>The 32-bit partial sum of <paramref name="length"/> bytes at <paramref name="p"/>.</summary>
    public static uint Partial(byte* p, int length, uint seed = 0)
    {
        ulong sum = seed;
        if (length >= VectorThreshold && Vector256.IsHardwareAccelerated)
            sum += SumVector(ref p, ref length);
        return Narrow(sum + SumScalar(p, length));
    }

    /// <summary>Copies and sums in one pass over the source.</summary>
    public static uint Copy(byte* source, byte* target, int length, uint seed = 0)
    {
        ulong sum = seed;
        if (length >= VectorThreshold && Vector256.IsHardwareAccelerated)
        {
            var mask = Vector256.Create(0xffff_ffffUL);
            var even = Vector256<ulong>.Zero;
            var odd = Vector256<ulong>.Zero;
            while (length >= 64)
            {
                var a = Vector256.Load(source);
                var b = Vector256.Load(source + 32);
                a.Store(target);
                b.Store(target + 32);
                even += (a.AsUInt64() & mask) + (b.AsUInt64() & mask);
                odd += (a.AsUInt64() >>> 32) + (b.AsUInt64() >>> 32);
                source += 64;
                target += 64;
                length -= 64;
            }
            sum += Vector256.Sum(even + odd);
        }
        Unsafe.CopyBlockUnaligned(target, source, (uint)length);
        return Narrow(sum + SumScalar(source, length));
    }

    /// <summary>Adds the partial sum of a block that starts at <paramref name="offset"/> bytes into the whole. Linux: csum_block_add.</summary>
    public static uint AddBlock(uint sum, uint block, int offset)
    {
        if ((offset & 1) != 0)
            block = uint.RotateRight(block, 8);
        return Narrow((ulong)sum + block);
    }

    /// <summary>Folds a partial sum to 16 bits, not complemented, in memory order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort Fold(uint sum)
    {
        sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)(sum + (sum >> 16));
    }

    /// <summary>The checksum to store: the folded sum's complement, in memory order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort Finish(uint sum) => (ushort)~Fold(sum);

    /// <summary>The partial sum of the pseudo-header: addresses, protocol and length. RFC 9293 §3.1, RFC 8200 §8.1.</summary>
    public static uint PseudoHeader(IpAddr source, IpAddr destination, byte protocol, int length)
    {
        if (source.IsV4)
            return Narrow((ulong)Memory32(source.V4) + Memory32(destination.V4) + Memory16(protocol) + Memory16((ushort)length));
        return Narrow(Sum64(source.High) + Sum64(source.Low) + Sum64(destination.High) + Sum64(destination.Low)
            + Memory32((uint)length) + Memory16(protocol));
    }

    /// <summary>
    /// A checksum after one 16-bit word of the covered bytes changed. RFC 1624 §3, equation 3. All in memory order.
    /// </summary>
    public static ushort Update16(ushort checksum, ushort before, ushort after) =>
        Finish((uint)(ushort)~checksum + (ushort)~before + after);

    private static ulong Sum64(ulong hostOrder) => (ulong)Memory32((uint)(hostOrder >> 32)) + Memory32((uint)hostOrder);

    private static uint Memory32(uint hostOrder) =>
        BitConverter.IsLittleEndian ? System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(hostOrder) : hostOrder;

    private static ushort Memory16(ushort hostOrder) =>
        BitConverter.IsLittleEndian ? System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(hostOrder) : hostOrder;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Narrow(ulong sum)
    {
        sum = (sum & 0xffff_ffff) + (sum >> 32);
        return (uint)(sum + (sum >> 32));
    }

    // Each 64-bit lane is split into its two 32-bit halves, so that 2^32 additions cannot overflow a lane and no step carries.
    private static ulong SumVector(ref byte* p, ref int length)
    {
        var mask = Vector256.Create(0xffff_ffffUL);
        Vector256<ulong> s0 = default, s1 = default, s2 = default, s3 = default;
        while (length >= 128)
        {
            var a = Vector256.Load(p).AsUInt64();
            var b = Vector256.Load(p + 32).AsUInt64();
            var c = Vector256.Load(p + 64).AsUInt64();
            var d = Vector256.Load(p + 96).AsUInt64();
            s0 += (a & mask) + (a >>> 32);
            s1 += (b & mask) + (b >>> 32);
            s2 += (c & mask) + (c >>> 32);
            s3 += (d & mask) + (d >>> 32);
            p += 128;
            length -= 128;
        }
        while (length >= 32)
        {
            var a = Vector256.Load(p).AsUInt64();
            s0 += (a & mask) + (a >>> 32);
            p += 32;
            length -= 32;
        }
        return Vector256.Sum(s0 + s1 + s2 + s3);
    }

    private static ulong SumScalar(byte* p, int length)
    {
        ulong sum = 0;
        while (length >= 8)
        {
            ulong v = Unsafe.ReadUnaligned<ulong>(p);
            sum += (v & 0xffff_ffff) + (v >> 32);
            p += 8;
            length -= 8;
        }
        if ((length & 4) != 0)
        {
            sum += Unsafe.ReadUnaligned<uint>(p);
            p += 4;
        }
        if ((length & 2) != 0)
        {
            sum += Unsafe.ReadUnaligned<ushort>(p);
            p += 2;
        }
        if ((length & 1) != 0)
            sum += BitConverter.IsLittleEndian ? *p : (uint)(*p << 8);
        return sum;
    }
}
