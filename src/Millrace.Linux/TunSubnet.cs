using System;
using System.Globalization;
using System.Net;

namespace Millrace.Linux;

/// <summary>The addresses of a TUN device's two sides, which share a subnet.</summary>
public sealed class TunSubnet
{
    /// <param name="stackAddress">The stack's address.</param>
    /// <param name="prefixLength">Bits of the subnet.</param>
    /// <param name="kernelAddress">The kernel's address; null for the first of the subnet that is not the stack's.</param>
    /// <exception cref="ArgumentException">The prefix does not fit, or both sides have the same address, or they share no subnet.</exception>
    public TunSubnet(IPAddress stackAddress, int prefixLength, IPAddress? kernelAddress = null)
    {
        ArgumentNullException.ThrowIfNull(stackAddress);
        int bits = stackAddress.GetAddressBytes().Length * 8;
        if (prefixLength < 1 || prefixLength > bits)
            throw new ArgumentException($"A prefix of {prefixLength} bits does not fit {stackAddress}.", nameof(prefixLength));
        if (kernelAddress is null && bits - prefixLength < 2)
            throw new ArgumentException($"{stackAddress}/{prefixLength} has no second address: name the kernel's.", nameof(kernelAddress));
        StackAddress = stackAddress;
        PrefixLength = prefixLength;
        IPAddress network = NetworkOf(stackAddress, prefixLength);
        KernelAddress = kernelAddress ?? FirstOther(network, stackAddress);
        if (KernelAddress.Equals(stackAddress))
            throw new ArgumentException($"The kernel's side and the stack's cannot both be {stackAddress}.", nameof(kernelAddress));
        if (KernelAddress.AddressFamily != stackAddress.AddressFamily || !NetworkOf(KernelAddress, prefixLength).Equals(network))
            throw new ArgumentException($"{KernelAddress} is not in {network}/{prefixLength}.", nameof(kernelAddress));
    }

    public IPAddress StackAddress { get; }

    public int PrefixLength { get; }

    public IPAddress KernelAddress { get; }

    /// <summary>Reads "10.77.0.2/24": the stack's address and the subnet's length.</summary>
    /// <exception cref="FormatException">It is not an address and a length.</exception>
    /// <exception cref="ArgumentException">The addresses do not fit each other.</exception>
    public static TunSubnet Parse(string text, IPAddress? kernelAddress = null)
    {
        (IPAddress address, int length) = ParsePrefix(text);
        return new TunSubnet(address, length, kernelAddress);
    }

    internal static (IPAddress Address, int PrefixLength) ParsePrefix(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        int slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0 || !IPAddress.TryParse(text.AsSpan(0, slash), out IPAddress? address)
            || !int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int length))
            throw new FormatException($"'{text}' is no address with a prefix length, such as 10.77.0.2/24.");
        return (address, length);
    }

    public override string ToString() => $"{StackAddress}/{PrefixLength}";

    internal static IPAddress NetworkOf(IPAddress address, int prefixLength)
    {
        byte[] bytes = address.GetAddressBytes();
        for (int i = 0; i < bytes.Length; i++)
            bytes[i] &= (byte)(0xff00 >> Math.Clamp(prefixLength - i * 8, 0, 8));
        return new IPAddress(bytes);
    }

    // The subnet's own address, all zeros, is nobody's.
    private static IPAddress FirstOther(IPAddress network, IPAddress taken)
    {
        byte[] bytes = network.GetAddressBytes();
        bytes[^1] |= 1;
        var first = new IPAddress(bytes);
        if (!first.Equals(taken))
            return first;
        bytes[^1] = (byte)((bytes[^1] & ~1) | 2);
        return new IPAddress(bytes);
    }
}
