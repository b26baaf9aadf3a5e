using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;

namespace Millrace.Tests.Recordings;

/// <summary>
/// Our trace of an operation against the recording of the kernel's: the same steps in the same order within each context, apart from
/// what deviations.txt lists with a reason.
/// </summary>
public sealed class RecordingTests
{
    private static readonly Lazy<Dictionary<string, SortedDictionary<string, List<string>>>> s_ours = new(PlayAll);

    private static readonly Dictionary<Recording.Kind, HashSet<string>> s_seen =
        Enum.GetValues<Recording.Kind>().ToDictionary(k => k, NamesSeenBy);

    public static TheoryData<string> Names => [.. Recording.All.Select(r => r.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Steps_come_in_the_recorded_order(string name)
    {
        Recording recording = Recording.All.Single(r => r.Name == name);
        Assert.True(s_ours.Value.TryGetValue(name, out SortedDictionary<string, List<string>>? ours), "the operation was not played");
        string difference = Compare(recording, ours, new HashSet<Deviations.Rule>());
        Assert.True(difference.Length == 0, difference);
    }

    [Fact]
    public void No_deviation_is_listed_that_makes_no_difference()
    {
        var used = new HashSet<Deviations.Rule>();
        foreach (Recording r in Recording.All)
        {
            if (s_ours.Value.TryGetValue(r.Name, out SortedDictionary<string, List<string>>? ours))
                Compare(r, ours, used);
        }
        Assert.Empty(Deviations.All.Where(rule => !used.Contains(rule)).Select(rule => $"deviations.txt:{rule.Line}"));
    }

    private static Dictionary<string, SortedDictionary<string, List<string>>> PlayAll()
    {
        var all = new Dictionary<string, SortedDictionary<string, List<string>>>();
        Func<RecordedRun>[] stories =
        [
            RecordedStories.Life, RecordedStories.HalfClose, RecordedStories.Refused, RecordedStories.Abort, RecordedStories.PassiveClose,
            RecordedStories.SendIntoTheVoid, RecordedStories.Strays, RecordedStories.HerdAccepts, RecordedStories.HerdReads,
            RecordedStories.Backlog,
        ];
        foreach (Func<RecordedRun> story in stories)
        {
            using RecordedRun run = story();
            foreach ((string name, SortedDictionary<string, List<string>> streams) in run.Traces)
                all.Add(name, streams);
        }
        return all;
    }

    // Empty if they agree; else a difference line by line for each context.
    private static string Compare(Recording recording, SortedDictionary<string, List<string>> ours, ISet<Deviations.Rule> used)
    {
        HashSet<string> seen = s_seen[recording.Level];
        var text = new StringBuilder();
        foreach (string context in recording.Streams.Keys.Union(ours.Keys).Order(StringComparer.Ordinal))
        {
            List<string> expected = Deviations.Apply(recording.Name, context, recording.Streams.GetValueOrDefault(context, []), used);
            List<string> actual = ours.GetValueOrDefault(context, []).FindAll(step =>
                seen.Contains(Deviations.NameOf(step)) && !Deviations.Ignores(recording.Name, context, Deviations.NameOf(step)));
            if (!expected.SequenceEqual(actual))
                text.Append(recording.Name).Append(' ').Append(context).Append('\n').Append(Difference(expected, actual));
        }
        return text.ToString();
    }

    // What the recorder of this level could see, and what was inlined there.
    private static HashSet<string> NamesSeenBy(Recording.Kind level)
    {
        var names = new HashSet<string>();
        foreach (Recording r in Recording.All.Where(r => r.Level == level))
        {
            foreach ((string context, List<string> stream) in r.Streams)
            {
                names.UnionWith(stream.Select(Deviations.NameOf));
                var used = new HashSet<Deviations.Rule>();
                Deviations.Apply(r.Name, context, stream, used);
                foreach (Deviations.Rule rule in used.Where(d => d.Kind == Deviations.Kind.Inlined))
                    names.UnionWith(rule.To.Select(Deviations.NameOf));
            }
        }
        return names;
    }

    // A line for each step; '-' is only recorded, '+' only ours. Longest common subsequence.
    private static string Difference(List<string> expected, List<string> actual)
    {
        var length = new int[expected.Count + 1, actual.Count + 1];
        for (int i = expected.Count - 1; i >= 0; i--)
        {
            for (int j = actual.Count - 1; j >= 0; j--)
                length[i, j] = expected[i] == actual[j] ? length[i + 1, j + 1] + 1 : Math.Max(length[i + 1, j], length[i, j + 1]);
        }
        var text = new StringBuilder();
        int a = 0, b = 0;
        while (a < expected.Count || b < actual.Count)
        {
            if (a < expected.Count && b < actual.Count && expected[a] == actual[b])
            {
                text.Append("   ").Append(expected[a++]).Append('\n');
                b++;
            }
            else if (b == actual.Count || (a < expected.Count && length[a + 1, b] >= length[a, b + 1]))
            {
                text.Append(" - ").Append(expected[a++]).Append('\n');
            }
            else
            {
                text.Append(" + ").Append(actual[b++]).Append('\n');
            }
        }
        return text.ToString();
    }
}
