using System;
using System.Collections.Generic;
using System.Globalization;

namespace Millrace.Bench;

/// <summary>What `bench/run` was asked for.</summary>
internal sealed class RunOptions
{
    public int Rounds { get; private set; } = 5;

    /// <summary>Seconds of each measurement, after the warm-up.</summary>
    public double Seconds { get; private set; } = 1;

    /// <summary>Fewer and shorter rounds, and no million of anything.</summary>
    public bool Quick { get; private set; }

    /// <summary>Whether other user-space stacks take part; the kernel always does.</summary>
    public bool Peers { get; private set; }

    public string? Json { get; private set; }

    /// <summary>The folder of the page that gets the tables and charts; null: none.</summary>
    public string? Docs { get; private set; }

    /// <summary>Whether the workloads are only to be named.</summary>
    public bool List { get; private set; }

    /// <summary>Programs that the bench's own build made, by name: kload, pump, gvisor; and those that the user points to: lwip, smoltcp.</summary>
    public Dictionary<string, string> Programs { get; } = [];

    /// <summary>Parts of workloads' names; empty for all.</summary>
    public List<string> Filters { get; } = [];

    public bool Wants(Workload workload) => Filters.Count == 0 || Filters.Exists(workload.IsNamed);

    /// <exception cref="ArgumentException">An option is unknown, or its value is missing or wrong.</exception>
    public static RunOptions Parse(ReadOnlySpan<string> args)
    {
        var options = new RunOptions();
        for (int i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--quick":
                    options.Quick = true;
                    options.Rounds = 3;
                    options.Seconds = 0.5;
                    break;
                case "--peers":
                    options.Peers = true;
                    break;
                case "--list":
                    options.List = true;
                    break;
                case "--rounds":
                    options.Rounds = (int)Number(args, ref i);
                    break;
                case "--seconds":
                    options.Seconds = Number(args, ref i);
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
                case "--kload" or "--pump" or "--gvisor" or "--lwip" or "--smoltcp":
                    options.Programs[args[i][2..]] = Value(args, ref i);
                    break;
                case ['-', ..]:
                    throw new ArgumentException($"unknown option {args[i]}");
                default:
                    options.Filters.Add(args[i]);
                    break;
            }
        }
        // A part of the workloads, or of those who take part, makes no page.
        if (options.Filters.Count > 0)
            options.Docs = null;
        return options;
    }

    private static double Number(ReadOnlySpan<string> args, ref int i) =>
        double.TryParse(Value(args, ref i), CultureInfo.InvariantCulture, out double number) && number > 0
            ? number
            : throw new ArgumentException($"{args[i - 1]} needs a number above zero");

    /// <summary>The value that follows an option.</summary>
    /// <exception cref="ArgumentException">There is none.</exception>
    public static string Value(ReadOnlySpan<string> args, ref int i) =>
        ++i < args.Length ? args[i] : throw new ArgumentException($"{args[i - 1]} needs a value");
}
