using System;
using System.Collections.Generic;

namespace Millrace.Linux;

/// <summary>A stack and the kernel it runs on, joined by a TUN device.</summary>
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
        TunDevice device = TunDevice.Create(name, options);
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

    /// <inheritdoc cref="AddTun(NetStack, string, IReadOnlyList{TunSubnet}, TunOptions, Action{string})"/>
    /// <param name="address">The stack's address and the subnet's length, such as "10.77.0.2/24".</param>
    /// <exception cref="FormatException">It is not an address and a length.</exception>
    public static TunDevice AddTun(this NetStack stack, string name, string address, TunOptions? options = null, Action<string>? onLost = null) =>
        AddTun(stack, name, [TunSubnet.Parse(address)], options, onLost);
}
