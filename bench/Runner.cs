using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Threading.Tasks;
using OsProcess = System.Diagnostics.Process;

namespace Millrace.Bench;

/// <summary>One thing to measure: its name, its unit, and how one measurement is taken.</summary>
internal sealed record Workload(string Name, string Unit, Func<Task<Sample>> MeasureAsync);

/// <summary>
/// Takes turns through all workloads, several rounds, ours and the kernel's in each, so that what disturbs the machine disturbs all
/// alike. The stack under test is pinned to CPU 1, the load generator to CPU 0.
/// </summary>
internal static class Runner
{
    private static readonly (string Name, string Unit, string Arguments)[] s_modes =
    [
        ("bulk in, 1 flow", "MB/s", "send"),
        ("bulk in, 8 flows", "MB/s", "send -n 8"),
        ("bulk out, 1 flow", "MB/s", "recv"),
        ("bulk out, 8 flows", "MB/s", "recv -n 8"),
        ("ping-pong, 1 connection", "1/s", "pp"),
        ("ping-pong, 64 connections", "1/s", "pp -n 64"),
        ("connect and close, 1 at a time", "1/s", "crr -S 32"),
        ("connect and close, 16 at a time", "1/s", "crr -n 16 -S 32"),
    ];

    private static readonly (string Name, string Unit, string Workload)[] s_wire =
    [
        ("bulk, MTU 1500 with checksums", "MB/s", "bulk-checksums"),
        ("bulk, super-packets", "MB/s", "bulk-super"),
        ("ping-pong, async inline", "1/s", "ping-pong-async"),
        ("ping-pong, blocking, two threads", "1/s", "ping-pong-blocking"),
    ];

    public static async Task<int> RunAsync(RunOptions options)
    {
        await using var servers = new Servers();
        var workloads = new List<Workload>();
        foreach ((string name, string unit, string workload) in s_wire)
            Add("wire: " + name, unit, () => WireAsync(workload, options));
        if (!Environment.IsPrivilegedProcess || !System.IO.File.Exists("/dev/net/tun") || !System.IO.File.Exists(options.Kload))
            Console.Error.WriteLine("without root, /dev/net/tun and gcc there are no figures against the kernel");
        else
            await AddKernelAsync();
        if (workloads.Count == 0)
            throw new ArgumentException("no workload has such a name");
        Results results = await MeasureAsync(workloads, options.Rounds);
        Console.WriteLine(Report.Table(results));
        if (options.Json is { } json)
            System.IO.File.WriteAllText(json, Report.Json(results, options));
        if (options.Docs is { } page)
            Report.UpdatePage(page, results, options);
        return 0;

        async Task AddKernelAsync()
        {
            foreach ((string title, string kind) in new[] { ("TUN vnet_hdr", "vnet"), ("TUN plain", "plain"), ("TUN plain MTU 65535", "jumbo") })
            {
                Server? server = null;
                foreach ((string name, string unit, string arguments) in s_modes)
                {
                    if (options.Wants($"{title}: {name}"))
                        server ??= await servers.StartStackAsync(kind);
                    Add($"{title}: {name}", unit, () => KloadAsync(options, $"{arguments} -a {TunServer.Address}", server!));
                }
            }
            Server? kernel = null;
            foreach ((string name, string unit, string arguments) in s_modes)
            {
                if (options.Wants("kernel loopback: " + name))
                    kernel ??= servers.StartKernel(options.Kload);
                Add("kernel loopback: " + name, unit, () => KloadAsync(options, $"{arguments} -a 127.0.0.1 -B 127.0.1.", kernel!));
            }
        }

        void Add(string name, string unit, Func<Task<Sample>> measure)
        {
            if (options.Wants(name))
                workloads.Add(new Workload(name, unit, measure));
        }
    }

    // The first round only warms up: the runtime compiles the servers' hot methods meanwhile.
    private static async Task<Results> MeasureAsync(List<Workload> workloads, int rounds)
    {
        var results = new Results(workloads);
        for (int round = 0; round <= rounds; round++)
        {
            foreach (Workload workload in workloads)
            {
                Sample figure = await workload.MeasureAsync();
                if (round > 0)
                    results.Add(workload, figure);
            }
            Console.Error.WriteLine(round == 0 ? "warmed up" : $"round {round} of {rounds}");
        }
        return results;
    }

    private static async Task<Sample> WireAsync(string workload, RunOptions options)
    {
        string output = await CaptureAsync("taskset", "-c", "1", Environment.ProcessPath!, "exec", typeof(Runner).Assembly.Location, "wire", workload,
            options.Seconds.ToString(CultureInfo.InvariantCulture));
        return Sample.Parse(output);
    }

    private static async Task<Sample> KloadAsync(RunOptions options, string arguments, Server server)
    {
        const double warmUp = 0.3;
        string[] enter = server.Space is { } space ? ["ip", "netns", "exec", space] : [];
        TimeSpan before = server.CpuTime;
        string output = await CaptureAsync([.. enter, options.Kload, .. arguments.Split(' '), "-c", "0", "-w", $"{warmUp * 1000}",
            "-t", options.Seconds.ToString(CultureInfo.InvariantCulture)]);
        foreach (string word in output.Split(' '))
        {
            if (word.Split('=') is not [("MB/s" or "rt/s" or "conn/s"), var figure])
                continue;
            double rate = double.Parse(figure, CultureInfo.InvariantCulture);
            return new Sample(rate, rate * (options.Seconds + warmUp) / (server.CpuTime - before).TotalSeconds);
        }
        throw new InvalidOperationException($"kload said: {output}");
    }

    private static async Task<string> CaptureAsync(params string[] command)
    {
        using OsProcess process = Servers.Launch(command);
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? output.Trim() : throw new InvalidOperationException($"{string.Join(' ', command)} ended with {process.ExitCode}");
    }
}

/// <summary>A process that serves the load generator.</summary>
/// <param name="Space">The network namespace from which it is reached; null: this one.</param>
internal sealed record Server(OsProcess Process, string? Space)
{
    public TimeSpan CpuTime
    {
        get
        {
            Process.Refresh();
            return Process.TotalProcessorTime;
        }
    }
}

/// <summary>The servers of one run, each in its own process, and the namespaces of their devices.</summary>
internal sealed class Servers : IAsyncDisposable
{
    private readonly List<Server> _servers = [];

    public async Task<Server> StartStackAsync(string kind)
    {
        string space = $"mr-bench-{Environment.ProcessId}-{kind}";
        await Launch("ip", "netns", "add", space).WaitForExitAsync();
        OsProcess process = Launch("taskset", "-c", "1", Environment.ProcessPath!, "exec", typeof(Runner).Assembly.Location, "serve", space, kind);
        var server = new Server(process, space);
        _servers.Add(server);
        if (await process.StandardOutput.ReadLineAsync() != "ready")
            throw new InvalidOperationException($"the server for {kind} did not start");
        return server;
    }

    public Server StartKernel(string kload)
    {
        var server = new Server(Launch(kload, "server", "-a", "127.0.0.1", "-c", "1"), null);
        _servers.Add(server);
        return server;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Server server in _servers)
        {
            server.Process.Kill();
            await server.Process.WaitForExitAsync();
            server.Process.Dispose();
            if (server.Space is { } space)
                await Launch("ip", "netns", "del", space).WaitForExitAsync();
        }
    }

    public static OsProcess Launch(params string[] command)
    {
        var info = new ProcessStartInfo(command[0]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (string argument in command.AsSpan(1))
            info.ArgumentList.Add(argument);
        return OsProcess.Start(info)!;
    }
}
