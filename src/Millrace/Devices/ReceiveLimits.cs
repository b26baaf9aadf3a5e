namespace Millrace.Devices;

/// <summary>What receiving keeps to.</summary>
/// <remarks>Linux: netdev_budget, netdev_budget_usecs, dev_weight, netdev_max_backlog of net_hotdata.</remarks>
internal sealed class ReceiveLimits
{
    /// <summary>Packets of one softirq, and its microseconds.</summary>
    public int Budget { get; set; } = 300;

    public int BudgetUsecs { get; set; } = 8000;

    /// <summary>Packets of one device in its turn.</summary>
    public int Weight { get; set; } = 64;

    /// <summary>Packets that the loopback device holds for a CPU.</summary>
    public int MaxBacklog { get; set; } = 1000;
}
