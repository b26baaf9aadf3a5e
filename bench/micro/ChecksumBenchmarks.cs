using System;
using BenchmarkDotNet.Attributes;
using Millrace.Wire;

namespace Millrace.Bench.Micro;

/// <summary>Summing, copying, and both in one pass.</summary>
public unsafe class ChecksumBenchmarks
{
    private byte[] _source = [], _target = [];

    [Params(20, 1460, 65536)]
    public int Length { get; set; }

    [GlobalSetup]
    public void SetUp()
    {
        _source = GC.AllocateArray<byte>(Length, pinned: true);
        _target = GC.AllocateArray<byte>(Length, pinned: true);
        new Random(1).NextBytes(_source);
    }

    [Benchmark]
    public uint Sum() => Checksum.Partial(_source);

    [Benchmark(Baseline = true)]
    public void Copy() => _source.CopyTo(_target, 0);

    [Benchmark]
    public uint CopyAndSum()
    {
        fixed (byte* from = _source, to = _target)
            return Checksum.Copy(from, to, Length);
    }

    [Benchmark]
    public uint CopyThenSum()
    {
        _source.CopyTo(_target, 0);
        return Checksum.Partial(_target);
    }
}
