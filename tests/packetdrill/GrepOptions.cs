using System.Collections.Generic;
using System.Linq;
using System.Text.RegularExpressions;

namespace Millrace.Packetdrill;

/// <summary>What a <c>grep</c> looks for, and where.</summary>
internal sealed class GrepOptions
{
    private readonly List<Regex> _patterns = [];
    private readonly bool _inverts;

    /// <param name="words">Its arguments: options, the pattern if no option names one, and files.</param>
    public GrepOptions(string[] words)
    {
        var patterns = new List<string>();
        string letters = "";
        for (int i = 0; i < words.Length; i++)
        {
            if (words[i] == "-e" && i + 1 < words.Length)
                patterns.Add(words[++i]);
            else if (words[i].Length > 1 && words[i][0] == '-')
                letters += words[i][1..];
            else
                Files.Add(words[i]);
        }
        if (patterns.Count == 0 && Files.Count > 0)
        {
            patterns.Add(Files[0]);
            Files.RemoveAt(0);
        }
        IsQuiet = letters.Contains('q');
        Counts = letters.Contains('c');
        _inverts = letters.Contains('v');
        bool extended = letters.Contains('E');
        RegexOptions options = RegexOptions.CultureInvariant | (letters.Contains('i') ? RegexOptions.IgnoreCase : RegexOptions.None);
        _patterns.AddRange(patterns.Select(p => new Regex(extended ? p : FromBasic(p), options)));
    }

    public List<string> Files { get; } = [];

    /// <summary>Only whether there is such a line is asked for, or how many there are.</summary>
    public bool IsQuiet { get; }

    public bool Counts { get; }

    public bool Selects(string line) => _patterns.Exists(p => p.IsMatch(line)) != _inverts;

    // In a basic expression these stand for themselves.
    private static string FromBasic(string pattern) => Regex.Replace(pattern, @"[()|+?{}]", @"\$0");
}
