using System;
using System.Runtime.CompilerServices;
using BenchmarkDotNet.Attributes;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Bench.Micro;

/// <summary>
/// What a tracepoint costs when nobody listens: the same work without one, with one, and with four, which is one predicted branch each. And
/// what it costs when somebody does.
/// </summary>
public class TracepointBenchmarks : IDisposable
{
    private const int Batch = 1024;

    private readonly NetStack _stack = new();
    private readonly uint[] _words = new uint[Batch];
    private Cpu _cpu = null!;
    private TraceSession? _session;

    [GlobalSetup(Targets = [nameof(None), nameof(OneOff), nameof(FourOff)])]
    public void SetUp()
    {
        _cpu = _stack.Cpus.Acquire();
        for (int i = 0; i < Batch; i++)
            _words[i] = (uint)i;
    }

    [GlobalSetup(Targets = [nameof(OneOn)])]
    public void SetUpListener()
    {
        SetUp();
        _session = _stack.Trace();
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _session?.Dispose();
        _stack.Cpus.Release(_cpu);
        _stack.Dispose();
        GC.SuppressFinalize(this);
    }

    [Benchmark(Baseline = true, OperationsPerInvoke = Batch)]
    public uint None()
    {
        uint hash = 0;
        foreach (uint word in _words)
            hash = Work(hash, word);
        return hash;
    }

    [Benchmark(OperationsPerInvoke = Batch)]
    public uint OneOff()
    {
        uint hash = 0;
        foreach (uint word in _words)
        {
            _cpu.Trace(Tp.napi_poll, hash, word);
            hash = Work(hash, word);
        }
        return hash;
    }

    [Benchmark(OperationsPerInvoke = Batch)]
    public uint FourOff()
    {
        uint hash = 0;
        foreach (uint word in _words)
        {
            _cpu.Trace(Tp.napi_poll, hash, word);
            _cpu.Trace(Tp.softirq_entry, hash);
            hash = Work(hash, word);
            _cpu.Trace(Tp.softirq_exit, hash);
            _cpu.Trace(Tp.napi_complete_done, hash, word);
        }
        return hash;
    }

    [Benchmark(OperationsPerInvoke = Batch)]
    public uint OneOn() => OneOff();

    // Some ten cycles that depend on each other, as a step of the path does.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static uint Work(uint hash, uint word) => uint.RotateLeft((hash ^ word) * 0x9e37_79b1, 13) * 0x85eb_ca6b;
}
