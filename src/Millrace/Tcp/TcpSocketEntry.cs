using System;
using System.Net;

namespace Millrace;

/// <summary>What a socket's timer waits for. Linux: idiag_timer, the same numbers.</summary>
public enum SocketTimer : byte
{
    None = 0,

    /// <summary>A retransmission, or a probe of loss or reordering; of a request sock, the repetition of its SYN-ACK.</summary>
    Retransmit = 1,
    KeepAlive = 2,
    TimeWait = 3,

    /// <summary>A probe of the peer's closed window.</summary>
    Probe = 4,
}

/// <summary>One TCP socket of a stack, as it was when the list was made.</summary>
/// <remarks>Linux: inet_diag_msg, with INET_DIAG_INFO and INET_DIAG_CONG.</remarks>
public sealed class TcpSocketEntry
{
    /// <summary>A connection of which only the SYN has come is <see cref="TcpState.SynRecv"/>.</summary>
    public TcpState State { get; init; }

    public required IPEndPoint Local { get; init; }

    /// <summary>A listener's is the unspecified address and port 0.</summary>
    public required IPEndPoint Remote { get; init; }

    /// <summary>Bytes received and not read; of a listener, connections that wait to be accepted. Linux: idiag_rqueue.</summary>
    public int ReceiveQueue { get; init; }

    /// <summary>Bytes written and not acknowledged; of a listener, how many may wait to be accepted. Linux: idiag_wqueue.</summary>
    public int SendQueue { get; init; }

    public SocketTimer Timer { get; init; }

    /// <summary>Until the timer fires; zero if none runs, or it is due.</summary>
    public TimeSpan TimerExpires { get; init; }

    /// <summary>How often the timer has fired in vain. Linux: idiag_retrans.</summary>
    public int Retransmits { get; init; }

    /// <summary>The congestion control's name; empty of what is no full sock.</summary>
    public string CongestionControl { get; init; } = "";

    /// <summary>Null of what is no full sock: a connection of which only the SYN has come, or one in TIME_WAIT.</summary>
    public TcpInfo? Info { get; init; }
}
