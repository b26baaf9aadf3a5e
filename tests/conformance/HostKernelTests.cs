using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using System.Threading;

namespace Millrace.Conformance;

/// <summary>
/// The same stories, played over TUN against the host's kernel, so that what they expect is Linux's behaviour and not only ours. Where
/// Linux does otherwise, <c>differences.tsv</c> names the story and the reason; the list is exact in both directions.
/// </summary>
/// <remarks>
/// See <see cref="HostKernel"/> for when it runs. <c>MILLRACE_STORY</c> plays only the stories whose name contains it,
/// and shows each exchange; <c>MILLRACE_STORY_ON=millrace</c> plays them on this project's stack instead, to compare; <c>MILLRACE_STORY_SECONDS</c> is how long one story may take.
/// </remarks>
public sealed class HostKernelTests(ITestOutputHelper output)
{
    private const int Parallel = 16;

    [Fact]
    public void Stories_play_on_the_host_kernel_but_for_the_listed_differences()
    {
        HostKernel.SkipUnlessAskedFor();
        IReadOnlyDictionary<string, string> differences = StoryCatalog.ReadList("differences.tsv");
        string wanted = Environment.GetEnvironmentVariable("MILLRACE_STORY") ?? "";
        var stories = new ConcurrentQueue<StoryEntry>(
            StoryCatalog.All.Where(s => s.Name.Contains(wanted, StringComparison.OrdinalIgnoreCase)));
        var verdicts = new ConcurrentDictionary<string, string>();
        Thread[] threads = [.. Enumerable.Range(0, Parallel).Select(_ => new Thread(() => PlayAll(stories, verdicts)))];
        Array.ForEach(threads, static t => t.Start());
        Array.ForEach(threads, static t => t.Join());
        var wrong = new List<string>();
        foreach ((string name, string verdict) in verdicts.OrderBy(static v => v.Key, StringComparer.Ordinal))
        {
            output.WriteLine($"{name}: {(IsSame(verdict) || IsNotPlayed(verdict) ? verdict : "differs")}");
            if (!IsSame(verdict) && !IsNotPlayed(verdict) && !differences.ContainsKey(name))
                wrong.Add($"{name}:\n{verdict}");
            if (IsSame(verdict) && differences.ContainsKey(name))
                wrong.Add($"{name}: listed as a difference, but the kernel plays it.");
        }
        Assert.True(wrong.Count == 0, $"{wrong.Count} of {verdicts.Count}:\n{string.Join("\n\n", wrong)}");
    }

    // Each story has a thread of its own, because the thread's network namespace goes with it.
    private static void PlayAll(ConcurrentQueue<StoryEntry> stories, ConcurrentDictionary<string, string> verdicts)
    {
        while (stories.TryDequeue(out StoryEntry? story))
        {
            var thread = new Thread(() => verdicts[story.Name] = PlayTwice(story));
            thread.Start();
            thread.Join();
        }
    }

    // A machine under load may be late once.
    private static string PlayTwice(StoryEntry story)
    {
        string first = PlayOne(story);
        return IsSame(first) || IsNotPlayed(first) ? first : PlayOne(story);
    }

    private static bool IsSame(string verdict) => verdict.StartsWith("same", StringComparison.Ordinal);

    private static bool IsNotPlayed(string verdict) => verdict.StartsWith("not played", StringComparison.Ordinal);

    private static string PlayOne(StoryEntry story)
    {
        double seconds = double.TryParse(Environment.GetEnvironmentVariable("MILLRACE_STORY_SECONDS"), out double s) ? s : 4;
        try
        {
            Stage.Play(() => story.Run(), Family.V4, (family, settings) =>
                Environment.GetEnvironmentVariable("MILLRACE_STORY_ON") == "millrace" ? new MillraceBackend(family, settings)
                : OperatingSystem.IsLinux() ? new KernelBackend(family, settings, seconds * 1000) : throw new NotSupportedException());
            bool all = string.IsNullOrEmpty(Environment.GetEnvironmentVariable("MILLRACE_STORY"));
            return all ? "same" : "same, namely\n" + Stage.LastLadder;
        }
        catch (StoryNotForKernelException e)
        {
            return "not played, " + e.Message;
        }
        catch (Exception e)
        {
            return string.IsNullOrEmpty(Environment.GetEnvironmentVariable("MILLRACE_STORY")) ? e.Message : $"{e.Message}\n{Stage.LastLadder}";
        }
    }
}
