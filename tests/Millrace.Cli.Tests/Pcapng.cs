using System;
using System.Buffers.Binary;
using System.Collections.Generic;

namespace Millrace.Cli.Tests;

/// <summary>Reads pcapng as strictly as Wireshark does: every block's two lengths, its padding and its place.</summary>
internal static class Pcapng
{
    /// <summary>The packets of a little-endian file of raw IP packets.</summary>
    public static List<byte[]> Read(byte[] file)
    {
        var packets = new List<byte[]>();
        int interfaces = 0;
        for (int at = 0; at < file.Length;)
        {
            uint type = U32(file, at), length = U32(file, at + 4);
            Assert.Equal(0u, length % 4);
            Assert.Equal(length, U32(file, at + (int)length - 4));
            if (at == 0)
            {
                Assert.Equal(0x0a0d0d0au, type);
                Assert.Equal(0x1a2b3c4du, U32(file, 8));
            }
            else if (type == 1)
            {
                Assert.Equal(101, BinaryPrimitives.ReadUInt16LittleEndian(file.AsSpan(at + 8)));
                interfaces++;
            }
            else if (type == 6)
            {
                Assert.True(U32(file, at + 8) < interfaces, "the packet's interface has been described");
                Assert.Equal(U32(file, at + 20), U32(file, at + 24));
                packets.Add(file.AsSpan(at + 28, (int)U32(file, at + 20)).ToArray());
            }
            at += (int)length;
        }
        return packets;
    }

    /// <summary>Whether the checksums of an IPv4 header without options and of its TCP segment are right.</summary>
    public static bool ChecksumsAreRight(ReadOnlySpan<byte> packet)
    {
        uint pseudo = Sum(packet[12..20]) + 6 + (uint)(packet.Length - 20);
        return Fold(Sum(packet[..20])) == 0xffff && Fold(pseudo + Sum(packet[20..])) == 0xffff;
    }

    private static uint Sum(ReadOnlySpan<byte> bytes)
    {
        uint sum = 0;
        for (int i = 0; i < bytes.Length; i++)
            sum += i % 2 == 0 ? (uint)bytes[i] << 8 : bytes[i];
        return sum;
    }

    private static uint Fold(uint sum)
    {
        while (sum > 0xffff)
            sum = (sum & 0xffff) + (sum >> 16);
        return sum;
    }

    private static uint U32(byte[] bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at));
}
