using System;

namespace Millrace;

/// <summary>What is known of a neighbour. Names and values are Linux's NUD_*, as `ip neigh` prints them.</summary>
/// <remarks>RFC 4861 §7.3.2. Linux: NUD_*.</remarks>
[Flags]
public enum NeighbourState
{
    None = 0,

    /// <summary>It is being asked for; packets wait.</summary>
    Incomplete = 1,

    /// <summary>Its address is known, and it has answered lately.</summary>
    Reachable = 2,

    /// <summary>Its address is known, and whether it still holds is asked when a packet needs it.</summary>
    Stale = 4,

    /// <summary>A packet has been sent to a stale address; a sign of life may still come by itself.</summary>
    Delay = 8,

    /// <summary>None came, and it is asked.</summary>
    Probe = 0x10,

    /// <summary>It did not answer.</summary>
    Failed = 0x20,
}
