using System;
using System.Collections.Generic;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace;

/// <summary>
/// Listens to every step of one stack, or of several in one order, until it is disposed of. The events wait in a ring of bounded size
/// until they are read; what finds it full is lost, and counted.
/// </summary>
public sealed class TraceSession : IDisposable
{
    private readonly TraceRing _ring;
    private readonly CpuSet[] _stacks;

    internal TraceSession(int capacity, params CpuSet[] stacks)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        _ring = new TraceRing(capacity);
        _stacks = stacks;
        foreach (CpuSet stack in stacks)
        {
            stack.Tracer.Attach(_ring);
            stack.UpdateTracing();
        }
    }

    /// <summary>Events that found the ring full since the session began.</summary>
    public long Lost => _ring.Lost;

    /// <summary>Events that wait to be read.</summary>
    public int Count => _ring.Count;

    /// <summary>Takes the events that have happened since the last call, in order.</summary>
    public IReadOnlyList<TraceEvent> Read()
    {
        var records = new List<TraceRecord>();
        _ring.Drain(records);
        return records.ConvertAll(static r => new TraceEvent(r));
    }

    /// <summary>Stops listening. What has been recorded can still be read.</summary>
    public void Dispose()
    {
        foreach (CpuSet stack in _stacks)
        {
            stack.Tracer.Detach(_ring);
            stack.UpdateTracing();
        }
    }
}
