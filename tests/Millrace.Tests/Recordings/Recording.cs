using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;

namespace Millrace.Tests.Recordings;

/// <summary>
/// One recorded operation of a running kernel, cut down to the vocabulary of essential.txt: for each context (a task, softirq, hardirq)
/// the steps in their order, each a kernel function's or event's name, an event with what it said.
/// </summary>
/// <remarks>A task's steps count between its BEGIN and END marks, because outside of them the recording script works for itself.</remarks>
internal sealed partial class Recording
{
    /// <summary>Recorded with the whole essential level, or with a small filter over the loopback device.</summary>
    public enum Kind
    {
        Full,
        Filtered,
    }

    private Recording(string name, Kind kind)
    {
        Name = name;
        Level = kind;
    }

    public string Name { get; }

    public Kind Level { get; }

    /// <summary>By context: the steps.</summary>
    public SortedDictionary<string, List<string>> Streams { get; } = new(StringComparer.Ordinal);

    public static string Directory => Path.Combine(AppContext.BaseDirectory, "Recordings");

    // A file that holds several cases is read as one recording for each.
    private static List<Recording> Load(string file)
    {
        string[] lines = File.ReadAllLines(Path.Combine(Directory, "path", file + ".txt"));
        Kind kind = lines.Any(l => l.StartsWith("# filter:", StringComparison.Ordinal)) ? Kind.Filtered : Kind.Full;
        var cases = new List<(string Name, List<string> Lines)> { (file, []) };
        foreach (string line in lines)
        {
            if (line.StartsWith("# case ", StringComparison.Ordinal))
            {
                if (cases[^1].Lines.Count == 0)
                    cases.RemoveAt(cases.Count - 1);
                cases.Add(($"{file}.{line["# case ".Length]}", []));
            }
            else if (!line.StartsWith('#') && line.Length > 0)
            {
                cases[^1].Lines.Add(line);
            }
        }
        return cases.ConvertAll(c => Parse(c.Name, kind, c.Lines));
    }

    /// <summary>All of them. wake_threads.txt is no recording of steps, but a summary of who woke.</summary>
    public static IReadOnlyList<Recording> All => s_all.Value;

    private static readonly Lazy<List<Recording>> s_all = new(() =>
        [.. System.IO.Directory.GetFiles(Path.Combine(Directory, "path"), "*.txt").Select(f => Path.GetFileNameWithoutExtension(f)!)
            .Where(f => f != "wake_threads").Order(StringComparer.Ordinal).SelectMany(Load)]);

    [GeneratedRegex(@"^\s*\d+\s+cpu\d+:(task|softirq|hardirq)(?:\(in softirq\))?:(\S+)\s+(.*)$")]
    private static partial Regex LineShape();

    private static Recording Parse(string name, Kind kind, List<string> lines)
    {
        var recording = new Recording(name, kind);
        // A thread without marks of its own was inside its call when the recording began.
        HashSet<string> inside = [], marking = [.. lines.Select(l => LineShape().Match(l))
            .Where(m => m.Groups[3].Value.StartsWith("@MARK", StringComparison.Ordinal)).Select(m => m.Groups[2].Value)];
        foreach (string line in lines)
        {
            Match m = LineShape().Match(line);
            Assert.True(m.Success, $"{name}: {line}");
            string context = m.Groups[1].Value, task = m.Groups[2].Value, what = m.Groups[3].Value;
            if (what.StartsWith("@MARK", StringComparison.Ordinal))
            {
                if (what.Contains(" BEGIN ", StringComparison.Ordinal))
                    inside.Add(task);
                else
                    inside.Remove(task);
                continue;
            }
            if (Token(what) is not { } token)
                continue;
            // The switch from the idle task is the next task's.
            if (context == "task" && token.StartsWith("sched_switch(", StringComparison.Ordinal) && !inside.Contains(task))
                task = token[(token.IndexOf('>') + 1)..^1];
            if (context != "task")
                recording.Add(context, token);
            else if (inside.Contains(task) || (kind == Kind.Filtered && !marking.Contains(task)))
                recording.Add("task:" + task, token);
        }
        return recording;
    }

    private void Add(string context, string token)
    {
        if (!Streams.TryGetValue(context, out List<string>? stream))
            Streams.Add(context, stream = []);
        stream.Add(token);
    }

    // A function's classic name, or an event's name with what identifies it; null: not in the vocabulary.
    private static string? Token(string what)
    {
        if (!what.StartsWith('@'))
        {
            string function = CompilerSuffix().Replace(what[..what.IndexOf(" <- ", StringComparison.Ordinal)], "");
            return Vocabulary.ClassicName(function);
        }
        int end = what.AsSpan(1).IndexOfAny(":( ") + 1;
        string name = what[1..end];
        return Vocabulary.IsEvent(name) ? EventToken(name, what) : null;
    }

    [GeneratedRegex(@"\.(constprop|isra|part)\.\d+")]
    private static partial Regex CompilerSuffix();

    private static string? EventToken(string name, string what)
    {
        string Field(string key)
        {
            Match m = Regex.Match(what, Regex.Escape(key) + @"\s*[=:]?\s*([^\s,]+)");
            Assert.True(m.Success, $"{key} in {what}");
            return m.Groups[1].Value;
        }

        return name switch
        {
            "inet_sock_set_state" => $"{name}({Field("oldstate")}>{Field("newstate")})".Replace("TCP_", "", StringComparison.Ordinal),
            "sock_recv_length" or "sock_send_length" => $"{name}({Field("length =")},{Field("error =")})",
            "kfree_skb" => $"{name}({Field("reason:")})",
            "tcp_probe" => $"{name}({Field("data_len=")})",
            // The recorded devices count their Ethernet header on the way out.
            "net_dev_xmit" => $"{name}({int.Parse(Field("len=")) - 14})",
            "netif_receive_skb" => $"{name}({Field("len=")})",
            "softirq_raise" or "softirq_entry" or "softirq_exit" => Field("vec=") == "3" ? $"{name}(NET_RX)" : null,
            "napi_poll" => $"{name}({Field("work")}/{Field("budget")})",
            "sched_waking" => $"{name}({Field("comm=")})",
            "sched_switch" => $"{name}({Idle(Field("prev_comm="))}>{Idle(Field("next_comm="))})",
            _ => name,
        };
    }

    private static string Idle(string comm) => comm.StartsWith("swapper", StringComparison.Ordinal) ? "idle" : comm;
}

/// <summary>The names whose order is held: essential.txt.</summary>
internal static class Vocabulary
{
    private static readonly Dictionary<string, string> s_classicByRecorded = [];
    private static readonly HashSet<string> s_classic = [], s_events = [];

    static Vocabulary()
    {
        foreach (string line in File.ReadAllLines(Path.Combine(Recording.Directory, "essential.txt")))
        {
            if (line.StartsWith('#') || line.Length == 0)
                continue;
            string[] parts = line.Split(':', 2);
            foreach (string word in parts[1].Split(' ', StringSplitOptions.RemoveEmptyEntries))
            {
                string[] names = word.Split('=');
                s_classic.Add(names[0]);
                s_classicByRecorded[names[^1]] = names[0];
                // Where the recorded kernel itself goes the classic way.
                s_classicByRecorded[names[0]] = names[0];
                if (parts[0] == "events")
                    s_events.Add(names[0]);
            }
        }
    }

    public static string? ClassicName(string recorded) =>
        !s_events.Contains(recorded) && s_classicByRecorded.TryGetValue(recorded, out string? name) ? name : null;

    public static bool IsEvent(string name) => s_events.Contains(name);

    public static bool Contains(string classic) => s_classic.Contains(classic);
}
