using System;

namespace Millrace.Wire;

/// <summary>The flags of a TCP header, the low byte and the AE bit. RFC 9293 §3.1, RFC 3168, RFC 9768.</summary>
[Flags]
internal enum TcpFlags : ushort
{
    None = 0,
    Fin = 0x01,
    Syn = 0x02,
    Rst = 0x04,
    Psh = 0x08,
    Ack = 0x10,
    Urg = 0x20,
    Ece = 0x40,
    Cwr = 0x80,
    Ae = 0x100,
}

/// <summary>A view of a TCP header whose length has been proven.</summary>
/// <remarks>RFC 9293 §3.1. Linux: tcphdr.</remarks>
internal readonly unsafe ref struct TcpHeader
{
    public const int MinLength = 20;
    public const int MaxLength = 60;
    public const int ChecksumOffset = 16;

    private readonly byte* _p;

    private TcpHeader(byte* p) => _p = p;

    /// <summary>Proves that the header, options included, lies within <paramref name="length"/> bytes.</summary>
    public static bool TryParse(byte* p, int length, out TcpHeader header)
    {
        header = new TcpHeader(p);
        return length >= MinLength && header.HeaderLength >= MinLength && header.HeaderLength <= length;
    }

    public ushort SourcePort => Be.Get16(_p);

    public ushort DestinationPort => Be.Get16(_p + 2);

    public SeqNumber Seq => new(Be.Get32(_p + 4));

    public SeqNumber AckSeq => new(Be.Get32(_p + 8));

    public int HeaderLength => (_p[12] >> 4) * 4;

    public TcpFlags Flags => (TcpFlags)(_p[13] | (_p[12] & 1) << 8);

    /// <summary>The window field, not scaled.</summary>
    public ushort Window => Be.Get16(_p + 14);

    public ushort UrgentPointer => Be.Get16(_p + 18);

    public bool Has(TcpFlags flag) => (Flags & flag) != 0;

    public int OptionsLength => HeaderLength - MinLength;

    /// <summary>The option bytes, padding included.</summary>
    public ReadOnlySpan<byte> Options => new(_p + MinLength, OptionsLength);

    /// <summary>Writes the fixed part; checksum zero, options are the caller's.</summary>
    public static void Write(byte* p, ushort sourcePort, ushort destinationPort, SeqNumber seq, SeqNumber ack, int headerLength,
        TcpFlags flags, ushort window, ushort urgentPointer = 0)
    {
        Be.Put16(p, sourcePort);
        Be.Put16(p + 2, destinationPort);
        Be.Put32(p + 4, seq.Value);
        Be.Put32(p + 8, ack.Value);
        p[12] = (byte)(headerLength / 4 << 4 | ((flags & TcpFlags.Ae) != 0 ? 1 : 0));
        p[13] = (byte)flags;
        Be.Put16(p + 14, window);
        Be.Put16(p + 16, 0);
        Be.Put16(p + 18, urgentPointer);
    }
}
