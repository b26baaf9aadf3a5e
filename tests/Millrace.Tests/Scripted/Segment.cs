using System.Collections.Generic;
using System.Net;
using Millrace.Wire;

namespace Millrace.Tests.Scripted;

/// <summary>An IPv4 TCP segment in plain numbers: what a scripted peer sends and sees.</summary>
internal sealed record Segment
{
    public required IPEndPoint From { get; init; }

    public required IPEndPoint To { get; init; }

    public uint Seq { get; init; }

    public uint Ack { get; init; }

    public TcpFlags Flags { get; init; }

    /// <summary>The field as it is, not scaled.</summary>
    public ushort Window { get; init; } = 65535;

    /// <summary>The options' bytes, padded to four.</summary>
    public byte[] Options { get; init; } = [];

    public byte[] Data { get; init; } = [];

    public byte Ttl { get; init; } = 64;

    /// <summary>When it was seen, microseconds of virtual time.</summary>
    public long Time { get; init; }

    public int Length => Data.Length;

    /// <summary>The sequence number behind it, SYN and FIN counted.</summary>
    public uint End => Seq + (uint)Data.Length + (Has(TcpFlags.Syn) ? 1u : 0) + (Has(TcpFlags.Fin) ? 1u : 0);

    public bool Has(TcpFlags flag) => (Flags & flag) != 0;

    public TcpOptions ParsedOptions => TcpOptions.Parse(Options);

    public override string ToString() => $"{Flags} {Seq}:{End} ack {Ack} win {Window} length {Length} at {Time} us";

    public unsafe byte[] ToBytes()
    {
        int tcpLength = TcpHeader.MinLength + Options.Length + Data.Length;
        var packet = new byte[Ipv4Header.MinLength + tcpLength];
        IpAddr source = IpAddr.From(From.Address), destination = IpAddr.From(To.Address);
        fixed (byte* p = packet)
        {
            Ipv4Header.Write(p, packet.Length, 0, 1, Ipv4Header.DontFragment, Ttl, IpProtocol.Tcp, source, destination);
            byte* tcp = p + Ipv4Header.MinLength;
            TcpHeader.Write(tcp, (ushort)From.Port, (ushort)To.Port, new SeqNumber(Seq), new SeqNumber(Ack),
                TcpHeader.MinLength + Options.Length, Flags, Window);
            Options.CopyTo(packet, Ipv4Header.MinLength + TcpHeader.MinLength);
            Data.CopyTo(packet, packet.Length - Data.Length);
            uint sum = Checksum.Partial(tcp, tcpLength, Checksum.PseudoHeader(source, destination, IpProtocol.Tcp, tcpLength));
            Be.PutRaw16(tcp + TcpHeader.ChecksumOffset, Checksum.Finish(sum));
        }
        return packet;
    }

    /// <summary>Null: not a TCP segment over IPv4.</summary>
    public static unsafe Segment? Parse(byte[] packet, long time)
    {
        fixed (byte* p = packet)
        {
            if (!Ipv4Header.TryParse(p, packet.Length, out Ipv4Header ip) || ip.Protocol != IpProtocol.Tcp)
                return null;
            byte* t = p + ip.HeaderLength;
            Assert.True(TcpHeader.TryParse(t, packet.Length - ip.HeaderLength, out TcpHeader tcp));
            return new Segment
            {
                From = new IPEndPoint(ip.Source.ToIPAddress(), tcp.SourcePort),
                To = new IPEndPoint(ip.Destination.ToIPAddress(), tcp.DestinationPort),
                Seq = tcp.Seq.Value,
                Ack = tcp.AckSeq.Value,
                Flags = tcp.Flags,
                Window = tcp.Window,
                Options = tcp.Options.ToArray(),
                Data = packet[(ip.HeaderLength + tcp.HeaderLength)..],
                Ttl = ip.TimeToLive,
                Time = time,
            };
        }
    }

    // ---- Options, aligned as everybody sends them ----

    public static byte[] MssOption(ushort mss) => [2, 4, (byte)(mss >> 8), (byte)mss];

    public static byte[] WindowScaleOption(byte shift) => [1, 3, 3, shift];

    public static byte[] SackPermittedOption => [1, 1, 4, 2];

    public static byte[] TimestampOption(uint value, uint echo)
    {
        var option = new List<byte> { 1, 1, 8, 10 };
        AddNumber(option, value);
        AddNumber(option, echo);
        return [.. option];
    }

    public static byte[] SackOption(params (uint Start, uint End)[] blocks)
    {
        var option = new List<byte> { 1, 1, 5, (byte)(2 + 8 * blocks.Length) };
        foreach ((uint start, uint end) in blocks)
        {
            AddNumber(option, start);
            AddNumber(option, end);
        }
        return [.. option];
    }

    private static void AddNumber(List<byte> bytes, uint number) =>
        bytes.AddRange([(byte)(number >> 24), (byte)(number >> 16), (byte)(number >> 8), (byte)number]);
}
