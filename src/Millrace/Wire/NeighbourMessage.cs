using System;

namespace Millrace.Wire;

/// <summary>
/// A view of an ICMPv6 neighbour solicitation or advertisement whose length, and whose options' lengths, have been proven.
/// </summary>
/// <remarks>RFC 4861 §4.3, §4.4, §4.6.1. Linux: nd_msg, ndisc_parse_options.</remarks>
internal readonly unsafe ref struct NeighbourMessage
{
    /// <summary>Bytes without options, and with the one option that this stack sends.</summary>
    public const int MinLength = 24, Length = MinLength + OptionUnit;

    /// <summary>Flags of an advertisement: it answers a question; it replaces what is known.</summary>
    public const uint Solicited = 0x4000_0000, Override = 0x2000_0000;

    private const byte SourceOption = 1, TargetOption = 2;
    private const int OptionUnit = 8;

    private readonly byte* _p;

    private NeighbourMessage(byte* p, MacAddr hardware)
    {
        _p = p;
        Hardware = hardware;
    }

    /// <summary>The option with the address that the message is about: a solicitation's source's, an advertisement's target's.</summary>
    public MacAddr Hardware { get; }

    public bool IsSolicitation => _p[0] == (byte)Icmp6Type.NeighborSolicitation;

    public byte Code => _p[1];

    public uint Flags => Be.Get32(_p + 4);

    public IpAddr Target => IpAddr.ReadV6(new ReadOnlySpan<byte>(_p + 8, 16));

    public static bool TryParse(byte* p, int length, out NeighbourMessage message)
    {
        message = default;
        if (length < MinLength)
            return false;
        byte wanted = p[0] == (byte)Icmp6Type.NeighborSolicitation ? SourceOption : TargetOption;
        MacAddr hardware = default;
        for (int at = MinLength; at < length;)
        {
            int size = at + 2 <= length ? p[at + 1] * OptionUnit : 0;
            if (size == 0 || at + size > length)
                return false;
            if (p[at] == wanted && size == OptionUnit)
                hardware = MacAddr.Read(p + at + 2);
            at += size;
        }
        message = new NeighbourMessage(p, hardware);
        return true;
    }

    /// <summary>Writes <see cref="Length"/> bytes, the checksum's field zero.</summary>
    public static void Write(byte* p, Icmp6Type type, uint flags, IpAddr target, MacAddr hardware)
    {
        IcmpHeader.Write(p, (byte)type, 0, flags);
        target.WriteV6(new Span<byte>(p + 8, 16));
        p[MinLength] = type == Icmp6Type.NeighborSolicitation ? SourceOption : TargetOption;
        p[MinLength + 1] = 1;
        hardware.Write(p + MinLength + 2);
    }
}
