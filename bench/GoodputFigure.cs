using System.Collections.Generic;

namespace Millrace.Bench;

/// <summary>One transfer: bits per second, the sender's smoothed and least round trip at the end in microseconds, and what it counted.</summary>
internal sealed record GoodputFigure(double BitsPerSecond, uint Rtt, uint MinRtt, IReadOnlyDictionary<string, long> Counters)
{
    public const int ChunkBytes = 64 * 1024;

    /// <summary>The counters that tell why a transfer was slow.</summary>
    public static IReadOnlyList<string> Telling { get; } =
    [
        "TcpOutSegs", "TcpInSegs", "TcpRetransSegs", "TcpExtTCPFastRetrans", "TcpExtTCPSlowStartRetrans", "TcpExtTCPLostRetransmit", "TcpExtTCPTimeouts",
        "TcpExtTCPLossProbes", "TcpExtTCPLossProbeRecovery", "TcpExtTCPSackRecovery", "TcpExtTCPSACKReorder", "TcpExtTCPDSACKRecv",
        "TcpExtTCPFullUndo", "TcpExtTCPPartialUndo", "TcpExtTCPDSACKUndo", "TcpExtTCPLossUndo", "TcpExtTCPSackRecoveryFail",
        "TcpExtTCPLossFailures", "TcpExtTCPSpuriousRTOs", "TcpExtTCPHystartTrainDetect", "TcpExtTCPHystartDelayDetect",
    ];
}
