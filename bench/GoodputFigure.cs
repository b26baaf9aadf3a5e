using System.Collections.Generic;

namespace Millrace.Bench;

/// <summary>One transfer: bits per second, and what the sender counted.</summary>
internal sealed record GoodputFigure(double BitsPerSecond, IReadOnlyDictionary<string, long> Counters)
{
    public const int ChunkBytes = 64 * 1024;

    /// <summary>The counters that tell why a transfer was slow.</summary>
    public static IReadOnlyList<string> Telling { get; } =
    [
        "TcpOutSegs", "TcpRetransSegs", "TcpExtTCPFastRetrans", "TcpExtTCPSlowStartRetrans", "TcpExtTCPLostRetransmit", "TcpExtTCPTimeouts",
        "TcpExtTCPLossProbes", "TcpExtTCPLossProbeRecovery", "TcpExtTCPSackRecovery", "TcpExtTCPSACKReorder", "TcpExtTCPDSACKRecv",
        "TcpExtTCPFullUndo", "TcpExtTCPPartialUndo", "TcpExtTCPDSACKUndo", "TcpExtTCPLossUndo", "TcpExtTCPSackRecoveryFail",
        "TcpExtTCPLossFailures", "TcpExtTCPSpuriousRTOs", "TcpExtTCPHystartTrainDetect", "TcpExtTCPHystartDelayDetect",
    ];
}
