using System;
using System.Net;

namespace Millrace.Linux;

/// <summary>A stack on an Ethernet interface that the kernel has already.</summary>
public static class NetStackInterfaceExtensions
{
    /// <summary>
    /// Lets a stack use an interface by packet sockets. More addresses, and a route to a gateway, are the stack's own to add. The stack
    /// disposes of the device.
    /// </summary>
    /// <param name="interfaceName">The interface, which must be up; the stack's device gets its name.</param>
    /// <param name="address">The stack's address, which the kernel must not have, and the subnet's length, such as "192.0.2.7/24".</param>
    /// <param name="onLost">Told once, on a thread of the stack, if the interface goes; connections over it have failed then.</param>
    /// <exception cref="ArgumentException">An option is none that a device can have, or the stack has a device of this name.</exception>
    /// <exception cref="FormatException">It is not an address and a length.</exception>
    /// <exception cref="LinuxDeviceException">No privilege, or no such Ethernet interface.</exception>
    public static PacketDevice AddPacketDevice(this NetStack stack, string interfaceName, string address, PacketOptions? options = null,
        Action<string>? onLost = null)
    {
        ArgumentNullException.ThrowIfNull(stack);
        (IPAddress ip, int length) = TunSubnet.ParsePrefix(address);
        PacketDevice device = PacketDevice.Open(interfaceName, options);
        Add(stack, device, ip, length, onLost);
        return device;
    }

    /// <summary>
    /// Lets a stack take an interface, or its first queues, over by XDP sockets. More addresses, and a route to a gateway, are the stack's own to
    /// add. The stack disposes of the device, and the kernel has the interface again.
    /// </summary>
    /// <inheritdoc cref="AddPacketDevice"/>
    /// <exception cref="LinuxDeviceException">As <see cref="XdpDevice.Open"/>.</exception>
    public static XdpDevice AddXdpDevice(this NetStack stack, string interfaceName, string address, XdpOptions? options = null,
        Action<string>? onLost = null)
    {
        ArgumentNullException.ThrowIfNull(stack);
        (IPAddress ip, int length) = TunSubnet.ParsePrefix(address);
        XdpDevice device = XdpDevice.Open(interfaceName, options);
        Add(stack, device, ip, length, onLost);
        return device;
    }

    private static void Add(NetStack stack, NetDriver device, IPAddress address, int prefixLength, Action<string>? onLost)
    {
        try
        {
            stack.AddDevice(device, onLost);
        }
        catch
        {
            device.Dispose();
            throw;
        }
        try
        {
            stack.AddAddress(device.Name, address, prefixLength);
        }
        catch
        {
            stack.RemoveDevice(device.Name);
            throw;
        }
    }
}
