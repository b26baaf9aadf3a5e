using System;

namespace Millrace;

public sealed partial class NetStack
{
    /// <summary>Events that a trace session holds unless it is told otherwise.</summary>
    public const int DefaultTraceCapacity = 1 << 16;

    /// <summary>Listens to every step of this stack.</summary>
    /// <param name="capacity">Events that may wait to be read.</param>
    public TraceSession Trace(int capacity = DefaultTraceCapacity) => new(capacity, _cpus);

    /// <summary>Listens to every step of several stacks, in one order.</summary>
    /// <param name="capacity">Events that may wait to be read.</param>
    public static TraceSession Trace(int capacity, params NetStack[] stacks)
    {
        ArgumentNullException.ThrowIfNull(stacks);
        return new TraceSession(capacity, Array.ConvertAll(stacks, static s => s._cpus));
    }

    /// <summary>The stack's counters as they are now.</summary>
    public NetCounters Counters => NetCounters.Snapshot(_cpus);
}
