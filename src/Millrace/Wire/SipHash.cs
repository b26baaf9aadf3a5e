using System;
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace Millrace.Wire;

/// <summary>A 128-bit secret for <see cref="SipHash"/>.</summary>
internal readonly record struct SipKey(ulong K0, ulong K1);

/// <summary>
/// SipHash (Aumasson and Bernstein): a keyed hash that a peer who does not know the key cannot steer. The 1-3 variant guards
/// tables; the 2-4 variant makes sequence numbers and cookies.
/// </summary>
/// <remarks>Linux: siphash, hsiphash.</remarks>
internal static class SipHash
{
    public static ulong Hash13(in SipKey key, ulong a, ulong b)
    {
        var s = new State(key, 16);
        s.Compress1(a);
        s.Compress1(b);
        return s.Finish1();
    }

    public static ulong Hash13(in SipKey key, ulong a, ulong b, ulong c, ulong d, ulong e)
    {
        var s = new State(key, 40);
        s.Compress1(a);
        s.Compress1(b);
        s.Compress1(c);
        s.Compress1(d);
        s.Compress1(e);
        return s.Finish1();
    }

    public static ulong Hash24(in SipKey key, ulong a, ulong b)
    {
        var s = new State(key, 16);
        s.Compress2(a);
        s.Compress2(b);
        return s.Finish2();
    }

    public static ulong Hash24(in SipKey key, ulong a, ulong b, ulong c, ulong d, ulong e)
    {
        var s = new State(key, 40);
        s.Compress2(a);
        s.Compress2(b);
        s.Compress2(c);
        s.Compress2(d);
        s.Compress2(e);
        return s.Finish2();
    }

    /// <summary>SipHash-2-4 of any number of bytes, as published.</summary>
    public static ulong Hash24(in SipKey key, ReadOnlySpan<byte> data)
    {
        var s = new State(key, data.Length);
        while (data.Length >= 8)
        {
            s.Compress2(BinaryPrimitives.ReadUInt64LittleEndian(data));
            data = data[8..];
        }
        ulong tail = 0;
        for (int i = data.Length - 1; i >= 0; i--)
            tail = (tail << 8) | data[i];
        s.Tail |= tail;
        return s.Finish2();
    }

    private struct State
    {
        private ulong _v0, _v1, _v2, _v3;
        public ulong Tail;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public State(in SipKey key, int length)
        {
            _v0 = 0x736f_6d65_7073_6575 ^ key.K0;
            _v1 = 0x646f_7261_6e64_6f6d ^ key.K1;
            _v2 = 0x6c79_6765_6e65_7261 ^ key.K0;
            _v3 = 0x7465_6462_7974_6573 ^ key.K1;
            Tail = (ulong)length << 56;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private void Round()
        {
            _v0 += _v1;
            _v1 = BitOperations.RotateLeft(_v1, 13) ^ _v0;
            _v0 = BitOperations.RotateLeft(_v0, 32);
            _v2 += _v3;
            _v3 = BitOperations.RotateLeft(_v3, 16) ^ _v2;
            _v0 += _v3;
            _v3 = BitOperations.RotateLeft(_v3, 21) ^ _v0;
            _v2 += _v1;
            _v1 = BitOperations.RotateLeft(_v1, 17) ^ _v2;
            _v2 = BitOperations.RotateLeft(_v2, 32);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Compress1(ulong m)
        {
            _v3 ^= m;
            Round();
            _v0 ^= m;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Compress2(ulong m)
        {
            _v3 ^= m;
            Round();
            Round();
            _v0 ^= m;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public ulong Finish1()
        {
            Compress1(Tail);
            _v2 ^= 0xff;
            Round();
            Round();
            Round();
            return _v0 ^ _v1 ^ _v2 ^ _v3;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public ulong Finish2()
        {
            Compress2(Tail);
            _v2 ^= 0xff;
            Round();
            Round();
            Round();
            Round();
            return _v0 ^ _v1 ^ _v2 ^ _v3;
        }
    }
}
