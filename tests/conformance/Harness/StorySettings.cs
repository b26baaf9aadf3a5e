using System.Collections.Generic;

namespace Millrace.Conformance;

/// <summary>What a story chooses of its stack and its peer before it begins.</summary>
internal sealed class StorySettings
{
    /// <summary>Of the device in IPv4. In IPv6 it is 20 more, so that the MSS is the same in both families.</summary>
    public int Mtu { get; init; } = 1500;

    /// <summary>Whether the device takes super-packets whole.</summary>
    public bool Offload { get; init; }

    public ulong Seed { get; init; } = 1;

    /// <summary>Whether the story counts milliseconds, so that it can only be played where time is exact.</summary>
    public bool NeedsExactTime { get; init; }

    /// <summary>The listener's backlog.</summary>
    public int Backlog { get; init; } = 16;

    /// <summary>Settings that differ from <see cref="Defaults"/>, by name, without <c>net.ipv4.</c>.</summary>
    public Dictionary<string, string> Sysctls { get; init; } = [];

    /// <summary>What every story starts with, so that it does not depend on the machine's memory or on a distribution.</summary>
    public static IReadOnlyDictionary<string, string> Defaults { get; } = new Dictionary<string, string>
    {
        ["tcp_rmem"] = "4096 131072 6291456",
        ["tcp_wmem"] = "4096 262144 4194304",
        ["tcp_congestion_control"] = "cubic",
        ["tcp_timestamps"] = "1",
        ["tcp_sack"] = "1",
        ["tcp_dsack"] = "1",
        ["tcp_window_scaling"] = "1",
        ["tcp_ecn"] = "0",
        ["tcp_early_retrans"] = "3",
        ["tcp_recovery"] = "1",
        ["tcp_frto"] = "2",
        ["tcp_slow_start_after_idle"] = "1",
        ["tcp_syncookies"] = "1",
        ["tcp_fastopen"] = "0",
        ["tcp_no_metrics_save"] = "1",
    };
}
