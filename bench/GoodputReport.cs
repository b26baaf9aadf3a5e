using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using ScottPlot;
using ScottPlot.TickGenerators;

namespace Millrace.Bench;

/// <summary>The goodput figures for people, for programs, and as a chart.</summary>
internal static class GoodputReport
{
    private const string Begin = "<!-- figures: written by bench/run goodput -->", End = "<!-- end of figures -->";

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true, NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals };

    /// <summary>One row of the table.</summary>
    public static string Line(GoodputResult r) => string.Create(CultureInfo.InvariantCulture,
        $"| {r.Path.Name} | {r.Path.Rounds} × {r.Path.Seconds} s | {Figure(r.OursMegabits)} | {Figure(r.KernelMegabits)} | {r.Ratio:F2} |");

    public static string Json(IReadOnlyList<GoodputResult> results) => JsonSerializer.Serialize(new
    {
        date = DateTime.UtcNow,
        machine = Machine.Description,
        paths = results.Select(r => new { path = r.Path, ratio = r.Ratio, ours = r.Ours, kernel = r.Kernel }),
    }, s_indented);

    /// <summary>What an earlier run's JSON has of the kernel's transfers over one path.</summary>
    public static IReadOnlyList<GoodputFigure> ReadKernel(string file, GoodputPath path)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(file));
        foreach (JsonElement result in document.RootElement.GetProperty("paths").EnumerateArray())
        {
            if (result.GetProperty("path").Deserialize<GoodputPath>(s_indented) == path)
                return result.GetProperty("kernel").Deserialize<List<GoodputFigure>>(s_indented)!;
        }
        throw new ArgumentException($"{file} has nothing about {path.Name}");
    }

    /// <summary>Replaces the page's figures, and leaves what people wrote around them.</summary>
    public static void WritePage(string page, IReadOnlyList<GoodputResult> results)
    {
        string text = File.ReadAllText(page);
        int begin = text.IndexOf(Begin, StringComparison.Ordinal), end = text.IndexOf(End, StringComparison.Ordinal);
        if (begin < 0 || end < begin)
            throw new InvalidOperationException($"{page} has no place for the figures");
        var figures = new StringBuilder(Begin);
        figures.Append(CultureInfo.InvariantCulture, $"\n\n{DateTime.UtcNow:yyyy-MM-dd}, {Machine.Description}.\n\n");
        figures.Append("| path | transfers of each | Millrace, Mbit/s | kernel, Mbit/s | ratio |\n|---|---|---:|---:|---:|\n");
        foreach (GoodputResult r in results)
            figures.Append(Line(r)).Append('\n');
        File.WriteAllText(page, $"{text[..begin]}{figures}\n{text[end..]}");
    }

    /// <summary>Medians on a scale of powers of ten, with the span from least to most.</summary>
    public static void WriteChart(string file, IReadOnlyList<GoodputResult> results)
    {
        using var plot = new Plot();
        double[] at = [.. Enumerable.Range(0, results.Count).Select(i => (double)i)];
        AddSeries(plot, "Millrace", at, -0.08, [.. results.Select(r => r.OursMegabits)], MarkerShape.FilledCircle, Colors.C0);
        AddSeries(plot, "Linux", at, 0.08, [.. results.Select(r => r.KernelMegabits)], MarkerShape.OpenSquare, Colors.C1);
        plot.Axes.Bottom.TickGenerator = new NumericManual(at, [.. results.Select(r => $"{r.Path.Name}\n{r.Ratio.ToString("F2", CultureInfo.InvariantCulture)}×")]);
        double[] powers = [0.001, 0.01, 0.1, 1, 10, 100];
        plot.Axes.Left.TickGenerator = new NumericManual([.. powers.Select(Math.Log10)], [.. powers.Select(p => p.ToString(CultureInfo.InvariantCulture))]);
        plot.Axes.Left.Label.Text = "goodput, Mbit/s: median, least and most";
        plot.Title("100 Mbit/s, 50 ms, CUBIC: Millrace and Linux over the same path");
        plot.Legend.Alignment = Alignment.LowerRight;
        plot.ShowLegend();
        plot.SavePng(file, 1100, 560);
    }

    private static void AddSeries(Plot plot, string name, double[] at, double shift, Summary[] figures, MarkerShape shape, Color color)
    {
        double[] x = [.. at.Select(a => a + shift)];
        double[] y = [.. figures.Select(f => Log(f.Median))];
        ScottPlot.Plottables.Scatter points = plot.Add.ScatterPoints(x, y, color);
        points.LegendText = name;
        points.MarkerShape = shape;
        points.MarkerSize = 9;
        for (int i = 0; i < figures.Length; i++)
            plot.Add.Line(x[i], Log(figures[i].Least), x[i], Log(figures[i].Most)).LineColor = color;
    }

    private static double Log(double megabits) => Math.Log10(Math.Max(megabits, 0.001));

    private static string Figure(Summary s) => string.Create(CultureInfo.InvariantCulture, $"{s.Median:G3} ({s.Least:G3} – {s.Most:G3})");
}
