using System;
using System.Net.NetworkInformation;
using System.Security.Cryptography;

namespace Millrace.Linux;

/// <summary>Ethernet addresses of stacks.</summary>
internal static class HardwareAddresses
{
    private const int Length = 6, GroupBit = 1, LocalBit = 2;

    /// <summary>An address that no manufacturer gave out.</summary>
    public static PhysicalAddress NewLocal()
    {
        byte[] bytes = RandomNumberGenerator.GetBytes(Length);
        bytes[0] = (byte)((bytes[0] & ~GroupBit) | LocalBit);
        return new PhysicalAddress(bytes);
    }

    /// <exception cref="ArgumentException">It is not one that a single station can have.</exception>
    public static void Validate(PhysicalAddress? address, string parameter)
    {
        if (address is null)
            return;
        byte[] bytes = address.GetAddressBytes();
        if (bytes.Length != Length || (bytes[0] & GroupBit) != 0 || Array.TrueForAll(bytes, static b => b == 0))
            throw new ArgumentException($"{address} is no station's Ethernet address.", parameter);
    }
}
