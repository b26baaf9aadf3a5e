using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tests;

/// <summary>A CPU of a host whose clock the test turns, for types that need a stack's memory and time but no stack.</summary>
internal sealed class TestCpu : IDisposable
{
    public TestCpu()
    {
        Set = new CpuSet(Host, 1, Pool, new Tracer("test"));
        Host.Attach(Set);
        Cpu = Set.Acquire();
    }

    public ExternalClockHost Host { get; } = new();

    public BufferPool Pool { get; } = new(1);

    public CpuSet Set { get; }

    public Cpu Cpu { get; }

    /// <summary>A buffer whose payload, in a fragment, is <paramref name="bytes"/>.</summary>
    public SkBuff Payload(ReadOnlySpan<byte> bytes)
    {
        SkBuff skb = Cpu.AllocSkb();
        Cpu.AppendCopy(skb, bytes);
        return skb;
    }

    /// <summary>Turns the clock; what is due happens, on the CPU, which the test gives up meanwhile.</summary>
    public void AdvanceTo(Micros time)
    {
        Set.Release(Cpu);
        Host.AdvanceTo(time);
        Set.Acquire();
    }

    public void Dispose() => Set.Release(Cpu);
}
