using System;
using BenchmarkDotNet.Attributes;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Bench.Micro;

/// <summary>Buffers: taken and given back, in a queue, and in sequence order.</summary>
public class QueueBenchmarks : IDisposable
{
    private const int Batch = 256;

    private readonly NetStack _stack = new();
    private readonly SkBuffHead _queue = new();
    private readonly SkBuff[] _buffers = new SkBuff[Batch];
    private readonly int[] _order = new int[Batch];
    private Cpu _cpu = null!;

    [GlobalSetup]
    public void SetUp()
    {
        _cpu = _stack.Cpus.Acquire();
        for (int i = 0; i < Batch; i++)
        {
            _buffers[i] = _cpu.AllocSkb();
            _buffers[i].Tcp.Seq = new SeqNumber((uint)(1460 * i));
            _buffers[i].Tcp.EndSeq = new SeqNumber((uint)(1460 * (i + 1)));
            _order[i] = i;
        }
        new Random(1).Shuffle(_order);
    }

    [GlobalCleanup]
    public void Dispose()
    {
        foreach (SkBuff skb in _buffers)
            _cpu.FreeSkb(skb);
        _stack.Cpus.Release(_cpu);
        _stack.Dispose();
        GC.SuppressFinalize(this);
    }

    [Benchmark(OperationsPerInvoke = Batch)]
    public void TakeAndFree()
    {
        for (int i = 0; i < Batch; i++)
            _cpu.FreeSkb(_cpu.AllocSkb(SkBuff.TransmitHeadroom));
    }

    [Benchmark(OperationsPerInvoke = Batch)]
    public void QueueInAndOut()
    {
        foreach (SkBuff skb in _buffers)
            _queue.PushLast(skb);
        while (_queue.PopFirst() is not null)
        {
        }
    }

    /// <summary>As the retransmit queue of a connection without loss.</summary>
    [Benchmark(OperationsPerInvoke = Batch)]
    public void SeqTreeInOrder()
    {
        var tree = new SeqTree();
        foreach (SkBuff skb in _buffers)
            tree.Append(skb);
        while (tree.First is { } first)
            tree.Remove(first);
    }

    /// <summary>As the out-of-order queue of one whose packets come as they like.</summary>
    [Benchmark(OperationsPerInvoke = Batch)]
    public void SeqTreeInAnyOrder()
    {
        var tree = new SeqTree();
        foreach (int i in _order)
            tree.InsertAfter(_buffers[i], tree.LastStartingAtOrBefore(_buffers[i].Tcp.Seq));
        while (tree.First is { } first)
            tree.Remove(first);
    }
}
