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
    private readonly Dictionary<string, List<double>> _figures = workloads.ToDictionary(w => w.Name, _ => new List<double>());

    public IReadOnlyList<Workload> Workloads => workloads;

    public void Add(Workload workload, double figure) => _figures[workload.Name].Add(figure);

    public IReadOnlyList<double> Of(Workload workload) => _figures[workload.Name];

    public (double Median, double Least, double Most) Summary(Workload workload)
    {
        double[] sorted = [.. _figures[workload.Name].Order()];
        return ((sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2, sorted[0], sorted[^1]);
    }
}

/// <summary>Figures for people, for programs, and for the page.</summary>
internal static class Report
{
    private const string Begin = "<!-- figures: written by bench/run -->", End = "<!-- end of figures -->";

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    public static string Table(Results results)
    {
        var text = new StringBuilder("| workload | median | least – most | of the kernel's loopback |\n|---|---:|---:|---:|\n");
        foreach (Workload w in results.Workloads)
        {
            (double median, double least, double most) = results.Summary(w);
            text.Append(CultureInfo.InvariantCulture,
                $"| {w.Name} | {Figure(median)} {w.Unit} | {Figure(least)} – {Figure(most)} | {Ratio(results, w, median)} |\n");
        }
        return text.ToString();
    }

    public static string Json(Results results, RunOptions options) => JsonSerializer.Serialize(new
    {
        date = DateTime.UtcNow,
        machine = Machine(),
        rounds = options.Rounds,
        seconds = options.Seconds,
        workloads = results.Workloads.Select(w => new { name = w.Name, unit = w.Unit, figures = results.Of(w) }),
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

    private static string Ratio(Results results, Workload w, double median)
    {
        int colon = w.Name.IndexOf(": ", StringComparison.Ordinal);
        Workload? peer = results.Workloads.FirstOrDefault(o => o.Name == "kernel loopback" + w.Name[colon..]);
        return peer is null || peer == w ? "" : (median / results.Summary(peer).Median).ToString("F2", CultureInfo.InvariantCulture) + "×";
    }

    private static string Figure(double value) =>
        value >= 1e6 ? (value / 1e6).ToString("F2", CultureInfo.InvariantCulture) + " M" : value.ToString("N0", CultureInfo.InvariantCulture);

    private static string Machine()
    {
        string model = System.IO.File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal)) ?? "";
        return $"{model[(model.IndexOf(':') + 1)..].Trim()}, {Environment.ProcessorCount} CPUs, {RuntimeInformation.OSDescription}, "
            + RuntimeInformation.FrameworkDescription;
    }
}
