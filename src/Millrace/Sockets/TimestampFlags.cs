namespace Millrace.Sockets;

/// <summary>Bits of SO_TIMESTAMPING. Linux: SOF_TIMESTAMPING_*. Those about hardware are taken, and no hardware here answers them.</summary>
internal static class TimestampFlags
{
    /// <summary>A time when the device gets the bytes, when they enter its queue, when they are acknowledged.</summary>
    public const uint Sent = 1 << 1, Queued = 1 << 8, Acked = 1 << 9;

    /// <summary>Packets that come are stamped.</summary>
    public const uint ReceiveSoftware = 1 << 3;

    /// <summary>Times are reported.</summary>
    public const uint Report = 1 << 4;

    /// <summary>Notices bear a key: of a stream, the last byte's number, from the time on when this was set, or from what was written then.</summary>
    public const uint Id = 1 << 7, IdFromWritten = 1 << 16;

    /// <summary>Notices come without the packet; and with the connection's numbers instead.</summary>
    public const uint TimeOnly = 1 << 11, Stats = 1 << 12;

    /// <summary>Times by the clock of a device.</summary>
    public const uint BindPhc = 1 << 15;

    /// <summary>Stamps that another socket asked for are not reported. Linux: OPT_RX_FILTER.</summary>
    public const uint OnlyWhatWasAskedFor = 1 << 17;

    public const uint Transmit = Sent | Queued | Acked;

    /// <summary>What a message may choose for itself: transmit times of software, hardware and completion. Linux: TX_RECORD_MASK.</summary>
    public const uint PerMessage = Transmit | 1 << 0 | 1 << 18;

    public const uint All = (1 << 19) - 1;
}
