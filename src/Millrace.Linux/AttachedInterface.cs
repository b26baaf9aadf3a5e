using System;
using System.Buffers.Binary;
using System.Net.NetworkInformation;

namespace Millrace.Linux;

/// <summary>
/// An Ethernet interface of the kernel's that a stack uses beside it: what it is, that it takes the stack's frames off the wire, and
/// whether it still is there.
/// </summary>
/// <remarks>Linux: packet(7). The socket gets no packets; it holds the membership, and knows whether the interface that it is bound to still is.</remarks>
internal sealed unsafe class AttachedInterface : IDisposable
{
    public const int AddressSize = 20;

    private const ushort EthernetKind = 1;
    private const int AddMembership = 1;
    private const ushort Promiscuous = 1, AllMulticast = 2;

    private int _fd = -1;

    private AttachedInterface(LinkInfo link, PhysicalAddress? own)
    {
        EventsFd = RouteNetlink.OpenLinkEvents();
        Link = link;
        HardwareAddress = own ?? new PhysicalAddress(link.Address);
    }

    public LinkInfo Link { get; }

    /// <summary>The stack's address.</summary>
    public PhysicalAddress HardwareAddress { get; }

    /// <summary>A socket that gets a message when an interface changes or goes.</summary>
    public int EventsFd { get; }

    /// <summary>Whether the interface is no more.</summary>
    public bool IsGone
    {
        get
        {
            byte* address = stackalloc byte[AddressSize];
            uint length = AddressSize;
            return Libc.GetSockName(_fd, address, &length) < 0 || *(int*)(address + 4) != Link.Index;
        }
    }

    /// <param name="own">The stack's address if it is not the interface's.</param>
    /// <exception cref="LinuxDeviceException">There is no such Ethernet interface, or no privilege.</exception>
    public static AttachedInterface Open(string name, PhysicalAddress? own)
    {
        LinkInfo link;
        using (var netlink = new RouteNetlink())
            link = netlink.Find(name);
        if (link.Kind != EthernetKind)
            throw new LinuxDeviceException($"{name} is no Ethernet interface.", Errno.EINVAL);
        var attached = new AttachedInterface(link, own);
        try
        {
            attached._fd = OpenSocket();
            Bind(attached._fd, link.Index, protocol: 0);
            attached.Join();
            return attached;
        }
        catch
        {
            attached.Dispose();
            throw;
        }
    }

    /// <summary>A packet socket that gets nothing before it is bound.</summary>
    public static int OpenSocket()
    {
        int fd = Libc.Socket(Libc.AddressFamilyPacket, Libc.SocketRaw | Libc.CloseOnExec | Libc.NonBlock, 0);
        if (fd >= 0)
            return fd;
        Errno error = Libc.LastError;
        throw error is Errno.EPERM or Errno.EACCES
            ? new LinuxDeviceException("A packet socket needs privilege: run as root, or with CAP_NET_RAW.", error)
            : new LinuxDeviceException($"Cannot make a packet socket: {error}.", error);
    }

    /// <param name="protocol">An EtherType; 0 for none.</param>
    public static void Bind(int fd, int index, ushort protocol)
    {
        byte* address = stackalloc byte[AddressSize];
        new Span<byte>(address, AddressSize).Clear();
        *(ushort*)address = Libc.AddressFamilyPacket;
        BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(address + 2, 2), protocol);
        *(int*)(address + 4) = index;
        if (Libc.Bind(fd, address, AddressSize) < 0)
            throw new LinuxDeviceException($"Cannot bind a packet socket: {Libc.LastError}.", Libc.LastError);
    }

    public void Dispose()
    {
        if (_fd >= 0)
            _ = Libc.Close(_fd);
        _ = Libc.Close(EventsFd);
    }

    // Neighbours are asked for in IPv6's groups, of which the kernel knows only its own; another address is nobody's but ours.
    private void Join()
    {
        byte* request = stackalloc byte[16];
        new Span<byte>(request, 16).Clear();
        *(int*)request = Link.Index;
        *(ushort*)(request + 4) = HardwareAddress.GetAddressBytes().AsSpan().SequenceEqual(Link.Address) ? AllMulticast : Promiscuous;
        if (Libc.SetSockOpt(_fd, Libc.LevelPacket, AddMembership, request, 16) < 0)
            throw new LinuxDeviceException($"{Link.Name} does not listen to the stack's frames: {Libc.LastError}.", Libc.LastError);
    }
}
