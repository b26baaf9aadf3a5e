using System.Net.NetworkInformation;

namespace Millrace.Wire;

/// <summary>An Ethernet address in the low 48 bits, host order. Zero is none.</summary>
/// <remarks>Linux: ETH_ALEN, is_valid_ether_addr.</remarks>
internal readonly record struct MacAddr(ulong Value)
{
    /// <summary>Bytes on the wire.</summary>
    public const int Length = 6;

    private const ulong GroupBit = 0x0100_0000_0000, LocalBit = 0x0200_0000_0000;

    public static MacAddr Broadcast => new(0xffff_ffff_ffff);

    public bool IsNone => Value == 0;

    /// <summary>Whether it stands for several stations, as the broadcast address does.</summary>
    public bool IsGroup => (Value & GroupBit) != 0;

    /// <summary>Whether a single station can have it.</summary>
    public bool IsStation => !IsNone && !IsGroup;

    /// <summary>An address that no manufacturer gave out. Linux: eth_random_addr.</summary>
    public static MacAddr Local(ulong random) => new((random & (Broadcast.Value ^ GroupBit)) | LocalBit);

    /// <summary>Where packets to many go: to all, or to a group's stations. RFC 1112 §6.4, RFC 2464 §7.</summary>
    public static MacAddr OfGroup(IpAddr group)
    {
        if (!group.IsMulticast)
            return Broadcast;
        return group.IsV4 ? new MacAddr(0x0100_5e00_0000UL | group.V4 & 0x7f_ffff) : new MacAddr(0x3333_0000_0000UL | group.Low & 0xffff_ffff);
    }

    public static unsafe MacAddr Read(byte* p) => new((ulong)Be.Get16(p) << 32 | Be.Get32(p + 2));

    public unsafe void Write(byte* p)
    {
        Be.Put16(p, (ushort)(Value >> 32));
        Be.Put32(p + 2, (uint)Value);
    }

    /// <summary>None if it is null, or no Ethernet address.</summary>
    public static unsafe MacAddr From(PhysicalAddress? address)
    {
        byte[] bytes = address?.GetAddressBytes() ?? [];
        if (bytes.Length != Length)
            return default;
        fixed (byte* p = bytes)
            return Read(p);
    }

    public unsafe PhysicalAddress ToPhysicalAddress()
    {
        byte[] bytes = new byte[Length];
        fixed (byte* p = bytes)
            Write(p);
        return new PhysicalAddress(bytes);
    }

    public override string ToString() => string.Join(':', System.Array.ConvertAll(ToPhysicalAddress().GetAddressBytes(), static b => $"{b:x2}"));
}
