using System;
using Millrace.Devices;
using Millrace.Sched;

namespace Millrace;

/// <summary>What orders a device's outgoing packets, as tc(8) names it. See <see cref="NetStack.SetQueueDiscipline"/>.</summary>
public abstract class QueueDiscipline
{
    private protected QueueDiscipline()
    {
    }

    /// <exception cref="ArgumentOutOfRangeException">One of its numbers makes no sense.</exception>
    internal abstract Qdisc Make(NetDevice device);
}

/// <summary>No queue: what comes is sent, and dropped where the device has no room. Linux: noqueue. The default.</summary>
public sealed class NoQueue : QueueDiscipline
{
    internal override Qdisc Make(NetDevice device) => new NoQueueQdisc(device);
}

/// <summary>First in, first out. Linux: pfifo.</summary>
public sealed class PacketFifo : QueueDiscipline
{
    /// <summary>Packets that may wait for room in the device; null: 1000, Linux's txqueuelen. With 0 nothing passes.</summary>
    public int? Limit { get; init; }

    internal override Qdisc Make(NetDevice device)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(Limit ?? 0, nameof(Limit));
        return new FifoQdisc(device, Limit ?? device.TxQueueLength);
    }
}

/// <summary>Three queues of 1000 packets by SO_PRIORITY, which IP_TOS sets too: interactive before best effort before bulk. Linux: pfifo_fast.</summary>
public sealed class PriorityFifo : QueueDiscipline
{
    internal override Qdisc Make(NetDevice device) => new PriorityFifoQdisc(device, device.TxQueueLength);
}

/// <summary>
/// Fair queueing with pacing: connections take turns, and segments leave at the times that congestion control gives them, for which
/// connections then need no timers of their own. Linux: fq.
/// </summary>
public sealed class FairQueue : QueueDiscipline
{
    /// <summary>Packets that may wait.</summary>
    public int Limit { get; init; } = 10_000;

    /// <summary>Packets of one connection that may wait.</summary>
    public int FlowLimit { get; init; } = 100;

    /// <summary>Bytes that a connection sends in its turn; null: two full packets.</summary>
    public int? Quantum { get; init; }

    /// <summary>Bytes that a connection sends in its first turn; null: ten full packets.</summary>
    public int? InitialQuantum { get; init; }

    /// <summary>How far ahead the time of a packet may lie.</summary>
    public TimeSpan Horizon { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Whether a packet beyond it is dropped; else it leaves at the horizon.</summary>
    public bool DropsBeyondHorizon { get; init; } = true;

    internal override Qdisc Make(NetDevice device)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(Limit, nameof(Limit));
        ArgumentOutOfRangeException.ThrowIfNegative(FlowLimit, nameof(FlowLimit));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Quantum ?? 1, nameof(Quantum));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Quantum ?? 1, 1 << 20, nameof(Quantum));
        ArgumentOutOfRangeException.ThrowIfNegative(InitialQuantum ?? 0, nameof(InitialQuantum));
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(Horizon, TimeSpan.Zero, nameof(Horizon));
        FqLimits usual = FqLimits.Default(device);
        return new FqQdisc(device, new FqLimits(Limit, FlowLimit, Quantum ?? usual.Quantum, InitialQuantum ?? usual.InitialQuantum,
            Micros.From(Horizon), DropsBeyondHorizon));
    }
}
