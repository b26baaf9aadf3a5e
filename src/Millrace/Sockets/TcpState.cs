namespace Millrace;

/// <summary>States of a connection; Linux's numbers. RFC 9293 §3.3.2, and SYN_RECV of a request sock.</summary>
public enum TcpState : byte
{
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,

    /// <summary>A request sock's state: no full sock exists yet.</summary>
    NewSynRecv = 12,
}
