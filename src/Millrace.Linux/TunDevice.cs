using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Net;
using System.Net.NetworkInformation;
using System.Text;

namespace Millrace.Linux;

/// <summary>
/// A TUN device: what the kernel routes to the interface, the stack receives, and what the stack sends comes out of the interface. As a
/// TAP device it is an Ethernet between the two. It is gone when it is disposed of, or when its process ends.
/// </summary>
/// <remarks>Linux: drivers/net/tun.c; Documentation/networking/tuntap.rst. Needs CAP_NET_ADMIN.</remarks>
public sealed unsafe class TunDevice : NetDriver
{
    private const string DevicePath = "/dev/net/tun";
    private const nuint SetInterface = 0x4004_54ca, SetOffload = 0x4004_54d0;
    private const ushort Tun = 1, Tap = 2, NoPacketInfo = 0x1000, VnetHeader = 0x4000, MultiQueue = 0x100, Exclusive = 0x8000;
    private const uint Checksum = 1, Tso4 = 2, Tso6 = 4, TsoEcn = 8, Uso4 = 0x20, Uso6 = 0x40;
    private const int NameSize = 16, RequestSize = 40;

    /// <summary>Bytes of the kernel's struct virtio_net_hdr, which <see cref="PacketOffload"/> mirrors.</summary>
    private const int OffloadHeaderSize = 10;

    /// <summary>Pieces of one packet, the offload header included.</summary>
    private const int MaxPieces = 64;

    private readonly QueueDescriptor[] _queues;
    private readonly RouteNetlink _link;
    private readonly int _index;
    private readonly bool _offload;
    private readonly long _busyPoll;
    private string _failure = "";

    private TunDevice(string name, TunOptions options, PhysicalAddress? hardwareAddress, QueueDescriptor[] queues, RouteNetlink link)
    {
        HardwareAddress = hardwareAddress;
        Name = name;
        Mtu = options.Mtu;
        _offload = options.Offload;
        _busyPoll = (long)(options.BusyPoll.TotalSeconds * Stopwatch.Frequency);
        _queues = queues;
        _link = link;
        _index = link.Find(name).Index;
    }

    public override string Name { get; }

    public override int Mtu { get; }

    public override DriverFlags Flags => _offload ? DriverFlags.Offload : DriverFlags.None;

    public override int Queues => _queues.Length;

    /// <summary>The stack's address; null: it is a TUN device.</summary>
    public override PhysicalAddress? HardwareAddress { get; }

    public override string FailureReason => _failure;

    /// <summary>Makes a device. It is down, and has no address, until it is configured.</summary>
    /// <param name="name">At most 15 bytes; "%d" in it stands for the first free number.</param>
    /// <exception cref="ArgumentException">The name or an option is none that a device can have.</exception>
    /// <exception cref="LinuxDeviceException">No privilege, no TUN driver, the name is taken.</exception>
    public static TunDevice Create(string name, TunOptions? options = null)
    {
        options ??= new TunOptions();
        if (options.HardwareAddress is not null)
            throw new ArgumentException("A TUN device has no Ethernet address.", nameof(options));
        return Create(name, options, null);
    }

    /// <summary>Makes a TAP device: a TUN device that carries Ethernet frames. It is down, and has no address, until it is configured.</summary>
    /// <inheritdoc cref="Create(string, TunOptions)"/>
    public static TunDevice CreateTap(string name, TunOptions? options = null)
    {
        options ??= new TunOptions();
        return Create(name, options, options.HardwareAddress ?? HardwareAddresses.NewLocal());
    }

    /// <summary>Gives the kernel's side an address; the kernel then routes the subnet to the device.</summary>
    /// <exception cref="LinuxDeviceException">An interface has this address or this subnet already.</exception>
    public void AddAddress(IPAddress address, int prefixLength)
    {
        ArgumentNullException.ThrowIfNull(address);
        EnsureUnused(address, prefixLength);
        Errno error = _link.AddAddress(_index, address, prefixLength);
        if (error != Errno.OK)
            throw Refused($"does not take the address {address}/{prefixLength}", error);
    }

    /// <summary>Routes one more subnet of the kernel's to the device.</summary>
    /// <exception cref="LinuxDeviceException">There is such a route already, or the device is down.</exception>
    public void AddRoute(IPAddress prefix, int prefixLength)
    {
        ArgumentNullException.ThrowIfNull(prefix);
        Errno error = _link.AddRoute(_index, TunSubnet.NetworkOf(prefix, prefixLength), prefixLength);
        if (error != Errno.OK)
            throw Refused($"does not take the route to {prefix}/{prefixLength}", error);
    }

    /// <summary>Brings the kernel's side up. Linux: ip link set up.</summary>
    /// <exception cref="LinuxDeviceException"/>
    public void BringUp()
    {
        Errno error = _link.BringUp(_index);
        if (error != Errno.OK)
            throw Refused("does not come up", error);
    }

    /// <inheritdoc/>
    public override int Receive(int queue, ReadOnlySpan<IoVec> pieces, ref PacketOffload offload)
    {
        int fd = _queues[queue].Fd;
        nint read;
        if (!_offload)
        {
            fixed (IoVec* p = pieces)
                read = pieces.Length == 1 ? Libc.Read(fd, (void*)p->Address, p->Length) : Libc.ReadV(fd, p, pieces.Length);
            return read >= 0 ? (int)read : OnReadError();
        }
        fixed (PacketOffload* header = &offload)
        {
            IoVec* all = stackalloc IoVec[MaxPieces];
            read = Libc.ReadV(fd, all, WithHeader(all, header, pieces));
        }
        return read >= 0 ? (int)read - OffloadHeaderSize : OnReadError();
    }

    /// <inheritdoc/>
    public override int Transmit(int queue, ReadOnlySpan<IoVec> pieces, in PacketOffload offload)
    {
        int fd = _queues[queue].Fd;
        nint written;
        if (!_offload)
        {
            fixed (IoVec* p = pieces)
                written = pieces.Length == 1 ? Libc.Write(fd, (void*)p->Address, p->Length) : Libc.WriteV(fd, p, pieces.Length);
            return written >= 0 ? (int)written : OnWriteError();
        }
        fixed (PacketOffload* header = &offload)
        {
            IoVec* all = stackalloc IoVec[MaxPieces];
            written = Libc.WriteV(fd, all, WithHeader(all, header, pieces));
        }
        return written >= 0 ? (int)written - OffloadHeaderSize : OnWriteError();
    }

    /// <inheritdoc/>
    public override void Wait(int queue, TimeSpan timeout) => _queues[queue].Wait(timeout, _busyPoll);

    /// <inheritdoc/>
    public override void Wake(int queue) => _queues[queue].Wake();

    protected override void Dispose(bool disposing)
    {
        foreach (QueueDescriptor q in _queues)
            q.Dispose();
        _link.Dispose();
    }

    private static TunDevice Create(string name, TunOptions options, PhysicalAddress? hardwareAddress)
    {
        ValidateName(name);
        options.Validate();
        return NetworkNamespace.Run(options.NetworkNamespace, () => CreateHere(name, options, hardwareAddress));
    }

    private static TunDevice CreateHere(string name, TunOptions options, PhysicalAddress? hardwareAddress)
    {
        var queues = new List<QueueDescriptor>();
        RouteNetlink? link = null;
        try
        {
            string actual = name;
            for (int i = 0; i < options.Queues; i++)
            {
                queues.Add(new QueueDescriptor(OpenDevice()));
                actual = Claim(queues[i].Fd, actual, options, hardwareAddress is null ? Tun : Tap, first: i == 0);
            }
            link = new RouteNetlink();
            var device = new TunDevice(actual, options, hardwareAddress, [.. queues], link);
            Errno error = link.SetMtu(device._index, options.Mtu);
            return error == Errno.OK ? device : throw device.Refused($"does not take an MTU of {options.Mtu}", error);
        }
        catch
        {
            link?.Dispose();
            foreach (QueueDescriptor q in queues)
                q.Dispose();
            throw;
        }
    }

    private static int OpenDevice()
    {
        int fd = Libc.Open(DevicePath, Libc.ReadWrite | Libc.NonBlock | Libc.CloseOnExec);
        if (fd >= 0)
            return fd;
        Errno error = Libc.LastError;
        throw error switch
        {
            Errno.ENOENT or Errno.ENODEV or Errno.ENXIO => new LinuxDeviceException(
                $"There is no {DevicePath}: load the kernel's tun module, or hand the device to the container.", error),
            Errno.EACCES or Errno.EPERM => NoPrivilege(error),
            _ => new LinuxDeviceException($"Cannot open {DevicePath}: {error}.", error),
        };
    }

    // The name of the first queue must be free; the others join it.
    private static string Claim(int fd, string name, TunOptions options, ushort kind, bool first)
    {
        byte* request = stackalloc byte[RequestSize];
        new Span<byte>(request, RequestSize).Clear();
        Encoding.ASCII.GetBytes(name, new Span<byte>(request, NameSize - 1));
        int flags = kind | NoPacketInfo | (options.Offload ? VnetHeader : 0) | (options.Queues > 1 ? MultiQueue : 0) | (first ? Exclusive : 0);
        *(ushort*)(request + NameSize) = (ushort)flags;
        if (Libc.IoCtl(fd, SetInterface, (nint)request) < 0)
        {
            Errno error = Libc.LastError;
            throw error switch
            {
                Errno.EPERM or Errno.EACCES => NoPrivilege(error),
                Errno.EBUSY or Errno.EEXIST => new LinuxDeviceException($"There is an interface named {name} already.", error),
                _ => new LinuxDeviceException($"Cannot make a device named {name}: {error}.", error),
            };
        }
        if (options.Offload)
            EnableOffload(fd, name);
        int length = new ReadOnlySpan<byte>(request, NameSize).IndexOf((byte)0);
        return Encoding.ASCII.GetString(request, length);
    }

    // UDP segmentation came with Linux 6.2.
    private static void EnableOffload(int fd, string name)
    {
        const uint tcp = Checksum | Tso4 | Tso6 | TsoEcn;
        if (Libc.IoCtl(fd, SetOffload, (nint)(tcp | Uso4 | Uso6)) < 0 && Libc.IoCtl(fd, SetOffload, (nint)tcp) < 0)
            throw new LinuxDeviceException($"{name} does not take offloads: {Libc.LastError}.", Libc.LastError);
    }

    private static void ValidateName(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        bool valid = name.Length < NameSize && name is not ("." or "..");
        foreach (char c in name)
            valid &= c is > ' ' and <= '~' and not ('/' or ':');
        if (!valid)
            throw new ArgumentException($"'{name}' cannot be an interface's name: 1 to 15 characters, no blank, no '/', no ':'.", nameof(name));
    }

    private static int WithHeader(IoVec* all, PacketOffload* header, ReadOnlySpan<IoVec> pieces)
    {
        all[0] = new IoVec((nint)header, OffloadHeaderSize);
        pieces.CopyTo(new Span<IoVec>(all + 1, MaxPieces - 1));
        return pieces.Length + 1;
    }

    private void EnsureUnused(IPAddress address, int prefixLength)
    {
        IPAddress network = TunSubnet.NetworkOf(address, prefixLength);
        foreach (LinkAddress other in _link.Addresses())
        {
            if (other.Address.Equals(address))
                throw new LinuxDeviceException($"The address {address} is in use on {other.InterfaceName}.", Errno.EADDRINUSE);
            if (other.PrefixLength == prefixLength && TunSubnet.NetworkOf(other.Address, prefixLength).Equals(network))
                throw new LinuxDeviceException($"The subnet {network}/{prefixLength} is in use on {other.InterfaceName}.", Errno.EADDRINUSE);
        }
    }

    private LinuxDeviceException Refused(string what, Errno error) => new($"{Name} {what}: {error}.", error);

    private static LinuxDeviceException NoPrivilege(Errno error) =>
        new("A TUN device needs privilege: run as root, or with CAP_NET_ADMIN and access to " + DevicePath + ".", error);

    // A signal, or an empty queue, is no failure. A detached queue, or a device that was deleted, is.
    private int OnReadError() => Libc.LastError is Errno.EAGAIN or Errno.EINTR ? 0 : OnLost();

    private int OnWriteError() => Libc.LastError == Errno.EBADFD ? OnLost() : 0;

    private int OnLost()
    {
        _failure = $"the device {Name} was deleted";
        return -1;
    }
}
