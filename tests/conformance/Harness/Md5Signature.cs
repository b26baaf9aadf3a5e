using System;
using System.Net;
using System.Security.Cryptography;

namespace Millrace.Conformance;

/// <summary>The signature of RFC 2385, computed from the packet alone. No line is shared with the stack.</summary>
internal static class Md5Signature
{
    /// <summary>The digest of a TCP segment, whose checksum and options do not count.</summary>
    public static byte[] Digest(IPAddress source, IPAddress destination, ReadOnlySpan<byte> tcp, byte[] secret)
    {
        byte[] length = source.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork
            ? [0, 6, (byte)(tcp.Length >> 8), (byte)tcp.Length]
            : [0, 0, (byte)(tcp.Length >> 8), (byte)tcp.Length, 0, 0, 0, 6];
        byte[] header = tcp[..20].ToArray();
        header[16] = header[17] = 0;
#pragma warning disable CA5351 // what the RFC prescribes
        return MD5.HashData([.. source.GetAddressBytes(), .. destination.GetAddressBytes(), .. length, .. header,
            .. tcp[((tcp[12] >> 4) * 4)..], .. secret]);
#pragma warning restore CA5351
    }

    /// <summary>Whether a packet is signed, once, with this secret.</summary>
    public static bool Holds(IpPacket packet, byte[] secret)
    {
        ReadOnlySpan<byte> tcp = packet.Payload;
        int at = tcp[20..((tcp[12] >> 4) * 4)].IndexOf([(byte)19, (byte)18]);
        return at >= 0 && tcp.Slice(20 + at + 2, 16).SequenceEqual(Digest(packet.Source, packet.Destination, tcp, secret));
    }

    /// <summary>struct tcp_md5sig.</summary>
    /// <param name="flags">1: the prefix counts; 2: the device does.</param>
    public static byte[] Option(IPAddress peer, ReadOnlySpan<byte> secret, int flags = 0, int prefix = 0, int device = 0)
    {
        var option = new byte[216];
        bool v4 = peer.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork;
        option[0] = (byte)(v4 ? 2 : 10);
        peer.GetAddressBytes().CopyTo(option, v4 ? 4 : 8);
        option[128] = (byte)flags;
        option[129] = (byte)prefix;
        BitConverter.TryWriteBytes(option.AsSpan(130), (ushort)secret.Length);
        BitConverter.TryWriteBytes(option.AsSpan(132), device);
        secret[..Math.Min(secret.Length, 80)].CopyTo(option.AsSpan(136));
        return option;
    }
}
