namespace Millrace.Sockets;

internal static class TcpStates
{
    /// <summary>Linux: the TCPF_* masks.</summary>
    public static bool IsAny(this TcpState state, TcpStateSet set) => ((1 << (int)state) & (int)set) != 0;
}

/// <summary>Sets of states. Linux: TCPF_*.</summary>
[System.Flags]
internal enum TcpStateSet
{
    None = 0,
    Established = 1 << 1,
    SynSent = 1 << 2,
    SynRecv = 1 << 3,
    FinWait1 = 1 << 4,
    FinWait2 = 1 << 5,
    TimeWait = 1 << 6,
    Close = 1 << 7,
    CloseWait = 1 << 8,
    LastAck = 1 << 9,
    Listen = 1 << 10,
    Closing = 1 << 11,
    NewSynRecv = 1 << 12,
}
