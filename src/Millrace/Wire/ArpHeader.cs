namespace Millrace.Wire;

/// <summary>What an ARP packet is. RFC 826.</summary>
internal enum ArpOperation : ushort
{
    Request = 1,
    Reply = 2,
}

/// <summary>A view of an ARP packet that is about IPv4 over Ethernet, and whose length has been proven.</summary>
/// <remarks>RFC 826. Linux: arphdr.</remarks>
internal readonly unsafe ref struct ArpHeader
{
    public const int Length = 28;

    private const ushort EthernetKind = 1;

    private readonly byte* _p;

    private ArpHeader(byte* p) => _p = p;

    public static bool TryParse(byte* p, int length, out ArpHeader header)
    {
        header = new ArpHeader(p);
        return length >= Length && Be.Get16(p) == EthernetKind && Be.Get16(p + 2) == (ushort)EtherType.Ipv4 && p[4] == MacAddr.Length && p[5] == 4;
    }

    public ArpOperation Operation => (ArpOperation)Be.Get16(_p + 6);

    public MacAddr SenderHardware => MacAddr.Read(_p + 8);

    public IpAddr Sender => IpAddr.FromV4(Be.Get32(_p + 14));

    public IpAddr Target => IpAddr.FromV4(Be.Get32(_p + 24));

    /// <param name="targetHardware">None in a request: that is what is asked.</param>
    public static void Write(byte* p, ArpOperation operation, MacAddr senderHardware, IpAddr sender, MacAddr targetHardware, IpAddr target)
    {
        Be.Put16(p, EthernetKind);
        Be.Put16(p + 2, (ushort)EtherType.Ipv4);
        p[4] = MacAddr.Length;
        p[5] = 4;
        Be.Put16(p + 6, (ushort)operation);
        senderHardware.Write(p + 8);
        Be.Put32(p + 14, sender.V4);
        targetHardware.Write(p + 18);
        Be.Put32(p + 24, target.V4);
    }
}
