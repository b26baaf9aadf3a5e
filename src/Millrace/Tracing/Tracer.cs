using System.Collections.Generic;
using System.Threading;

namespace Millrace.Tracing;

/// <summary>
/// One stack's trace: bounded rings, one for each listener, into which the steps are copied. User code never runs here, so a
/// step may be traced under any lock; a listener that does not read loses records, which are counted.
/// </summary>
internal sealed class Tracer
{
    private readonly Lock _lock = new();
    private TraceRing[] _rings = [];
    private long _sequence;

    /// <summary>Whether anybody listens. Each CPU holds a copy, so that a step costs one load and one branch when nobody does.</summary>
    public bool IsOn => _rings.Length > 0;

    public TraceRing Attach(int capacity)
    {
        var ring = new TraceRing(capacity);
        lock (_lock)
            _rings = [.. _rings, ring];
        return ring;
    }

    public void Detach(TraceRing ring)
    {
        lock (_lock)
        {
            var left = new List<TraceRing>(_rings);
            left.Remove(ring);
            _rings = [.. left];
        }
    }

    public void Write(ref TraceRecord record)
    {
        lock (_lock)
        {
            record.Sequence = ++_sequence;
            foreach (TraceRing ring in _rings)
                ring.Append(record);
        }
    }

    /// <summary>Moves what <paramref name="ring"/> holds to <paramref name="target"/>. Returns how many records were lost since last time.</summary>
    public long Drain(TraceRing ring, List<TraceRecord> target)
    {
        lock (_lock)
            return ring.Drain(target);
    }
}

/// <summary>A bounded queue of records, oldest first. Owned by the tracer's lock.</summary>
internal sealed class TraceRing(int capacity)
{
    private readonly Queue<TraceRecord> _records = new();
    private long _lost;

    public void Append(in TraceRecord record)
    {
        if (_records.Count == capacity)
            _lost++;
        else
            _records.Enqueue(record);
    }

    public long Drain(List<TraceRecord> target)
    {
        while (_records.TryDequeue(out TraceRecord r))
            target.Add(r);
        long lost = _lost;
        _lost = 0;
        return lost;
    }
}
