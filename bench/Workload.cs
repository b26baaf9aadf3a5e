using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;

namespace Millrace.Bench;

/// <summary>Something that is measured in turns with the others of its workload.</summary>
internal interface IContender : IAsyncDisposable
{
    /// <summary>Runs until it is as fast as it will be.</summary>
    Task WarmUpAsync();

    Task<Sample> MeasureAsync(double seconds);
}

/// <summary>Who takes part: ours, the kernel, another stack.</summary>
internal sealed record Entry(string Name, Func<Task<IContender>> Open)
{
    /// <summary>The name of what all others are measured against.</summary>
    public const string Ours = "Millrace";
}

/// <summary>What issue or page demands: so many times what another does in the same run.</summary>
/// <param name="Against">An <see cref="Entry"/>'s name, or <see cref="Limit"/>.</param>
/// <param name="Seen">What the other did when the bar was set; stands in where it does not take part. For a limit, the limit.</param>
internal sealed record Bar(string Against, double Factor, double Seen)
{
    public const string Limit = "limit";

    public static Bar AtMost(double limit) => new(Limit, 1, limit);
}

/// <summary>One thing to measure, in one unit, and who takes part in it.</summary>
/// <param name="Name">What it is chosen by; its group is the part before the first blank.</param>
internal sealed record Workload(string Name, string Unit, IReadOnlyList<Entry> Entries, IReadOnlyList<Bar> Bars)
{
    /// <summary>Of memory, and of the cost of a look-up, less is better; of rates more.</summary>
    public bool LessIsBetter { get; init; }

    /// <summary>Whether it keeps one CPU busy at both ends, so that a second of the processor is one by the clock, and truer on a busy machine.</summary>
    public bool PerCore { get; init; }

    /// <summary>Whether one measurement tells all: it is not repeated in each round.</summary>
    public bool Once { get; init; }

    public string Group => Name[..Name.IndexOf(' ')];

    /// <summary>What a figure of one unit is called in a column of costs.</summary>
    public string PerUnit => Unit == "MB/s" ? "MB" : Unit is "1/s" ? "op" : Unit;

    /// <summary>A workload is named by words of its name, in their order: "tun bulk in", "in-memory", "1 flow, plain".</summary>
    public bool IsNamed(string words) => Name.Contains(words, StringComparison.OrdinalIgnoreCase);
}

/// <summary>All figures of a run.</summary>
internal sealed class Results(IReadOnlyList<Workload> workloads)
{
    private readonly Dictionary<(string Workload, string Entry), List<Sample>> _samples = [];

    public IEnumerable<Workload> Workloads => workloads.Where(w => w.Entries.Any(e => Of(w, e.Name).Count > 0));

    public void Add(Workload workload, string entry, Sample sample)
    {
        if (!_samples.TryGetValue((workload.Name, entry), out List<Sample>? samples))
            _samples.Add((workload.Name, entry), samples = []);
        samples.Add(sample);
    }

    public IReadOnlyList<Sample> Of(Workload workload, string entry) => _samples.GetValueOrDefault((workload.Name, entry)) ?? [];

    public Summary Rate(Workload workload, string entry) => Summary.Of(Of(workload, entry).Select(s => s.Rate));

    public Summary PerCpuSecond(Workload workload, string entry) => Summary.Of(Of(workload, entry).Select(s => s.RatePerCpuSecond));

    /// <summary>The median of what each unit cost; null if nobody metered it.</summary>
    public double? Each(Workload workload, string entry, string meter)
    {
        double[] costs = [.. Of(workload, entry).Select(s => s.Each(meter)).OfType<double>()];
        return costs.Length == 0 ? null : Summary.Of(costs).Median;
    }

    /// <summary>What bars and ratios go by.</summary>
    public double Judged(Workload workload, string entry) => (workload.PerCore ? PerCpuSecond(workload, entry) : Rate(workload, entry)).Median;

    /// <summary>How many times better ours is, by the medians: above one is better, whatever the unit.</summary>
    public double Ratio(Workload workload, string entry)
    {
        double ours = Judged(workload, Entry.Ours), other = Judged(workload, entry);
        return workload.LessIsBetter ? other / ours : ours / other;
    }

    /// <summary>What ours must reach, and how far it has come: one or more is reached.</summary>
    public Verdict Judge(Workload workload, Bar bar)
    {
        bool measured = bar.Against != Bar.Limit && Of(workload, bar.Against).Count > 0;
        double other = measured ? Judged(workload, bar.Against) : bar.Seen;
        double ours = Judged(workload, Entry.Ours);
        double target = workload.LessIsBetter ? other / bar.Factor : other * bar.Factor;
        double reached = workload.LessIsBetter ? target / ours : ours / target;
        return new Verdict(bar, target, reached, measured);
    }
}

/// <param name="Reached">Ours, as a part of the target.</param>
/// <param name="Measured">Whether the other took part in this run; otherwise the target comes from what was seen when the bar was set.</param>
internal readonly record struct Verdict(Bar Bar, double Target, double Reached, bool Measured);
