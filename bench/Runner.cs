using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Threading.Tasks;

namespace Millrace.Bench;

/// <summary>
/// Takes turns through all workloads and all who take part in them, several rounds, so that what disturbs the machine disturbs all alike.
/// The stack under test has CPU 1, the load generator CPU 0, unless a workload says otherwise.
/// </summary>
internal sealed class Runner(RunOptions options) : IAsyncDisposable
{
    private readonly Servers _servers = new();
    private readonly List<(Workload Workload, string Entry, IContender Contender)> _contenders = [];
    private bool _failed;
    private volatile bool _stopped;

    public static async Task<int> RunAsync(RunOptions options)
    {
        await using var runner = new Runner(options);
        IReadOnlyList<Workload> workloads = runner.Wanted();
        if (options.List)
        {
            Console.WriteLine(string.Join('\n', workloads.Select(w => w.Name)));
            return 0;
        }
        // The namespaces and processes go even if the user loses patience.
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, runner.OnSignal);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, runner.OnSignal);
        string loadBefore = Machine.Load;
        await runner.OpenAsync(workloads);
        var results = new Results(workloads);
        for (int round = 1; round <= options.Rounds && !runner._stopped; round++)
        {
            await runner.MeasureAsync(results, round);
            Note($"round {round} of {options.Rounds}");
        }
        if (runner._stopped)
            return 130;
        var header = new RunHeader(DateTime.UtcNow, Machine.Description, $"{loadBefore}; {Machine.Load}", options);
        Console.WriteLine(Report.Text(results));
        if (options.Json is { } json)
            File.WriteAllText(json, Report.Json(results, header));
        if (options.Docs is { } folder)
        {
            Report.UpdatePage(Path.Combine(folder, "performance.md"), results, header);
            Charts.Write(folder, results);
        }
        return runner._failed ? 1 : 0;
    }

    public async ValueTask DisposeAsync()
    {
        foreach ((_, _, IContender contender) in _contenders)
            await contender.DisposeAsync();
        await _servers.DisposeAsync();
    }

    private void OnSignal(PosixSignalContext context)
    {
        context.Cancel = true;
        _stopped = true;
    }

    private List<Workload> Wanted()
    {
        List<Workload> wanted = [.. new Catalogue(options, _servers).All().Where(options.Wants)];
        if (!CanReachKernel && wanted.RemoveAll(w => w.Group == "tun") > 0)
            Note("without root, /dev/net/tun, and a compiler that built the load generator, there are no figures against the kernel");
        return wanted.Count > 0 ? wanted : throw new ArgumentException("no workload has such a name; --list shows them");
    }

    private bool CanReachKernel =>
        Environment.IsPrivilegedProcess && File.Exists("/dev/net/tun") && options.Programs.TryGetValue("kload", out string? kload) && File.Exists(kload);

    private async Task OpenAsync(IReadOnlyList<Workload> workloads)
    {
        foreach (Workload workload in workloads)
        {
            foreach (Entry entry in workload.Entries)
                await TryAsync(workload, entry.Name, async () =>
                {
                    IContender contender = await entry.Open();
                    _contenders.Add((workload, entry.Name, contender));
                    await contender.WarmUpAsync();
                });
            Note($"ready: {workload.Name}");
        }
    }

    private async Task MeasureAsync(Results results, int round)
    {
        foreach ((Workload workload, string entry, IContender contender) in _contenders.ToArray())
        {
            if (!workload.Once || round == 1)
                await TryAsync(workload, entry, async () => results.Add(workload, entry, await contender.MeasureAsync(options.Seconds)));
        }
    }

    // One that fails is told of and takes no further part; the others go on.
    private async Task TryAsync(Workload workload, string entry, Func<Task> step)
    {
        if (_stopped)
            return;
        try
        {
            await step();
        }
        catch (Exception e) when (e is InvalidOperationException or IOException or FormatException)
        {
            _failed = true;
            Note($"{workload.Name}: {entry} failed: {e.Message}");
            _contenders.RemoveAll(c => c.Workload == workload && c.Entry == entry);
        }
    }

    private static void Note(string text) => Console.Error.WriteLine(text);
}
