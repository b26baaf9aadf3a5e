using System;

namespace Millrace.Wire;

/// <summary>A view of an IPv6 header whose length and version have been proven.</summary>
/// <remarks>RFC 8200 §3. Linux: ipv6hdr.</remarks>
internal readonly unsafe ref struct Ipv6Header
{
    public const int Length = 40;

    /// <summary>The smallest MTU that an IPv6 link may have.</summary>
    public const int MinMtu = 1280;

    private readonly byte* _p;

    private Ipv6Header(byte* p) => _p = p;

    /// <summary>Proves version 6, a whole header, and a payload that is not longer than the data.</summary>
    public static bool TryParse(byte* p, int length, out Ipv6Header header)
    {
        header = new Ipv6Header(p);
        return length >= Length && p[0] >> 4 == 6 && Length + header.PayloadLength <= length;
    }

    public byte TrafficClass => (byte)(Be.Get16(_p) >> 4);

    public Ecn Ecn => (Ecn)(TrafficClass & 3);

    /// <summary>20 bits.</summary>
    public uint FlowLabel => Be.Get32(_p) & 0xf_ffff;

    public int PayloadLength => Be.Get16(_p + 4);

    public byte NextHeader => _p[6];

    public byte HopLimit => _p[7];

    public IpAddr Source => IpAddr.ReadV6(new ReadOnlySpan<byte>(_p + 8, 16));

    public IpAddr Destination => IpAddr.ReadV6(new ReadOnlySpan<byte>(_p + 24, 16));

    public static void Write(byte* p, int payloadLength, byte trafficClass, uint flowLabel, byte nextHeader, byte hopLimit, IpAddr source,
        IpAddr destination)
    {
        Be.Put32(p, 6u << 28 | (uint)trafficClass << 20 | flowLabel);
        Be.Put16(p + 4, (ushort)payloadLength);
        p[6] = nextHeader;
        p[7] = hopLimit;
        source.WriteV6(new Span<byte>(p + 8, 16));
        destination.WriteV6(new Span<byte>(p + 24, 16));
    }
}
