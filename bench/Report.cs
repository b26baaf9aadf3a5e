using System;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Millrace.Bench;

/// <summary>Figures for people, for programs, and for the page.</summary>
internal static class Report
{
    private const string Begin = "<!-- figures: written by bench/run -->", End = "<!-- end of figures -->";

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true, NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals };

    /// <summary>What a unit of ours costs, by meter: the column's head, and by what the reading is multiplied.</summary>
    private static readonly (string Head, Func<Results, Workload, double?> Of)[] s_costs =
    [
        ("CPU, µs", (r, w) => r.Each(w, Entry.Ours, Meters.Cpu) * 1e6),
        ("wake-ups", (r, w) => r.Each(w, Entry.Ours, Meters.WakeUps)),
        ("threads' sleeps", (r, w) => r.Each(w, Entry.Ours, Meters.Sleeps)),
        ("hand-offs", (r, w) => r.Each(w, Entry.Ours, Meters.HandOffs)),
        ("device reads", (r, w) => r.Each(w, Entry.Ours, Meters.DeviceReads)),
        ("device writes", (r, w) => r.Each(w, Entry.Ours, Meters.DeviceWrites)),
        ("device waits", (r, w) => r.Each(w, Entry.Ours, Meters.DeviceWaits)),
        ("segments", (r, w) => r.Each(w, Entry.Ours, Meters.Segments)),
        ("allocated, B", (r, w) => r.Each(w, Entry.Ours, Meters.Allocated)),
        ("collector pause, µs", (r, w) => r.Each(w, Entry.Ours, Meters.GcPause) * 1e6),
    ];

    /// <summary>All tables, in Markdown.</summary>
    public static string Text(Results results) => $"{Rates(results)}\n{Bars(results)}\n{Costs(results)}";

    /// <summary>Who did what, and how many times better ours is.</summary>
    public static string Rates(Results results)
    {
        var text = new StringBuilder();
        foreach (IGrouping<string, Workload> group in results.Workloads.GroupBy(w => w.Group))
        {
            text.Append(CultureInfo.InvariantCulture, $"### {group.Key}\n\n| workload | who | unit | by the clock | Millrace beside it | by CPU second | beside it |\n|---|---|---|---:|---:|---:|---:|\n");
            foreach (Workload workload in group)
            {
                foreach (Entry entry in workload.Entries.Where(e => results.Of(workload, e.Name).Count > 0))
                    text.Append(Row(results, workload, entry.Name));
            }
            text.Append('\n');
        }
        return text.ToString();
    }

    /// <summary>How far each bar has been reached.</summary>
    public static string Bars(Results results)
    {
        var text = new StringBuilder("| bar | Millrace | demanded | reached |\n|---|---:|---:|---:|\n");
        foreach (Workload workload in results.Workloads)
        {
            foreach (Verdict verdict in workload.Bars.Select(b => results.Judge(workload, b)).Where(v => !double.IsNaN(v.Reached)))
                text.Append(CultureInfo.InvariantCulture, $"| {workload.Name}: {Demand(verdict)} | {Summary.Figure(results.Judged(workload, Entry.Ours))} | {Summary.Figure(verdict.Target)} {workload.Unit} | {verdict.Reached:F2}{(verdict.Reached >= 1 ? "" : " **below**")} |\n");
        }
        return text.ToString();
    }

    /// <summary>What each unit costs Millrace.</summary>
    public static string Costs(Results results)
    {
        Workload[] metered = [.. results.Workloads.Where(w => results.Each(w, Entry.Ours, Meters.Cpu) is not null)];
        if (metered.Length == 0)
            return "";
        var text = new StringBuilder($"| workload | for each | {string.Join(" | ", s_costs.Select(c => c.Head))} |\n|---|---|{string.Concat(s_costs.Select(_ => "---:|"))}\n");
        foreach (Workload workload in metered)
            text.Append(CultureInfo.InvariantCulture, $"| {workload.Name} | {workload.PerUnit} | {string.Join(" | ", s_costs.Select(c => c.Of(results, workload) is { } cost ? Summary.Figure(cost) : ""))} |\n");
        return text.ToString();
    }

    public static string Json(Results results, RunHeader header) => JsonSerializer.Serialize(new
    {
        date = header.Date,
        machine = header.Machine,
        load = header.Load,
        rounds = header.Options.Rounds,
        seconds = header.Options.Seconds,
        workloads = results.Workloads.Select(w => new
        {
            name = w.Name,
            unit = w.Unit,
            lessIsBetter = w.LessIsBetter,
            bars = w.Bars.Select(b => results.Judge(w, b)).Select(v => new { against = v.Bar.Against, factor = v.Bar.Factor, target = v.Target, reached = v.Reached, measured = v.Measured }),
            entries = w.Entries.Where(e => results.Of(w, e.Name).Count > 0).Select(e => new
            {
                name = e.Name,
                rate = results.Rate(w, e.Name),
                ratio = results.Ratio(w, e.Name),
                samples = results.Of(w, e.Name).Select(s => JsonSerializer.Deserialize<JsonElement>(s.ToJson())),
            }),
        }),
    }, s_indented);

    /// <summary>Replaces the page's figures, and leaves what people wrote around them.</summary>
    public static void UpdatePage(string page, Results results, RunHeader header)
    {
        string text = File.ReadAllText(page);
        int begin = text.IndexOf(Begin, StringComparison.Ordinal), end = text.IndexOf(End, StringComparison.Ordinal);
        if (begin < 0 || end < begin)
            throw new InvalidOperationException($"{page} has no place for the figures");
        string charts = string.Concat(Charts.Of(results).Select(c => $"![{c.Title}]({c.File})\n\n"));
        File.WriteAllText(page, $"{text[..begin]}{Begin}\n\n{header}\n\n{charts}{Rates(results)}### Bars\n\n{Bars(results)}\n### What it costs\n\n{Costs(results)}\n{text[end..]}");
    }

    private static string Row(Results results, Workload workload, string entry)
    {
        bool ours = entry == Entry.Ours, hasOurs = results.Of(workload, Entry.Ours).Count > 0;
        Summary byCpu = results.PerCpuSecond(workload, entry);
        bool hasCpu = !double.IsNaN(byCpu.Median) && workload.Entries.Count > 0 && !workload.Once;
        string beside = ours || !hasOurs ? "" : Times(workload.LessIsBetter
            ? results.Ratio(workload, entry)
            : results.Rate(workload, Entry.Ours).Median / results.Rate(workload, entry).Median);
        string besideByCpu = ours || !hasOurs || !hasCpu ? "" : Times(results.PerCpuSecond(workload, Entry.Ours).Median / byCpu.Median);
        string name = ours ? workload.Name : "";
        return $"| {name} | {entry} | {workload.Unit} | {results.Rate(workload, entry)} | {beside} | {(hasCpu ? Summary.Figure(byCpu.Median) : "")} | {besideByCpu} |\n";
    }

    private static string Demand(Verdict verdict) => verdict.Bar.Against == Bar.Limit
        ? "at most"
        : FormattableString.Invariant($"{verdict.Bar.Factor:0.#}× {verdict.Bar.Against}{(verdict.Measured ? "" : ", as it was seen")}");

    // One that got nothing done is not beaten by any number.
    private static string Times(double ratio) => !double.IsFinite(ratio) ? "" : ratio.ToString(ratio < 10 ? "F2" : "F0", CultureInfo.InvariantCulture) + "×";
}
