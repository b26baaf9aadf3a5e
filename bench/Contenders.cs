using System;
using System.Globalization;
using System.Threading.Tasks;

namespace Millrace.Bench;

/// <summary>A server that the load generator drives.</summary>
/// <param name="load">The load generator's words for the workload.</param>
/// <param name="unit">The word of the figure that it prints.</param>
/// <param name="settles">Whether the server becomes faster while it runs, as what a just-in-time compiler makes does.</param>
internal sealed class LoadContender(RunOptions options, Server server, string[] load, string unit, bool settles) : IContender
{
    private const double WarmUp = 0.3;

    public async Task WarmUpAsync()
    {
        if (!settles)
            return;
        const double slice = 1;
        var settling = options.Quick ? new Settling(slice, 3, 6) : new Settling(slice);
        do
            settling.Add((await MeasureAsync(slice)).RatePerCpuSecond);
        while (!settling.IsSettled);
    }

    public async Task<Sample> MeasureAsync(double seconds)
    {
        server.Thaw();
        try
        {
            return await Announced.RunAsync([.. server.Space.Inside(options.Programs["kload"]), .. load, .. server.Target,
                "-w", Text(WarmUp * 1000), "-t", Text(seconds)], unit, _ => server.ReadMetersAsync());
        }
        finally
        {
            server.Freeze();
        }
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private static string Text(double value) => value.ToString(CultureInfo.InvariantCulture);
}

/// <summary>Ours in memory, in a process of its own that is warm and waits.</summary>
/// <param name="cpus">The CPUs that it may use.</param>
internal sealed class InMemoryContender(string workload, string cpus) : IContender
{
    private readonly Child _child = Child.StartSelf(cpus, "mem", workload);

    public async Task WarmUpAsync()
    {
        await _child.ExpectAsync("ready");
        _child.Freeze();
    }

    public async Task<Sample> MeasureAsync(double seconds)
    {
        _child.Thaw();
        string line = await _child.AskAsync(seconds.ToString(CultureInfo.InvariantCulture));
        _child.Freeze();
        return Sample.Parse(line);
    }

    public ValueTask DisposeAsync() => _child.DisposeAsync();
}

/// <summary>Another stack in memory: a program that is started for each measurement.</summary>
/// <param name="unit">The word of the figure that it prints.</param>
internal sealed class ProgramContender(string[] command, string unit) : IContender
{
    public Task WarmUpAsync() => Task.CompletedTask;

    public Task<Sample> MeasureAsync(double seconds) =>
        Announced.RunAsync([.. command, seconds.ToString(CultureInfo.InvariantCulture)], unit, child => Task.FromResult(child.Meters));

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

/// <summary>Something that is found out once: a figure, and no more.</summary>
internal sealed class OnceContender(Func<Task<double>> find) : IContender
{
    public Task WarmUpAsync() => Task.CompletedTask;

    public async Task<Sample> MeasureAsync(double seconds) => new(await find(), 1, new Meters());

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

/// <summary>
/// A program that says "begin" when its warm-up is over, and a line with the word "unit=number" when the measured time is: between the two,
/// the meters are read.
/// </summary>
internal static class Announced
{
    public static async Task<Sample> RunAsync(string[] command, string unit, Func<Child, Task<Meters>> meters)
    {
        await using var child = Child.Start(command);
        await child.ExpectAsync("begin");
        Meters before = await meters(child);
        string line = await child.ReadLineAsync();
        Meters after = await meters(child);
        return new Sample(Sample.Word(line, unit), Sample.Word(line, "seconds"), after.Since(before));
    }
}
