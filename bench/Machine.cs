using System;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;

namespace Millrace.Bench;

/// <summary>What figures were made on.</summary>
internal static class Machine
{
    public static string Description
    {
        get
        {
            string model = File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal)) ?? "";
            string kernel = File.ReadAllText("/proc/sys/kernel/osrelease").Trim();
            return $"{model[(model.IndexOf(':') + 1)..].Trim()}, {Environment.ProcessorCount} CPUs, Linux {kernel}, {RuntimeInformation.FrameworkDescription}";
        }
    }

    /// <summary>How many wanted to run lately: a figure made while others work is worth little.</summary>
    public static string Load => "load " + File.ReadAllText("/proc/loadavg").Split(' ')[0];
}

/// <summary>When, where and how a run was made.</summary>
internal sealed record RunHeader(DateTime Date, string Machine, string Load, RunOptions Options)
{
    public override string ToString() => FormattableString.Invariant($"{Date:yyyy-MM-dd HH:mm} UTC, {Machine}; {Load} before and after; {Options.Rounds} rounds of {Options.Seconds} s.");
}
