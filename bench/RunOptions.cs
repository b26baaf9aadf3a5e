using System;
using System.Collections.Generic;
using System.Globalization;

namespace Millrace.Bench;

/// <summary>What `bench/run` was asked for.</summary>
internal sealed class RunOptions
{
    public int Rounds { get; private set; } = 5;

    /// <summary>Seconds of each measurement, after a warm-up of 0.3.</summary>
    public double Seconds { get; private set; } = 1;

    public string? Json { get; private set; }

    /// <summary>The page that gets the tables; null: none.</summary>
    public string? Docs { get; private set; }

    public string Kload { get; private set; } = "kload";

    /// <summary>Parts of workloads' names; empty for all.</summary>
    public List<string> Filters { get; } = [];

    public bool Wants(string name) => Filters.Count == 0 || Filters.Exists(f => name.Contains(f, StringComparison.OrdinalIgnoreCase));

    /// <exception cref="ArgumentException">An option is unknown, or its value is missing or wrong.</exception>
    public static RunOptions Parse(ReadOnlySpan<string> args)
    {
        var options = new RunOptions();
        for (int i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--quick":
                    options.Rounds = 3;
                    options.Seconds = 0.5;
                    break;
                case "--rounds":
                    options.Rounds = int.Parse(Value(args, ref i), CultureInfo.InvariantCulture);
                    break;
                case "--json":
                    options.Json = Value(args, ref i);
                    break;
                case "--docs":
                    options.Docs = Value(args, ref i);
                    break;
                case "--no-docs":
                    options.Docs = null;
                    break;
                case "--kload":
                    options.Kload = Value(args, ref i);
                    break;
                case ['-', ..]:
                    throw new ArgumentException($"unknown option {args[i]}");
                default:
                    options.Filters.Add(args[i]);
                    break;
            }
        }
        // A part of the workloads makes no page.
        if (options.Filters.Count > 0)
            options.Docs = null;
        return options;
    }

    private static string Value(ReadOnlySpan<string> args, ref int i) =>
        ++i < args.Length ? args[i] : throw new ArgumentException($"{args[i - 1]} needs a value");
}
