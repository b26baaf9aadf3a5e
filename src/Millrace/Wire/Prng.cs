using System;
using System.Numerics;

namespace Millrace.Wire;

/// <summary>
/// The stack's own pseudo-random generator (xoshiro256**, seeded by SplitMix64): the same seed gives the same run on every
/// platform and .NET version. For one thread at a time; see <see cref="SharedPrng"/>. Not for secrets: keys come from <see cref="SecretSource"/>.
/// </summary>
internal sealed class Prng
{
    private ulong _a, _b, _c, _d;

    public Prng(ulong seed)
    {
        _a = SplitMix(ref seed);
        _b = SplitMix(ref seed);
        _c = SplitMix(ref seed);
        _d = SplitMix(ref seed);
    }

    public ulong NextUInt64()
    {
        ulong result = BitOperations.RotateLeft(_b * 5, 7) * 9;
        ulong t = _b << 17;
        _c ^= _a;
        _d ^= _b;
        _b ^= _c;
        _a ^= _d;
        _c ^= t;
        _d = BitOperations.RotateLeft(_d, 45);
        return result;
    }

    public uint NextUInt32() => (uint)(NextUInt64() >> 32);

    /// <summary>A number in [0, <paramref name="bound"/>). Linux: get_random_u32_below.</summary>
    public uint Below(uint bound) => (uint)(((ulong)NextUInt32() * bound) >> 32);

    public int Below(int bound) => (int)Below((uint)bound);

    /// <summary>A number in [0, 1).</summary>
    public double NextDouble() => (NextUInt64() >> 11) * (1.0 / (1UL << 53));

    /// <summary>Whether an event of this probability happens now. Draws nothing for a probability of 0.</summary>
    public bool Chance(double probability) => probability > 0 && NextDouble() < probability;

    public void Fill(Span<byte> bytes)
    {
        foreach (ref byte b in bytes)
            b = (byte)(NextUInt64() >> 56);
    }

    /// <summary>The step between states of SplitMix64.</summary>
    internal const ulong GoldenRatio = 0x9e37_79b9_7f4a_7c15;

    private static ulong SplitMix(ref ulong state) => Mix(state += GoldenRatio);

    /// <summary>SplitMix64's output for a state: one to one.</summary>
    internal static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xbf58_476d_1ce4_e5b9;
        z = (z ^ (z >> 27)) * 0x94d0_49bb_1331_11eb;
        return z ^ (z >> 31);
    }
}
