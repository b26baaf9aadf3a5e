using System;
using System.Collections.Generic;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Devices;

/// <summary>
/// Each packet leaves when its sender wants it to, and among those that may, the senders take turns by bytes. Senders learn that they
/// need no timer of their own.
/// </summary>
/// <remarks>
/// Linux: fq. Deviates: packets without a sender are one flow, and there are no bands by priority and no rate of its own.
/// </remarks>
internal sealed class FqQdisc(NetDevice device, in FqLimits limits) : QueueingQdisc(device)
{
    /// <summary>Who has been empty for so long starts with a fresh quantum. Linux: flow_refill_delay.</summary>
    private static readonly Micros s_refillDelay = Micros.FromMilliseconds(40);

    private const int FlowsKept = 64;

    private readonly FqLimits _limits = limits;
    private readonly Dictionary<BufferOwner, Flow> _flows = [];
    private readonly Flow _nobodys = new() { Credit = limits.InitialQuantum };
    private readonly Queue<Flow> _newFlows = new(), _oldFlows = new();

    // By the time of their first packet.
    private readonly PriorityQueue<Flow, (long Time, long Order)> _throttled = new();
    private long _order, _flowDrops, _horizonDrops, _horizonCaps;
    private int _count;

    public override string Kind => "fq";

    public override bool KeepsTime => true;

    protected override int Count => _count;

    // Linux: fq_enqueue.
    protected override DropReason Enqueue(SkBuff skb, Micros now)
    {
        skb.Owner?.OnPacedBelow();
        if (_count >= _limits.Limit)
            return DropReason.QdiscDrop;
        Micros time = Micros.Max(new Micros(skb.Time), now);
        if (time - now > _limits.Horizon)
        {
            if (_limits.DropsBeyondHorizon)
            {
                _horizonDrops++;
                return DropReason.QdiscDrop;
            }
            _horizonCaps++;
            time = now + _limits.Horizon;
        }
        Flow flow = FlowOf(skb, now);
        if (flow.Packets.Count >= _limits.FlowLimit)
        {
            _flowDrops++;
            return DropReason.QdiscDrop;
        }
        if (!flow.IsQueued)
        {
            flow.IsQueued = true;
            if (now - flow.EmptySince > s_refillDelay)
                flow.Credit = Math.Max(flow.Credit, _limits.Quantum);
            _newFlows.Enqueue(flow);
        }
        flow.Packets.Enqueue(skb, (time.Value, _order++));
        _count++;
        return DropReason.None;
    }

    // Linux: fq_dequeue. Deficit round robin: a flow sends while it has credit, and gets its next quantum behind the others.
    protected override SkBuff? Dequeue(Micros now, out Micros next)
    {
        next = Micros.Never;
        while (_throttled.TryPeek(out _, out (long Time, long Order) at) && at.Time <= now.Value)
            _oldFlows.Enqueue(_throttled.Dequeue());
        while (true)
        {
            Queue<Flow> list = _newFlows.Count > 0 ? _newFlows : _oldFlows;
            if (!list.TryPeek(out Flow? flow))
            {
                if (_throttled.TryPeek(out _, out (long Time, long Order) first))
                    next = new Micros(first.Time);
                return null;
            }
            if (flow.Credit <= 0)
            {
                flow.Credit += _limits.Quantum;
                _oldFlows.Enqueue(list.Dequeue());
            }
            else if (!flow.Packets.TryPeek(out SkBuff? skb, out (long Time, long Order) when))
            {
                list.Dequeue();
                RetireEmpty(flow, wasNew: list == _newFlows, now);
            }
            else if (when.Time > now.Value)
            {
                _throttled.Enqueue(list.Dequeue(), when);
            }
            else
            {
                flow.Packets.Dequeue();
                flow.Credit -= skb.Length;
                _count--;
                return skb;
            }
        }
    }

    protected override SkBuff? TakeAny()
    {
        foreach (Flow flow in AllFlows())
        {
            if (!flow.Packets.TryDequeue(out SkBuff? skb, out _))
                continue;
            _count--;
            return skb;
        }
        return null;
    }

    protected override void Describe(QdiscStatistics statistics)
    {
        statistics.Flows = _flows.Count;
        statistics.ThrottledFlows = _throttled.Count;
        statistics.FlowLimitDrops = _flowDrops;
        statistics.HorizonDrops = _horizonDrops;
        statistics.HorizonCaps = _horizonCaps;
    }

    // Who has just begun goes through the old flows once, or he could keep them out for ever.
    private void RetireEmpty(Flow flow, bool wasNew, Micros now)
    {
        if (wasNew && _oldFlows.Count > 0)
        {
            _oldFlows.Enqueue(flow);
            return;
        }
        flow.IsQueued = false;
        flow.EmptySince = now;
    }

    // Linux: fq_classify, fq_gc.
    private Flow FlowOf(SkBuff skb, Micros now)
    {
        if (skb.Owner is not { } owner)
            return _nobodys;
        if (_flows.TryGetValue(owner, out Flow? flow))
            return flow;
        if (_flows.Count >= FlowsKept)
            ForgetIdle(now);
        return _flows[owner] = new Flow { Credit = _limits.InitialQuantum };
    }

    private void ForgetIdle(Micros now)
    {
        foreach ((BufferOwner owner, Flow flow) in _flows)
        {
            if (!flow.IsQueued && now - flow.EmptySince > s_refillDelay)
                _flows.Remove(owner);
        }
    }

    private IEnumerable<Flow> AllFlows()
    {
        yield return _nobodys;
        foreach (Flow flow in _flows.Values)
            yield return flow;
    }

    /// <summary>One sender's packets, by their times. Linux: fq_flow.</summary>
    private sealed class Flow
    {
        public readonly PriorityQueue<SkBuff, (long Time, long Order)> Packets = new();
        public int Credit;
        public bool IsQueued;
        public Micros EmptySince;
    }
}

/// <summary>What <see cref="FqQdisc"/> keeps to. Linux: the parameters of tc-fq(8).</summary>
/// <param name="Limit">Packets that may wait.</param>
/// <param name="FlowLimit">Packets of one sender that may wait.</param>
/// <param name="Quantum">Bytes that a sender may send in its turn.</param>
/// <param name="InitialQuantum">Bytes that a new sender may send in its first.</param>
/// <param name="Horizon">How far ahead a packet's time may lie.</param>
/// <param name="DropsBeyondHorizon">Whether what lies beyond is dropped; else it leaves at the horizon.</param>
internal readonly record struct FqLimits(int Limit, int FlowLimit, int Quantum, int InitialQuantum, Micros Horizon, bool DropsBeyondHorizon)
{
    /// <summary>Linux: fq_init.</summary>
    public static FqLimits Default(NetDevice device) =>
        new(10_000, 100, 2 * device.FrameSize, 10 * device.FrameSize, Micros.FromSeconds(10), DropsBeyondHorizon: true);
}
