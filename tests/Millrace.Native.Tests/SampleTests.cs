using System;
using System.Diagnostics;
using System.IO;
using System.Linq;

namespace Millrace.Native.Tests;

/// <summary>The library as a C program meets it: published, compiled against, linked with, run.</summary>
public sealed class SampleTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(10);

    private static string Root { get; } = FindRoot();

    private static string Library => Path.Combine(Root, "artifacts", "native");

    private static string FindRoot()
    {
        string? directory = AppContext.BaseDirectory;
        while (directory is not null && !File.Exists(Path.Combine(directory, "Millrace.slnx")))
            directory = Path.GetDirectoryName(directory);
        return directory ?? throw new InvalidOperationException("The tests run inside the repository.");
    }

    [Fact]
    public void The_sample_compiles_without_a_warning_and_runs()
    {
        string compiler = Compiler();
        Publish(compiler);
        string program = Path.Combine(Library, "echo");
        Run(compiler, "-Wall", "-Wextra", "-Werror", "-O1", Path.Combine(Root, "samples", "native", "echo.c"), "-I", Library, "-L", Library,
            "-lmillrace", "-lpthread", "-o", program);
        Assert.Equal("as in Linux over reno\n", Run(program));
    }

    [Fact]
    public void Every_function_of_the_header_is_exported_and_nothing_else()
    {
        string compiler = Compiler();
        Publish(compiler);
        string header = File.ReadAllText(Path.Combine(Library, "millrace.h"));
        string[] declared = [.. System.Text.RegularExpressions.Regex.Matches(header, @"\b(mr_\w+)\(").Select(static m => m.Groups[1].Value)
            .Distinct().Order(StringComparer.Ordinal)];
        string[] exported = [.. Run("nm", "-D", "--defined-only", Path.Combine(Library, "libmillrace.so")).Split('\n')
            .Select(static line => line.Split(' ')[^1]).Where(static name => name.StartsWith("mr_", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)];
        Assert.Equal(declared, exported);
    }

    // A machine without a C compiler cannot make the library; the one that judges must have it.
    private static string Compiler()
    {
        string[] path = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator);
        foreach (string name in (string[])["gcc", "clang"])
        {
            if (path.Any(directory => File.Exists(Path.Combine(directory, name))))
                return name;
        }
        Assert.SkipWhen(Environment.GetEnvironmentVariable("CI") != "true", "There is neither gcc nor clang.");
        throw new InvalidOperationException("There is neither gcc nor clang.");
    }

    private static void Publish(string compiler) => Run("dotnet", "publish", Path.Combine(Root, "src", "Millrace.Native"), "-c", "Release",
        "--use-current-runtime", "-v", "q", "-nologo", $"-p:CppCompilerAndLinker={compiler}", "-o", Library);

    private static string Run(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["LD_LIBRARY_PATH"] = Library;
        using System.Diagnostics.Process process = System.Diagnostics.Process.Start(start)!;
        System.Threading.Tasks.Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        Assert.True(process.WaitForExit(s_patience), $"{program} does not end");
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: exit code {process.ExitCode}\n{output}\n{errors.Result}");
        return output;
    }
}
