using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.RegularExpressions;
using Millrace.Tests.Support;

namespace Millrace.Tests.House;

/// <summary>
/// The tags in the comments, collected: where a kernel symbol or an RFC's section is to be found. With MILLRACE_UPDATE_MAPS set the maps are
/// written; else they must be up to date on CI. While somebody is at work, a map that is behind is only said to be.
/// </summary>
public sealed partial class MapTests
{
    [GeneratedRegex(@"^\s*///? ?(.*)$")]
    private static partial Regex CommentLine { get; }

    [GeneratedRegex(@"Linux: ([^<;:]*?)(?=\.(?:\s|$|<)|<|;|:|$)")]
    private static partial Regex LinuxTag { get; }

    [GeneratedRegex(@"[A-Za-z_][A-Za-z0-9]*_[A-Za-z0-9_*]*")]
    private static partial Regex Symbol { get; }

    [GeneratedRegex(@"RFC (\d+)(?: ((?:appendix \w+|§[\d.]*\d)(?:\(\w\))?(?: and §[\d.]*\d)*))?")]
    private static partial Regex RfcTag { get; }

    [Fact]
    public void The_kernel_map_is_up_to_date() => Check("kernel-map.md", "Kernel map",
        "Where each symbol of Linux that the code mirrors, or steps beside, is to be found.", "Linux", Collect(SymbolsOf));

    [Fact]
    public void The_RFC_map_is_up_to_date() => Check("rfc-map.md", "RFC map",
        "Where each section of an RFC that rules the code is obeyed.", "RFC", Collect(SectionsOf));

    private static IEnumerable<string> SymbolsOf(string comment) =>
        LinuxTag.Matches(comment).SelectMany(tag => Symbol.Matches(tag.Groups[1].Value)).Select(m => m.Value.TrimEnd('_'));

    private static IEnumerable<string> SectionsOf(string comment) => RfcTag.Matches(comment)
        .SelectMany(m => m.Groups[2].Success ? m.Groups[2].Value.Split(" and ").Select(s => $"{m.Groups[1].Value} {s}") : [m.Groups[1].Value]);

    private static SortedDictionary<string, SortedSet<string>> Collect(Func<string, IEnumerable<string>> keysOf)
    {
        var map = new SortedDictionary<string, SortedSet<string>>(StringComparer.Ordinal);
        foreach ((string path, string text) in Repository.StackSources)
        {
            if (path.StartsWith("obj/", StringComparison.Ordinal) || path.StartsWith("bin/", StringComparison.Ordinal))
                continue;
            foreach (string key in Comments(text).SelectMany(keysOf))
            {
                if (!map.TryGetValue(key, out SortedSet<string>? files))
                    map[key] = files = new SortedSet<string>(StringComparer.Ordinal);
                files.Add(path);
            }
        }
        return map;
    }

    // Lines of one comment are one text: a tag may go over the end of a line.
    private static IEnumerable<string> Comments(string text)
    {
        var comment = new StringBuilder();
        foreach (string line in text.Split('\n'))
        {
            Match m = CommentLine.Match(line);
            if (m.Success)
            {
                comment.Append(m.Groups[1].Value.Trim()).Append(' ');
                continue;
            }
            if (comment.Length > 0)
                yield return comment.ToString().Trim();
            comment.Clear();
        }
    }

    private static void Check(string file, string title, string purpose, string column, SortedDictionary<string, SortedSet<string>> map)
    {
        var text = new StringBuilder($"# {title}\n\n{purpose} Collected from the comments by a test; `MILLRACE_UPDATE_MAPS=1 dotnet test` writes it.\n\n");
        text.Append($"| {column} | File |\n|---|---|\n");
        foreach ((string key, SortedSet<string> files) in map.OrderBy(e => SortKey(e.Key), StringComparer.Ordinal))
            text.Append($"| `{key}` | {string.Join(", ", files)} |\n");
        string path = Path.Combine(Repository.Root, "docs", file);
        if (Environment.GetEnvironmentVariable("MILLRACE_UPDATE_MAPS") is { Length: > 0 })
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, text.ToString());
        }
        string written = File.Exists(path) ? File.ReadAllText(path) : "";
        Assert.True(map.Count > 50, "the tags are found");
        if (written == text.ToString())
            return;
        string advice = $"docs/{file} is out of date: run the tests with MILLRACE_UPDATE_MAPS=1 and commit it.";
        Assert.SkipUnless(Environment.GetEnvironmentVariable("CI") == "true", advice);
        Assert.Fail(advice);
    }

    // Numbers in their order: RFC 793 before 1122, §3.2 before §3.10.
    private static string SortKey(string key) => Numbers.Replace(key, static m => m.Value.PadLeft(6, '0'));

    [GeneratedRegex(@"\d+")]
    private static partial Regex Numbers { get; }
}
