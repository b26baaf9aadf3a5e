using System;
using BenchmarkDotNet.Attributes;
using Millrace.Sched;

namespace Millrace.Bench.Micro;

/// <summary>The timer wheel with many deadlines in it.</summary>
public class TimerBenchmarks
{
    private const int Batch = 1024;

    private readonly TimerWheel _wheel = new();
    private readonly Node[] _nodes = new Node[Batch];
    private long _now;

    [Params(0, 100_000)]
    public int Others { get; set; }

    [GlobalSetup]
    public void SetUp()
    {
        var random = new Random(1);
        for (int i = 0; i < Others; i++)
            _wheel.Insert(new Node(), new Micros(3_600_000_000L * 24 * 365 + random.Next(1 << 30)));
        for (int i = 0; i < Batch; i++)
            _nodes[i] = new Node();
    }

    /// <summary>As a retransmission timer that an acknowledgment stops.</summary>
    [Benchmark(OperationsPerInvoke = Batch)]
    public void ArmAndDisarm()
    {
        for (int i = 0; i < Batch; i++)
            _wheel.Insert(_nodes[i], new Micros(_now + 200_000 + 97 * i));
        for (int i = 0; i < Batch; i++)
            _wheel.Remove(_nodes[i]);
    }

    /// <summary>As a delayed acknowledgment whose time comes.</summary>
    [Benchmark(OperationsPerInvoke = Batch)]
    public int ArmAndExpire()
    {
        for (int i = 0; i < Batch; i++)
            _wheel.Insert(_nodes[i], new Micros(_now + 40_000 + 97 * i));
        _now += 40_000 + 97 * Batch;
        int due = 0;
        while (_wheel.TakeDue(new Micros(_now)) is not null)
            due++;
        return due;
    }

    private sealed class Node : TimerNode
    {
        internal override void Fire(Cpu cpu)
        {
        }
    }
}
