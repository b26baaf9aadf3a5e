using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;

namespace Millrace.Tests.Support;

/// <summary>The project's own files, for tests that hold a text against the code.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    /// <summary>Text of every source file of the stack, by its path within src/Millrace.</summary>
    public static IReadOnlyDictionary<string, string> StackSources { get; } = ReadStack();

    public static string Read(params string[] path) => File.ReadAllText(Path.Combine([Root, .. path]));

    /// <summary>The rows of a recording, without its first line, cut at the tabs.</summary>
    public static IEnumerable<string[]> Recording(string file) =>
        File.ReadLines(Path.Combine(AppContext.BaseDirectory, "Recordings", file)).Skip(1).Select(static line => line.Split('\t'));

    private static string FindRoot()
    {
        var at = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(at.FullName, "Millrace.slnx")))
            at = at.Parent ?? throw new InvalidOperationException("The tests run outside the repository.");
        return at.FullName;
    }

    private static Dictionary<string, string> ReadStack()
    {
        string stack = Path.Combine(Root, "src", "Millrace");
        return Directory.EnumerateFiles(stack, "*.cs", SearchOption.AllDirectories)
            .ToDictionary(file => Path.GetRelativePath(stack, file).Replace('\\', '/'), File.ReadAllText);
    }
}
