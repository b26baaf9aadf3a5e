using System;
using System.Diagnostics.CodeAnalysis;
using System.Net.NetworkInformation;

namespace Millrace;

/// <summary>How a super-packet is to be cut. The values are those of virtio_net_hdr's gso_type.</summary>
public enum SegmentKind : byte
{
    None = 0,
    TcpV4 = 1,
    TcpV6 = 4,
    UdpL4 = 5,
}

/// <summary>
/// What travels beside a packet where the device leaves work to the other side. The layout of Linux's struct virtio_net_hdr.
/// </summary>
public struct PacketOffload
{
    /// <summary>Bit 0: the checksum is partial, to be summed from <see cref="ChecksumStart"/>. Bit 1: it has been verified.</summary>
    public byte Flags;

    /// <summary>A <see cref="SegmentKind"/>, and 0x80 if CWR is on the first segment only.</summary>
    public byte Kind;

    /// <summary>Bytes of headers before the payload.</summary>
    public ushort HeaderLength;

    /// <summary>Payload bytes of each segment.</summary>
    public ushort SegmentSize;

    /// <summary>Offset in the packet from which the checksum is summed, and of its field from there.</summary>
    public ushort ChecksumStart;
    public ushort ChecksumOffset;

    public const byte NeedsChecksum = 1;
    public const byte DataValid = 2;
    public const byte EcnBit = 0x80;
}

/// <summary>What a driver can do beyond plain packets.</summary>
[Flags]
[SuppressMessage("Naming", "CA1711", Justification = "Flags is the field's word")]
public enum DriverFlags
{
    None = 0,

    /// <summary>Packets carry a <see cref="PacketOffload"/>: partial checksums and super-packets pass in both directions.</summary>
    Offload = 1,
}

/// <summary>
/// A source and sink of packets outside the stack: a TUN device, a packet socket, the user's own. The stack calls it; it never
/// calls the stack. A packet is an IP packet; of a driver with a <see cref="HardwareAddress"/> it is an Ethernet frame without its check
/// sequence.
/// </summary>
/// <remarks>
/// Each queue is read by one thread at a time and written by one thread at a time. Receiving and sending never block;
/// <see cref="Wait"/> does, and is ended by <see cref="Wake"/> from any thread.
/// </remarks>
public abstract class NetDriver : IDisposable
{
    /// <summary>The interface's name.</summary>
    public abstract string Name { get; }

    /// <summary>The largest IP packet on the wire, in bytes.</summary>
    public abstract int Mtu { get; }

    public virtual DriverFlags Flags => DriverFlags.None;

    /// <summary>
    /// The stack's own address on the Ethernet that the driver's frames come from; null: the driver has IP packets. It does not change.
    /// </summary>
    public virtual PhysicalAddress? HardwareAddress => null;

    /// <summary>Queues that are served in parallel.</summary>
    public virtual int Queues => 1;

    /// <summary>
    /// Receives one packet into <paramref name="pieces"/>, in order. Returns its length in bytes, 0 if there is none now, or a
    /// negative number if the device has failed for good.
    /// </summary>
    public abstract int Receive(int queue, ReadOnlySpan<IoVec> pieces, ref PacketOffload offload);

    /// <summary>
    /// Sends one packet, given in pieces. Returns its length, 0 if the device has no room and the packet is lost, or a negative
    /// number if the device has failed for good.
    /// </summary>
    public abstract int Transmit(int queue, ReadOnlySpan<IoVec> pieces, in PacketOffload offload);

    /// <summary>
    /// No more packets follow for now: what <see cref="Transmit"/> has only queued goes out. Called by the queue's writer, after one
    /// packet or many.
    /// </summary>
    public virtual void Flush(int queue)
    {
    }

    /// <summary>Blocks until a packet is there, <see cref="Wake"/> is called, or the timeout is over; negative waits for ever.</summary>
    public abstract void Wait(int queue, TimeSpan timeout);

    /// <summary>Ends the present or the next <see cref="Wait"/>.</summary>
    public abstract void Wake(int queue);

    /// <summary>What the last failure was, for people.</summary>
    public virtual string FailureReason => "the device has failed";

    protected abstract void Dispose(bool disposing);

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }
}
