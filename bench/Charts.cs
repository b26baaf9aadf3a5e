using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using ScottPlot;
using ScottPlot.TickGenerators;

namespace Millrace.Bench;

/// <summary>A chart of the page.</summary>
/// <param name="Prefix">The workloads that it shows are those whose names begin so.</param>
internal sealed record Chart(string File, string Title, string Prefix);

/// <summary>The charts of docs/performance.md: bars on a scale of powers of ten, and curves over the size of a table or a crowd.</summary>
internal static class Charts
{
    private static readonly Chart[] s_all =
    [
        new("performance-bulk.png", "Bulk over TUN, MB/s", "tun bulk"),
        new("performance-ping-pong.png", "Round trips over TUN, per second", "tun ping-pong"),
        new("performance-connect.png", "Connections over TUN, per second", "tun connect"),
        new("performance-in-memory-bulk.png", "Bulk in memory, both ends on one CPU, MB/s", "in-memory bulk"),
        new("performance-in-memory-ping-pong.png", "Round trips in memory, per second", "in-memory ping-pong"),
        new("performance-idle.png", "Memory of an idle connection, bytes an end", "idle memory"),
        new("performance-look-up.png", "A look-up among so many connections, ns", "look-up"),
    ];

    /// <summary>Those for which there are figures.</summary>
    public static IEnumerable<Chart> Of(Results results) => s_all.Where(c => Shown(c, results).Length > 0);

    public static void Write(string folder, Results results)
    {
        foreach (Chart chart in Of(results))
            Draw(Path.Combine(folder, chart.File), chart, Shown(chart, results), results);
    }

    private static Workload[] Shown(Chart chart, Results results) => [.. results.Workloads.Where(w => w.Name.StartsWith(chart.Prefix, StringComparison.Ordinal))];

    // A column for each workload; in it, a bar for each who took part, always in the same colour.
    private static void Draw(string file, Chart chart, Workload[] workloads, Results results)
    {
        using var plot = new Plot();
        string[] names = [.. workloads.SelectMany(w => w.Entries.Where(e => results.Of(w, e.Name).Count > 0).Select(e => e.Name)).Distinct()];
        IPalette palette = new ScottPlot.Palettes.Category10();
        for (int i = 0; i < names.Length; i++)
            AddSeries(plot, names[i], names.Length, palette.GetColor(i), workloads, results);
        double[] at = [.. workloads.Select((_, i) => (double)i)];
        plot.Axes.Bottom.TickGenerator = new NumericManual(at, [.. workloads.Select(w => w.Name[chart.Prefix.Length..].TrimStart(',', ' ').Replace(", ", "\n", StringComparison.Ordinal))]);
        plot.Axes.Bottom.MajorTickStyle.Length = 0;
        SetScale(plot, [.. workloads.SelectMany(w => names.Select(n => results.Rate(w, n).Median)).Where(v => v > 0)]);
        plot.Title(chart.Title);
        plot.ShowLegend(Edge.Right);
        plot.Axes.SetLimitsX(-0.6, workloads.Length - 0.4);
        plot.SavePng(file, Math.Clamp(300 + workloads.Length * (100 + 12 * names.Length), 640, 2200), 520);
    }

    private static void AddSeries(Plot plot, string name, int count, Color color, Workload[] workloads, Results results)
    {
        double width = 0.8 / count;
        var bars = new List<ScottPlot.Bar>();
        for (int i = 0; i < workloads.Length; i++)
        {
            Summary figure = results.Rate(workloads[i], name);
            if (!(figure.Median > 0))
                continue;
            string[] present = [.. workloads[i].Entries.Select(e => e.Name).Where(n => results.Rate(workloads[i], n).Median > 0)];
            double x = i + (Array.IndexOf(present, name) - (present.Length - 1) / 2.0) * width;
            bars.Add(new ScottPlot.Bar { Position = x, Value = Math.Log10(figure.Median), ValueBase = Floor(workloads, results), Size = width * 0.9, FillColor = color, LineWidth = 0 });
            plot.Add.Line(x, Math.Log10(figure.Least), x, Math.Log10(figure.Most)).LineColor = Colors.Black;
        }
        plot.Add.Bars(bars).LegendText = name;
    }

    private static double Floor(Workload[] workloads, Results results) =>
        Math.Floor(Math.Log10(workloads.SelectMany(w => w.Entries.Select(e => results.Rate(w, e.Name).Median)).Where(v => v > 0).Min()));

    private static void SetScale(Plot plot, double[] figures)
    {
        int low = (int)Math.Floor(Math.Log10(figures.Min())), high = (int)Math.Ceiling(Math.Log10(figures.Max()));
        double[] ticks = [.. Enumerable.Range(low, high - low + 1).SelectMany(p => (double[])[Math.Pow(10, p), 2 * Math.Pow(10, p), 5 * Math.Pow(10, p)])];
        plot.Axes.Left.TickGenerator = new NumericManual([.. ticks.Select(Math.Log10)], [.. ticks.Select(t => t.ToString("#,0.##", CultureInfo.InvariantCulture))]);
        plot.Axes.SetLimitsY(low, Math.Log10(figures.Max()) + 0.4);
    }
}
