using System;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>What is known of the ACK at hand while it is worked on. Linux: FLAG_*.</summary>
[Flags]
internal enum AckFlags
{
    None = 0,

    /// <summary>The segment carried data.</summary>
    Data = 0x01,

    /// <summary>It changed the window.</summary>
    WindowUpdate = 0x02,

    /// <summary>It acknowledged new data, or a SYN.</summary>
    DataAcked = 0x04,
    RetransDataAcked = 0x08,
    SynAcked = 0x10,

    /// <summary>It SACKed something new.</summary>
    DataSacked = 0x20,
    Ece = 0x40,

    /// <summary>A retransmission was found to be lost.</summary>
    LostRetrans = 0x80,
    SlowPath = 0x100,

    /// <summary>Data that was never retransmitted and was sent before the timeout was acknowledged or SACKed.</summary>
    OrigSackAcked = 0x200,
    UnaAdvanced = 0x400,
    DsackingAck = 0x800,
    SetXmitTimer = 0x1000,

    /// <summary>The head of the queue was SACKed before, and is not acknowledged: the receiver has thrown it away.</summary>
    SackReneging = 0x2000,
    UpdateTsRecent = 0x4000,
    NoChallengeAck = 0x8000,
    MaybeDelayed = 0x10000,

    /// <summary>A DSACK covers the loss probe.</summary>
    DsackTlp = 0x20000,

    /// <summary>The peer's timestamp is newer than any before.</summary>
    TsProgress = 0x40000,

    Acked = DataAcked | SynAcked,
    NotDuplicate = Data | WindowUpdate | Acked,
    CaAlert = DataSacked | Ece | DsackingAck,
    ForwardProgress = Acked | DataSacked,
}

/// <summary>What recovery wants sent when the ACK has been worked off. Linux: REXMIT_*.</summary>
internal enum RecoveryAction : byte
{
    None,
    RetransmitLost,

    /// <summary>New data first, to see whether the timeout was spurious.</summary>
    SendNew,
}

/// <summary>The state of one ACK's processing. Linux: tcp_sacktag_state and the locals of tcp_ack.</summary>
internal struct AckContext
{
    public AckFlags Flags;
    public RecoveryAction Action;
    public RateSample Rate;

    /// <summary>When the first and the last newly SACKed packet that was never retransmitted had been sent; 0 if none.</summary>
    public long FirstSackTime, LastSackTime;

    /// <summary>The lowest sequence that was delivered out of order.</summary>
    public SeqNumber Reordered;

    /// <summary>Bytes that were acknowledged or SACKed now. Linux: delivered_bytes.</summary>
    public int DeliveredBytes;

    /// <summary>Packets that AccECN tells arrived marked. Linux: ecn_count.</summary>
    public uint MarkedPackets;

    /// <summary>Packets taken off the queue; and whether the last buffer was only shortened.</summary>
    public int AckedPackets;
    public bool EndedInside;

    /// <summary>Of what was acknowledged and never retransmitted nor SACKed: when the first and the last had been sent, 0 if there is none, and the lowest sequence.</summary>
    public long FirstAckedTime, LastAckedTime;
    public SeqNumber LowestAcked;

    public readonly bool Has(AckFlags flag) => (Flags & flag) != 0;
}
