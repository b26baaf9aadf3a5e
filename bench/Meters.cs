using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;

namespace Millrace.Bench;

/// <summary>
/// What some work has cost so far, by name: readings that only grow, so that the difference of two is the cost of what lies between.
/// </summary>
internal sealed class Meters
{
    /// <summary>Processor time, in seconds.</summary>
    public const string Cpu = "cpu";

    /// <summary>Times that a thread went to sleep, and times that another was put in its place. /proc/PID/task/*/status.</summary>
    public const string Sleeps = "sleeps", Preemptions = "preemptions";

    /// <summary>System calls of the read and the write kind. /proc/PID/io.</summary>
    public const string Reads = "reads", Writes = "writes";

    /// <summary>Sleepers that the stack woke: threads, and operations that somebody awaits.</summary>
    public const string WakeUps = "wake-ups";

    /// <summary>Times that the stack had another thread do something: a completion on the pool, softirqs left over, an earlier timer.</summary>
    public const string HandOffs = "hand-offs";

    /// <summary>
    /// Calls of the device: packets read, looks at an empty queue included; packets written; waits, each a system call that sleeps or, with
    /// busy polling, several that do not.
    /// </summary>
    public const string DeviceReads = "device reads", DeviceWrites = "device writes", DeviceWaits = "device waits";

    /// <summary>TCP segments, in and out, as they would stand on a wire: a super-packet is as many as it stands for.</summary>
    public const string Segments = "segments";

    public const string Allocated = "allocated bytes", GcPause = "gc pause", Collections = "collections";

    private readonly SortedDictionary<string, double> _values;

    public Meters()
        : this([])
    {
    }

    private Meters(IEnumerable<KeyValuePair<string, double>> values) =>
        _values = new SortedDictionary<string, double>(values.ToDictionary(), StringComparer.Ordinal);

    public IEnumerable<string> Names => _values.Keys;

    public double? this[string name] => _values.TryGetValue(name, out double value) ? value : null;

    public Meters With(string name, double value)
    {
        var more = new Meters(_values);
        more._values[name] = value;
        return more;
    }

    public Meters Since(Meters earlier) => new(_values.Select(v => KeyValuePair.Create(v.Key, v.Value - (earlier[v.Key] ?? 0))));

    /// <summary>What two have cost together; what only one of them tells stands as it is.</summary>
    public Meters And(Meters other) => new(_values.Keys.Union(other._values.Keys).Select(n => KeyValuePair.Create(n, (this[n] ?? 0) + (other[n] ?? 0))));

    /// <summary>What a stack counts of itself.</summary>
    public static Meters OfStack(NetCounters counters) => new(
    [
        new(WakeUps, counters["MillraceWakeups"] + counters["MillraceAsyncWakeups"] + counters["MillraceLockWakeups"]),
        new(HandOffs, counters["MillraceKicks"]),
        new(DeviceReads, counters["MillraceDeviceReads"]),
        new(DeviceWrites, counters["MillraceDeviceWrites"]),
        new(DeviceWaits, counters["MillraceDeviceWaits"]),
        new(Segments, counters["TcpInSegs"] + counters["TcpOutSegs"]),
    ]);

    /// <summary>One line of text.</summary>
    public string ToJson() => JsonSerializer.Serialize(_values);

    public static Meters Parse(string json) => new(JsonSerializer.Deserialize<Dictionary<string, double>>(json)!);
}

/// <summary>The readings of this process: what it spends, what its collector does, and what its stacks count.</summary>
internal sealed class SelfMeter(params NetStack[] stacks)
{
    // What the reading itself has allocated is not the work's.
    private long _own;

    public Meters Read()
    {
        long allocated = GC.GetTotalAllocatedBytes(precise: true);
        Meters all = ProcFiles.Read(Environment.ProcessId)
            .With(Meters.Cpu, Environment.CpuUsage.TotalTime.TotalSeconds)
            .With(Meters.Allocated, allocated - _own)
            .With(Meters.GcPause, GC.GetTotalPauseDuration().TotalSeconds)
            .With(Meters.Collections, GC.CollectionCount(0));
        foreach (NetStack stack in stacks)
            all = all.And(Meters.OfStack(stack.Counters));
        _own += GC.GetTotalAllocatedBytes(precise: true) - allocated;
        return all;
    }
}
