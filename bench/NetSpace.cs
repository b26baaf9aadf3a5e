using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;
using Microsoft.Win32.SafeHandles;
using OsProcess = System.Diagnostics.Process;

namespace Millrace.Bench;

/// <summary>A network namespace of the kernel, gone when it is disposed of.</summary>
internal sealed partial class NetSpace : IDisposable
{
    private const int NewNet = 0x4000_0000, RealTime = 1;

    public NetSpace(string name)
    {
        Name = name;
        Run(["ip", "netns", "add", name]);
        Ip("link", "set", "lo", "up");
    }

    public string Name { get; }

    /// <summary>Runs `ip` on the namespace.</summary>
    public void Ip(params ReadOnlySpan<string> arguments) => Run(["ip", "-n", Name, .. arguments]);

    /// <summary>A command that runs inside the namespace.</summary>
    public string[] Inside(params ReadOnlySpan<string> command) => ["ip", "netns", "exec", Name, .. command];

    public void SetSysctl(string name, string value) => Run(Inside("sysctl", "-qw", $"{name}={value}"));

    /// <summary>The kernel's counters of this namespace by nstat's names.</summary>
    public Dictionary<string, long> Counters()
    {
        var counters = new Dictionary<string, long>();
        foreach (string line in Run(Inside("nstat", "-asz")).Split('\n'))
        {
            if (line.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [var counter, var value, ..] && long.TryParse(value, out long number))
                counters[counter] = number;
        }
        return counters;
    }

    /// <summary>A thread inside the namespace; the sockets it makes stay there.</summary>
    public Thread Start(Action body)
    {
        var thread = new Thread(() =>
        {
            using SafeFileHandle file = File.OpenHandle($"/run/netns/{Name}");
            Check(SetNs(file, NewNet));
            body();
        })
        { IsBackground = true };
        thread.Start();
        return thread;
    }

    /// <summary>Lets the calling thread go before all others, so that a busy machine makes neither the path nor its users slower than they are.</summary>
    public static void GoFirst()
    {
        int priority = 10;
        Check(SetScheduler(0, RealTime, ref priority));
    }

    public void Dispose() => Run(["ip", "netns", "del", Name]);

    private static string Run(string[] command)
    {
        var info = new ProcessStartInfo(command[0]) { RedirectStandardOutput = true };
        foreach (string argument in command.AsSpan(1))
            info.ArgumentList.Add(argument);
        using OsProcess process = OsProcess.Start(info)!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"{string.Join(' ', command)} ended with {process.ExitCode}");
    }

    private static void Check(int result)
    {
        if (result < 0)
            throw new InvalidOperationException($"the kernel refuses: errno {Marshal.GetLastPInvokeError()}");
    }

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int SetNs(SafeFileHandle space, int kind);

    [LibraryImport("libc", EntryPoint = "sched_setscheduler", SetLastError = true)]
    private static partial int SetScheduler(int thread, int policy, ref int priority);
}
