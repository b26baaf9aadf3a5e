using System.Net;
using System.Net.NetworkInformation;

namespace Millrace;

/// <summary>What the stack knows of a neighbour on an Ethernet. Linux: ndmsg; a line of `ip neigh`.</summary>
public sealed class NeighbourEntry
{
    internal NeighbourEntry(string device, IPAddress address, PhysicalAddress? hardwareAddress, NeighbourState state)
    {
        Device = device;
        Address = address;
        HardwareAddress = hardwareAddress;
        State = state;
    }

    /// <summary>The stack's device on whose link the neighbour is.</summary>
    public string Device { get; }

    public IPAddress Address { get; }

    /// <summary>Null while it is not known.</summary>
    public PhysicalAddress? HardwareAddress { get; }

    public NeighbourState State { get; }

    public override string ToString() => $"{Address} dev {Device} lladdr {HardwareAddress?.ToString() ?? "?"} {State}";
}
