using System;
using System.Collections.Generic;

namespace Millrace.Linux;

/// <summary>A stack and the kernel it runs on, joined by a TUN or TAP device.</summary>
public static class NetStackTunExtensions
{
    /// <summary>
    /// Makes a TUN device, gives it to the stack, and configures both sides: the stack's address, the kernel's, and on each the route to
    /// the subnet. The stack disposes of the device.
    /// </summary>
    /// <param name="name">The interface's name, at most 15 bytes.</param>
    /// <param name="subnets">At most one of each address family.</param>
    /// <param name="onLost">Told once, on a thread of the stack, if the device is deleted; connections over it have failed then.</param>
    /// <exception cref="ArgumentException">The name or an option is none that a device can have, or the stack has such a device.</exception>
    /// <exception cref="LinuxDeviceException">No privilege, no TUN driver, the name or an address is taken.</exception>
    public static TunDevice AddTun(this NetStack stack, string name, IReadOnlyList<TunSubnet> subnets, TunOptions? options = null,
        Action<string>? onLost = null)
    {
        ArgumentNullException.ThrowIfNull(stack);
        ArgumentNullException.ThrowIfNull(subnets);
        return Join(stack, TunDevice.Create(name, options), subnets, onLost);
    }

    /// <inheritdoc cref="AddTun(NetStack, string, IReadOnlyList{TunSubnet}, TunOptions, Action{string})"/>
    /// <param name="address">The stack's address and the subnet's length, such as "10.77.0.2/24".</param>
    /// <exception cref="FormatException">It is not an address and a length.</exception>
    public static TunDevice AddTun(this NetStack stack, string name, string address, TunOptions? options = null, Action<string>? onLost = null) =>
        AddTun(stack, name, [TunSubnet.Parse(address)], options, onLost);

    /// <summary>
    /// Makes a TAP device, gives it to the stack, and configures both sides as <see cref="AddTun(NetStack, string, IReadOnlyList{TunSubnet}, TunOptions, Action{string})"/>
    /// does: an Ethernet of two stations, or of more if the kernel's side is put into a bridge.
    /// </summary>
    /// <inheritdoc cref="AddTun(NetStack, string, IReadOnlyList{TunSubnet}, TunOptions, Action{string})"/>
    public static TunDevice AddTap(this NetStack stack, string name, IReadOnlyList<TunSubnet> subnets, TunOptions? options = null,
        Action<string>? onLost = null)
    {
        ArgumentNullException.ThrowIfNull(stack);
        ArgumentNullException.ThrowIfNull(subnets);
        return Join(stack, TunDevice.CreateTap(name, options), subnets, onLost);
    }

    /// <inheritdoc cref="AddTap(NetStack, string, IReadOnlyList{TunSubnet}, TunOptions, Action{string})"/>
    /// <param name="address">The stack's address and the subnet's length, such as "10.77.0.2/24".</param>
    /// <exception cref="FormatException">It is not an address and a length.</exception>
    public static TunDevice AddTap(this NetStack stack, string name, string address, TunOptions? options = null, Action<string>? onLost = null) =>
        AddTap(stack, name, [TunSubnet.Parse(address)], options, onLost);

    private static TunDevice Join(NetStack stack, TunDevice device, IReadOnlyList<TunSubnet> subnets, Action<string>? onLost)
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
            foreach (TunSubnet subnet in subnets)
            {
                stack.AddAddress(device.Name, subnet.StackAddress, subnet.PrefixLength);
                device.AddAddress(subnet.KernelAddress, subnet.PrefixLength);
            }
            device.BringUp();
            return device;
        }
        catch
        {
            stack.RemoveDevice(device.Name);
            throw;
        }
    }
}
