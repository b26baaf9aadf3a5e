using System;

namespace Millrace.Linux;

/// <summary>One packet socket, with its two rings in memory that it shares with the kernel.</summary>
internal sealed unsafe class PacketQueue : IDisposable
{
    private const ushort AllProtocols = 3;
    private const int VersionOption = 10, VnetHeaderOption = 15, LossOption = 14, IgnoreOutgoingOption = 23;
    private const int RxRingOption = 5, TxRingOption = 13;
    private const int Version3 = 2;

    private SharedMemory? _memory;

    private PacketQueue(int fd, int watched) => Descriptor = new QueueDescriptor(fd, watched);

    public QueueDescriptor Descriptor { get; }

    public PacketRxRing Rx { get; private set; } = null!;

    public PacketTxRing Tx { get; private set; } = null!;

    public static PacketQueue Open(AttachedInterface attached)
    {
        var queue = new PacketQueue(AttachedInterface.OpenSocket(), attached.EventsFd);
        try
        {
            queue.SetUp(attached.Link.Index);
            return queue;
        }
        catch
        {
            queue.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        _memory?.Dispose();
        Descriptor.Dispose();
    }

    // The order is the kernel's: what a ring's frames look like, the rings, their memory, and only then packets.
    private void SetUp(int interfaceIndex)
    {
        Set(VersionOption, Version3, "TPACKET_V3");
        Set(VnetHeaderOption, 1, "PACKET_VNET_HDR");
        Set(IgnoreOutgoingOption, 1, "PACKET_IGNORE_OUTGOING");
        Set(LossOption, 1, "PACKET_LOSS");
        MakeRing(RxRingOption, PacketRxRing.Request);
        MakeRing(TxRingOption, PacketTxRing.Request);
        _memory = SharedMemory.Of(Descriptor.Fd, PacketRxRing.Bytes + PacketTxRing.Bytes);
        Rx = new PacketRxRing(_memory.Start);
        Tx = new PacketTxRing(_memory.Start + PacketRxRing.Bytes, Descriptor.Fd);
        AttachedInterface.Bind(Descriptor.Fd, interfaceIndex, AllProtocols);
    }

    private void Set(int option, int value, string name)
    {
        if (Libc.SetSockOpt(Descriptor.Fd, Libc.LevelPacket, option, &value, sizeof(int)) < 0)
            throw new LinuxDeviceException($"The kernel's packet sockets have no {name}: {Libc.LastError}.", Libc.LastError);
    }

    private void MakeRing(int option, PacketRingRequest request)
    {
        if (Libc.SetSockOpt(Descriptor.Fd, Libc.LevelPacket, option, &request, (uint)sizeof(PacketRingRequest)) < 0)
            throw new LinuxDeviceException($"The kernel does not make a packet socket's ring: {Libc.LastError}.", Libc.LastError);
    }
}

/// <summary>What a ring shall be. Linux: struct tpacket_req3. All sizes in bytes.</summary>
internal struct PacketRingRequest
{
    public int BlockSize, Blocks, FrameSize, Frames;

    /// <summary>Milliseconds after which a block that is not full is handed over.</summary>
    public int RetireBlockTimeout;
    public int PrivateSize, Features;
}
