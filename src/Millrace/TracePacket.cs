using System;
using System.Collections.Generic;
using System.Globalization;
using System.Net;
using Millrace.Wire;

namespace Millrace;

/// <summary>What the headers of a packet in the trace say. <see cref="ToString"/> says it in tcpdump's words.</summary>
public sealed class TracePacket
{
    private TracePacket(ReadOnlySpan<byte> bytes) => Headers = bytes.ToArray();

    /// <summary>The packet's first bytes, from its IP header on.</summary>
    public ReadOnlyMemory<byte> Headers { get; }

    /// <summary>The IP protocol number; 6 is TCP. Zero: the packet is not understood.</summary>
    public int Protocol { get; private set; }

    /// <summary>Bytes of the IP packet, header included.</summary>
    public int Length { get; private set; }

    /// <summary>Where it comes from; the port is zero if the protocol has none.</summary>
    public IPEndPoint Source { get; private set; } = new(IPAddress.Any, 0);

    public IPEndPoint Destination { get; private set; } = new(IPAddress.Any, 0);

    /// <summary>The flags of a TCP segment in tcpdump's letters: <c>S</c>, <c>S.</c>, <c>P.</c>, <c>F.</c>, <c>R</c>.</summary>
    public string Flags { get; private set; } = "";

    public uint SequenceNumber { get; private set; }

    public uint AcknowledgmentNumber { get; private set; }

    /// <summary>The window field, not scaled.</summary>
    public int Window { get; private set; }

    /// <summary>Bytes that the segment carries for the user.</summary>
    public int PayloadLength { get; private set; }

    /// <summary>The options of a TCP segment in tcpdump's words.</summary>
    public string Options { get; private set; } = "";

    /// <inheritdoc/>
    public override string ToString()
    {
        if (Protocol == 0)
            return $"{Headers.Length} bytes";
        if (Protocol != IpProtocol.Tcp)
            return $"{Source.Address} > {Destination.Address}: protocol {Protocol}, length {Length}";
        string range = PayloadLength > 0 ? $"{SequenceNumber}:{unchecked(SequenceNumber + (uint)PayloadLength)}" : $"{SequenceNumber}";
        string ack = Flags.Contains('.', StringComparison.Ordinal) ? $", ack {AcknowledgmentNumber}" : "";
        string options = Options.Length > 0 ? $", options [{Options}]" : "";
        return $"{Name(Source)} > {Name(Destination)}: Flags [{Flags}], seq {range}{ack}, win {Window}{options}, length {PayloadLength}";
    }

    internal static unsafe TracePacket Parse(ReadOnlySpan<byte> bytes)
    {
        var packet = new TracePacket(bytes);
        fixed (byte* p = bytes)
        {
            if (bytes.Length >= Ipv4Header.MinLength && p[0] >> 4 == 4)
                packet.ReadIpv4(p, bytes.Length);
            else if (bytes.Length >= Ipv6Header.Length && p[0] >> 4 == 6)
                packet.ReadIpv6(p, bytes.Length);
        }
        return packet;
    }

    private unsafe void ReadIpv4(byte* p, int available)
    {
        int header = (p[0] & 0xf) * 4;
        Length = Be.Get16(p + 2);
        Protocol = p[9];
        Source = new IPEndPoint(IpAddr.FromV4(Be.Get32(p + 12)).ToIPAddress(), 0);
        Destination = new IPEndPoint(IpAddr.FromV4(Be.Get32(p + 16)).ToIPAddress(), 0);
        if (header <= available && (Be.Get16(p + 6) & Ipv4Header.OffsetMask) == 0)
            ReadTransport(p + header, available - header, Length - header);
    }

    private unsafe void ReadIpv6(byte* p, int available)
    {
        int payload = Be.Get16(p + 4);
        Length = Ipv6Header.Length + payload;
        Protocol = p[6];
        Source = new IPEndPoint(IpAddr.ReadV6(new ReadOnlySpan<byte>(p + 8, 16)).ToIPAddress(), 0);
        Destination = new IPEndPoint(IpAddr.ReadV6(new ReadOnlySpan<byte>(p + 24, 16)).ToIPAddress(), 0);
        ReadTransport(p + Ipv6Header.Length, available - Ipv6Header.Length, payload);
    }

    private unsafe void ReadTransport(byte* p, int available, int length)
    {
        if (Protocol is IpProtocol.Tcp or IpProtocol.Udp && available >= 4)
        {
            Source.Port = Be.Get16(p);
            Destination.Port = Be.Get16(p + 2);
        }
        if (Protocol != IpProtocol.Tcp || !TcpHeader.TryParse(p, available, out TcpHeader tcp))
            return;
        Flags = TraceSymbols.Flags(tcp.Flags);
        SequenceNumber = tcp.Seq.Value;
        AcknowledgmentNumber = tcp.AckSeq.Value;
        Window = tcp.Window;
        PayloadLength = length - tcp.HeaderLength;
        Options = Describe(TcpOptions.Parse(tcp.Options));
    }

    private static string Describe(in TcpOptions options)
    {
        var words = new List<string>();
        if (options.Mss > 0)
            words.Add($"mss {options.Mss}");
        if (options.SackPermitted)
            words.Add("sackOK");
        if (options.HasTimestamp)
            words.Add($"TS val {options.TsVal} ecr {options.TsEcr}");
        if (options.WindowScale >= 0)
            words.Add($"wscale {options.WindowScale}");
        for (int i = 0; i < options.SackBlockCount; i++)
            words.Add($"sack {options.SackBlock(i).Start}:{options.SackBlock(i).End}");
        if (options.HasFastOpen)
            words.Add($"tfo {(options.FastOpenCookie.IsEmpty ? "cookiereq" : Convert.ToHexStringLower(options.FastOpenCookie))}");
        return string.Join(',', words);
    }

    private static string Name(IPEndPoint end) => string.Create(CultureInfo.InvariantCulture, $"{end.Address}.{end.Port}");
}
