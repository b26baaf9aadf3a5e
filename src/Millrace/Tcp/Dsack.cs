using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Where the first SACK block reports a duplicate.</summary>
internal enum DsackKind : byte
{
    /// <summary>It does not.</summary>
    None,

    /// <summary>Below the cumulative ACK.</summary>
    BelowAck,

    /// <summary>Inside the second block, above the ACK.</summary>
    OutOfOrder,
}

/// <summary>What a sender reads from a SACK option's first block when it is a DSACK.</summary>
/// <remarks>RFC 2883 §4, §5. Linux: tcp_check_dsack, tcp_dsack_seen.</remarks>
internal static class Dsack
{
    public static DsackKind KindOf(in TcpOptions options, SeqNumber ack)
    {
        SeqRange first = options.SackBlock(0);
        if (first.Start < ack)
            return DsackKind.BelowAck;
        if (options.SackBlockCount < 2)
            return DsackKind.None;
        SeqRange second = options.SackBlock(1);
        return first.End <= second.End && first.Start >= second.Start ? DsackKind.OutOfOrder : DsackKind.None;
    }

    /// <summary>Segments of <paramref name="mss"/> bytes that the block reports; 0 if more is reported than was ever in a window.</summary>
    public static uint Segments(SeqRange block, int mss, uint maxWnd)
    {
        if (block.Start >= block.End || block.Length > maxWnd)
            return 0;
        return block.Length > mss ? (uint)((block.Length + mss - 1) / mss) : 1;
    }
}
