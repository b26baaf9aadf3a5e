using System;
using System.Net.NetworkInformation;

namespace Millrace.Linux;

/// <summary>How a stack shares an Ethernet interface that the kernel has already.</summary>
public abstract class InterfaceOptions
{
    private protected InterfaceOptions()
    {
    }

    /// <summary>Queues, each served by a thread of its own.</summary>
    public int Queues { get; set; } = 1;

    /// <summary>
    /// The stack's Ethernet address. Null: that of the interface, which the stack then shares with the kernel; its IP addresses must
    /// not be the kernel's. Another address makes the interface listen to all frames (promiscuous mode).
    /// </summary>
    public PhysicalAddress? HardwareAddress { get; set; }

    /// <summary>
    /// The network namespace in which the interface is: a name as `ip netns` knows it, or the path of a namespace file. Null: that of the
    /// calling thread.
    /// </summary>
    public string? NetworkNamespace { get; set; }

    /// <summary>
    /// How long a queue's thread looks for packets before it sleeps. The thread occupies a processor, but a packet then does not wait
    /// for a thread to wake up.
    /// </summary>
    public TimeSpan BusyPoll { get; set; }

    internal void Validate()
    {
        if (Queues is < 1 or > 256)
            throw new ArgumentOutOfRangeException(nameof(Queues), Queues, "A device has 1 to 256 queues.");
        ArgumentOutOfRangeException.ThrowIfLessThan(BusyPoll, TimeSpan.Zero);
        HardwareAddresses.Validate(HardwareAddress, nameof(HardwareAddress));
    }
}
