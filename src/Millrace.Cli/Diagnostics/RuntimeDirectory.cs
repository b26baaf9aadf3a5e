using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Runtime.Versioning;

namespace Millrace.Cli.Diagnostics;

/// <summary>Where running commands have their sockets: one file a process, in a directory that only its user can enter.</summary>
internal static class RuntimeDirectory
{
    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>$XDG_RUNTIME_DIR/millrace; without that /run/millrace for root, and a directory of the user's in /tmp for others.</summary>
    public static string Default =>
        Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR") is { Length: > 0 } runtime ? Path.Combine(runtime, "millrace")
        : Environment.IsPrivilegedProcess ? "/run/millrace"
        : Path.Combine(Path.GetTempPath(), $"millrace-{Environment.UserName}");

    /// <summary>The socket of a process.</summary>
    public static string SocketOf(string directory, int pid) => Path.Combine(directory, string.Create(CultureInfo.InvariantCulture, $"{pid}.sock"));

    /// <exception cref="CommandFailedException">Others could enter it.</exception>
    [UnsupportedOSPlatform("windows")]
    public static void Ensure(string directory)
    {
        Directory.CreateDirectory(directory, Private);
        if ((File.GetUnixFileMode(directory) & ~Private) != 0)
            throw new CommandFailedException($"{directory} can be entered by others: its mode must be 0700");
    }

    /// <summary>Processes that have, or had, a socket here.</summary>
    public static IReadOnlyList<int> Pids(string directory)
    {
        var pids = new List<int>();
        if (!Directory.Exists(directory))
            return pids;
        foreach (string file in Directory.EnumerateFiles(directory, "*.sock"))
        {
            if (int.TryParse(Path.GetFileNameWithoutExtension(file), NumberStyles.None, CultureInfo.InvariantCulture, out int pid))
                pids.Add(pid);
        }
        pids.Sort();
        return pids;
    }
}
