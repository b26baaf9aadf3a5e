using System.Threading;

namespace Millrace.Wire;

/// <summary>
/// A pseudo-random generator that any thread may draw from at any time (SplitMix64 over a counter): what one draws, no other does. The
/// same seed gives the same numbers in the order in which they are drawn. Not for secrets: keys come from <see cref="SecretSource"/>.
/// </summary>
internal sealed class SharedPrng(ulong seed)
{
    private ulong _counter = seed;

    public ulong NextUInt64() => Prng.Mix(Interlocked.Add(ref _counter, Prng.GoldenRatio));

    public uint NextUInt32() => (uint)(NextUInt64() >> 32);

    /// <summary>A number in [0, <paramref name="bound"/>). Linux: get_random_u32_below.</summary>
    public uint Below(uint bound) => (uint)(((ulong)NextUInt32() * bound) >> 32);

    public int Below(int bound) => (int)Below((uint)bound);
}
