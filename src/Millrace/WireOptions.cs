namespace Millrace;

/// <summary>An in-memory wire between two stacks.</summary>
public sealed class WireOptions
{
    /// <summary>The largest packet, in bytes. The default is Ethernet's.</summary>
    public int Mtu { get; set; } = 1500;

    /// <summary>
    /// Whether super-packets and partial checksums pass as they are, which is safe because no byte can be damaged on the way. Without
    /// it every packet is cut to the MTU, summed and verified.
    /// </summary>
    public bool Offload { get; set; } = true;

    /// <summary>
    /// Whether received segments that follow each other are merged before TCP sees them; without <see cref="Offload"/> it is most of
    /// the speed. Off as on Linux's veth: each segment is then seen as it was sent. Linux: ethtool -K DEVICE gro on.
    /// </summary>
    public bool Gro { get; set; }

    /// <summary>
    /// Whether the wire is an Ethernet: both ends get an address, packets travel in frames, and neighbours are found by ARP and IPv6
    /// neighbour discovery.
    /// </summary>
    public bool Ethernet { get; set; }

    /// <summary>Packets that may wait at the receiving end.</summary>
    public int RingSize { get; set; } = 65536;
}
