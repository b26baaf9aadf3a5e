using System;
using System.Net.NetworkInformation;

namespace Millrace.Linux;

/// <summary>How a TUN or TAP device is made.</summary>
public sealed class TunOptions
{
    /// <summary>The largest IP packet on the wire, in bytes.</summary>
    public int Mtu { get; set; } = 1500;

    /// <summary>
    /// Whether super-packets of up to 64 KiB and partial checksums cross the device, in both directions. Linux: IFF_VNET_HDR,
    /// TUNSETOFFLOAD.
    /// </summary>
    public bool Offload { get; set; } = true;

    /// <summary>Queues, each served by a thread of its own; the kernel spreads flows over them. Linux: IFF_MULTI_QUEUE.</summary>
    public int Queues { get; set; } = 1;

    /// <summary>
    /// The network namespace in which the kernel's side of the device lives: a name as `ip netns` knows it, or the path of a namespace
    /// file. Null: that of the calling thread.
    /// </summary>
    public string? NetworkNamespace { get; set; }

    /// <summary>
    /// How long a queue's thread looks for packets before it sleeps. Each look is a system call and the thread occupies a processor,
    /// but a packet then does not wait for a thread to wake up.
    /// </summary>
    public TimeSpan BusyPoll { get; set; }

    /// <summary>The stack's Ethernet address, of a TAP device only. Null: one that chance draws.</summary>
    public PhysicalAddress? HardwareAddress { get; set; }

    internal void Validate()
    {
        HardwareAddresses.Validate(HardwareAddress, nameof(HardwareAddress));
        if (Mtu is < 68 or > 65535)
            throw new ArgumentOutOfRangeException(nameof(Mtu), Mtu, "An MTU lies between 68 and 65535.");
        if (Queues is < 1 or > 256)
            throw new ArgumentOutOfRangeException(nameof(Queues), Queues, "A TUN device has 1 to 256 queues.");
        ArgumentOutOfRangeException.ThrowIfLessThan(BusyPoll, TimeSpan.Zero);
    }
}
