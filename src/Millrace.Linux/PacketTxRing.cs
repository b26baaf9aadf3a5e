using System;
using System.Runtime.CompilerServices;
using System.Threading;

namespace Millrace.Linux;

/// <summary>
/// The transmit ring of a packet socket: slots of one frame each, which are filled, marked, and sent by one system call for all that
/// are marked.
/// </summary>
/// <remarks>Linux: TPACKET_V3, PACKET_TX_RING: struct tpacket3_hdr. The kernel gives a slot back when nobody needs its bytes.</remarks>
internal sealed unsafe class PacketTxRing(byte* memory, int fd)
{
    // A slot holds the largest super-packet, its headers and its slot's header.
    private const int SlotSize = 68 * 1024, SlotsPerBlock = 15, BlockSize = 1024 * 1024, Blocks = 4, Slots = SlotsPerBlock * Blocks;

    public const int Bytes = BlockSize * Blocks;

    private const int Available = 0, SendRequest = 1;

    // Offsets in a slot's header, and of the frame behind it.
    private const int NextOffset = 0, FrameLength = 16, Status = 20, FrameOffset = 48;
    private const int DontWait = 0x40;

    private int _slot;

    public static PacketRingRequest Request => new() { BlockSize = BlockSize, Blocks = Blocks, FrameSize = SlotSize, Frames = Slots };

    private byte* Slot => memory + (long)(_slot / SlotsPerBlock) * BlockSize + _slot % SlotsPerBlock * SlotSize;

    /// <summary>As <see cref="NetDriver.Transmit"/>. The frame goes out with the next <see cref="Flush"/>.</summary>
    public int Transmit(ReadOnlySpan<IoVec> pieces, in PacketOffload offload)
    {
        int length = Pieces.LengthOf(pieces);
        if (length > SlotSize - FrameOffset - sizeof(PacketOffload) || !HasFreeSlot())
            return 0;
        byte* slot = Slot;
        Unsafe.WriteUnaligned(slot + FrameOffset, offload);
        Pieces.Gather(pieces, slot + FrameOffset + sizeof(PacketOffload));
        *(int*)(slot + NextOffset) = 0;
        *(int*)(slot + FrameLength) = length + sizeof(PacketOffload);
        Volatile.Write(ref *(int*)(slot + Status), SendRequest);
        _slot = (_slot + 1) % Slots;
        return length;
    }

    /// <summary>Sends what is marked. What the kernel cannot send now, it sends with the next call.</summary>
    public void Flush() => _ = Libc.Send(fd, null, 0, DontWait);

    private bool HasFreeSlot()
    {
        if (Volatile.Read(ref *(int*)(Slot + Status)) == Available)
            return true;
        Flush();
        return Volatile.Read(ref *(int*)(Slot + Status)) == Available;
    }
}
