namespace Millrace.Wire;

/// <summary>A view of an Ethernet header whose length has been proven: destination, source, type.</summary>
/// <remarks>IEEE 802.3 §3.2, RFC 894. Linux: ethhdr.</remarks>
internal readonly unsafe ref struct EthernetHeader
{
    public const int Length = 14;

    /// <summary>Bytes of a VLAN's tag, which stands between the addresses and the type. IEEE 802.1Q §9.</summary>
    public const int TagLength = 4;

    private const ushort CustomerTag = 0x8100, ServiceTag = 0x88a8;
    private const int TypeOffset = 12;

    private readonly byte* _p;

    private EthernetHeader(byte* p) => _p = p;

    public static bool TryParse(byte* p, int length, out EthernetHeader header)
    {
        header = new EthernetHeader(p);
        return length >= Length;
    }

    public MacAddr Destination => MacAddr.Read(_p);

    public MacAddr Source => MacAddr.Read(_p + MacAddr.Length);

    /// <summary>What is in the frame; None if it is nothing that this stack knows.</summary>
    public EtherType Type => TypeAt(TypeOffset);

    /// <summary>Whether a tag stands before the type.</summary>
    public bool IsTagged => Be.Get16(_p + TypeOffset) is CustomerTag or ServiceTag;

    /// <summary>The tag's VLAN; 0 is none: the tag is there for its priority. The tag must be in the frame.</summary>
    public int Vlan => Be.Get16(_p + Length) & 0xfff;

    /// <summary>What is behind the tag, which must be in the frame.</summary>
    public EtherType TypeBehindTag => TypeAt(TypeOffset + TagLength);

    public static void Write(byte* p, MacAddr destination, MacAddr source, EtherType type)
    {
        destination.Write(p);
        source.Write(p + MacAddr.Length);
        Be.Put16(p + TypeOffset, (ushort)type);
    }

    private EtherType TypeAt(int offset) => (EtherType)Be.Get16(_p + offset) switch
    {
        EtherType.Ipv4 => EtherType.Ipv4,
        EtherType.Arp => EtherType.Arp,
        EtherType.Ipv6 => EtherType.Ipv6,
        _ => EtherType.None,
    };
}
