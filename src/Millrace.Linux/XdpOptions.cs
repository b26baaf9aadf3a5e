namespace Millrace.Linux;

/// <summary>Where in the kernel the program runs that hands frames to the stack. Linux: XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE.</summary>
public enum XdpMode
{
    /// <summary>In the driver where it can, else behind it.</summary>
    Automatic,

    /// <summary>In the driver; it must be able to.</summary>
    Native,

    /// <summary>Behind the driver, on any interface.</summary>
    Generic,
}

/// <summary>How a stack uses an interface by XDP sockets.</summary>
/// <remarks>
/// Queue n of the stack is receive queue n of the interface: what the interface spreads to others goes to the kernel. Give it as many
/// as the stack has (<c>ethtool -L IFACE combined N</c>).
/// </remarks>
public sealed class XdpOptions : InterfaceOptions
{
    public XdpMode Mode { get; set; }

    /// <summary>
    /// Whether the interface reads and writes the stack's memory itself: true demands it, false forbids it, null leaves it to the
    /// interface. Linux: XDP_ZEROCOPY, XDP_COPY.
    /// </summary>
    public bool? ZeroCopy { get; set; }
}
