using System;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Threading.Tasks;
using OsProcess = System.Diagnostics.Process;

namespace Millrace.Bench;

/// <summary>A process of the bench's own, to be talked to line by line. It is killed when it is disposed of.</summary>
internal sealed partial class Child : IAsyncDisposable
{
    private const int Continue = 18, Stop = 19;

    /// <summary>Longer than anything takes: a million connections are set up, warmed and measured.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(10);

    private readonly OsProcess _process;

    private Child(OsProcess process, string command) => (_process, Command) = (process, command);

    public string Command { get; }

    public static Child Start(params ReadOnlySpan<string> command)
    {
        var info = new ProcessStartInfo(command[0]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (string argument in command[1..])
            info.ArgumentList.Add(argument);
        return new Child(OsProcess.Start(info)!, string.Join(' ', command!));
    }

    /// <summary>This program again, with another command, on the CPUs given.</summary>
    public static Child StartSelf(string cpus, params ReadOnlySpan<string> arguments) =>
        Start(["taskset", "-c", cpus, Environment.ProcessPath!, "exec", typeof(Child).Assembly.Location, .. arguments]);

    /// <summary>What the process has cost so far, as the kernel sees it.</summary>
    public Meters Meters => ProcFiles.Read(_process.Id);

    /// <summary>The next line that it writes.</summary>
    /// <exception cref="InvalidOperationException">It has ended, or says nothing.</exception>
    public async Task<string> ReadLineAsync()
    {
        try
        {
            return await _process.StandardOutput.ReadLineAsync().WaitAsync(s_patience) ?? throw new InvalidOperationException($"ended early: {Command}");
        }
        catch (TimeoutException)
        {
            throw new InvalidOperationException($"says nothing: {Command}");
        }
    }

    public async Task ExpectAsync(string line)
    {
        string said = await ReadLineAsync();
        if (said != line)
            throw new InvalidOperationException($"said '{said}': {Command}");
    }

    public async Task<string> AskAsync(string line)
    {
        await _process.StandardInput.WriteLineAsync(line);
        await _process.StandardInput.FlushAsync();
        return await ReadLineAsync();
    }

    /// <summary>Waits for its end.</summary>
    /// <exception cref="InvalidOperationException">It failed.</exception>
    public async Task FinishAsync()
    {
        await _process.WaitForExitAsync();
        if (_process.ExitCode != 0)
            throw new InvalidOperationException($"ended with {_process.ExitCode}: {Command}");
    }

    /// <summary>Takes the processor from it for as long as others are measured: it may be one that spins.</summary>
    public void Freeze() => _ = Kill(_process.Id, Stop);

    public void Thaw() => _ = Kill(_process.Id, Continue);

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
