using System;

namespace Millrace.Tcp;

/// <summary>What the options of the handshake have settled. Linux: tcp_options_received.</summary>
[Flags]
internal enum TcpFeatures : ushort
{
    None = 0,
    Timestamps = 1,
    Sack = 2,
    WindowScaling = 4,

    /// <summary>The peer has sent DSACK. Linux: TCP_DSACK_SEEN.</summary>
    DsackSeen = 8,

    /// <summary>The last segment carried a timestamp. Linux: saw_tstamp.</summary>
    SawTimestamp = 16,

    /// <summary>A DSACK block is to be sent. Linux: rx_opt.dsack.</summary>
    SendDsack = 32,
}

/// <summary>How small segments are held back. Linux: TCP_NAGLE_*.</summary>
[Flags]
internal enum NagleFlags : byte
{
    None = 0,

    /// <summary>TCP_NODELAY.</summary>
    Off = 1,

    /// <summary>TCP_CORK.</summary>
    Cork = 2,

    /// <summary>What is queued goes now, cork or not.</summary>
    Push = 4,
}

/// <summary>What softirq left to the owner of the socket. Linux: TCPF_*_DEFERRED of sk_tsq_flags.</summary>
[Flags]
internal enum DeferredWorkFlags
{
    None = 0,

    /// <summary>A deadline has come.</summary>
    Timer = 1,
    MtuReduced = 2,

    /// <summary>The layers below have room again. Linux: TCP_TSQ_DEFERRED.</summary>
    SmallQueue = 4,

    /// <summary>One ACK is due for all of the backlog. Linux: TCP_ACK_DEFERRED.</summary>
    Ack = 8,
}

/// <summary>What the one retransmit timer is armed for. Linux: ICSK_TIME_*.</summary>
internal enum TimerEvent : byte
{
    None,
    Retransmit,
    Probe0,
    LossProbe,
    Reordering,
}
