using System;
using BenchmarkDotNet.Attributes;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Bench.Micro;

/// <summary>The established table.</summary>
public class LookUpBenchmarks : IDisposable
{
    private const int Batch = 1024;

    private readonly NetStack _stack = new();
    private readonly EstablishedHash _table = new(new SipKey(1, 2));
    private readonly FlowKey[] _present = new FlowKey[Batch], _absent = new FlowKey[Batch];
    private Cpu _cpu = null!;

    [Params(1_000, 100_000)]
    public int Connections { get; set; }

    [GlobalSetup]
    public void SetUp()
    {
        _cpu = _stack.Cpus.Acquire();
        for (int i = 0; i < Connections; i++)
            _table.Insert(_cpu, new TableEntry(i));
        var random = new Prng(1);
        for (int i = 0; i < Batch; i++)
        {
            _present[i] = TableEntry.KeyOf(random.Below(Connections));
            _absent[i] = TableEntry.KeyOf(Connections + i);
        }
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _stack.Cpus.Release(_cpu);
        _stack.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>A reference is taken, and given back.</summary>
    [Benchmark(OperationsPerInvoke = Batch)]
    public void Hit()
    {
        foreach (FlowKey key in _present)
            _table.LookUp(_cpu, key)!.Put(_cpu);
    }

    [Benchmark(OperationsPerInvoke = Batch)]
    public bool Miss()
    {
        bool found = false;
        foreach (FlowKey key in _absent)
            found |= _table.LookUp(_cpu, key) is not null;
        return found;
    }
}
