using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Net;

namespace Millrace.Conformance;

/// <summary>How one direction's relative numbers become those of the wire.</summary>
/// <param name="Seq">Added to the sequence number.</param>
/// <param name="Ack">Added to the acknowledgment number and to the SACK blocks.</param>
/// <param name="TsVal">Added to the timestamp's value.</param>
/// <param name="TsEcr">Added to the timestamp's echo, unless that is 0.</param>
internal readonly record struct Numbering(uint Seq, uint Ack, uint TsVal, uint TsEcr);

/// <summary>The two ends of a flow, seen from the packet: who sent it, and to whom.</summary>
internal readonly record struct Ends(IPAddress Source, ushort SourcePort, IPAddress Destination, ushort DestinationPort)
{
    public Ends Reversed => new(Destination, DestinationPort, Source, SourcePort);
}

/// <summary>
/// Segments to IP packets and back. Written for the stories alone: it shares no line with the stack that it judges.
/// </summary>
internal static class SegmentCodec
{
    private const int TcpProtocol = 6;

    private static readonly byte[] EmptySignature = [19, 18, .. new byte[16]];

    /// <param name="secret">What an option <c>md5</c> is signed with.</param>
    public static byte[] Encode(Segment segment, Ends ends, Numbering n, ReadOnlySpan<byte> payload, byte[]? secret = null)
    {
        byte[] options = EncodeOptions(segment.Options ?? [], n);
        var tcp = new byte[20 + options.Length + payload.Length];
        BinaryPrimitives.WriteUInt16BigEndian(tcp, ends.SourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(tcp.AsSpan(2), ends.DestinationPort);
        BinaryPrimitives.WriteUInt32BigEndian(tcp.AsSpan(4), (uint)(segment.Seq ?? 0) + n.Seq);
        BinaryPrimitives.WriteUInt32BigEndian(tcp.AsSpan(8), segment.Has('.') ? (uint)(segment.Ack ?? 0) + n.Ack : 0);
        int flags = FlagBits(segment.Flags ?? "");
        tcp[12] = (byte)((20 + options.Length) / 4 << 4 | flags >> 8);
        tcp[13] = (byte)flags;
        BinaryPrimitives.WriteUInt16BigEndian(tcp.AsSpan(14), (ushort)(segment.Window ?? 0));
        BinaryPrimitives.WriteUInt16BigEndian(tcp.AsSpan(18), (ushort)(segment.Urgent ?? 0));
        options.CopyTo(tcp, 20);
        payload.CopyTo(tcp.AsSpan(20 + options.Length));
        if (secret is not null && options.AsSpan().IndexOf(EmptySignature) is >= 0 and var at)
            Md5Signature.Digest(ends.Source, ends.Destination, tcp, secret).CopyTo(tcp, 20 + at + 2);
        BinaryPrimitives.WriteUInt16BigEndian(tcp.AsSpan(16), IpPacket.TransportChecksum(ends.Source, ends.Destination, TcpProtocol, tcp));
        return IpPacket.Build(ends.Source, ends.Destination, TcpProtocol, tcp,
            trafficClass: (segment.Tos ?? 0) | segment.Ecn, ttl: segment.Ttl ?? 64);
    }

    /// <summary>The ends of a packet's flow, if it is TCP.</summary>
    public static bool TryReadEnds(IpPacket packet, out Ends ends)
    {
        ends = default;
        if (packet.Protocol != TcpProtocol || packet.Payload.Length < 20)
            return false;
        ReadOnlySpan<byte> tcp = packet.Payload;
        ends = new Ends(packet.Source, BinaryPrimitives.ReadUInt16BigEndian(tcp), packet.Destination,
            BinaryPrimitives.ReadUInt16BigEndian(tcp[2..]));
        return true;
    }

    public static uint RawSeq(IpPacket packet) => BinaryPrimitives.ReadUInt32BigEndian(packet.Payload.AsSpan(4));

    public static bool IsSyn(IpPacket packet) => (packet.Payload[13] & 2) != 0;

    public static Segment Decode(IpPacket packet, Numbering n, out byte[] payload)
    {
        ReadOnlySpan<byte> tcp = packet.Payload;
        int header = (tcp[12] >> 4) * 4;
        int bits = (tcp[12] & 1) << 8 | tcp[13];
        string flags = new([.. Segment.AllFlags.Where((_, i) => (bits >> i & 1) != 0)]);
        bool isReset = flags.Contains('R');
        payload = tcp[header..].ToArray();
        return new Segment
        {
            Flags = flags,
            Seq = Relative(BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]), n.Seq),
            Length = payload.Length,
            Ack = flags.Contains('.') ? Relative(BinaryPrimitives.ReadUInt32BigEndian(tcp[8..]), n.Ack) : null,
            Window = isReset ? null : BinaryPrimitives.ReadUInt16BigEndian(tcp[14..]),
            Urgent = flags.Contains('U') ? BinaryPrimitives.ReadUInt16BigEndian(tcp[18..]) : null,
            Options = DecodeOptions(tcp[20..header], n),
            Ecn = packet.TrafficClass & 3,
            Tos = packet.TrafficClass & ~3,
            Ttl = packet.Ttl,
        };
    }

    /// <summary>The raw TSval of a segment; null if it has none.</summary>
    public static uint? RawTimestamp(IpPacket packet)
    {
        ReadOnlySpan<byte> tcp = packet.Payload;
        string? ts = DecodeOptions(tcp[20..((tcp[12] >> 4) * 4)], default).FirstOrDefault(static o => o.StartsWith("ts ", StringComparison.Ordinal));
        return ts is null ? null : (uint)long.Parse(ts.Split(' ')[2], CultureInfo.InvariantCulture);
    }

    // Numbers near the origin read as small ones, before it as negative ones.
    private static long Relative(uint raw, uint origin) => (int)(raw - origin);

    // AllFlags is in the order of the header's bits.
    private static int FlagBits(string flags) => Segment.AllFlags.Select((f, i) => flags.Contains(f) ? 1 << i : 0).Sum();

    private static byte[] EncodeOptions(IReadOnlyList<string> options, Numbering n)
    {
        var bytes = new List<byte>();
        foreach (string option in options)
            bytes.AddRange(EncodeOption(option, n));
        while (bytes.Count % 4 != 0)
            bytes.Add(0);
        return bytes.Count <= 40 ? [.. bytes] : throw new FormatException("More options than a header has room for.");
    }

    private static IEnumerable<byte> EncodeOption(string option, Numbering n)
    {
        string[] words = option.Split(' ');
        switch (words[0])
        {
            case "nop":
                return [1];
            case "eol":
                return [0];
            case "mss":
                ushort mss = ushort.Parse(words[1], CultureInfo.InvariantCulture);
                return [2, 4, (byte)(mss >> 8), (byte)mss];
            case "wscale":
                return [3, 3, byte.Parse(words[1], CultureInfo.InvariantCulture)];
            case "sackOK":
                return [4, 2];
            case "sack":
                return [5, (byte)(2 + 8 * (words.Length - 1)), .. words.Skip(1).SelectMany(b => b.Split(':'))
                    .SelectMany(edge => Bytes32((uint)long.Parse(edge, CultureInfo.InvariantCulture) + n.Ack))];
            case "ts":
                uint ecr = (uint)long.Parse(words[4], CultureInfo.InvariantCulture);
                return [8, 10, .. Bytes32((uint)long.Parse(words[2], CultureInfo.InvariantCulture) + n.TsVal),
                    .. Bytes32(ecr == 0 ? 0 : ecr + n.TsEcr)];
            case "FO":
                byte[] cookie = words.Length > 1 ? Convert.FromHexString(words[1]) : [];
                return [34, (byte)(2 + cookie.Length), .. cookie];
            case "FOEXP":
                byte[] old = words.Length > 1 ? Convert.FromHexString(words[1]) : [];
                return [254, (byte)(4 + old.Length), 0xf9, 0x89, .. old];
            case "ECN":
                return EncodeAccEcn(words);
            case "md5":
                return EmptySignature;
            case "hex":
                return Convert.FromHexString(words[1]);
            default:
                throw new FormatException($"\"{option}\" is no option.");
        }
    }

    // ECN, then the fields in the order of one kind or the other, each its name and its number: e1b 1 ceb 0 e0b 1.
    private static byte[] EncodeAccEcn(string[] words)
    {
        var bytes = new List<byte> { words.Length > 1 && words[1] == "e0b" ? AccEcn0 : AccEcn1, (byte)(2 + 3 * (words.Length / 2)) };
        for (int i = 2; i < words.Length; i += 2)
            bytes.AddRange(Bytes32(uint.Parse(words[i], CultureInfo.InvariantCulture)).AsSpan(1));
        return [.. bytes];
    }

    private static string DecodeAccEcn(ReadOnlySpan<byte> o)
    {
        string[] names = o[0] == AccEcn0 ? ["e0b", "ceb", "e1b"] : ["e1b", "ceb", "e0b"];
        string text = "ECN";
        for (int i = 0; 3 * i + 5 <= o.Length; i++)
            text += $" {names[i]} {o[3 * i + 2] << 16 | o[3 * i + 3] << 8 | o[3 * i + 4]}";
        return text;
    }

    private const byte AccEcn0 = 172, AccEcn1 = 174;

    private static List<string> DecodeOptions(ReadOnlySpan<byte> bytes, Numbering n)
    {
        var options = new List<string>();
        while (!bytes.IsEmpty)
        {
            int size = bytes[0] <= 1 ? 1 : bytes.Length > 1 && bytes[1] >= 2 && bytes[1] <= bytes.Length ? bytes[1] : bytes.Length;
            options.Add(DecodeOption(bytes[..size], n));
            bytes = bytes[size..];
        }
        return options;
    }

    private static string DecodeOption(ReadOnlySpan<byte> o, Numbering n)
    {
        switch (o[0])
        {
            case 0:
                return "eol";
            case 1:
                return "nop";
            case 2 when o.Length == 4:
                return $"mss {BinaryPrimitives.ReadUInt16BigEndian(o[2..])}";
            case 3 when o.Length == 3:
                return $"wscale {o[2]}";
            case 4 when o.Length == 2:
                return "sackOK";
            case 5 when o.Length % 8 == 2:
                string text = "sack";
                for (int i = 2; i < o.Length; i += 8)
                {
                    text += $" {Relative(BinaryPrimitives.ReadUInt32BigEndian(o[i..]), n.Ack)}"
                        + $":{Relative(BinaryPrimitives.ReadUInt32BigEndian(o[(i + 4)..]), n.Ack)}";
                }
                return text;
            case 8 when o.Length == 10:
                uint ecr = BinaryPrimitives.ReadUInt32BigEndian(o[6..]);
                return $"ts val {BinaryPrimitives.ReadUInt32BigEndian(o[2..]) - n.TsVal} ecr {(ecr == 0 ? 0 : ecr - n.TsEcr)}";
            case 19 when o.Length == 18:
                return "md5";
            case 34:
                return o.Length == 2 ? "FO" : $"FO {Hex(o[2..])}";
            case AccEcn0 or AccEcn1 when o.Length % 3 == 2:
                return DecodeAccEcn(o);
            case 254 when o.Length >= 4 && o[2] == 0xf9 && o[3] == 0x89:
                return o.Length == 4 ? "FOEXP" : $"FOEXP {Hex(o[4..])}";
            default:
                return $"hex {Hex(o)}";
        }
    }

    private static string Hex(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(bytes);

    private static byte[] Bytes32(uint value) => [(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value];
}
