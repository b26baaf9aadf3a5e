using System;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>The options of a segment that is about to be sent: which, and their size; then written in Linux's order and padding.</summary>
/// <remarks>Linux: tcp_out_options, tcp_options_write.</remarks>
internal unsafe ref struct OutgoingOptions
{
    /// <summary>0: no MSS option.</summary>
    public ushort Mss;

    /// <summary>−1: no window scale option.</summary>
    public int WindowScale;
    public bool SackPermitted;
    public bool HasTimestamp;
    public uint TsVal, TsEcr;

    /// <summary>Blocks to report, a DSACK first.</summary>
    public ReadOnlySpan<SeqRange> SackBlocks;

    public bool HasFastOpen;
    public bool FastOpenIsExperimental;
    public ReadOnlySpan<byte> FastOpenCookie;

    public bool HasMd5;

    /// <summary>AccECN counters in the order in which they are sent; empty for none.</summary>
    public ReadOnlySpan<uint> AccEcn;
    public bool AccEcnOrder1;

    public OutgoingOptions() => WindowScale = -1;

    /// <summary>Bytes left of the 40 that options may take.</summary>
    public readonly int Room => TcpConstants.MaxOptionSpace - Size;

    /// <summary>Bytes that the options take, padding included.</summary>
    public readonly int Size
    {
        get
        {
            int size = HasMd5 ? TcpConstants.Md5OptionLength : 0;
            size += Mss != 0 ? 4 : 0;
            size += HasTimestamp ? TcpConstants.TimestampOptionLength : SackPermitted ? 4 : 0;
            size += WindowScale >= 0 ? 4 : 0;
            size += SackBlocks.IsEmpty ? 0 : TcpConstants.SackBaseLength + TcpConstants.SackPerBlock * SackBlocks.Length;
            size += HasFastOpen ? FastOpenSize : 0;
            size += AccEcn.IsEmpty ? 0 : (2 + 3 * AccEcn.Length + 3) & ~3;
            return size;
        }
    }

    private readonly int FastOpenSize => ((FastOpenIsExperimental ? 4 : 2) + FastOpenCookie.Length + 3) & ~3;

    /// <summary>Writes <see cref="Size"/> bytes. Returns where the MD5 digest goes, or null.</summary>
    public readonly byte* Write(byte* p)
    {
        const byte nop = (byte)TcpOptionKind.Nop;
        byte* digest = null;
        if (HasMd5)
        {
            *p++ = nop;
            *p++ = nop;
            *p++ = (byte)TcpOptionKind.Md5;
            *p++ = 18;
            digest = p;
            p += 16;
        }
        if (Mss != 0)
        {
            *p++ = (byte)TcpOptionKind.Mss;
            *p++ = 4;
            Be.Put16(p, Mss);
            p += 2;
        }
        if (HasTimestamp)
        {
            *p++ = SackPermitted ? (byte)TcpOptionKind.SackPermitted : nop;
            *p++ = SackPermitted ? (byte)2 : nop;
            *p++ = (byte)TcpOptionKind.Timestamp;
            *p++ = 10;
            Be.Put32(p, TsVal);
            Be.Put32(p + 4, TsEcr);
            p += 8;
        }
        if (!AccEcn.IsEmpty)
            p = WriteAccEcn(p);
        if (SackPermitted && !HasTimestamp)
        {
            *p++ = nop;
            *p++ = nop;
            *p++ = (byte)TcpOptionKind.SackPermitted;
            *p++ = 2;
        }
        if (WindowScale >= 0)
        {
            *p++ = nop;
            *p++ = (byte)TcpOptionKind.WindowScale;
            *p++ = 3;
            *p++ = (byte)WindowScale;
        }
        if (!SackBlocks.IsEmpty)
            p = WriteSack(p);
        if (HasFastOpen)
            WriteFastOpen(p);
        return digest;
    }

    private readonly byte* WriteSack(byte* p)
    {
        *p++ = (byte)TcpOptionKind.Nop;
        *p++ = (byte)TcpOptionKind.Nop;
        *p++ = (byte)TcpOptionKind.Sack;
        *p++ = (byte)(2 + TcpConstants.SackPerBlock * SackBlocks.Length);
        foreach (SeqRange block in SackBlocks)
        {
            Be.Put32(p, block.Start.Value);
            Be.Put32(p + 4, block.End.Value);
            p += 8;
        }
        return p;
    }

    private readonly byte* WriteAccEcn(byte* p)
    {
        int length = 2 + 3 * AccEcn.Length;
        *p++ = (byte)(AccEcnOrder1 ? TcpOptionKind.AccEcn1 : TcpOptionKind.AccEcn0);
        *p++ = (byte)length;
        foreach (uint counter in AccEcn)
        {
            *p++ = (byte)(counter >> 16);
            *p++ = (byte)(counter >> 8);
            *p++ = (byte)counter;
        }
        for (; (length & 3) != 0; length++)
            *p++ = (byte)TcpOptionKind.Nop;
        return p;
    }

    private readonly void WriteFastOpen(byte* p)
    {
        byte* start = p;
        int length = FastOpenCookie.Length + (FastOpenIsExperimental ? 4 : 2);
        *p++ = (byte)(FastOpenIsExperimental ? TcpOptionKind.Experimental : TcpOptionKind.FastOpen);
        *p++ = (byte)length;
        if (FastOpenIsExperimental)
        {
            Be.Put16(p, TcpOptions.FastOpenMagic);
            p += 2;
        }
        FastOpenCookie.CopyTo(new Span<byte>(p, FastOpenCookie.Length));
        p += FastOpenCookie.Length;
        while (p < start + FastOpenSize)
            *p++ = (byte)TcpOptionKind.Nop;
    }
}
