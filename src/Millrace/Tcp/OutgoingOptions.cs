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

    // Fields of the AccECN option, −1 for none; the counters, as they are counted; and what the option adds to the size, which is less
    // than its length if its end stands in another's padding.
    private int _accEcnFields = -1, _accEcnSize;
    private EcnBytes _accEcn;

    public OutgoingOptions() => WindowScale = -1;

    public readonly bool HasAccEcn => _accEcnFields >= 0;

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
            return size + _accEcnSize;
        }
    }

    /// <summary>
    /// Adds an AccECN option, last of all: as long as there is room for, but with no fewer fields than <paramref name="required"/>; for
    /// those a third or fourth SACK block gives way. RFC 9768 §3.2.3.3. Linux: tcp_options_fit_accecn.
    /// </summary>
    /// <param name="counters">Bytes by codepoint.</param>
    /// <param name="handshake">Whether this is a SYN-ACK.</param>
    public void FitAccEcn(int required, in EcnBytes counters, bool handshake)
    {
        int padding = PaddingForAccEcn(handshake), room = Room;
        for (int blocks = SackBlocks.Length; ; blocks--, room += TcpConstants.SackPerBlock)
        {
            for (int fields = 3; fields >= required; fields--)
            {
                int length = 2 + 3 * fields;
                int size = (length & 3) > padding ? (length + 3) & ~3 : length & ~3;
                if (size > room)
                    continue;
                SackBlocks = SackBlocks[..blocks];
                (_accEcnFields, _accEcnSize, _accEcn) = (fields, size, counters);
                return;
            }
            if (required == 0 || blocks <= 2)
                return;
        }
    }

    // NOPs before another option in whose place the end of this one can stand.
    private readonly int PaddingForAccEcn(bool handshake)
    {
        if (!handshake)
            return SackBlocks.IsEmpty ? 0 : 2;
        return SackPermitted && !HasTimestamp ? 2 : WindowScale >= 0 ? 1 : 0;
    }

    private readonly int FastOpenSize => ((FastOpenIsExperimental ? 4 : 2) + FastOpenCookie.Length + 3) & ~3;

    /// <summary>Writes <see cref="Size"/> bytes. Returns where the MD5 digest goes, or null.</summary>
    public readonly byte* Write(byte* p)
    {
        const byte nop = (byte)TcpOptionKind.Nop;
        byte* digest = null;
        var padding = new Padding();
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
        if (HasAccEcn)
            p = WriteAccEcn(p, ref padding);
        if (SackPermitted && !HasTimestamp)
        {
            p = padding.Write(p);
            *p++ = (byte)TcpOptionKind.SackPermitted;
            *p++ = 2;
        }
        if (WindowScale >= 0)
        {
            *p++ = padding.TakeLone();
            *p++ = (byte)TcpOptionKind.WindowScale;
            *p++ = 3;
            *p++ = (byte)WindowScale;
        }
        if (!SackBlocks.IsEmpty)
        {
            p = WriteSack(padding.Write(p));
        }
        else if (padding.Length > 0)
        {
            p = padding.Write(padding.Write(p));
        }
        if (HasFastOpen)
            WriteFastOpen(p);
        return digest;
    }

    private readonly byte* WriteSack(byte* p)
    {
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

    // Whole words; one or two bytes beyond them go where the next option is padded. Order 1: ECT(1), CE, ECT(0).
    private readonly byte* WriteAccEcn(byte* p, ref Padding padding)
    {
        const byte nop = (byte)TcpOptionKind.Nop;
        int length = 2 + 3 * _accEcnFields;
        byte* option = stackalloc byte[12];
        option[0] = (byte)TcpOptionKind.AccEcn1;
        option[1] = (byte)length;
        option[11] = nop;
        for (int i = 0; i < _accEcnFields; i++)
        {
            Ecn codepoint = EcnBytes.FieldAt(i, order1: true);
            uint counter = _accEcn[EcnBytes.Index(codepoint)] + EcnBytes.Origin(codepoint);
            option[3 * i + 2] = (byte)(counter >> 16);
            option[3 * i + 3] = (byte)(counter >> 8);
            option[3 * i + 4] = (byte)counter;
        }
        int rest = length & 3, whole = rest == 3 ? length + 1 : length - rest;
        new ReadOnlySpan<byte>(option, whole).CopyTo(new Span<byte>(p, whole));
        if (rest is 1 or 2)
            padding = new Padding(option[whole], option[whole + 1], rest);
        return p + whole;
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

    /// <summary>The two bytes before an option that ends on a word: NOPs, or the end of an AccECN option.</summary>
    private ref struct Padding
    {
        private const byte Nop = (byte)TcpOptionKind.Nop;

        private readonly byte _first, _second;

        public Padding(byte first, byte second, int length)
        {
            (_first, _second) = (first, second);
            Length = length;
        }

        /// <summary>Bytes that wait for their place.</summary>
        public int Length { get; private set; }

        public byte* Write(byte* p)
        {
            *p++ = Length > 0 ? _first : Nop;
            *p++ = Length > 1 ? _second : Nop;
            Length = 0;
            return p;
        }

        /// <summary>One byte of padding: what waits, if it is one byte.</summary>
        public byte TakeLone()
        {
            if (Length != 1)
                return Nop;
            Length = 0;
            return _first;
        }
    }
}
