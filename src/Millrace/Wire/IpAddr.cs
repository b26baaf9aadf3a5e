using System;
using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace Millrace.Wire;

/// <summary>
/// An IPv4 or IPv6 address in 16 bytes. An IPv4 address is held in its IPv6-mapped form (::ffff:a.b.c.d), so that one type, one
/// key and one comparison serve both families and the dual-stack sockets. Host order.
/// </summary>
/// <remarks>RFC 4291 §2.5.5.2. Linux: in_addr, in6_addr.</remarks>
internal readonly struct IpAddr : IEquatable<IpAddr>
{
    private const ulong MappedPrefix = 0xffff_0000_0000, SolicitedHigh = 0xff02_0000_0000_0000, SolicitedLow = 0x1_ff00_0000;

    /// <summary>The high and low half, host order.</summary>
    public readonly ulong High, Low;

    public IpAddr(ulong high, ulong low)
    {
        High = high;
        Low = low;
    }

    /// <summary>The IPv6 unspecified address, "::". The default of the type.</summary>
    public static IpAddr Any6 => default;

    /// <summary>0.0.0.0.</summary>
    public static IpAddr Any4 => FromV4(0);

    public static IpAddr Loopback4 => FromV4(0x7f00_0001);

    public static IpAddr Loopback6 => new(0, 1);

    /// <summary>ff02::1.</summary>
    public static IpAddr AllNodes => new(SolicitedHigh, 1);

    public static IpAddr Broadcast4 => FromV4(0xffff_ffff);

    public static IpAddr FromV4(uint hostOrder) => new(0, MappedPrefix | hostOrder);

    public static IpAddr Parse(string text) => From(IPAddress.Parse(text));

    public static IpAddr From(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        return address.TryWriteBytes(bytes, out int n) && n == 4
            ? FromV4(BinaryPrimitives.ReadUInt32BigEndian(bytes))
            : ReadV6(bytes);
    }

    public static IpAddr ReadV6(ReadOnlySpan<byte> bytes) =>
        new(BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]));

    public void WriteV6(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64BigEndian(bytes, High);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], Low);
    }

    public bool IsV4
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => High == 0 && Low >> 32 == 0xffff;
    }

    /// <summary>The IPv4 address, host order. Meaningful when <see cref="IsV4"/>.</summary>
    public uint V4 => (uint)Low;

    /// <summary>Whether this is 0.0.0.0 or "::".</summary>
    public bool IsAny => High == 0 && (Low == 0 || Low == MappedPrefix);

    public bool IsLoopback => IsV4 ? V4 >> 24 == 127 : this == Loopback6;

    public bool IsMulticast => IsV4 ? V4 >> 28 == 0xe : High >> 56 == 0xff;

    /// <summary>fe80::/10.</summary>
    public bool IsLinkLocal6 => High >> 54 == 0xfe80 >> 6;

    /// <summary>ff02::1:ff00:0/104, the groups in which neighbours are asked for.</summary>
    public bool IsSolicitedNode => High == SolicitedHigh && Low >> 24 == SolicitedLow >> 24;

    /// <summary>The group in which this address's station is asked for. RFC 4291 §2.7.1.</summary>
    public IpAddr SolicitedNode => new(SolicitedHigh, SolicitedLow | (Low & 0xff_ffff));

    /// <summary>The limited broadcast address, 255.255.255.255.</summary>
    public bool IsBroadcast => this == Broadcast4;

    public AddressFamily Family => IsV4 ? AddressFamily.InterNetwork : AddressFamily.InterNetworkV6;

    /// <summary>Whether the first <paramref name="length"/> bits (of 32 for IPv4, of 128 for IPv6) equal those of <paramref name="prefix"/>.</summary>
    public bool HasPrefix(IpAddr prefix, int length)
    {
        if (prefix.IsV4 != IsV4)
            return false;
        int bits = prefix.IsV4 ? 96 + length : length;
        ulong high = High ^ prefix.High, low = Low ^ prefix.Low;
        if (bits <= 64)
            return bits == 0 || high >> (64 - bits) == 0;
        return high == 0 && (bits == 64 || low >> (128 - bits) == 0);
    }

    public IPAddress ToIPAddress()
    {
        Span<byte> bytes = stackalloc byte[16];
        WriteV6(bytes);
        return IsV4 ? new IPAddress(bytes[12..]) : new IPAddress(bytes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Equals(IpAddr other) => ((High ^ other.High) | (Low ^ other.Low)) == 0;

    public override bool Equals(object? obj) => obj is IpAddr other && Equals(other);

    public override int GetHashCode() => HashCode.Combine(High, Low);

    public static bool operator ==(IpAddr a, IpAddr b) => a.Equals(b);

    public static bool operator !=(IpAddr a, IpAddr b) => !a.Equals(b);

    public override string ToString() => ToIPAddress().ToString();
}
