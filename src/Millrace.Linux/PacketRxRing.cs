using System;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Threading;

namespace Millrace.Linux;

/// <summary>
/// The receive ring of a packet socket: blocks, each of which the kernel fills with frames and hands over, and takes back when they have
/// been read.
/// </summary>
/// <remarks>
/// Linux: TPACKET_V3: struct tpacket_block_desc, struct tpacket3_hdr. A block that is not full is handed over after a millisecond, so
/// that is what a lone packet waits at most.
/// </remarks>
internal sealed unsafe class PacketRxRing(byte* memory)
{
    // A block holds several super-packets.
    private const int BlockSize = 256 * 1024, Blocks = 16;

    public const int Bytes = BlockSize * Blocks;

    private const int User = 1, VlanIsValid = 0x10;
    private const int TagOffset = 12, TagLength = 4;

    // Offsets in a block's descriptor, and in a frame's header.
    private const int BlockStatus = 8, BlockPackets = 12, BlockFirst = 16;
    private const int NextOffset = 0, CapturedLength = 12, Status = 20, MacOffset = 24, TagControl = 32, TagProtocol = 36;

    private int _block, _left;
    private byte* _frame;

    public static PacketRingRequest Request => new()
    {
        BlockSize = BlockSize,
        Blocks = Blocks,
        FrameSize = 2048,
        Frames = Bytes / 2048,
        RetireBlockTimeout = 1,
    };

    private byte* Block => memory + (long)_block * BlockSize;

    /// <summary>As <see cref="NetDriver.Receive"/>.</summary>
    public int Receive(ReadOnlySpan<IoVec> pieces, ref PacketOffload offload)
    {
        if (_left == 0 && !TryOpenBlock())
            return 0;
        byte* frame = _frame;
        byte* mac = frame + *(ushort*)(frame + MacOffset);
        int length = *(int*)(frame + CapturedLength);
        bool tagged = (*(int*)(frame + Status) & VlanIsValid) != 0 && (*(int*)(frame + TagControl) & 0xfff) != 0;
        offload = Unsafe.ReadUnaligned<PacketOffload>(mac - sizeof(PacketOffload));
        int received = tagged ? ScatterTagged(frame, mac, length, pieces) : Pieces.Scatter(mac, length, pieces);
        Advance(frame);
        return received;
    }

    // A block may have been handed over empty.
    private bool TryOpenBlock()
    {
        while ((Volatile.Read(ref *(int*)(Block + BlockStatus)) & User) != 0)
        {
            _left = *(int*)(Block + BlockPackets);
            _frame = Block + *(uint*)(Block + BlockFirst);
            if (_left > 0)
                return true;
            ReleaseBlock();
        }
        return false;
    }

    private void Advance(byte* frame)
    {
        _frame = frame + *(uint*)(frame + NextOffset);
        if (--_left == 0)
            ReleaseBlock();
    }

    private void ReleaseBlock()
    {
        Volatile.Write(ref *(int*)(Block + BlockStatus), 0);
        _block = (_block + 1) % Blocks;
    }

    // The kernel has taken the VLAN's tag out of the frame. Without it another network's frame would look like one of this.
    private static int ScatterTagged(byte* frame, byte* mac, int length, ReadOnlySpan<IoVec> pieces)
    {
        byte* tag = stackalloc byte[TagLength];
        BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(tag, 2), *(ushort*)(frame + TagProtocol));
        BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(tag + 2, 2), (ushort)*(int*)(frame + TagControl));
        return Pieces.Scatter(mac, TagOffset, pieces)
            + Pieces.Scatter(tag, TagLength, pieces, TagOffset)
            + Pieces.Scatter(mac + TagOffset, length - TagOffset, pieces, TagOffset + TagLength);
    }
}
