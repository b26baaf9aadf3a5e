using System;
using System.Collections.Generic;

namespace Millrace.Tests.Syscalls;

/// <summary>What a case came to: the call's result, and the note that the recording has beside it.</summary>
internal readonly record struct Outcome(SysResult Result, string Note = "")
{
    public static implicit operator Outcome(SysResult result) => new(result);

    public static implicit operator Outcome(int value) => new(value);

    public static implicit operator Outcome(Errno error) => new(error);

    /// <summary>A row that records only a state or poll's events.</summary>
    public static implicit operator Outcome(string note) => new(0, note);

    /// <summary>A descriptor, in the recording 0.</summary>
    public static Outcome Fd(SysResult fd) => fd.IsError ? fd : 0;
}

/// <summary>
/// The rows of errno.tsv as calls on <see cref="Process"/>: everything that a row needs before its last call, and that call. Rows
/// that follow each other in the recording share their preparation, each on a machine of its own.
/// </summary>
internal static partial class ErrnoCases
{
    public static IReadOnlyDictionary<string, Func<CallBench, Outcome>> All { get; } = Collect();

    private static Dictionary<string, Func<CallBench, Outcome>> Collect()
    {
        var all = new Dictionary<string, Func<CallBench, Outcome>>();
        AddSockets(all);
        AddListeners(all);
        AddConnects(all);
        AddTransfers(all);
        AddShutdowns(all);
        AddResets(all);
        AddReceives(all);
        AddOptions(all);
        return all;
    }
}
