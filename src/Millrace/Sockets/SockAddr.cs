using System;
using System.Buffers.Binary;
using System.Net;
using Millrace.Wire;

namespace Millrace.Sockets;

/// <summary>Address families that a socket address or a socket can name; Linux's numbers.</summary>
internal static class Af
{
    public const int Unspec = 0;
    public const int Unix = 1;
    public const int Inet = 2;
    public const int Inet6 = 10;

    /// <summary>Families that have numbers. Linux: AF_MAX.</summary>
    public const int Max = 46;
}

/// <summary>An Internet socket address of either family. Linux: sockaddr_in, sockaddr_in6.</summary>
internal readonly record struct SockAddr(int Family, IpAddr Address, ushort Port, uint FlowInfo = 0, uint ScopeId = 0)
{
    /// <summary>Size of sockaddr_in and sockaddr_in6.</summary>
    public const int InetLength = 16, Inet6Length = 28;

    /// <summary>Length of the largest socket address. Linux: sizeof(struct sockaddr_storage).</summary>
    public const int StorageLength = 128;

    /// <summary>Reads what an Internet family understands. The length is the caller's to check; missing bytes read as zero.</summary>
    public static SockAddr Read(ReadOnlySpan<byte> bytes)
    {
        Span<byte> full = stackalloc byte[Inet6Length];
        full.Clear();
        bytes[..Math.Min(bytes.Length, full.Length)].CopyTo(full);
        int family = bytes.Length >= 2 ? BitConverter.ToUInt16(full) : Af.Unspec;
        ushort port = BinaryPrimitives.ReadUInt16BigEndian(full[2..]);
        if (family != Af.Inet6)
            return new SockAddr(family, IpAddr.FromV4(BinaryPrimitives.ReadUInt32BigEndian(full[4..])), port);
        return new SockAddr(family, IpAddr.ReadV6(full[8..]), port, BinaryPrimitives.ReadUInt32BigEndian(full[4..]),
            BitConverter.ToUInt32(full[24..]));
    }

    /// <summary>Writes the address, cut to the space there is. Returns its full length. Linux: move_addr_to_user.</summary>
    public int Write(Span<byte> target)
    {
        Span<byte> full = stackalloc byte[Inet6Length];
        full.Clear();
        BitConverter.TryWriteBytes(full, (ushort)Family);
        BinaryPrimitives.WriteUInt16BigEndian(full[2..], Port);
        int length = InetLength;
        if (Family == Af.Inet6)
        {
            length = Inet6Length;
            BinaryPrimitives.WriteUInt32BigEndian(full[4..], FlowInfo);
            Address.WriteV6(full[8..]);
            BitConverter.TryWriteBytes(full[24..], ScopeId);
        }
        else
        {
            BinaryPrimitives.WriteUInt32BigEndian(full[4..], Address.V4);
        }
        full[..Math.Min(length, target.Length)].CopyTo(target);
        return length;
    }

    public static SockAddr From(IPEndPoint endPoint)
    {
        IpAddr address = IpAddr.From(endPoint.Address);
        bool v4 = endPoint.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork;
        return new SockAddr(v4 ? Af.Inet : Af.Inet6, address, (ushort)endPoint.Port, 0, v4 ? 0 : (uint)endPoint.Address.ScopeId);
    }

    public IPEndPoint ToIPEndPoint() => new(Address.ToIPAddress(), Port);
}
