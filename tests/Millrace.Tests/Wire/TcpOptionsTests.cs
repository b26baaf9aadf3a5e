using System;
using CsCheck;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Wire;

public sealed unsafe class TcpOptionsTests
{
    /// <summary>Whatever the bytes are, parsing ends and points only inside them.</summary>
    [Fact]
    public void No_bytes_lead_the_parser_outside() => Gen.Byte.Array[0, 40].Sample(bytes =>
    {
        TcpOptions o = TcpOptions.Parse(bytes);
        return o.SackBlockCount <= TcpOptions.MaxSackBlocks && o.WindowScale is >= -1 and <= 255 && o.FastOpenCookie.Length <= 38
            && (!o.SackBlocks.Overlaps(bytes, out int at) || at <= 0);
    });

    [Fact]
    public void What_is_written_is_read_back() =>
        Gen.Select(Gen.UShort, Gen.Int[-1, 14], Gen.Bool, Gen.Bool, Gen.UInt, Gen.UInt, Gen.Int[0, 3]).Sample(
            (mss, scale, sackPermitted, timestamp, tsVal, tsEcr, blocks) =>
            {
                var sack = new SeqRange[3];
                for (int i = 0; i < blocks; i++)
                    sack[i] = new SeqRange(new SeqNumber(tsVal + (uint)(10 * i)), new SeqNumber(tsVal + (uint)(10 * i) + 5));
                var written = new OutgoingOptions
                {
                    Mss = mss,
                    WindowScale = scale,
                    SackPermitted = sackPermitted,
                    HasTimestamp = timestamp,
                    TsVal = tsVal,
                    TsEcr = tsEcr,
                };
                if (written.Size + TcpConstants.SackBaseLength + (TcpConstants.SackPerBlock * blocks) <= TcpConstants.MaxOptionSpace)
                    written.SackBlocks = sack.AsSpan(0, blocks);
                byte* bytes = stackalloc byte[64];
                new Span<byte>(bytes, 64).Fill(0xee);
                written.Write(bytes);
                TcpOptions read = TcpOptions.Parse(new ReadOnlySpan<byte>(bytes, written.Size));
                bool same = written.Size % 4 == 0 && bytes[written.Size] == 0xee && read.Mss == mss && read.WindowScale == scale
                    && read.SackPermitted == sackPermitted && read.HasTimestamp == timestamp
                    && read.SackBlockCount == written.SackBlocks.Length;
                if (timestamp)
                    same &= read.TsVal == tsVal && read.TsEcr == tsEcr;
                for (int i = 0; i < read.SackBlockCount; i++)
                    same &= read.SackBlock(i) == sack[i];
                return same;
            });

    [Theory]
    [InlineData(new byte[] { 2, 4, 5, 180, 3, 3, 7 }, 1460, 7)]
    [InlineData(new byte[] { 1, 1, 3, 3, 7, 2, 4, 5, 180 }, 1460, 7)]
    [InlineData(new byte[] { 2, 3, 5, 3, 3, 7 }, 0, 7)]
    [InlineData(new byte[] { 3, 3, 7, 2, 1, 5, 180 }, 0, 7)]
    [InlineData(new byte[] { 0, 2, 4, 5, 180 }, 0, -1)]
    [InlineData(new byte[] { 2 }, 0, -1)]
    [InlineData(new byte[] { 2, 40, 5, 180 }, 0, -1)]
    public void Parsing_stops_at_the_first_impossible_length(byte[] bytes, int mss, int scale)
    {
        TcpOptions o = TcpOptions.Parse(bytes);
        Assert.Equal(mss, o.Mss);
        Assert.Equal(scale, o.WindowScale);
    }
}
