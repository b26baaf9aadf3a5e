using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;

namespace Millrace.Bench;

/// <summary>All figures of one path.</summary>
internal sealed record GoodputResult(GoodputPath Path, IReadOnlyList<GoodputFigure> Ours, IReadOnlyList<GoodputFigure> Kernel)
{
    public Summary OursMegabits => Megabits(Ours);

    public Summary KernelMegabits => Megabits(Kernel);

    /// <summary>Of the medians.</summary>
    public double Ratio => OursMegabits.Median / KernelMegabits.Median;

    private static Summary Megabits(IReadOnlyList<GoodputFigure> figures) =>
        figures.Count == 0 ? new Summary(double.NaN, double.NaN, double.NaN) : Summary.Of(figures.Select(f => f.BitsPerSecond / 1e6));
}

/// <summary>`bench/run goodput`: goodput over bad paths, ours in virtual time and the kernel's in real time.</summary>
internal static class Goodput
{
    public static int Run(GoodputOptions options)
    {
        var results = new List<GoodputResult>();
        foreach (GoodputPath path in GoodputPath.All.Where(options.Wants))
        {
            var result = new GoodputResult(path, options.Ours ? Measure(path, 1, GoodputSimulated.Transfer) : [],
                options.KernelFrom is { } earlier ? GoodputReport.ReadKernel(earlier, path)
                    : options.Kernel ? Measure(path, path.AtOnce, GoodputKernel.Transfer) : []);
            results.Add(result);
            Console.Error.WriteLine(GoodputReport.Line(result));
        }
        if (options.Json is { } json)
            File.WriteAllText(json, GoodputReport.Json(results));
        if (options.Docs is { } folder)
        {
            GoodputReport.WritePage(Path.Combine(folder, "goodput.md"), results);
            GoodputReport.WriteChart(Path.Combine(folder, "goodput.png"), results);
        }
        return 0;
    }

    private static List<GoodputFigure> Measure(GoodputPath path, int atOnce, Func<GoodputPath, ulong, GoodputFigure> transfer)
    {
        var figures = new ConcurrentBag<GoodputFigure>();
        int next = 0;
        var threads = new List<Thread>();
        for (int i = 0; i < Math.Min(atOnce, path.Rounds); i++)
        {
            var thread = new Thread(() =>
            {
                while (Interlocked.Increment(ref next) is int round && round <= path.Rounds)
                    figures.Add(transfer(path, (ulong)round));
            });
            thread.Start();
            threads.Add(thread);
        }
        threads.ForEach(t => t.Join());
        return [.. figures];
    }
}

/// <summary>What `bench/run goodput` was asked for.</summary>
internal sealed class GoodputOptions
{
    public string? Json { get; private set; }

    /// <summary>The folder that gets the page and the chart.</summary>
    public string? Docs { get; private set; }

    public bool Ours { get; private set; } = true;

    public bool Kernel { get; private set; } = true;

    /// <summary>The JSON of an earlier run whose figures of the kernel are to stand beside ours; null: measure them.</summary>
    public string? KernelFrom { get; private set; }

    private readonly List<string> _filters = [];

    public bool Wants(GoodputPath path) => _filters.Count == 0 || _filters.Exists(f => path.Name.StartsWith(f, StringComparison.OrdinalIgnoreCase));

    /// <exception cref="ArgumentException">An option is unknown, or its value is missing.</exception>
    public static GoodputOptions Parse(ReadOnlySpan<string> args)
    {
        var options = new GoodputOptions();
        for (int i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--json":
                    options.Json = RunOptions.Value(args, ref i);
                    break;
                case "--docs":
                    options.Docs = RunOptions.Value(args, ref i);
                    break;
                case "--no-kernel":
                    options.Kernel = false;
                    break;
                case "--kernel-from":
                    options.KernelFrom = RunOptions.Value(args, ref i);
                    break;
                case "--no-ours":
                    options.Ours = false;
                    break;
                case ['-', ..]:
                    throw new ArgumentException($"unknown option {args[i]}");
                default:
                    options._filters.Add(args[i]);
                    break;
            }
        }
        // A part of it makes no page.
        if (options._filters.Count > 0 || !options.Kernel || !options.Ours)
            options.Docs = null;
        return options;
    }
}
