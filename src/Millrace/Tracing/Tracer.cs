using System;
using System.Collections.Generic;
using System.Threading;

namespace Millrace.Tracing;

/// <summary>
/// One stack's trace: bounded rings, one for each listener, into which the steps are copied. User code never runs here, so a
/// step may be traced under any lock; a listener that does not read loses records, which are counted.
/// </summary>
internal sealed class Tracer(string stackName)
{
    private readonly Lock _lock = new();
    private TraceRing[] _rings = [];

    /// <summary>The stack's name.</summary>
    public string StackName => stackName;

    /// <summary>Names an interface by its index, for whoever reads.</summary>
    public Func<int, string> DeviceName { get; set; } = static index => $"if{index}";

    /// <summary>Whether anybody listens. Each CPU holds a copy, so that a step costs one load and one branch when nobody does.</summary>
    public bool IsOn => _rings.Length > 0;

    public void Attach(TraceRing ring)
    {
        lock (_lock)
            _rings = [.. _rings, ring];
    }

    public void Detach(TraceRing ring)
    {
        lock (_lock)
            _rings = Array.FindAll(_rings, r => r != ring);
    }

    public void Write(ref TraceRecord record)
    {
        record.Stack = this;
        foreach (TraceRing ring in Volatile.Read(ref _rings))
            ring.Append(ref record);
    }
}

/// <summary>A bounded queue of records, oldest first, of the stacks that it is attached to.</summary>
internal sealed class TraceRing(int capacity)
{
    private readonly Lock _lock = new();
    private readonly Queue<TraceRecord> _records = new();
    private long _sequence;
    private long _lost;

    /// <summary>Records that found the queue full.</summary>
    public long Lost => Volatile.Read(ref _lost);

    /// <summary>Records that wait to be read.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
                return _records.Count;
        }
    }

    public void Append(ref TraceRecord record)
    {
        lock (_lock)
        {
            record.Sequence = ++_sequence;
            if (_records.Count == capacity)
                Volatile.Write(ref _lost, _lost + 1);
            else
                _records.Enqueue(record);
        }
    }

    /// <summary>Moves what is there to <paramref name="target"/>.</summary>
    public void Drain(List<TraceRecord> target)
    {
        lock (_lock)
        {
            target.AddRange(_records);
            _records.Clear();
        }
    }
}
