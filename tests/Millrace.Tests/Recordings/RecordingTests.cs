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

    public static TheoryData<string> Names => [.. Recording.Files().SelectMany(Recording.Load).Select(r => r.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Steps_come_in_the_recorded_order(string name)
    {
        Recording recording = Recording.Files().SelectMany(Recording.Load).Single(r => r.Name == name);
        Assert.True(s_ours.Value.TryGetValue(name, out SortedDictionary<string, List<string>>? ours), "the operation was not played");
        string difference = Compare(recording, ours, new HashSet<Deviations.Rule>());
        Assert.True(difference.Length == 0, difference);
    }

    [Fact]
    public void No_deviation_is_listed_that_makes_no_difference()
    {
        var used = new HashSet<Deviations.Rule>();
        foreach (Recording r in Recording.Files().SelectMany(Recording.Load))
        {
            if (s_ours.Value.TryGetValue(r.Name, out SortedDictionary<string, List<string>>? ours))
                Compare(r, ours, used);
        }
        Assert.Empty(Deviations.All.Where(rule => !used.Contains(rule)).Select(rule => $"deviations.txt:{rule.Line}"));
    }

    private static Dictionary<string, SortedDictionary<string, List<string>>> PlayAll()
    {
        var all = new Dictionary<string, SortedDictionary<string, List<string>>>();
        foreach (Func<RecordedRun> story in (Func<RecordedRun>[])
            [RecordedStories.Life, RecordedStories.HalfClose, RecordedStories.Refused, RecordedStories.Abort, RecordedStories.PassiveClose])
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
        HashSet<string> seen = NamesSeenBy(recording.Level);
        var text = new StringBuilder();
        foreach (string context in recording.Streams.Keys.Union(ours.Keys).Order(StringComparer.Ordinal))
        {
            List<string> expected = Deviations.Apply(recording.Name, context, recording.Streams.GetValueOrDefault(context, []), used);
            List<string> actual = ours.GetValueOrDefault(context, []).FindAll(t => seen.Contains(t.Split('(')[0]));
            if (!expected.SequenceEqual(actual))
                text.Append(recording.Name).Append(' ').Append(context).Append('\n').Append(Difference(expected, actual));
        }
        return text.ToString();
    }

    // What the recorder of this level could see, and what was inlined there.
    private static HashSet<string> NamesSeenBy(Recording.Kind level)
    {
        var names = new HashSet<string>();
        foreach (Recording r in Recording.Files().SelectMany(Recording.Load).Where(r => r.Level == level))
        {
            foreach ((string context, List<string> stream) in r.Streams)
            {
                names.UnionWith(stream.Select(t => t.Split('(')[0]));
                foreach (Deviations.Rule rule in Deviations.All.Where(d => d.Kind == Deviations.Kind.Inlined && d.AppliesTo(r.Name, context)))
                    names.UnionWith(rule.To);
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
