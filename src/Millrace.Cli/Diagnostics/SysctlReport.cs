using System;
using System.Collections.Generic;

namespace Millrace.Cli.Diagnostics;

/// <summary>A setting to read, or one to write.</summary>
/// <param name="Value">Null: it is read.</param>
internal sealed record SysctlWord(string Name, string? Value = null)
{
    /// <summary>NAME or NAME=VALUE, as sysctl(8) takes it: with dots, or with slashes as below /proc/sys.</summary>
    /// <returns>Null if it has no name.</returns>
    public static SysctlWord? Parse(string text)
    {
        string[] parts = text.Split('=', 2, StringSplitOptions.TrimEntries);
        return parts[0].Length == 0 ? null : new SysctlWord(parts[0].Replace('/', '.'), parts.Length > 1 ? parts[1] : null);
    }
}

/// <summary>What became of one word.</summary>
/// <param name="Value">The setting's value, after a write the one that it has now; empty if there is an error.</param>
internal sealed record SysctlRow(string Name, string Value, Errno Error);

/// <summary>What a running command tells <c>millrace sysctl</c>: a row a word, in order.</summary>
internal sealed record SysctlReport(IReadOnlyList<SysctlRow> Settings)
{
    public static SysctlReport Of(Sysctls sysctls, IReadOnlyList<SysctlWord> words)
    {
        var rows = new List<SysctlRow>();
        foreach (SysctlWord word in words)
            rows.Add(Do(sysctls, word));
        if (words.Count == 0)
        {
            foreach (string name in Sysctls.Names)
                rows.Add(Do(sysctls, new SysctlWord(name)));
        }
        return new SysctlReport(rows);
    }

    private static SysctlRow Do(Sysctls sysctls, SysctlWord word)
    {
        Errno error = word.Value is { } value ? sysctls.Write(word.Name, value) : Errno.OK;
        if (error != Errno.OK)
            return new SysctlRow(word.Name, "", error);
        error = sysctls.Read(word.Name, out string now);
        return new SysctlRow(word.Name, now, error);
    }
}
