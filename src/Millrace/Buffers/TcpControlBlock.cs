using System;
using Millrace.Wire;

namespace Millrace.Buffers;

/// <summary>What the sender's scoreboard knows of a sent buffer.</summary>
/// <remarks>Linux: TCPCB_*.</remarks>
[Flags]
internal enum SackedFlags : byte
{
    None = 0,
    SackedAcked = 0x01,
    SackedRetrans = 0x02,
    Lost = 0x04,
    TagBits = 0x07,

    /// <summary>The bytes were collapsed or repaired: their send time says nothing.</summary>
    Repaired = 0x10,

    /// <summary>Retransmitted at least once, ever.</summary>
    EverRetrans = 0x80,
    Retrans = SackedRetrans | EverRetrans | Repaired,
}

/// <summary>TCP's private part of a buffer: its place in sequence space, and the sender's notes on it.</summary>
/// <remarks>Linux: tcp_skb_cb.</remarks>
internal struct TcpControlBlock
{
    /// <summary>First sequence number, and the one behind the last; SYN and FIN count one each.</summary>
    public SeqNumber Seq, EndSeq;

    /// <summary>Incoming: SEG.ACK.</summary>
    public SeqNumber AckSeq;

    public TcpFlags Flags;
    public SackedFlags Sacked;

    /// <summary>Incoming: the IP header's TOS or traffic class.</summary>
    public byte DsField;

    /// <summary>Bits of <see cref="BufferNotes"/>.</summary>
    public BufferNotes Notes;

    /// <summary>Outgoing: the segments that the buffer makes at the connection's MSS, and their size. Linux: tcp_gso_segs, tcp_gso_size.</summary>
    public int Segments, SegmentSize;

    /// <summary>Outgoing: the delivery-rate sample taken when it left. Linux: tx.first_tx_mstamp, tx.delivered_mstamp, tx.delivered.</summary>
    public long FirstTxTime, DeliveredTime;
    public uint Delivered, DeliveredCe;

    /// <summary>Whether there is anything beside SYN and FIN.</summary>
    public readonly bool HasPayload => EndSeq - Seq > ((Flags & TcpFlags.Syn) != 0 ? 1 : 0) + ((Flags & TcpFlags.Fin) != 0 ? 1 : 0);
}

/// <summary>Single bits about a buffer.</summary>
[Flags]
internal enum BufferNotes : byte
{
    None = 0,

    /// <summary>Nothing may be appended or merged behind it. Linux: eor.</summary>
    EndOfRecord = 1,

    /// <summary>The application gave the sender less than it could have sent. Linux: is_app_limited.</summary>
    AppLimited = 2,

    /// <summary>Merging was tried and is impossible. Linux: unstarted/fclone hints.</summary>
    NoCollapse = 32,
}
