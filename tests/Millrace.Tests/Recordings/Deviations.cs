using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;

namespace Millrace.Tests.Recordings;

/// <summary>
/// The checked-in list of what makes our trace differ from a recording, deviations.txt: each entry rewrites a run of recorded steps into
/// ours, in the files and contexts that it names, for the reason that stands under it.
/// </summary>
internal static partial class Deviations
{
    /// <summary>What an entry is about.</summary>
    public enum Kind
    {
        /// <summary>The recorder could not see the step, because the compiler had inlined it; the classic description places it.</summary>
        Inlined,

        /// <summary>The recorder saw what was not of the operation, or its machine is not ours.</summary>
        Recorder,

        /// <summary>The steps of these names depend on what else runs on the machine, and are not compared.</summary>
        Ignored,

        /// <summary>Millrace does it otherwise, on purpose.</summary>
        Deviation,
    }

    /// <param name="Files">Names of recordings, or "*".</param>
    /// <param name="Contexts">Contexts, or "*"; "task" is every task, "task:w" every one whose name begins so.</param>
    /// <param name="From">The recorded steps; a single "*" is the whole stream.</param>
    public sealed record Rule(Kind Kind, string[] Files, string[] Contexts, string[] From, string[] To, string Reason, int Line)
    {
        public bool AppliesTo(string recording, string context) =>
            (Files[0] == "*" || Files.Contains(recording))
            && (Contexts[0] == "*" || Contexts.Any(c => context.StartsWith(c, StringComparison.Ordinal)));
    }

    private static readonly Lazy<List<Rule>> s_rules = new(Load);

    public static IReadOnlyList<Rule> All => s_rules.Value;

    /// <summary>Whether steps of this name are not compared.</summary>
    public static bool Ignores(string recording, string context, string name) =>
        All.Any(r => r.Kind == Kind.Ignored && r.AppliesTo(recording, context) && r.From.Contains(name));

    /// <summary>The recorded steps as ours are expected to be. Adds to <paramref name="used"/> every rule that changed something.</summary>
    public static List<string> Apply(string recording, string context, List<string> recorded, ISet<Rule> used)
    {
        List<string> steps = recorded;
        foreach (Rule rule in All)
        {
            if (!rule.AppliesTo(recording, context))
                continue;
            List<string> rewritten = rule.Kind == Kind.Ignored
                ? steps.FindAll(s => !rule.From.Contains(NameOf(s)))
                : Rewrite(steps, rule);
            if (!rewritten.SequenceEqual(steps))
                used.Add(rule);
            steps = rewritten;
        }
        return steps;
    }

    /// <summary>A step's name, without what an event said.</summary>
    public static string NameOf(string step) => step.Split('(')[0];

    private static List<string> Rewrite(List<string> steps, Rule rule)
    {
        if (rule.From is ["*"])
            return [.. rule.To];
        var result = new List<string>();
        for (int i = 0; i < steps.Count;)
        {
            if (i + rule.From.Length <= steps.Count && steps.GetRange(i, rule.From.Length).SequenceEqual(rule.From))
            {
                result.AddRange(rule.To);
                i += rule.From.Length;
            }
            else
            {
                result.Add(steps[i++]);
            }
        }
        return result;
    }

    // kind files contexts: from => to, and the reason indented below.
    private static List<Rule> Load()
    {
        var rules = new List<Rule>();
        string[] lines = File.ReadAllLines(Path.Combine(Recording.Directory, "deviations.txt"));
        for (int i = 0; i < lines.Length; i++)
        {
            if (lines[i].Length == 0 || lines[i].StartsWith('#'))
                continue;
            int start = i;
            string reason = "";
            while (i + 1 < lines.Length && lines[i + 1].StartsWith(' '))
                reason += lines[++i].Trim() + " ";
            string[] halves = lines[start].Split(" => "), left = halves[0].Split(": ", 2), head = left[0].Split(' ');
            Assert.True(halves.Length == 2 && left.Length == 2 && head.Length == 3 && reason.Length > 0, $"deviations.txt:{start + 1}");
            rules.Add(new Rule(Enum.Parse<Kind>(head[0], ignoreCase: true), head[1].Split(','), head[2].Split(','), Words(left[1]),
                Words(halves[1]), reason.TrimEnd(), start + 1));
        }
        return rules;
    }

    private static string[] Words(string text)
    {
        if (text.Trim() == "-")
            return [];
        string plain = Repetition().Replace(text, m =>
            string.Join(' ', Enumerable.Repeat(m.Groups[2].Value, int.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture))));
        return plain.Split(' ', StringSplitOptions.RemoveEmptyEntries);
    }

    // 8x[a b] is a b eight times.
    [GeneratedRegex(@"(\d+)x\[([^\]]*)\]")]
    private static partial Regex Repetition();
}
