using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Text.Json;

namespace Millrace.Bench;

/// <summary>One measurement: how fast it went by the clock, for how long, and what it cost in that time.</summary>
/// <param name="Rate">Units a second: megabytes, round trips, connections.</param>
internal sealed record Sample(double Rate, double Seconds, Meters Cost)
{
    public double Amount => Rate * Seconds;

    /// <summary>Units a second of processor time; what remains true on a machine that others use too.</summary>
    public double RatePerCpuSecond => Amount / Cost[Meters.Cpu] ?? double.NaN;

    /// <summary>What each unit cost; null if it was not metered.</summary>
    public double? Each(string meter) => Cost[meter] / Amount;

    /// <summary>Counts what <paramref name="body"/> gets done, and reads the meters before and after.</summary>
    public static Sample Of(Func<double> count, Func<Meters> meters, Action body)
    {
        Meters before = meters();
        double counted = count();
        long start = Stopwatch.GetTimestamp();
        body();
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        double amount = count() - counted;
        return new Sample(amount / seconds, seconds, meters().Since(before));
    }

    public string ToJson() => JsonSerializer.Serialize(new { rate = Rate, seconds = Seconds, cost = JsonSerializer.Deserialize<JsonElement>(Cost.ToJson()) });

    public static Sample Parse(string json)
    {
        using var document = JsonDocument.Parse(json);
        JsonElement root = document.RootElement;
        return new Sample(root.GetProperty("rate").GetDouble(), root.GetProperty("seconds").GetDouble(), Meters.Parse(root.GetProperty("cost").GetRawText()));
    }

    /// <summary>The number of the word "name=number" in a line that a load generator or a peer prints.</summary>
    /// <exception cref="FormatException">There is no such word.</exception>
    public static double Word(string line, string name)
    {
        foreach (string word in line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            if (word.StartsWith(name, StringComparison.Ordinal) && word.Length > name.Length && word[name.Length] == '=')
                return double.Parse(word[(name.Length + 1)..], CultureInfo.InvariantCulture);
        }
        throw new FormatException($"no '{name}=' in: {line}");
    }
}

/// <summary>The median of some figures, and the least and the most of them.</summary>
internal readonly record struct Summary(double Median, double Least, double Most)
{
    public static Summary Of(IEnumerable<double> figures)
    {
        double[] sorted = [.. figures.Order()];
        return sorted.Length == 0
            ? new Summary(double.NaN, double.NaN, double.NaN)
            : new Summary((sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2, sorted[0], sorted[^1]);
    }

    public override string ToString() => $"{Figure(Median)} ({Figure(Least)} – {Figure(Most)})";

    /// <summary>A figure for people: three digits or more, no exponent.</summary>
    public static string Figure(double value) => Math.Abs(value) switch
    {
        >= 1e6 => (value / 1e6).ToString("F2", CultureInfo.InvariantCulture) + " M",
        >= 100 => value.ToString("N0", CultureInfo.InvariantCulture),
        >= 10 => value.ToString("F1", CultureInfo.InvariantCulture),
        0 => "0",
        >= 0.01 => value.ToString("F2", CultureInfo.InvariantCulture),
        _ => value.ToString("G2", CultureInfo.InvariantCulture),
    };
}
