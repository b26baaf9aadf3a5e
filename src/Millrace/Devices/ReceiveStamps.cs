using System;
using System.Threading;
using Millrace.Buffers;
using Millrace.Sched;

namespace Millrace.Devices;

/// <summary>Notes on each packet when it came, while somebody wants to know.</summary>
/// <remarks>Linux: netstamp_needed_key, net_timestamp_check.</remarks>
internal sealed class ReceiveStamps
{
    private int _demand;

    /// <summary>One socket more, or one fewer, that wants it. Linux: net_enable_timestamp, net_disable_timestamp.</summary>
    public void Demand(int change) => Interlocked.Add(ref _demand, change);

    /// <summary>A packet has come; what its sender noted on it as its time says nothing here.</summary>
    public void Stamp(Cpu cpu, SkBuff skb)
    {
        skb.Time = 0;
        if (Volatile.Read(ref _demand) == 0)
            return;
        cpu.RefreshClock();
        skb.Time = Math.Max(cpu.Now.Value, 1);
    }
}
