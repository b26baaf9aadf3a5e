using System;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class OutgoingOptionsTests
{
    private static readonly SeqRange s_block = new(new SeqNumber(1), new SeqNumber(2));

    private static EcnBytes Counters(uint ect1, uint ce, uint ect0)
    {
        EcnBytes bytes = default;
        (bytes[0], bytes[1], bytes[2]) = (ect1, ect0, ce);
        return bytes;
    }

    private static unsafe string Written(in OutgoingOptions options)
    {
        byte* bytes = stackalloc byte[64];
        new Span<byte>(bytes, 64).Fill(0xee);
        options.Write(bytes);
        for (int i = options.Size; i < 64; i++)
            Assert.Equal(0xee, bytes[i]);
        return Convert.ToHexStringLower(new ReadOnlySpan<byte>(bytes, options.Size));
    }

    [Fact]
    public void Three_fields_take_three_words()
    {
        var options = new OutgoingOptions();
        options.FitAccEcn(0, Counters(0, 0x123456, 0xffffff), handshake: false);
        Assert.Equal("ae0b000001" + "123456" + "000000" + "01", Written(options));
    }

    [Fact]
    public void A_syn_ack_has_room_for_all_of_it()
    {
        var options = new OutgoingOptions { Mss = 1360, SackPermitted = true, WindowScale = 7 };
        options.FitAccEcn(0, default, handshake: true);
        Assert.Equal("02040550" + "ae0b00000100000000000101" + "01010402" + "01030307", Written(options));
    }

    [Fact]
    public void One_byte_of_it_goes_where_the_window_scale_is_padded()
    {
        // MD5 20, MSS 4, timestamp 12, window scale 4 is all: the kind and the length alone want a word of their own, and there is none.
        var full = new OutgoingOptions { HasMd5 = true, Mss = 1460, HasTimestamp = true, WindowScale = 7 };
        full.FitAccEcn(0, default, handshake: true);
        Assert.False(full.HasAccEcn);
        // Four bytes more: one field, whose fifth byte stands before the window scale.
        var options = new OutgoingOptions { HasMd5 = true, HasTimestamp = true, WindowScale = 7 };
        options.FitAccEcn(0, Counters(0x010203, 0, 0), handshake: true);
        Assert.Equal(40, options.Size);
        Assert.EndsWith("ae050102" + "04030307", Written(options), StringComparison.Ordinal);
    }

    [Fact]
    public void A_field_that_ends_in_one_is_no_padding()
    {
        // The last byte of the field is 1, as a NOP is.
        var options = new OutgoingOptions { HasMd5 = true, HasTimestamp = true, WindowScale = 7 };
        options.FitAccEcn(0, default, handshake: true);
        Assert.EndsWith("ae050000" + "01030307", Written(options), StringComparison.Ordinal);
    }

    [Fact]
    public void The_end_of_one_field_fits_into_the_padding_of_a_sack()
    {
        var options = new OutgoingOptions { SackBlocks = new[] { s_block, s_block, s_block, s_block } };
        options.FitAccEcn(0, default, handshake: false);
        Assert.Equal(40, options.Size);
        Assert.StartsWith("ae050000" + "01010522", Written(options), StringComparison.Ordinal);
    }

    [Fact]
    public void With_timestamps_and_three_blocks_nothing_is_left_but_the_padding()
    {
        var options = new OutgoingOptions { HasTimestamp = true, SackBlocks = new[] { s_block, s_block, s_block } };
        options.FitAccEcn(0, default, handshake: false);
        Assert.Equal(40, options.Size);
        Assert.Contains("ae02051a", Written(options), StringComparison.Ordinal);
    }

    [Theory]
    // Blocks there are, fields that are needed, whether there is a timestamp; blocks and bytes of options then; fields, −1 for none.
    [InlineData(3, 3, false, 3, 40, true)]
    [InlineData(4, 3, false, 3, 40, true)]
    [InlineData(4, 1, false, 4, 40, true)]
    [InlineData(3, 1, true, 2, 40, true)]
    [InlineData(3, 2, true, 2, 40, true)]
    [InlineData(3, 3, true, 3, 40, false)]
    [InlineData(2, 3, true, 2, 32, false)]
    public void A_block_gives_way_to_fields_that_are_needed(int blocks, int required, bool timestamp, int left, int size, bool sent)
    {
        var all = new SeqRange[blocks];
        Array.Fill(all, s_block);
        var options = new OutgoingOptions { HasTimestamp = timestamp, SackBlocks = all };
        options.FitAccEcn(required, default, handshake: false);
        Assert.Equal((left, size, sent), (options.SackBlocks.Length, options.Size, options.HasAccEcn));
        Written(options);
    }
}
