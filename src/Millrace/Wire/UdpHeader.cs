namespace Millrace.Wire;

/// <summary>A view of a UDP header whose length has been proven.</summary>
/// <remarks>RFC 768. Linux: udphdr.</remarks>
internal readonly unsafe ref struct UdpHeader
{
    public const int Size = 8;
    public const int ChecksumOffset = 6;

    private readonly byte* _p;

    private UdpHeader(byte* p) => _p = p;

    /// <summary>Proves a whole header and a datagram length between 8 and <paramref name="length"/>.</summary>
    public static bool TryParse(byte* p, int length, out UdpHeader header)
    {
        header = new UdpHeader(p);
        return length >= Size && header.Length >= Size && header.Length <= length;
    }

    public ushort SourcePort => Be.Get16(_p);

    public ushort DestinationPort => Be.Get16(_p + 2);

    /// <summary>Header and payload, in bytes.</summary>
    public int Length => Be.Get16(_p + 4);

    public bool HasChecksum => Be.GetRaw16(_p + 6) != 0;

    public static void Write(byte* p, ushort sourcePort, ushort destinationPort, int length)
    {
        Be.Put16(p, sourcePort);
        Be.Put16(p + 2, destinationPort);
        Be.Put16(p + 4, (ushort)length);
        Be.Put16(p + 6, 0);
    }
}
