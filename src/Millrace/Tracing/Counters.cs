using System;
using System.Threading;

namespace Millrace.Tracing;

/// <summary>One CPU's counters. Written only by the holder of that CPU; read by anybody, who sums over the CPUs.</summary>
/// <remarks>Linux: the per-CPU struct netns_mib.</remarks>
internal sealed class Counters
{
    private readonly long[] _mib = new long[Enum.GetValues<Mib>().Length];
    private readonly long[] _drops = new long[Enum.GetValues<DropReason>().Length];

    public void Inc(Mib mib) => _mib[(int)mib]++;

    public void Add(Mib mib, long n) => _mib[(int)mib] += n;

    public void Drop(DropReason reason) => _drops[(int)reason]++;

    public long Read(Mib mib) => Volatile.Read(ref _mib[(int)mib]);

    public long Read(DropReason reason) => Volatile.Read(ref _drops[(int)reason]);
}
