using System;
using System.Buffers.Binary;

namespace Millrace.Wire;

/// <summary>TCP option kinds. IANA registry; Linux: TCPOPT_*.</summary>
internal enum TcpOptionKind : byte
{
    End = 0,
    Nop = 1,
    Mss = 2,
    WindowScale = 3,
    SackPermitted = 4,
    Sack = 5,
    Timestamp = 8,
    Md5 = 19,
    FastOpen = 34,
    AccEcn0 = 172,
    AccEcn1 = 174,
    Experimental = 254,
}

/// <summary>What one segment's options say, before any negotiation decides what of it counts.</summary>
/// <remarks>
/// RFC 9293 §3.1, RFC 7323, RFC 2018, RFC 7413. Linux: tcp_parse_options. Parsing stops at the first option whose length is
/// impossible; what was read before it stands, as in Linux. Spans point into the segment.
/// </remarks>
internal ref struct TcpOptions
{
    public const int MaxSackBlocks = 4;

    /// <summary>The magic number of the experimental Fast Open option. RFC 7413 §4.1.1.</summary>
    public const ushort FastOpenMagic = 0xf989;

    /// <summary>MSS as sent; 0 if absent.</summary>
    public ushort Mss;

    /// <summary>Window scale as sent, not clamped; −1 if absent.</summary>
    public int WindowScale;

    public bool SackPermitted;
    public bool HasTimestamp;
    public uint TsVal, TsEcr;

    /// <summary>The SACK option's blocks, 8 bytes each; empty if absent.</summary>
    public ReadOnlySpan<byte> SackBlocks;

    /// <summary>Whether a Fast Open option is there; <see cref="FastOpenCookie"/> is empty for a cookie request.</summary>
    public bool HasFastOpen;
    public bool FastOpenIsExperimental;
    public ReadOnlySpan<byte> FastOpenCookie;

    /// <summary>16 bytes of digest; empty if absent.</summary>
    public ReadOnlySpan<byte> Md5Digest;

    /// <summary>Whether an AccECN option is there, and its counters, 24 bits each. <see cref="AccEcnOrder1"/> tells ECT(1) first.</summary>
    public bool HasAccEcn;
    public ReadOnlySpan<byte> AccEcn;
    public bool AccEcnOrder1;

    public readonly int SackBlockCount => SackBlocks.Length / 8;

    public readonly SeqRange SackBlock(int i) => new(
        new SeqNumber(BinaryPrimitives.ReadUInt32BigEndian(SackBlocks[(8 * i)..])),
        new SeqNumber(BinaryPrimitives.ReadUInt32BigEndian(SackBlocks[(8 * i + 4)..])));

    public static TcpOptions Parse(ReadOnlySpan<byte> bytes)
    {
        var o = new TcpOptions { WindowScale = -1 };
        while (!bytes.IsEmpty)
        {
            var kind = (TcpOptionKind)bytes[0];
            if (kind == TcpOptionKind.End)
                break;
            if (kind == TcpOptionKind.Nop)
            {
                bytes = bytes[1..];
                continue;
            }
            if (bytes.Length < 2)
                break;
            int size = bytes[1];
            if (size < 2 || size > bytes.Length)
                break;
            o.Accept(kind, bytes[2..size]);
            bytes = bytes[size..];
        }
        return o;
    }

    /// <summary>Bytes of the MD5 signature option. RFC 2385 §3.0.</summary>
    public const int Md5Length = 18;

    /// <summary>
    /// The MD5 signature; empty if there is none. False: the options are malformed before their last bytes, which are too few for one,
    /// or there are two. Linux: tcp_do_parse_auth_options.
    /// </summary>
    public static bool TryFindSignature(ReadOnlySpan<byte> bytes, out ReadOnlySpan<byte> signature)
    {
        signature = default;
        while (bytes.Length >= Md5Length && bytes[0] != (byte)TcpOptionKind.End)
        {
            int size = bytes[0] == (byte)TcpOptionKind.Nop ? 1 : bytes[1];
            if (bytes[0] != (byte)TcpOptionKind.Nop && (size < 2 || size > bytes.Length))
                return false;
            if (bytes[0] == (byte)TcpOptionKind.Md5)
            {
                if (size != Md5Length || !signature.IsEmpty)
                    return false;
                signature = bytes[2..Md5Length];
            }
            bytes = bytes[size..];
        }
        return true;
    }

    private void Accept(TcpOptionKind kind, ReadOnlySpan<byte> body)
    {
        switch ((int)kind)
        {
            case (int)TcpOptionKind.Mss when body.Length == 2:
                Mss = BinaryPrimitives.ReadUInt16BigEndian(body);
                break;
            case (int)TcpOptionKind.WindowScale when body.Length == 1:
                WindowScale = body[0];
                break;
            case (int)TcpOptionKind.SackPermitted when body.IsEmpty:
                SackPermitted = true;
                break;
            case (int)TcpOptionKind.Sack when body.Length >= 8 && body.Length % 8 == 0:
                SackBlocks = body;
                break;
            case (int)TcpOptionKind.Timestamp when body.Length == 8:
                HasTimestamp = true;
                TsVal = BinaryPrimitives.ReadUInt32BigEndian(body);
                TsEcr = BinaryPrimitives.ReadUInt32BigEndian(body[4..]);
                break;
            case (int)TcpOptionKind.Md5 when body.Length == 16:
                Md5Digest = body;
                break;
            case (int)TcpOptionKind.FastOpen:
                AcceptFastOpen(body, experimental: false);
                break;
            case (int)TcpOptionKind.Experimental when body.Length >= 2 && BinaryPrimitives.ReadUInt16BigEndian(body) == FastOpenMagic:
                AcceptFastOpen(body[2..], experimental: true);
                break;
            case (int)TcpOptionKind.AccEcn0 or (int)TcpOptionKind.AccEcn1:
                HasAccEcn = true;
                AccEcn = body;
                AccEcnOrder1 = kind == TcpOptionKind.AccEcn1;
                break;
        }
    }

    // A cookie is 4 to 16 bytes, even; an empty option asks for one. Any other length is no option. Linux: tcp_parse_fastopen_option.
    private void AcceptFastOpen(ReadOnlySpan<byte> cookie, bool experimental)
    {
        if ((cookie.Length & 1) != 0 || cookie.Length is not (0 or (>= 4 and <= 16)))
            return;
        HasFastOpen = true;
        FastOpenIsExperimental = experimental;
        FastOpenCookie = cookie;
    }
}
