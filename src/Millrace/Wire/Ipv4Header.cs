namespace Millrace.Wire;

/// <summary>A view of an IPv4 header whose length and version have been proven.</summary>
/// <remarks>RFC 791 §3.1. Linux: iphdr.</remarks>
internal readonly unsafe ref struct Ipv4Header
{
    public const int MinLength = 20;

    public const ushort DontFragment = 0x4000;
    public const ushort MoreFragments = 0x2000;
    public const ushort OffsetMask = 0x1fff;

    private readonly byte* _p;

    private Ipv4Header(byte* p) => _p = p;

    /// <summary>
    /// Proves that <paramref name="length"/> bytes at <paramref name="p"/> hold a whole header: version 4, header length of at
    /// least 20 bytes, and neither header nor total length beyond the data.
    /// </summary>
    public static bool TryParse(byte* p, int length, out Ipv4Header header)
    {
        header = new Ipv4Header(p);
        if (length < MinLength || p[0] >> 4 != 4)
            return false;
        int headerLength = header.HeaderLength;
        return headerLength >= MinLength && headerLength <= length
            && header.TotalLength >= headerLength && header.TotalLength <= length;
    }

    public int HeaderLength => (_p[0] & 0xf) * 4;

    /// <summary>DSCP and ECN together. Linux: tos.</summary>
    public byte TypeOfService => _p[1];

    public Ecn Ecn => (Ecn)(_p[1] & 3);

    public int TotalLength => Be.Get16(_p + 2);

    public ushort Id => Be.Get16(_p + 4);

    public ushort FragmentField => Be.Get16(_p + 6);

    public bool IsFragment => (FragmentField & (MoreFragments | OffsetMask)) != 0;

    public byte TimeToLive => _p[8];

    public byte Protocol => _p[9];

    public IpAddr Source => IpAddr.FromV4(Be.Get32(_p + 12));

    public IpAddr Destination => IpAddr.FromV4(Be.Get32(_p + 16));

    public bool HasOptions => _p[0] != 0x45;

    public bool ChecksumIsValid => Checksum.Fold(Checksum.Partial(_p, HeaderLength)) == 0xffff;

    /// <summary>Writes a header of 20 bytes, checksum included.</summary>
    public static void Write(byte* p, int totalLength, byte tos, ushort id, ushort fragmentField, byte ttl, byte protocol, IpAddr source,
        IpAddr destination)
    {
        p[0] = 0x45;
        p[1] = tos;
        Be.Put16(p + 2, (ushort)totalLength);
        Be.Put16(p + 4, id);
        Be.Put16(p + 6, fragmentField);
        p[8] = ttl;
        p[9] = protocol;
        Be.Put16(p + 10, 0);
        Be.Put32(p + 12, source.V4);
        Be.Put32(p + 16, destination.V4);
        WriteChecksum(p);
    }

    /// <summary>Computes the checksum of the header at <paramref name="p"/> anew.</summary>
    public static void WriteChecksum(byte* p)
    {
        Be.Put16(p + 10, 0);
        Be.PutRaw16(p + 10, Checksum.Finish(Checksum.Partial(p, (p[0] & 0xf) * 4)));
    }
}
