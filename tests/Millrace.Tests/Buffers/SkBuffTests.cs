using System;
using System.Linq;
using CsCheck;
using Millrace.Buffers;
using Millrace.Wire;

namespace Millrace.Tests.Buffers;

public sealed unsafe class SkBuffTests
{
    private static byte[] Bytes(SkBuff skb)
    {
        var all = new byte[skb.Length];
        skb.CopyTo(0, all);
        return all;
    }

    private static byte[] Count(int n) => [.. Enumerable.Range(0, n).Select(i => (byte)i)];

    [Fact]
    public void Headers_are_pushed_into_the_headroom_and_pulled_by_an_offset()
    {
        using var test = new TestCpu();
        SkBuff skb = test.Cpu.AllocSkb(SkBuff.TransmitHeadroom);
        Assert.Equal(SkBuff.TransmitHeadroom, skb.Headroom);
        new Span<byte>(skb.Push(20), 20).Fill(7);
        byte* data = skb.Data;
        skb.Pull(8);
        Assert.Equal((nint)(data + 8), (nint)skb.Data);
        Assert.Equal(12, skb.Length);
        test.Cpu.FreeSkb(skb);
    }

    [Fact]
    public void MayPull_makes_bytes_of_fragments_linear_and_keeps_their_order()
    {
        using var test = new TestCpu();
        SkBuff skb = test.Payload(Count(100));
        Assert.True(skb.MayPull(40, test.Cpu));
        Assert.Equal(40, skb.LinearLength);
        Assert.Equal(Count(100), Bytes(skb));
        Assert.False(skb.MayPull(101, test.Cpu));
        test.Cpu.FreeSkb(skb);
    }

    [Fact]
    public void Splitting_trimming_and_dropping_move_no_byte_and_lose_none() =>
        Gen.Select(Gen.Byte.Array[2, 3000], Gen.Int[1, 2999], Gen.Int[0, 3000]).Where(t => t.Item2 < t.Item1.Length).Sample((bytes, cut, drop) =>
        {
            using var test = new TestCpu();
            SkBuff skb = test.Payload(bytes), rest = test.Cpu.AllocSkb();
            byte* before = skb.Fragments[0].Data;
            skb.SplitTo(rest, cut, test.Cpu);
            bool sound = Bytes(skb).SequenceEqual(bytes[..cut]) && Bytes(rest).SequenceEqual(bytes[cut..])
                && skb.Fragments[0].Data == before;
            drop = Math.Min(drop, rest.Length);
            rest.DropFront(drop, test.Cpu);
            sound &= Bytes(rest).SequenceEqual(bytes[(cut + drop)..]);
            skb.Trim(cut / 2, test.Cpu);
            sound &= Bytes(skb).SequenceEqual(bytes[..(cut / 2)]);
            test.Cpu.FreeSkb(skb);
            test.Cpu.FreeSkb(rest);
            return sound;
        }, iter: 300);

    [Fact]
    public void TakeFront_moves_bytes_from_one_buffer_to_the_one_before()
    {
        using var test = new TestCpu();
        SkBuff a = test.Payload(Count(50)), b = test.Payload(Count(80));
        Assert.True(a.TakeFront(b, 30, test.Cpu));
        Assert.Equal([.. Count(50), .. Count(30)], Bytes(a));
        Assert.Equal(Count(80)[30..], Bytes(b));
        test.Cpu.FreeSkb(a);
        test.Cpu.FreeSkb(b);
    }

    [Fact]
    public void Coalescing_shares_the_page_and_leaves_a_shell()
    {
        using var test = new TestCpu();
        SkBuff a = test.Payload(Count(50));
        SkBuff b = test.Cpu.AllocLinear(80);
        Count(80).CopyTo(new Span<byte>(b.Put(80), 80));
        byte* data = b.Data;
        Assert.True(a.TryCoalesce(b, test.Cpu));
        Assert.Equal(0, b.Length);
        Assert.Equal((nint)data, (nint)a.Fragments[^1].Data);
        test.Cpu.FreeSkb(b);
        Assert.Equal([.. Count(50), .. Count(80)], Bytes(a));
        test.Cpu.FreeSkb(a);
    }

    [Fact]
    public void What_fits_behind_a_linear_part_is_copied_there()
    {
        using var test = new TestCpu();
        SkBuff a = test.Cpu.AllocLinear(1000), b = test.Cpu.AllocLinear(80);
        Count(50).CopyTo(new Span<byte>(a.Put(50), 50));
        Count(80).CopyTo(new Span<byte>(b.Put(80), 80));
        Assert.True(a.TryTakeIntoTail(b, test.Cpu));
        Assert.Equal((0, 0), (b.Length, a.FragmentCount));
        Assert.Equal([.. Count(50), .. Count(80)], Bytes(a));
        test.Cpu.FreeSkb(b);
        test.Cpu.FreeSkb(a);
    }

    [Fact]
    public void Nothing_is_copied_where_there_is_no_room_or_others_may_write_too()
    {
        using var test = new TestCpu();
        SkBuff a = test.Cpu.AllocLinear(1000), reader = test.Cpu.AllocSkb(), b = test.Cpu.AllocLinear(1990);
        a.Put(50);
        b.Put(1950);
        Assert.False(a.TryTakeIntoTail(b, test.Cpu));
        b.Trim(80, test.Cpu);
        reader.ShareRange(a, 0, 50, test.Cpu);
        Assert.False(a.TryTakeIntoTail(b, test.Cpu));
        Assert.Equal((50, 80), (a.Length, b.Length));
        test.Cpu.FreeSkb(reader);
        Assert.True(a.TryTakeIntoTail(b, test.Cpu));
        test.Cpu.FreeSkb(b);
        test.Cpu.FreeSkb(a);
    }

    [Fact]
    public void A_buffer_has_a_bounded_number_of_fragments()
    {
        using var test = new TestCpu();
        SkBuff whole = test.Payload(Count(1));
        int merged = 0;
        while (true)
        {
            SkBuff one = test.Cpu.AllocLinear(10);
            one.Put(10);
            bool fits = whole.TryCoalesce(one, test.Cpu);
            test.Cpu.FreeSkb(one);
            if (!fits)
                break;
            merged++;
        }
        Assert.Equal(SkBuff.MaxFragments - 1, merged);
        test.Cpu.FreeSkb(whole);
    }

    [Fact]
    public void The_sum_over_fragments_is_the_sum_over_the_bytes() =>
        Gen.Select(Gen.Byte.Array[1, 200], Gen.Byte.Array[1, 200], Gen.Int[0, 400]).Sample((a, b, from) =>
        {
            using var test = new TestCpu();
            byte[] all = [.. a, .. b];
            from = Math.Min(from, all.Length);
            SkBuff skb = test.Payload(a), other = test.Cpu.AllocLinear(b.Length);
            b.CopyTo(new Span<byte>(other.Put(b.Length), b.Length));
            Assert.True(skb.TryCoalesce(other, test.Cpu));
            ushort sum = Checksum.Fold(skb.Sum(from, 0)), expected = Checksum.Fold(Checksum.Partial(all.AsSpan(from)));
            test.Cpu.FreeSkb(other);
            test.Cpu.FreeSkb(skb);
            return sum == expected || (sum is 0 or 0xffff && expected is 0 or 0xffff);
        }, iter: 300);

    /// <summary>Buffers and pages go round: a million packets take no more memory than the first thousand.</summary>
    [Fact]
    public void The_pool_does_not_grow_in_the_steady_state()
    {
        using var test = new TestCpu();
        byte[] bytes = Count(1400);
        void Run(int packets)
        {
            for (int i = 0; i < packets; i++)
            {
                SkBuff skb = test.Payload(bytes);
                SkBuff linear = test.Cpu.AllocLinear(1400);
                test.Cpu.FreeSkb(skb);
                test.Cpu.FreeSkb(linear);
            }
        }
        Run(1000);
        (long memory, int buffers) = (test.Pool.AllocatedBytes, test.Pool.BufferCount);
        Run(100_000);
        Assert.Equal((memory, buffers), (test.Pool.AllocatedBytes, test.Pool.BufferCount));
    }

    [Fact]
    public void What_another_stack_frees_comes_home()
    {
        using TestCpu a = new(), b = new();
        for (int i = 0; i < 5000; i++)
        {
            SkBuff skb = a.Payload(Count(100));
            b.Cpu.FreeSkb(skb);
        }
        Assert.InRange(a.Pool.BufferCount, 1, 512);
        Assert.Equal(0, b.Pool.BufferCount);
    }
}
