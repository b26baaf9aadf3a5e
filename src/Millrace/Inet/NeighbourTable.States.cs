using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>What moves a neighbour from state to state: packets that need it, answers, time.</summary>
internal abstract partial class NeighbourTable
{
    private Micros RetransTime => Micros.Max(Micros.FromMilliseconds(Settings.RetransTimeMs), Micros.FromMilliseconds(1));

    private Micros DelayFirstProbeTime => Micros.FromSeconds(Settings.DelayFirstProbeTime);

    /// <summary>
    /// A neighbour has said its address, or somebody has said it for him. <paramref name="hardware"/> none: it only gave a sign of life.
    /// Linux: neigh_update.
    /// </summary>
    /// <param name="next">Reachable or stale.</param>
    protected void Update(Cpu cpu, Neighbour neighbour, MacAddr hardware, NeighbourState next, NeighbourOverride @override)
    {
        _lock.Lock(cpu);
        SkBuffHead? ready = neighbour.IsDead ? null : UpdateLocked(cpu, neighbour, hardware, next, @override);
        _lock.Unlock(cpu);
        while (ready?.PopFirst() is { } skb)
            Output(cpu, neighbour, skb);
    }

    // What may be sent now, of what waited; null is nothing.
    private SkBuffHead? UpdateLocked(Cpu cpu, Neighbour neighbour, MacAddr hardware, NeighbourState next, NeighbourOverride @override)
    {
        NeighbourState old = neighbour.State;
        bool wasValid = (old & Neighbour.Valid) != 0;
        if (hardware.IsNone && !wasValid)
            return null;
        MacAddr known = neighbour.Hardware;
        if (hardware.IsNone || (wasValid && hardware == known))
        {
            hardware = known;
            // Somebody's say-so makes nothing worse that is known better.
            if (next == NeighbourState.Stale)
                next = old;
        }
        else if (wasValid && @override != NeighbourOverride.Yes)
        {
            if (@override == NeighbourOverride.No || (old & Neighbour.Connected) == 0)
                return null;
            hardware = known;
            next = NeighbourState.Stale;
        }
        if ((next & Neighbour.Connected) != 0)
            neighbour.Confirmed = cpu.Now;
        if (next != old || hardware != known)
            Touch(cpu, neighbour);
        if (hardware != known)
        {
            neighbour.Hardware = hardware;
            if ((next & Neighbour.Connected) == 0)
                neighbour.Confirmed = cpu.Now - Micros.FromMilliseconds(2L * Settings.BaseReachableTimeMs);
        }
        if (next != old)
            Enter(cpu, neighbour, next, cpu.Now + ReachableTime(cpu));
        cpu.Trace(Tp.neigh_update, neighbour, neighbour.Device.IfIndex, (long)old, (long)next);
        return wasValid || neighbour.Waiting.IsEmpty ? null : TakeWaiting(neighbour);
    }

    // Whether a packet may be sent to a neighbour of whom not enough is known; else it waits, or was dropped. Linux: __neigh_event_send.
    private bool MaySend(Cpu cpu, Neighbour neighbour, SkBuff skb)
    {
        var dropped = new SkBuffHead();
        IpAddr source = IpHeaders.Source(skb);
        _lock.Lock(cpu);
        neighbour.Used = cpu.Now;
        bool ask = false, send = (neighbour.State & Neighbour.Valid) != 0;
        if (neighbour.IsDead)
        {
            dropped.PushLast(skb);
        }
        else if (neighbour.State == NeighbourState.Stale)
        {
            Touch(cpu, neighbour);
            Enter(cpu, neighbour, NeighbourState.Delay, cpu.Now + DelayFirstProbeTime);
        }
        else if (!send)
        {
            ask = neighbour.State != NeighbourState.Incomplete;
            if (ask)
                BeginToAsk(cpu, neighbour);
            Keep(neighbour, skb, dropped);
        }
        _lock.Unlock(cpu);
        DropAll(cpu, dropped, neighbour.IsDead ? DropReason.NeighDead : DropReason.NeighQueuefull);
        if (ask)
            Solicit(cpu, neighbour, source, to: default);
        return send;
    }

    /// <summary>A neighbour's state has come to its end. Linux: neigh_timer_handler.</summary>
    internal void OnTimer(Cpu cpu, Neighbour neighbour)
    {
        SkBuffHead? unreachable = null;
        MacAddr to = default;
        IpAddr source = default;
        _lock.Lock(cpu);
        bool ask = !neighbour.IsDead && !neighbour.IsQueued && OnTimerLocked(cpu, neighbour, out unreachable);
        if (ask)
        {
            to = AskedAt(neighbour);
            source = neighbour.Waiting.Last is { } last ? IpHeaders.Source(last) : default;
            neighbour.Probes++;
        }
        _lock.Unlock(cpu);
        cpu.Trace(Tp.neigh_timer_handler, neighbour, neighbour.Device.IfIndex, (long)neighbour.State, neighbour.Probes);
        while (unreachable?.PopFirst() is { } skb)
        {
            ReportFailure(cpu, skb);
            Drops.Free(cpu, skb, DropReason.NeighFailed);
        }
        if (ask)
            Solicit(cpu, neighbour, source, to);
    }

    // True: it must be asked now.
    private bool OnTimerLocked(Cpu cpu, Neighbour neighbour, out SkBuffHead? unreachable)
    {
        unreachable = null;
        Micros now = cpu.Now, reachableUntil = neighbour.Confirmed + ReachableTime(cpu);
        switch (neighbour.State)
        {
            case NeighbourState.Reachable:
                LeaveReachable(cpu, neighbour, reachableUntil);
                return false;
            case NeighbourState.Delay:
                Touch(cpu, neighbour);
                if (now <= neighbour.Confirmed + DelayFirstProbeTime)
                {
                    Enter(cpu, neighbour, NeighbourState.Reachable, reachableUntil);
                    return false;
                }
                neighbour.Probes = 0;
                Enter(cpu, neighbour, NeighbourState.Probe, now + RetransTime);
                break;
            case NeighbourState.Incomplete or NeighbourState.Probe:
                timers.Arm(cpu, neighbour, now + RetransTime);
                break;
            default:
                return false;
        }
        if (neighbour.Probes < MaxProbes(neighbour.State))
            return true;
        Touch(cpu, neighbour);
        Enter(cpu, neighbour, NeighbourState.Failed, Micros.Never);
        unreachable = TakeWaiting(neighbour);
        return false;
    }

    private void LeaveReachable(Cpu cpu, Neighbour neighbour, Micros reachableUntil)
    {
        Micros now = cpu.Now;
        if (now < reachableUntil)
        {
            timers.Arm(cpu, neighbour, reachableUntil);
            return;
        }
        bool inUse = now <= neighbour.Used + DelayFirstProbeTime;
        Touch(cpu, neighbour);
        Enter(cpu, neighbour, inUse ? NeighbourState.Delay : NeighbourState.Stale, now + DelayFirstProbeTime);
    }

    // Questions to everybody are counted behind those to the known address, of which there can be none yet.
    private void BeginToAsk(Cpu cpu, Neighbour neighbour)
    {
        Touch(cpu, neighbour);
        neighbour.Probes = Settings.UcastSolicit + 1;
        Enter(cpu, neighbour, NeighbourState.Incomplete, cpu.Now + RetransTime);
    }

    // Linux: neigh_max_probes.
    private int MaxProbes(NeighbourState state) =>
        Settings.UcastSolicit + (state == NeighbourState.Probe ? Settings.McastResolicit : Settings.McastSolicit);

    // Linux: arp_solicit, ndisc_solicit.
    private MacAddr AskedAt(Neighbour neighbour) =>
        (neighbour.State & Neighbour.Valid) != 0 && neighbour.Probes < Settings.UcastSolicit ? neighbour.Hardware : default;

    /// <param name="until">When the state ends, if it ends by a timer.</param>
    private void Enter(Cpu cpu, Neighbour neighbour, NeighbourState state, Micros until)
    {
        neighbour.State = state;
        if ((state & Neighbour.InTimer) != 0)
            timers.Arm(cpu, neighbour, until);
        else
            timers.Cancel(cpu, neighbour);
    }

    private void Touch(Cpu cpu, Neighbour neighbour)
    {
        neighbour.Updated = cpu.Now;
        Unlink(neighbour);
        Append(neighbour);
    }

    // The oldest make room. Linux: unres_qlen_bytes.
    private void Keep(Neighbour neighbour, SkBuff skb, SkBuffHead dropped)
    {
        while (neighbour.WaitingBytes + skb.TrueSize > Settings.UnresQlenBytes && neighbour.Waiting.PopFirst() is { } oldest)
        {
            neighbour.WaitingBytes -= oldest.TrueSize;
            dropped.PushLast(oldest);
        }
        neighbour.Waiting.PushLast(skb);
        neighbour.WaitingBytes += skb.TrueSize;
    }

    private static SkBuffHead TakeWaiting(Neighbour neighbour)
    {
        var all = new SkBuffHead();
        all.TakeAll(neighbour.Waiting);
        neighbour.WaitingBytes = 0;
        return all;
    }
}
