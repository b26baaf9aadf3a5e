using System;
using System.Globalization;
using System.IO;

namespace Millrace.Bench;

/// <summary>What the kernel tells of a process under /proc.</summary>
internal static class ProcFiles
{
    /// <summary>
    /// Processor time of the living threads, their context switches, and the process's read and write calls. A thread that ends meanwhile
    /// takes its share with it.
    /// </summary>
    public static Meters Read(int process)
    {
        double nanoseconds = 0, sleeps = 0, preemptions = 0;
        foreach (string task in Directory.EnumerateDirectories($"/proc/{process}/task"))
        {
            if (TryRead($"{task}/schedstat") is not { } times || TryRead($"{task}/status") is not { } status)
                continue;
            nanoseconds += Number(times.Split(' ')[0]);
            sleeps += Field(status, "voluntary_ctxt_switches");
            preemptions += Field(status, "nonvoluntary_ctxt_switches");
        }
        Meters meters = new Meters().With(Meters.Cpu, nanoseconds / 1e9).With(Meters.Sleeps, sleeps).With(Meters.Preemptions, preemptions);
        return TryRead($"/proc/{process}/io") is { } io
            ? meters.With(Meters.Reads, Field(io, "syscr")).With(Meters.Writes, Field(io, "syscw"))
            : meters;
    }

    /// <summary>The value of a line "name: value …" of a file in /proc.</summary>
    /// <exception cref="FormatException">There is no such line.</exception>
    public static double Field(string text, string name)
    {
        foreach (string line in text.Split('\n'))
        {
            if (line.StartsWith(name, StringComparison.Ordinal) && line.Length > name.Length && line[name.Length] == ':')
                return Number(line[(name.Length + 1)..].Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[0]);
        }
        throw new FormatException($"no line '{name}'");
    }

    /// <summary>The whole of a file; null if what it tells of is gone.</summary>
    private static string? TryRead(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
}
