using System;
using System.Diagnostics;
using System.Globalization;

namespace Millrace.Bench;

/// <summary>Work on an in-memory wire, both ends in this process, that goes on for as long as it is asked to.</summary>
internal abstract class InMemoryWork(WirePair pair) : IDisposable
{
    private readonly SelfMeter _meter = new(pair.Client, pair.Server);

    /// <summary>Megabytes or round trips so far.</summary>
    public abstract double Done { get; }

    /// <summary>Works on the calling thread, and any other that it needs, until <paramref name="end"/> of <see cref="Stopwatch"/>.</summary>
    public abstract void RunUntil(long end);

    public Sample Measure(double seconds) => Sample.Of(() => Done, _meter.Read, () => RunFor(seconds));

    public void RunFor(double seconds) => RunUntil(Stopwatch.GetTimestamp() + (long)(seconds * Stopwatch.Frequency));

    public virtual void Dispose() => pair.Dispose();
}

/// <summary>`mem`: the process in which one in-memory workload is measured.</summary>
internal static class InMemory
{
    /// <summary>
    /// Warms up, says "ready", and then takes a sample as long as each number of seconds that it reads, until there is none.
    /// </summary>
    public static void Serve(string workload)
    {
        using InMemoryWork work = Create(workload);
        Settling.Run(work.RunFor, () => work.Done);
        Console.WriteLine("ready");
        while (Console.ReadLine() is { } line)
        {
            double seconds = double.Parse(line, CultureInfo.InvariantCulture);
            // The caches belong to others by now.
            work.RunFor(seconds / 5);
            Console.WriteLine(work.Measure(seconds).ToJson());
        }
    }

    public static InMemoryWork Create(string workload) => workload switch
    {
        "bulk-1500" => new WireBulk(new WireOptions { Offload = false }, zeroCopy: false),
        "bulk-64k" => new WireBulk(new WireOptions { Offload = false, Mtu = 65535 }, zeroCopy: false),
        "bulk-super" => new WireBulk(new WireOptions { Offload = true }, zeroCopy: false),
        "bulk-1500-zero-copy" => new WireBulk(new WireOptions { Offload = false }, zeroCopy: true),
        "bulk-64k-zero-copy" => new WireBulk(new WireOptions { Offload = false, Mtu = 65535 }, zeroCopy: true),
        "bulk-super-zero-copy" => new WireBulk(new WireOptions { Offload = true }, zeroCopy: true),
        "ping-pong-async" => new WirePingPong(),
        "ping-pong-blocking" => new WireBlockingPingPong(),
        _ => throw new ArgumentException($"unknown workload {workload}"),
    };
}
