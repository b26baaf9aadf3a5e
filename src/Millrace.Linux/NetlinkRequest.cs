using System;
using System.Buffers.Binary;
using System.IO;

namespace Millrace.Linux;

/// <summary>A netlink message in the making: its header, the header of its kind, attributes.</summary>
/// <remarks>Linux: netlink(7): struct nlmsghdr, struct nlattr. Host order, which .NET on Linux is little-endian.</remarks>
internal sealed class NetlinkRequest
{
    public const ushort Plain = 1, MultiPart = 2, Acknowledged = 1 | 4, Exclusive = 0x200, Dump = 1 | 0x300, Create = 0x400;

    private readonly MemoryStream _bytes = new();
    private readonly ushort _type, _flags;

    /// <param name="header">The fixed part after the message's header.</param>
    public NetlinkRequest(ushort type, int flags, ReadOnlySpan<byte> header)
    {
        _type = type;
        _flags = (ushort)flags;
        _bytes.Write(stackalloc byte[16]);
        _bytes.Write(header);
    }

    public static int Align(int length) => (length + 3) & ~3;

    public void Put(int attribute, ReadOnlySpan<byte> value)
    {
        Span<byte> header = stackalloc byte[4];
        BinaryPrimitives.WriteUInt16LittleEndian(header, (ushort)(4 + value.Length));
        BinaryPrimitives.WriteUInt16LittleEndian(header[2..], (ushort)attribute);
        _bytes.Write(header);
        _bytes.Write(value);
        while (_bytes.Length % 4 != 0)
            _bytes.WriteByte(0);
    }

    public byte[] Finish(uint sequence)
    {
        byte[] bytes = _bytes.ToArray();
        BinaryPrimitives.WriteInt32LittleEndian(bytes, bytes.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(4), _type);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(6), _flags);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), sequence);
        return bytes;
    }
}
