using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using Millrace.Tests.Support;

namespace Millrace.Tests.House;

/// <summary>One folder is one layer, and a layer uses only what stands below it.</summary>
public sealed partial class LayerTests
{
    /// <summary>From the ground up. The empty name is the root: what a .NET program sees.</summary>
    private static readonly string[] Order =
        ["Tracing", "Wire", "Buffers", "Sched", "Devices", "Sockets", "Inet", "Icmp", "Udp", "Tcp", "Syscalls", ""];

    // Comments may point upwards; strings name nothing.
    [GeneratedRegex("""//[^\n]*|"(\\.|[^"\\\n])*"|'(\\.|[^'\\])'""")]
    private static partial Regex NoCode { get; }

    [GeneratedRegex(@"^(?:public|internal)[\w ]*? (?:class|struct|enum|interface|record|record struct|delegate \w+) (\w+)", RegexOptions.Multiline)]
    private static partial Regex Declaration { get; }

    // A name where a type stands: before a name that it declares, a member, an argument list; or behind new, is, as, typeof.
    [GeneratedRegex(@"(?<![\w.])(?:(?:new|is|as)\s+|typeof\()([A-Z]\w+)\b|(?<![\w.])([A-Z]\w+)\b(?=\??(?:\[\])?\s+(?!(?:is|as|in|and|or|when|switch|with|where)\b)\w|[.<>?])")]
    private static partial Regex Name { get; }

    [GeneratedRegex(@"\b(?:using Millrace\.|Millrace\.)(\w+)")]
    private static partial Regex Qualified { get; }

    private static string LayerOf(string path) => path.Contains('/', StringComparison.Ordinal) ? path[..path.IndexOf('/', StringComparison.Ordinal)] : "";

    [Fact]
    public void Every_folder_is_a_layer() =>
        Assert.Empty(Repository.StackSources.Keys.Select(LayerOf).Distinct().Except([.. Order, "bin", "obj"]));

    [Fact]
    public void No_layer_uses_one_above_it()
    {
        Dictionary<string, string> code = Repository.StackSources
            .Where(f => Order.Contains(LayerOf(f.Key)))
            .ToDictionary(f => f.Key, f => NoCode.Replace(f.Value, ""));
        ILookup<string, string> layersOfType = code
            .SelectMany(f => Declaration.Matches(f.Value).Select(m => (Type: m.Groups[1].Value, Layer: LayerOf(f.Key))))
            .ToLookup(d => d.Type, d => d.Layer);
        var upward = new List<string>();
        foreach ((string path, string text) in code)
        {
            int own = Array.IndexOf(Order, LayerOf(path));
            foreach (string type in TypesUsed(text))
            {
                // A name that several layers have is the nearest one's.
                if (layersOfType[type].Any() && layersOfType[type].Min(l => Array.IndexOf(Order, l)) > own)
                    upward.Add($"{path} uses {type}, of {layersOfType[type].First()}");
            }
            foreach (Match m in Qualified.Matches(text))
            {
                if (Array.IndexOf(Order, m.Groups[1].Value) > own)
                    upward.Add($"{path} uses the layer {m.Groups[1].Value}");
            }
        }
        Assert.True(upward.Count == 0, string.Join(Environment.NewLine, upward.Distinct()));
    }

    private static IEnumerable<string> TypesUsed(string text) => Name.Matches(text)
        .Select(m => m.Groups[1].Value + m.Groups[2].Value)
        .Distinct();

    /// <summary>Five lines that say what lives in the folder and what may not.</summary>
    [Fact]
    public void Every_layer_says_what_lives_there()
    {
        foreach (string layer in Repository.StackSources.Keys.Select(LayerOf).Where(l => l.Length > 0 && Order.Contains(l)).Distinct())
        {
            string[] path = ["src", "Millrace", layer, "README.md"];
            Assert.True(File.Exists(Path.Combine([Repository.Root, .. path])), $"{layer} has no README.md");
            Assert.InRange(Repository.Read(path).Split('\n', StringSplitOptions.RemoveEmptyEntries).Length, 3, 8);
        }
    }
}
