using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace Millrace.Wire;

/// <summary>Big-endian access to memory whose length the caller has proven.</summary>
internal static unsafe class Be
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort Get16(byte* p) => BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ushort>(p));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Get32(byte* p) => BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<uint>(p));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Get64(byte* p) => BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ulong>(p));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Put16(byte* p, ushort v) => Unsafe.WriteUnaligned(p, BinaryPrimitives.ReverseEndianness(v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Put32(byte* p, uint v) => Unsafe.WriteUnaligned(p, BinaryPrimitives.ReverseEndianness(v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Put64(byte* p, ulong v) => Unsafe.WriteUnaligned(p, BinaryPrimitives.ReverseEndianness(v));

    /// <summary>Stores a checksum, which is kept in memory order, as it is.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutRaw16(byte* p, ushort memoryOrder) => Unsafe.WriteUnaligned(p, memoryOrder);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort GetRaw16(byte* p) => Unsafe.ReadUnaligned<ushort>(p);
}
