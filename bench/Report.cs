using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace Millrace.Bench;

/// <summary>All figures of a run.</summary>
internal sealed class Results(IReadOnlyList<Workload> workloads)
{
    private readonly Dictionary<string, List<Sample>> _samples = workloads.ToDictionary(w => w.Name, _ => new List<Sample>());

    public IReadOnlyList<Workload> Workloads => workloads;

    public void Add(Workload workload, Sample sample) => _samples[workload.Name].Add(sample);

    public IReadOnlyList<Sample> Of(Workload workload) => _samples[workload.Name];

    public Summary ByClock(Workload workload) => Summary.Of(_samples[workload.Name].Select(s => s.PerSecond));

    public Summary ByCpu(Workload workload) => Summary.Of(_samples[workload.Name].Select(s => s.PerCpuSecond));
}

internal readonly record struct Summary(double Median, double Least, double Most)
{
    public static Summary Of(IEnumerable<double> figures)
    {
        double[] sorted = [.. figures.Order()];
        return new Summary((sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2, sorted[0], sorted[^1]);
    }

    public override string ToString() => $"{Figure(Median)} ({Figure(Least)} – {Figure(Most)})";

    private static string Figure(double value) =>
        value >= 1e6 ? (value / 1e6).ToString("F2", CultureInfo.InvariantCulture) + " M" : value.ToString("N0", CultureInfo.InvariantCulture);
}

/// <summary>Figures for people, for programs, and for the page.</summary>
internal static class Report
{
    private const string Begin = "<!-- figures: written by bench/run -->", End = "<!-- end of figures -->";

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    public static string Table(Results results)
    {
        var text = new StringBuilder("| workload | unit | by the clock | beside the kernel | by the server's CPU time | beside the kernel |\n"
            + "|---|---|---:|---:|---:|---:|\n");
        foreach (Workload w in results.Workloads)
        {
            text.Append(CultureInfo.InvariantCulture, $"| {w.Name} | {w.Unit} | {results.ByClock(w)} | {Ratio(results, w, results.ByClock)} ");
            text.Append(CultureInfo.InvariantCulture, $"| {results.ByCpu(w)} | {Ratio(results, w, results.ByCpu)} |\n");
        }
        return text.ToString();
    }

    public static string Json(Results results, RunOptions options) => JsonSerializer.Serialize(new
    {
        date = DateTime.UtcNow,
        machine = Machine(),
        rounds = options.Rounds,
        seconds = options.Seconds,
        workloads = results.Workloads.Select(w => new { name = w.Name, unit = w.Unit, perSecond = results.Of(w).Select(s => s.PerSecond), perCpuSecond = results.Of(w).Select(s => s.PerCpuSecond) }),
    }, s_indented);

    /// <summary>Replaces the page's figures, and leaves what people wrote around them.</summary>
    public static void UpdatePage(string page, Results results, RunOptions options)
    {
        string text = System.IO.File.ReadAllText(page);
        int begin = text.IndexOf(Begin, StringComparison.Ordinal), end = text.IndexOf(End, StringComparison.Ordinal);
        if (begin < 0 || end < begin)
            throw new InvalidOperationException($"{page} has no place for the figures");
        string figures = string.Create(CultureInfo.InvariantCulture,
            $"{Begin}\n\n{DateTime.UtcNow:yyyy-MM-dd}, {Machine()}; {options.Rounds} rounds of {options.Seconds} s each.\n\n{Table(results)}\n");
        System.IO.File.WriteAllText(page, text[..begin] + figures + text[end..]);
    }

    private static string Ratio(Results results, Workload w, Func<Workload, Summary> by)
    {
        string mode = w.Name[w.Name.IndexOf(": ", StringComparison.Ordinal)..];
        Workload? peer = results.Workloads.FirstOrDefault(o => o.Name == "kernel loopback" + mode);
        return peer is null || peer == w ? "" : (by(w).Median / by(peer).Median).ToString("F2", CultureInfo.InvariantCulture) + "×";
    }

    public static string Machine()
    {
        string model = System.IO.File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal)) ?? "";
        return $"{model[(model.IndexOf(':') + 1)..].Trim()}, {Environment.ProcessorCount} CPUs, {RuntimeInformation.OSDescription}, "
            + RuntimeInformation.FrameworkDescription;
    }
}
