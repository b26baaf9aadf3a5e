using System.Collections.Generic;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>How an answer changes what is known of a neighbour. Linux: NEIGH_UPDATE_F_*.</summary>
internal enum NeighbourOverride : byte
{
    /// <summary>A known address stays as it is.</summary>
    No,

    /// <summary>Another address than the known one makes that doubtful.</summary>
    Weak,

    /// <summary>The answer's address replaces the known one.</summary>
    Yes,
}

/// <summary>
/// The neighbours of one address family, on all devices: finds them when a packet needs them, keeps what is known of them, and forgets
/// it. How they are asked is the family's.
/// </summary>
/// <remarks>
/// One lock guards the table and its entries; nothing is sent under it. Packets to a neighbour that has answered lately take no lock.
/// Linux: neigh_table, neighbour.c. RFC 4861 §7.3.
/// </remarks>
internal abstract partial class NeighbourTable(NeighbourSysctls settings, RoutingTable routes, TimerService timers, Prng random)
{
    /// <summary>How long the reachable time that chance has drawn is kept. Linux: neigh_periodic_work.</summary>
    private static readonly Micros ReachableTimeLife = Micros.FromSeconds(300);

    private readonly Dictionary<(NetDevice, IpAddr), Neighbour> _entries = [];
    private SpinLock32 _lock;
    private Micros _reachableTime, _reachableTimeDrawn;
    private int _reachableTimeBase;

    protected NeighbourSysctls Settings { get; } = settings;

    protected RoutingTable Routes { get; } = routes;

    /// <summary>
    /// Sends a packet, whose network header is at its start, to the next hop of its route: at once, or when the hop has answered. Takes
    /// it over. False: dropped here. Linux: ip_finish_output2, neigh_output.
    /// </summary>
    public bool Output(Cpu cpu, Route route, SkBuff skb)
    {
        NetDevice device = route.Device;
        if (!device.IsEthernet)
            return DevQueue.Transmit(cpu, device, skb);
        IpAddr hop = route.NextHop;
        if (route.Type == RouteType.Broadcast || hop.IsMulticast)
            return Transmit(cpu, device, MacAddr.OfGroup(hop), skb);
        if (route.Neighbour is not { IsDead: false } neighbour)
            route.Neighbour = neighbour = FindOrCreate(cpu, device, hop);
        return Output(cpu, neighbour, skb);
    }

    /// <summary>Sends a packet to a station of the device's link, whatever the routes say.</summary>
    protected bool Output(Cpu cpu, NetDevice device, IpAddr station, SkBuff skb) => Output(cpu, FindOrCreate(cpu, device, station), skb);

    /// <summary>Asks for a neighbour's address; it may keep the frame for later, as a device may.</summary>
    /// <param name="source">The stack's address that asks; any leaves the choice.</param>
    /// <param name="to">None: everybody whom it may be. Else the known address.</param>
    protected abstract void Solicit(Cpu cpu, Neighbour neighbour, IpAddr source, MacAddr to);

    /// <summary>Tells the sender of a packet that its next hop does not answer. The packet stays the caller's.</summary>
    protected abstract void ReportFailure(Cpu cpu, SkBuff skb);

    /// <summary>What is known, one entry a neighbour.</summary>
    public void List(Cpu cpu, List<NeighbourEntry> into)
    {
        _lock.Lock(cpu);
        for (Neighbour? n = _oldest; n is not null; n = n.Newer)
        {
            bool known = (n.State & Neighbour.Valid) != 0;
            into.Add(new NeighbourEntry(n.Device.Name, n.Address.ToIPAddress(), known ? n.Hardware.ToPhysicalAddress() : null, n.State));
        }
        _lock.Unlock(cpu);
    }

    /// <summary>Forgets a device's neighbours, and drops what waits for them. Linux: neigh_ifdown.</summary>
    public void Remove(Cpu cpu, NetDevice device)
    {
        var dropped = new SkBuffHead();
        _lock.Lock(cpu);
        for (Neighbour? n = _oldest; n is not null;)
        {
            Neighbour now = n;
            n = n.Newer;
            if (now.Device == device)
                Forget(cpu, now, dropped);
        }
        _lock.Unlock(cpu);
        DropAll(cpu, dropped, DropReason.NeighDead);
    }

    /// <summary>A neighbour that is known already. Linux: neigh_lookup.</summary>
    protected Neighbour? Find(Cpu cpu, NetDevice device, IpAddr address)
    {
        _lock.Lock(cpu);
        Neighbour? found = _entries.GetValueOrDefault((device, address));
        _lock.Unlock(cpu);
        return found;
    }

    /// <summary>Null: the table is full. Linux: __neigh_create.</summary>
    protected Neighbour? FindOrCreate(Cpu cpu, NetDevice device, IpAddr address)
    {
        var dropped = new SkBuffHead();
        _lock.Lock(cpu);
        if (!_entries.TryGetValue((device, address), out Neighbour? neighbour) && HasRoom(cpu, dropped))
        {
            neighbour = new Neighbour(this, device, address) { Updated = cpu.Now, Used = cpu.Now };
            neighbour.Confirmed = cpu.Now - ReachableTime(cpu) * 2;
            _entries.Add((device, address), neighbour);
            Append(neighbour);
            cpu.Trace(Tp.neigh_create, neighbour, device.IfIndex, _entries.Count);
        }
        _lock.Unlock(cpu);
        DropAll(cpu, dropped, DropReason.NeighDead);
        return neighbour;
    }

    /// <summary>Sends a packet, without a header, to a station. False: dropped on this host.</summary>
    protected static bool Transmit(Cpu cpu, NetDevice device, MacAddr to, SkBuff skb)
    {
        Ethernet.Push(device, skb, to, skb.Protocol);
        return DevQueue.Transmit(cpu, device, skb);
    }

    private bool Output(Cpu cpu, Neighbour? neighbour, SkBuff skb)
    {
        if (neighbour is null)
        {
            Drops.Free(cpu, skb, DropReason.NeighCreatefail);
            return false;
        }
        if ((neighbour.State & Neighbour.Connected) != 0 || MaySend(cpu, neighbour, skb))
            return Transmit(cpu, neighbour.Device, neighbour.Hardware, skb);
        return true;
    }

    private static void DropAll(Cpu cpu, SkBuffHead queue, DropReason reason)
    {
        while (queue.PopFirst() is { } skb)
            Drops.Free(cpu, skb, reason);
    }

    // Hosts that all began at once must not all ask at once. RFC 4861 §6.3.2. Linux: neigh_rand_reach_time.
    private Micros ReachableTime(Cpu cpu)
    {
        int milliseconds = Settings.BaseReachableTimeMs;
        if (milliseconds != _reachableTimeBase || cpu.Now - _reachableTimeDrawn > ReachableTimeLife)
        {
            _reachableTimeBase = milliseconds;
            _reachableTimeDrawn = cpu.Now;
            _reachableTime = Micros.FromMilliseconds(milliseconds / 2 + (milliseconds > 0 ? random.Below(milliseconds) : 0));
        }
        return _reachableTime;
    }

    // ---- The table's bounds ----

    private static readonly Micros FreshFor = Micros.FromSeconds(5);

    private Neighbour? _oldest, _newest;
    private Collector? _collector;

    // Linux: neigh_alloc, neigh_forced_gc.
    private bool HasRoom(Cpu cpu, SkBuffHead dropped)
    {
        ArmCollector(cpu);
        if (_entries.Count < Settings.GcThresh2)
            return true;
        while (_entries.Count >= Settings.GcThresh2 && _oldest is { } oldest && cpu.Now - oldest.Updated > FreshFor)
            Forget(cpu, oldest, dropped);
        return _entries.Count < Settings.GcThresh3;
    }

    // A small table is left alone. Linux: neigh_periodic_work, which runs every half reachable time.
    private void ArmCollector(Cpu cpu)
    {
        _collector ??= new Collector(this);
        if (_entries.Count >= Settings.GcThresh1 && !_collector.IsQueued)
            timers.Arm(cpu, _collector, cpu.Now + Micros.FromMilliseconds(System.Math.Max(Settings.BaseReachableTimeMs / 2, 1)));
    }

    private void Collect(Cpu cpu)
    {
        var dropped = new SkBuffHead();
        Micros unused = Micros.FromSeconds(Settings.GcStaleTime);
        _lock.Lock(cpu);
        for (Neighbour? n = _oldest; n is not null && _entries.Count >= Settings.GcThresh1;)
        {
            Neighbour now = n;
            n = n.Newer;
            if (now.State == NeighbourState.Failed || cpu.Now - Micros.Max(now.Used, now.Confirmed) > unused)
                Forget(cpu, now, dropped);
        }
        ArmCollector(cpu);
        _lock.Unlock(cpu);
        DropAll(cpu, dropped, DropReason.NeighDead);
    }

    // The lock is held.
    private void Forget(Cpu cpu, Neighbour neighbour, SkBuffHead dropped)
    {
        timers.Cancel(cpu, neighbour);
        neighbour.IsDead = true;
        neighbour.State = NeighbourState.None;
        neighbour.WaitingBytes = 0;
        while (neighbour.Waiting.PopFirst() is { } skb)
            dropped.PushLast(skb);
        _entries.Remove((neighbour.Device, neighbour.Address));
        Unlink(neighbour);
    }

    private void Append(Neighbour neighbour)
    {
        neighbour.Older = _newest;
        if (_newest is null)
            _oldest = neighbour;
        else
            _newest.Newer = neighbour;
        _newest = neighbour;
    }

    private void Unlink(Neighbour neighbour)
    {
        if (neighbour.Older is null)
            _oldest = neighbour.Newer;
        else
            neighbour.Older.Newer = neighbour.Newer;
        if (neighbour.Newer is null)
            _newest = neighbour.Older;
        else
            neighbour.Newer.Older = neighbour.Older;
        neighbour.Older = neighbour.Newer = null;
    }

    private sealed class Collector(NeighbourTable table) : TimerNode
    {
        internal override void Fire(Cpu cpu) => table.Collect(cpu);
    }
}
