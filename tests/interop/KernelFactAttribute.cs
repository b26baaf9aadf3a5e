using System;
using System.IO;
using System.Runtime.CompilerServices;

namespace Millrace.Interop;

/// <summary>A test against the real kernel. Where that cannot be, it is skipped with the reason; on CI it fails.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class KernelFactAttribute : FactAttribute
{
    public KernelFactAttribute([CallerFilePath] string? file = null, [CallerLineNumber] int line = 0)
        : base(file, line) => Skip = KernelSupport.SkipReason;
}

/// <inheritdoc cref="KernelFactAttribute"/>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class KernelTheoryAttribute : TheoryAttribute
{
    public KernelTheoryAttribute([CallerFilePath] string? file = null, [CallerLineNumber] int line = 0)
        : base(file, line) => Skip = KernelSupport.SkipReason;
}

/// <summary>What the machine must have.</summary>
internal static class KernelSupport
{
    private static readonly string[] Programs = ["ip", "ss", "curl", "nc", "ping", "tshark", "python3"];

    /// <summary>Why the tests cannot run here; null if they can.</summary>
    public static string? Missing { get; } = Find();

    public static string? SkipReason => Environment.GetEnvironmentVariable("CI") == "true" ? null : Missing;

    private static string? Find()
    {
        if (!OperatingSystem.IsLinux())
            return "needs Linux";
        if (!Environment.IsPrivilegedProcess)
            return "needs root";
        if (!File.Exists("/dev/net/tun"))
            return "needs /dev/net/tun";
        foreach (string program in Programs)
        {
            if (!IsOnPath(program))
                return $"needs the program {program}";
        }
        return null;
    }

    private static bool IsOnPath(string program)
    {
        foreach (string directory in (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':'))
        {
            if (File.Exists(Path.Combine(directory, program)))
                return true;
        }
        return false;
    }
}
