namespace Millrace.Sockets;

/// <summary>Bits of SO_TIMESTAMPING. Linux: SOF_TIMESTAMPING_*.</summary>
internal static class TimestampFlags
{
    /// <summary>A time when the device gets the bytes, when they enter its queue, when they are acknowledged.</summary>
    public const uint Sent = 1 << 1, Queued = 1 << 8, Acked = 1 << 9;

    /// <summary>Times are reported.</summary>
    public const uint Report = 1 << 4;

    /// <summary>Notices bear a key: of a stream, the last byte's number, from the time on when this was set, or from what was written then.</summary>
    public const uint Id = 1 << 7, IdFromWritten = 1 << 16;

    /// <summary>Notices come without the packet.</summary>
    public const uint TimeOnly = 1 << 11;

    public const uint Transmit = Sent | Queued | Acked;

    public const uint Known = Transmit | Report | Id | IdFromWritten | TimeOnly;
}
