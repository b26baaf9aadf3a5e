namespace Millrace.Wire;

/// <summary>ICMP message types. RFC 792.</summary>
internal enum IcmpType : byte
{
    EchoReply = 0,
    DestinationUnreachable = 3,
    SourceQuench = 4,
    Redirect = 5,
    EchoRequest = 8,
    TimeExceeded = 11,
    ParameterProblem = 12,
}

/// <summary>Codes of <see cref="IcmpType.DestinationUnreachable"/>. RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1.</summary>
internal enum IcmpUnreachable : byte
{
    Network = 0,
    Host = 1,
    Protocol = 2,
    Port = 3,
    FragmentationNeeded = 4,
    SourceRouteFailed = 5,
    NetworkUnknown = 6,
    HostUnknown = 7,
    HostIsolated = 8,
    NetworkProhibited = 9,
    HostProhibited = 10,
    NetworkTos = 11,
    HostTos = 12,
    PacketFiltered = 13,
    PrecedenceViolation = 14,
    PrecedenceCutoff = 15,
}

/// <summary>ICMPv6 message types. RFC 4443, RFC 4861.</summary>
internal enum Icmp6Type : byte
{
    DestinationUnreachable = 1,
    PacketTooBig = 2,
    TimeExceeded = 3,
    ParameterProblem = 4,
    EchoRequest = 128,
    EchoReply = 129,
    RouterSolicitation = 133,
    RouterAdvertisement = 134,
    NeighborSolicitation = 135,
    NeighborAdvertisement = 136,
}

/// <summary>A view of an ICMP or ICMPv6 header whose length has been proven: type, code, checksum and four more bytes.</summary>
/// <remarks>RFC 792, RFC 4443 §2.1. Linux: icmphdr, icmp6hdr.</remarks>
internal readonly unsafe ref struct IcmpHeader
{
    public const int Size = 8;
    public const int ChecksumOffset = 2;

    private readonly byte* _p;

    private IcmpHeader(byte* p) => _p = p;

    public static bool TryParse(byte* p, int length, out IcmpHeader header)
    {
        header = new IcmpHeader(p);
        return length >= Size;
    }

    public byte Type => _p[0];

    public byte Code => _p[1];

    /// <summary>The four bytes behind the checksum: identifier and sequence, or MTU, or pointer.</summary>
    public uint Rest => Be.Get32(_p + 4);

    public static void Write(byte* p, byte type, byte code, uint rest)
    {
        p[0] = type;
        p[1] = code;
        Be.Put16(p + 2, 0);
        Be.Put32(p + 4, rest);
    }
}
