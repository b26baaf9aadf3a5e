using System;
using System.Diagnostics;
using System.Globalization;

namespace Millrace.Bench;

/// <summary>One measurement: units a second by the clock, and units a second of processor time spent by the stack's process.</summary>
/// <remarks>The second stays true on a machine that others use too.</remarks>
internal readonly record struct Sample(double PerSecond, double PerCpuSecond)
{
    /// <summary>Counts what <paramref name="body"/> gets done in this process.</summary>
    public static Sample Of(Func<double> count, Action body)
    {
        double before = count();
        TimeSpan cpu = Environment.CpuUsage.TotalTime;
        long start = Stopwatch.GetTimestamp();
        body();
        double done = count() - before;
        return new Sample(done / Stopwatch.GetElapsedTime(start).TotalSeconds, done / (Environment.CpuUsage.TotalTime - cpu).TotalSeconds);
    }

    public static Sample Parse(string text)
    {
        string[] words = text.Split(' ');
        return new Sample(double.Parse(words[0], CultureInfo.InvariantCulture), double.Parse(words[1], CultureInfo.InvariantCulture));
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{PerSecond:F1} {PerCpuSecond:F1}");
}
