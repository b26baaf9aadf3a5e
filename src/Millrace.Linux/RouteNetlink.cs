using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Net;
using System.Text;

namespace Millrace.Linux;

/// <summary>An address that an interface of the kernel has.</summary>
internal readonly record struct LinkAddress(IPAddress Address, int PrefixLength, string InterfaceName);

/// <summary>An interface of the kernel's.</summary>
/// <param name="Kind">Linux: ARPHRD_*; 1 is Ethernet.</param>
/// <param name="Address">Its link-layer address; empty if it has none.</param>
internal sealed record LinkInfo(string Name, int Index, int Mtu, ushort Kind, byte[] Address);

/// <summary>Asks the kernel about its interfaces, addresses and routes, and changes them.</summary>
/// <remarks>Linux: rtnetlink(7). Belongs to the network namespace of the thread that makes it.</remarks>
internal sealed unsafe class RouteNetlink : IDisposable
{
    private const ushort NewLink = 16, GetLink = 18, NewAddress = 20, GetAddress = 22, NewRoute = 24;
    private const ushort Error = 2, Done = 3;
    private const int HardwareAttribute = 1, NameAttribute = 3, MtuAttribute = 4;
    private const int AddressAttribute = 1, LocalAttribute = 2;
    private const int DestinationAttribute = 1, OutputAttribute = 4;
    private const int HeaderSize = 16, LinkSize = 16, AddressSize = 8, RouteSize = 12;
    private const byte Inet = 2, Inet6 = 10;
    private const uint Up = 1;
    private const byte NoDuplicateDetection = 2;

    private readonly int _fd;
    private readonly byte[] _answer = new byte[32768];
    private uint _sequence;

    public RouteNetlink()
    {
        _fd = Libc.Socket(Libc.AddressFamilyNetlink, Libc.SocketRaw | Libc.CloseOnExec, 0);
        if (_fd < 0)
            throw new LinuxDeviceException($"Cannot talk to the kernel by netlink: {Libc.LastError}.", Libc.LastError);
    }

    /// <summary>A socket that gets a message for each change of an interface.</summary>
    public static int OpenLinkEvents()
    {
        const uint linkGroup = 1;
        int fd = Libc.Socket(Libc.AddressFamilyNetlink, Libc.SocketRaw | Libc.CloseOnExec | Libc.NonBlock, 0);
        uint* address = stackalloc uint[] { Libc.AddressFamilyNetlink, 0, linkGroup };
        if (fd >= 0 && Libc.Bind(fd, address, 3 * sizeof(uint)) == 0)
            return fd;
        Errno error = Libc.LastError;
        if (fd >= 0)
            _ = Libc.Close(fd);
        throw new LinuxDeviceException($"Cannot watch the kernel's interfaces by netlink: {error}.", error);
    }

    /// <summary>The interface of this name.</summary>
    /// <exception cref="LinuxDeviceException">There is none.</exception>
    public LinkInfo Find(string name)
    {
        var request = new NetlinkRequest(GetLink, NetlinkRequest.Plain, LinkHeader(0, 0, 0));
        request.Put(NameAttribute, [.. Encoding.ASCII.GetBytes(name), 0]);
        LinkInfo? link = null;
        Errno error = Exchange(request, (_, body) => link = ReadLink(name, body));
        return error == Errno.OK && link is not null ? link : throw new LinuxDeviceException($"There is no interface named {name}: {error}.", error);
    }

    public Errno SetMtu(int index, int mtu)
    {
        var request = new NetlinkRequest(NewLink, NetlinkRequest.Acknowledged, LinkHeader(index, 0, 0));
        request.Put(MtuAttribute, BitConverter.GetBytes(mtu));
        return Exchange(request);
    }

    public Errno BringUp(int index) =>
        Exchange(new NetlinkRequest(NewLink, NetlinkRequest.Acknowledged, LinkHeader(index, Up, Up)));

    public Errno AddAddress(int index, IPAddress address, int prefixLength)
    {
        byte[] bytes = address.GetAddressBytes();
        byte[] header = [Family(bytes), (byte)prefixLength, NoDuplicateDetection, 0, .. BitConverter.GetBytes(index)];
        var request = new NetlinkRequest(NewAddress, NetlinkRequest.Acknowledged | NetlinkRequest.Create | NetlinkRequest.Exclusive, header);
        request.Put(LocalAttribute, bytes);
        request.Put(AddressAttribute, bytes);
        return Exchange(request);
    }

    public Errno AddRoute(int index, IPAddress prefix, int prefixLength)
    {
        const byte mainTable = 254, bootProtocol = 3, linkScope = 253, globalScope = 0, unicast = 1;
        byte[] bytes = prefix.GetAddressBytes();
        byte family = Family(bytes);
        byte[] header = [family, (byte)prefixLength, 0, 0, mainTable, bootProtocol, family == Inet ? linkScope : globalScope, unicast, 0, 0, 0, 0];
        var request = new NetlinkRequest(NewRoute, NetlinkRequest.Acknowledged | NetlinkRequest.Create | NetlinkRequest.Exclusive, header);
        request.Put(DestinationAttribute, bytes);
        request.Put(OutputAttribute, BitConverter.GetBytes(index));
        return Exchange(request);
    }

    /// <summary>All addresses of all interfaces.</summary>
    public IReadOnlyList<LinkAddress> Addresses()
    {
        var names = new Dictionary<int, string>();
        Exchange(new NetlinkRequest(GetLink, NetlinkRequest.Dump, LinkHeader(0, 0, 0)), (_, body) =>
        {
            if (Attribute(body, LinkSize, NameAttribute) is { Length: > 1 } name)
                names[BinaryPrimitives.ReadInt32LittleEndian(body[4..])] = Encoding.ASCII.GetString(name[..^1]);
        });
        var addresses = new List<LinkAddress>();
        Exchange(new NetlinkRequest(GetAddress, NetlinkRequest.Dump, new byte[AddressSize]), (_, body) =>
        {
            // On a point-to-point link the address attribute is the peer's.
            ReadOnlySpan<byte> local = Attribute(body, AddressSize, LocalAttribute);
            ReadOnlySpan<byte> address = local.IsEmpty ? Attribute(body, AddressSize, AddressAttribute) : local;
            int index = BinaryPrimitives.ReadInt32LittleEndian(body[4..]);
            if (!address.IsEmpty)
                addresses.Add(new LinkAddress(new IPAddress(address), body[1], names.GetValueOrDefault(index, $"interface {index}")));
        });
        return addresses;
    }

    public void Dispose() => _ = Libc.Close(_fd);

    private delegate void OnMessage(ushort type, ReadOnlySpan<byte> body);

    private Errno Exchange(NetlinkRequest request, OnMessage? onMessage = null)
    {
        byte[] bytes = request.Finish(++_sequence);
        fixed (byte* p = bytes)
        {
            if (Libc.Send(_fd, p, bytes.Length, 0) < 0)
                return Libc.LastError;
        }
        while (true)
        {
            nint read;
            fixed (byte* p = _answer)
                read = Libc.Receive(_fd, p, _answer.Length, 0);
            if (read < 0)
                return Libc.LastError;
            if (Take(_answer.AsSpan(0, (int)read), onMessage, out Errno result))
                return result;
        }
    }

    // True: the answer is complete. What answers an earlier request, which somebody gave up, is passed over.
    private bool Take(ReadOnlySpan<byte> answer, OnMessage? onMessage, out Errno result)
    {
        result = Errno.OK;
        while (answer.Length >= HeaderSize)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(answer);
            if (length < HeaderSize || length > answer.Length)
                return false;
            ushort type = BinaryPrimitives.ReadUInt16LittleEndian(answer[4..]);
            ushort flags = BinaryPrimitives.ReadUInt16LittleEndian(answer[6..]);
            ReadOnlySpan<byte> body = answer[HeaderSize..length];
            if (BinaryPrimitives.ReadUInt32LittleEndian(answer[8..]) == _sequence)
            {
                if (type == Done)
                    return true;
                if (type == Error)
                {
                    result = (Errno)(-BinaryPrimitives.ReadInt32LittleEndian(body));
                    return true;
                }
                onMessage?.Invoke(type, body);
                if ((flags & NetlinkRequest.MultiPart) == 0)
                    return true;
            }
            answer = answer[Math.Min(NetlinkRequest.Align(length), answer.Length)..];
        }
        return false;
    }

    private static LinkInfo ReadLink(string name, ReadOnlySpan<byte> body)
    {
        ReadOnlySpan<byte> mtu = Attribute(body, LinkSize, MtuAttribute);
        return new LinkInfo(name, BinaryPrimitives.ReadInt32LittleEndian(body[4..]), mtu.Length == 4 ? BinaryPrimitives.ReadInt32LittleEndian(mtu) : 0,
            BinaryPrimitives.ReadUInt16LittleEndian(body[2..]), Attribute(body, LinkSize, HardwareAttribute).ToArray());
    }

    private static byte[] LinkHeader(int index, uint flags, uint change) =>
        [0, 0, 0, 0, .. BitConverter.GetBytes(index), .. BitConverter.GetBytes(flags), .. BitConverter.GetBytes(change)];

    private static byte Family(byte[] address) => address.Length == 4 ? Inet : Inet6;

    private static ReadOnlySpan<byte> Attribute(ReadOnlySpan<byte> body, int header, int wanted)
    {
        ReadOnlySpan<byte> rest = body[Math.Min(header, body.Length)..];
        while (rest.Length >= 4)
        {
            int length = BinaryPrimitives.ReadUInt16LittleEndian(rest);
            if (length < 4 || length > rest.Length)
                break;
            if (BinaryPrimitives.ReadUInt16LittleEndian(rest[2..]) == wanted)
                return rest[4..length];
            rest = rest[Math.Min(NetlinkRequest.Align(length), rest.Length)..];
        }
        return default;
    }
}
