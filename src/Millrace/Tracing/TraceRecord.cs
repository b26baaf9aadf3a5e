namespace Millrace.Tracing;

/// <summary>Where a step ran.</summary>
internal enum TraceContext : byte
{
    Task,
    Softirq,
    Hardirq,
}

/// <summary>One step, as it is written into the ring: numbers only, so that writing it allocates nothing.</summary>
internal struct TraceRecord
{
    /// <summary>Order over all CPUs of the stack.</summary>
    public long Sequence;

    /// <summary>Microseconds on the host's clock.</summary>
    public long Time;

    public Tp Point;
    public TraceContext Context;
    public byte Cpu;

    /// <summary>The task that ran, or was interrupted; 0 is the idle task. A pid of the host.</summary>
    public int Task;

    /// <summary>What the step was about; all zero if about no socket.</summary>
    public TraceEndpoints Endpoints;

    /// <summary>The point's own numbers; their meaning is in TraceText.</summary>
    public long A, B, C, D;
}

/// <summary>A connection's addresses, copied when the step happens, because the socket may be gone when it is read.</summary>
internal struct TraceEndpoints
{
    public ulong LocalHigh, LocalLow, RemoteHigh, RemoteLow;
    public ushort LocalPort, RemotePort;
    public bool Known;
}

/// <summary>Something that a step can be about. Root of the socks' hierarchy.</summary>
internal abstract class TraceSubject
{
    /// <summary>Fills in what is known; nothing for what has no addresses.</summary>
    internal virtual void Describe(ref TraceEndpoints endpoints)
    {
    }
}
