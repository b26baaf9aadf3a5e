using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Net.NetworkInformation;

namespace Millrace.Linux;

/// <summary>
/// An Ethernet interface of the kernel's, used by packet sockets: the stack gets a copy of each frame that comes in, and sends frames
/// of its own. Super-packets and partial checksums pass in both directions.
/// </summary>
/// <remarks>
/// Linux: packet(7), Documentation/networking/packet_mmap.rst: TPACKET_V3, PACKET_VNET_HDR, PACKET_FANOUT. Needs CAP_NET_RAW. The kernel
/// sees the frames too: it must not have the stack's IP addresses, and must not forward.
/// </remarks>
public sealed unsafe class PacketDevice : NetDriver
{
    private const int Fanout = 18;
    private const int FanoutUniqueId = 0x2000;

    private readonly AttachedInterface _interface;
    private readonly PacketQueue[] _queues;
    private readonly long _busyPoll;

    private PacketDevice(AttachedInterface attached, PacketQueue[] queues, PacketOptions options)
    {
        _interface = attached;
        _queues = queues;
        _busyPoll = (long)(options.BusyPoll.TotalSeconds * Stopwatch.Frequency);
    }

    public override string Name => _interface.Link.Name;

    public override int Mtu => _interface.Link.Mtu;

    public override DriverFlags Flags => DriverFlags.Offload;

    public override PhysicalAddress HardwareAddress => _interface.HardwareAddress;

    public override int Queues => _queues.Length;

    public override string FailureReason => $"the device {Name} was deleted";

    /// <summary>Begins to use an interface.</summary>
    /// <exception cref="ArgumentException">An option is none that a device can have.</exception>
    /// <exception cref="LinuxDeviceException">No privilege, or no such Ethernet interface.</exception>
    public static PacketDevice Open(string interfaceName, PacketOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(interfaceName);
        options ??= new PacketOptions();
        options.Validate();
        return NetworkNamespace.Run(options.NetworkNamespace, () => OpenHere(interfaceName, options));
    }

    /// <inheritdoc/>
    public override int Receive(int queue, ReadOnlySpan<IoVec> pieces, ref PacketOffload offload)
    {
        PacketQueue q = _queues[queue];
        int length = q.Rx.Receive(pieces, ref offload);
        return length == 0 && q.Descriptor.TakeAlarm() && _interface.IsGone ? -1 : length;
    }

    /// <inheritdoc/>
    public override int Transmit(int queue, ReadOnlySpan<IoVec> pieces, in PacketOffload offload) =>
        _queues[queue].Tx.Transmit(pieces, offload);

    /// <inheritdoc/>
    public override void Flush(int queue) => _queues[queue].Tx.Flush();

    /// <inheritdoc/>
    public override void Wait(int queue, TimeSpan timeout) => _queues[queue].Descriptor.Wait(timeout, _busyPoll);

    /// <inheritdoc/>
    public override void Wake(int queue) => _queues[queue].Descriptor.Wake();

    protected override void Dispose(bool disposing)
    {
        foreach (PacketQueue q in _queues)
            q.Dispose();
        _interface.Dispose();
    }

    private static PacketDevice OpenHere(string name, PacketOptions options)
    {
        AttachedInterface attached = AttachedInterface.Open(name, options.HardwareAddress);
        var queues = new List<PacketQueue>();
        try
        {
            for (int i = 0; i < options.Queues; i++)
                queues.Add(PacketQueue.Open(attached));
            if (queues.Count > 1)
                SpreadFlows(queues);
            return new PacketDevice(attached, [.. queues], options);
        }
        catch
        {
            foreach (PacketQueue q in queues)
                q.Dispose();
            attached.Dispose();
            throw;
        }
    }

    // The first asks for a number that no other group has; the others join it. The kind is 0, by hash.
    private static void SpreadFlows(List<PacketQueue> queues)
    {
        int request = FanoutUniqueId << 16;
        foreach (PacketQueue q in queues)
        {
            if (Libc.SetSockOpt(q.Descriptor.Fd, Libc.LevelPacket, Fanout, &request, sizeof(int)) < 0)
                throw new LinuxDeviceException($"Cannot spread flows over packet sockets: {Libc.LastError}.", Libc.LastError);
            if (q != queues[0])
                continue;
            uint length = sizeof(int);
            _ = Libc.GetSockOpt(q.Descriptor.Fd, Libc.LevelPacket, Fanout, &request, &length);
            request &= 0xffff;
        }
    }
}
