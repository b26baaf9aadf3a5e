namespace Millrace;

/// <summary>What a device's queueing discipline has done. Linux: tc -s qdisc.</summary>
public sealed class QdiscStatistics
{
    /// <summary>As tc names it.</summary>
    public required string Kind { get; init; }

    /// <summary>Sent; of what has no queue nothing is counted here, but with the device.</summary>
    public long Packets { get; init; }

    public long Bytes { get; init; }

    /// <summary>Packets that there was no room for, those below included.</summary>
    public long Dropped { get; init; }

    /// <summary>Packets that wait now. Linux: backlog.</summary>
    public int Waiting { get; init; }

    /// <summary>fq: connections that it knows, and of those the ones whose next packet's time has not come.</summary>
    public int Flows { get; internal set; }

    public int ThrottledFlows { get; internal set; }

    /// <summary>fq: packets dropped because too many of their connection waited. Linux: flows_plimit.</summary>
    public long FlowLimitDrops { get; internal set; }

    /// <summary>fq: packets dropped because their time lay too far ahead, or sent earlier. Linux: horizon_drops, horizon_caps.</summary>
    public long HorizonDrops { get; internal set; }

    public long HorizonCaps { get; internal set; }
}
