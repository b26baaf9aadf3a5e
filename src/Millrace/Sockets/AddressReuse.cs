namespace Millrace.Sockets;

/// <summary>Whether a socket shares its port. Linux: SK_NO_REUSE, SK_CAN_REUSE, SK_FORCE_REUSE.</summary>
internal enum AddressReuse : byte
{
    None,

    /// <summary>SO_REUSEADDR: with those who do too.</summary>
    Can,

    /// <summary>TCP_REPAIR: with everybody.</summary>
    Force,
}
