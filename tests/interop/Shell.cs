using System;
using System.Diagnostics;
using System.IO;
using System.Text;
using System.Threading.Tasks;
using OsProcess = System.Diagnostics.Process;

namespace Millrace.Interop;

/// <summary>What a program printed, and how it ended.</summary>
internal sealed record Outcome(int ExitCode, string Output, string Errors)
{
    public Outcome Succeeded(string what)
    {
        Assert.True(ExitCode == 0, $"{what} ended with {ExitCode}: {Errors} {Output}");
        return this;
    }
}

/// <summary>Runs programs. A program that hangs is killed, and the test fails.</summary>
internal static class Shell
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(100);

    public static Task<Outcome> RunAsync(params string[] command) => RunAsync(Stream.Null, command);

    public static async Task<Outcome> RunAsync(Stream input, params string[] command)
    {
        using OsProcess process = Start(command);
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        Task feed = FeedAsync(process, input);
        await EndAsync(process, command);
        await feed;
        return new Outcome(process.ExitCode, await output, await errors);
    }

    public static OsProcess Start(params string[] command)
    {
        var info = new ProcessStartInfo(command[0])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.Latin1,
        };
        foreach (string argument in command.AsSpan(1))
            info.ArgumentList.Add(argument);
        return OsProcess.Start(info)!;
    }

    public static async Task EndAsync(OsProcess process, params string[] command)
    {
        Task end = process.WaitForExitAsync();
        if (await Task.WhenAny(end, Task.Delay(Patience)) == end)
            return;
        process.Kill();
        Assert.Fail($"{string.Join(' ', command)} hangs");
    }

    private static async Task FeedAsync(OsProcess process, Stream input)
    {
        try
        {
            await input.CopyToAsync(process.StandardInput.BaseStream);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // The program did not want all of it.
        }
    }
}
