using System;
using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Millrace.Wire;

/// <summary>
/// Where a stack's secrets come from: the system's generator, or, for a stack that must run the same way again, a seed.
/// </summary>
internal sealed class SecretSource
{
    private readonly Prng? _seeded;

    /// <param name="seed">The seed of a repeatable run; null draws from the operating system.</param>
    public SecretSource(ulong? seed) => _seeded = seed is { } s ? new Prng(s) : null;

    public SipKey NextKey()
    {
        Span<byte> bytes = stackalloc byte[16];
        Fill(bytes);
        return new SipKey(BinaryPrimitives.ReadUInt64LittleEndian(bytes), BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]));
    }

    public ulong NextSeed() => NextKey().K0;

    public void Fill(Span<byte> bytes)
    {
        if (_seeded is null)
            RandomNumberGenerator.Fill(bytes);
        else
            _seeded.Fill(bytes);
    }
}
