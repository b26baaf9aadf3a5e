namespace Millrace.Tracing;

/// <summary>
/// One step, as it is written into the ring: numbers and references only, so that writing it is short. What it says in words is made
/// when it is read.
/// </summary>
internal struct TraceRecord
{
    /// <summary>Order over all CPUs and stacks that one session listens to.</summary>
    public long Sequence;

    /// <summary>Microseconds on the host's clock.</summary>
    public long Time;

    public Tp Point;
    public TraceContext Context;
    public byte Cpu;

    /// <summary>A woken task waits for this CPU. Linux: TIF_NEED_RESCHED.</summary>
    public bool NeedResched;

    /// <summary>The stack that it happened in.</summary>
    public Tracer Stack;

    /// <summary>The task that ran, or was interrupted; null is the idle task.</summary>
    public TraceTask? Task;

    /// <summary>The task that it was done to: who is woken, who is switched to; null is the idle task.</summary>
    public TraceTask? Other;

    /// <summary>What the step was about; all zero if about no socket.</summary>
    public TraceEndpoints Endpoints;

    /// <summary>The packet's first bytes, from its network header; null if the step is about no packet.</summary>
    public byte[]? Packet;

    /// <summary>The point's own numbers; <see cref="TracePoints"/> has their names.</summary>
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

/// <summary>Somebody who takes steps. Base of the scheduler's tasks.</summary>
internal abstract class TraceTask(int pid, string name)
{
    /// <summary>Identifies the task within its host. Never 0, which is the idle task's.</summary>
    public int Pid { get; } = pid;

    /// <summary>Linux: comm.</summary>
    public string Name { get; } = name;
}
