using System;
using CsCheck;
using Millrace.Wire;

namespace Millrace.Tests.Wire;

public sealed unsafe class ChecksumTests
{
    // RFC 1071 §4.1, a byte at a time, in network order.
    private static ushort Reference(ReadOnlySpan<byte> bytes)
    {
        uint sum = 0;
        for (int i = 0; i < bytes.Length; i++)
            sum += (uint)(i % 2 == 0 ? bytes[i] << 8 : bytes[i]);
        while (sum >> 16 != 0)
            sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)~sum;
    }

    private static ushort NetworkOrder(ushort memoryOrder) =>
        BitConverter.IsLittleEndian ? System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(memoryOrder) : memoryOrder;

    // Zero has two representations; both verify.
    private static bool Same(ushort a, ushort b) => a == b || (a is 0 or 0xffff && b is 0 or 0xffff);

    [Fact]
    public void Every_length_at_every_alignment_agrees_with_the_scalar_sum()
    {
        var random = new Prng(1);
        var bytes = new byte[700];
        random.Fill(bytes);
        for (int start = 0; start < 33; start++)
        {
            for (int length = 0; length <= 600; length++)
            {
                ReadOnlySpan<byte> piece = bytes.AsSpan(start, length);
                ushort sum = NetworkOrder(Checksum.Finish(Checksum.Partial(piece)));
                Assert.True(Same(Reference(piece), sum), $"start {start}, length {length}");
            }
        }
    }

    [Fact]
    public void All_ones_do_not_overflow()
    {
        var bytes = new byte[65536];
        Array.Fill(bytes, (byte)0xff);
        Assert.True(Same(Reference(bytes), NetworkOrder(Checksum.Finish(Checksum.Partial(bytes, uint.MaxValue)))));
    }

    [Fact]
    public void Copy_copies_and_sums_alike() => Gen.Byte.Array[0, 500].Sample(bytes =>
    {
        var target = new byte[bytes.Length + 2];
        uint sum;
        fixed (byte* s = bytes, t = target)
            sum = Checksum.Copy(s, t + 1, bytes.Length);
        return target.AsSpan(1, bytes.Length).SequenceEqual(bytes)
            && Same(Checksum.Finish(sum), Checksum.Finish(Checksum.Partial(bytes)));
    });

    [Fact]
    public void A_block_at_an_odd_offset_is_turned() => Gen.Select(Gen.Byte.Array[0, 300], Gen.Byte.Array[0, 300]).Sample((a, b) =>
    {
        byte[] whole = [.. a, .. b];
        uint sum = Checksum.AddBlock(Checksum.Partial(a), Checksum.Partial(b), a.Length);
        return Same(Checksum.Finish(sum), Checksum.Finish(Checksum.Partial(whole)));
    });

    [Fact]
    public void A_changed_word_changes_the_checksum_as_summing_again_would() =>
        Gen.Select(Gen.Byte.Array[20, 60], Gen.Int[0, 9], Gen.UShort).Sample((bytes, word, value) =>
        {
            ushort before = Checksum.Finish(Checksum.Partial(bytes));
            ushort old = BitConverter.ToUInt16(bytes, 2 * word);
            BitConverter.TryWriteBytes(bytes.AsSpan(2 * word), value);
            return Same(Checksum.Update16(before, old, value), Checksum.Finish(Checksum.Partial(bytes)));
        });
}
