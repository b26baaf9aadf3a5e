using System.Collections.Generic;
using System.Threading;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>
/// Addresses and routes: longest prefix first, then the lowest metric. Readers see one immutable table; writers swap it.
/// </summary>
/// <remarks>Linux: fib_lookup, ip_route_output_key, inet_addr_type, fib_nh_exception for path MTUs.</remarks>
internal sealed class RoutingTable(Host host)
{
    /// <summary>How long a path MTU that an ICMP error told is believed. Linux: net.ipv4.route.mtu_expires.</summary>
    private static readonly Micros PathMtuLifetime = Micros.FromSeconds(600);

    private const int MaxPathMtus = 4096;

    /// <summary>Answers that are kept, so that the connections between two hosts share a route.</summary>
    private const int Kept = 256;

    private readonly Answer?[] _kept = new Answer?[Kept];
    private readonly Lock _lock = new();
    private readonly List<RouteEntry> _entries = [];
    private readonly Dictionary<IpAddr, (int Mtu, Micros Expires)> _pathMtus = [];
    private readonly List<InterfaceAddress> _addresses = [];
    private volatile Snapshot _table = Snapshot.Empty;
    private int _generation;

    /// <summary>Changes with every change; a route of another generation is obsolete.</summary>
    public int Generation => Volatile.Read(ref _generation);

    public IReadOnlyList<RouteEntry> Entries => _table.Entries;

    public IReadOnlyList<InterfaceAddress> Addresses => _table.Addresses;

    /// <summary>Gives a device an address, and the routes that follow from it. Linux: inet_insert_ifa, fib_add_ifaddr.</summary>
    public void AddAddress(NetDevice device, IpAddr address, int prefixLength)
    {
        lock (_lock)
        {
            _addresses.Add(new InterfaceAddress(device, address, prefixLength));
            _entries.Add(new RouteEntry(Mask(address, prefixLength), prefixLength, device) { Source = address });
            Publish();
        }
    }

    public void Add(RouteEntry entry)
    {
        lock (_lock)
        {
            _entries.Add(entry with { Prefix = Mask(entry.Prefix, entry.PrefixLength) });
            Publish();
        }
    }

    /// <summary>Puts an entry in the place of those for the same prefix. Linux: ip route replace.</summary>
    public void Replace(RouteEntry entry)
    {
        lock (_lock)
        {
            IpAddr prefix = Mask(entry.Prefix, entry.PrefixLength);
            _entries.RemoveAll(e => e.Prefix == prefix && e.PrefixLength == entry.PrefixLength);
            _entries.Add(entry with { Prefix = prefix });
            Publish();
        }
    }

    /// <summary>Takes a device's addresses and routes out.</summary>
    public void Remove(NetDevice device)
    {
        lock (_lock)
        {
            _addresses.RemoveAll(a => a.Device == device);
            _entries.RemoveAll(e => e.Device == device);
            Publish();
        }
    }

    /// <summary>Whether packets to this address are for this host. All of 127.0.0.0/8 is. Linux: inet_addr_type == RTN_LOCAL.</summary>
    public bool IsLocal(IpAddr address) => _table.Local.ContainsKey(address) || (address.IsV4 && address.V4 >> 24 == 127);

    /// <summary>Whether this is a broadcast address here: the limited one, or a subnet's. Linux: RTN_BROADCAST.</summary>
    public bool IsBroadcast(IpAddr address) =>
        address.IsV4 && (address.IsBroadcast || _table.Broadcast.Contains(address));

    /// <summary>The device that has this address; null if none has.</summary>
    public NetDevice? DeviceOf(IpAddr address) => _table.Local.GetValueOrDefault(address);

    /// <summary>The address with which this host speaks to a neighbour on a device's link; null if it has none. Linux: inet_select_addr.</summary>
    public IpAddr? SourceFor(NetDevice device, IpAddr neighbour) => _table.SourceFor(device, neighbour);

    /// <summary>Whether packets to an IPv6 group are for this host: all nodes, and the groups in which its addresses are asked for.</summary>
    public bool IsInGroup(IpAddr group) => _table.Groups.Contains(group);

    /// <summary>
    /// The way to <paramref name="destination"/>; null if there is none. <paramref name="source"/> any lets the route choose;
    /// <paramref name="onLink"/> refuses a way over a gateway (SO_DONTROUTE). Linux: ip_route_output_key.
    /// </summary>
    public Route? LookUpOutput(IpAddr destination, IpAddr source, int ifIndex = 0, bool onLink = false)
    {
        var asked = new Asked(destination, source, ifIndex, onLink);
        ref Answer? kept = ref _kept[(uint)asked.GetHashCode() % Kept];
        if (kept is { Route.IsObsolete: false } answer && answer.Asked == asked)
            return answer.Route;
        Route? route = Resolve(destination, source, ifIndex, onLink);
        // What an error has told of a path is forgotten some day.
        if (route is { IsPathMtu: false })
            kept = new Answer(asked, route);
        return route;
    }

    private Route? Resolve(IpAddr destination, IpAddr source, int ifIndex, bool onLink)
    {
        int generation = Generation;
        Snapshot table = _table;
        if (destination.IsAny)
            destination = destination.IsV4 ? IpAddr.Loopback4 : IpAddr.Loopback6;
        if (IsLocal(destination))
        {
            NetDevice? loopback = table.Loopback;
            if (loopback is null)
                return null;
            IpAddr from = source.IsAny ? destination : source;
            return new Route(this, new RouteEntry(destination, destination.IsV4 ? 32 : 128, loopback) { Type = RouteType.Local },
                destination, from, generation, 0);
        }
        if (IsBroadcast(destination))
            return LookUpBroadcast(table, destination, source, ifIndex, generation);
        RouteEntry? entry = table.Find(destination, ifIndex);
        if (entry is null || entry.Type is RouteType.Unreachable or RouteType.Blackhole or RouteType.Prohibit || entry.Device is null
            || (onLink && entry.Gateway is not null))
            return null;
        IpAddr chosen = source.IsAny ? entry.Source ?? table.SourceFor(entry.Device, destination) ?? source : source;
        return new Route(this, entry, destination, chosen, generation, PathMtu(destination, entry));
    }

    /// <summary>Notes what an ICMP error told about a path. True: it is news. Linux: __ip_rt_update_pmtu.</summary>
    public bool UpdatePathMtu(IpAddr destination, int mtu)
    {
        lock (_lock)
        {
            if (_pathMtus.Count >= MaxPathMtus && !_pathMtus.ContainsKey(destination))
                _pathMtus.Clear();
            if (_pathMtus.TryGetValue(destination, out (int Mtu, Micros Expires) known) && known.Mtu <= mtu && known.Expires > host.Now)
                return false;
            _pathMtus[destination] = (mtu, host.Now + PathMtuLifetime);
            Interlocked.Increment(ref _generation);
            return true;
        }
    }

    private int PathMtu(IpAddr destination, RouteEntry entry)
    {
        if (entry.Metrics.MtuLocked)
            return 0;
        lock (_lock)
        {
            if (!_pathMtus.TryGetValue(destination, out (int Mtu, Micros Expires) known))
                return 0;
            if (known.Expires > host.Now)
                return known.Mtu;
            _pathMtus.Remove(destination);
            return 0;
        }
    }

    private Route? LookUpBroadcast(Snapshot table, IpAddr destination, IpAddr source, int ifIndex, int generation)
    {
        foreach (InterfaceAddress a in table.Addresses)
        {
            bool matches = a.Address.IsV4 && (ifIndex == 0 || a.Device.IfIndex == ifIndex)
                && (destination.IsBroadcast || a.Broadcast == destination) && (a.Device.Flags & DeviceFlags.Loopback) == 0;
            if (!matches)
                continue;
            var entry = new RouteEntry(destination, 32, a.Device) { Type = RouteType.Broadcast };
            return new Route(this, entry, destination, source.IsAny ? a.Address : source, generation, 0);
        }
        return null;
    }

    private void Publish()
    {
        _table = new Snapshot(_entries, _addresses);
        Interlocked.Increment(ref _generation);
    }

    private static IpAddr Mask(IpAddr address, int prefixLength)
    {
        int bits = address.IsV4 ? 96 + prefixLength : prefixLength;
        ulong high = bits >= 64 ? address.High : bits == 0 ? 0 : address.High & (ulong.MaxValue << (64 - bits));
        ulong low = bits <= 64 ? 0 : address.Low & (ulong.MaxValue << (128 - bits));
        return address.IsV4 && prefixLength == 0 ? IpAddr.Any4 : new IpAddr(high, low);
    }

    private readonly record struct Asked(IpAddr Destination, IpAddr Source, int IfIndex, bool OnLink);

    private sealed record Answer(Asked Asked, Route Route);

    private sealed class Snapshot
    {
        public static Snapshot Empty { get; } = new([], []);

        public readonly RouteEntry[] Entries;
        public readonly InterfaceAddress[] Addresses;
        public readonly Dictionary<IpAddr, NetDevice> Local = [];
        public readonly HashSet<IpAddr> Broadcast = [];
        public readonly HashSet<IpAddr> Groups = [IpAddr.AllNodes];
        public readonly NetDevice? Loopback;
        private readonly List<Level> _levels4 = [], _levels6 = [];

        public Snapshot(List<RouteEntry> entries, List<InterfaceAddress> addresses)
        {
            Entries = [.. entries];
            Addresses = [.. addresses];
            foreach (InterfaceAddress a in addresses)
            {
                Local.TryAdd(a.Address, a.Device);
                if (!a.Address.IsV4)
                    Groups.Add(a.Address.SolicitedNode);
                if (a.Broadcast is { } broadcast)
                    Broadcast.Add(broadcast);
                if ((a.Device.Flags & DeviceFlags.Loopback) != 0)
                    Loopback ??= a.Device;
            }
            foreach (RouteEntry e in entries)
                LevelOf(e).Add(e);
        }

        public RouteEntry? Find(IpAddr destination, int ifIndex)
        {
            foreach (Level level in destination.IsV4 ? _levels4 : _levels6)
            {
                if (level.Find(destination, ifIndex) is { } found)
                    return found;
            }
            return null;
        }

        public IpAddr? SourceFor(NetDevice device, IpAddr destination)
        {
            foreach (InterfaceAddress a in Addresses)
            {
                if (a.Device == device && destination.HasPrefix(a.Address, a.PrefixLength))
                    return a.Address;
            }
            foreach (InterfaceAddress a in Addresses)
            {
                if (a.Device == device && a.Address.IsV4 == destination.IsV4)
                    return a.Address;
            }
            foreach (InterfaceAddress a in Addresses)
            {
                if (a.Address.IsV4 == destination.IsV4 && !a.Address.IsLoopback)
                    return a.Address;
            }
            return null;
        }

        private Level LevelOf(RouteEntry entry)
        {
            List<Level> levels = entry.Prefix.IsV4 ? _levels4 : _levels6;
            int at = levels.FindIndex(l => l.PrefixLength <= entry.PrefixLength);
            if (at >= 0 && levels[at].PrefixLength == entry.PrefixLength)
                return levels[at];
            var level = new Level(entry.PrefixLength);
            levels.Insert(at < 0 ? levels.Count : at, level);
            return level;
        }
    }

    /// <summary>The routes of one prefix length.</summary>
    private sealed class Level(int prefixLength)
    {
        private readonly Dictionary<IpAddr, List<RouteEntry>> _routes = [];

        public int PrefixLength { get; } = prefixLength;

        public void Add(RouteEntry entry)
        {
            if (!_routes.TryGetValue(entry.Prefix, out List<RouteEntry>? same))
                _routes[entry.Prefix] = same = [];
            int at = same.FindIndex(e => e.Metric > entry.Metric);
            same.Insert(at < 0 ? same.Count : at, entry);
        }

        public RouteEntry? Find(IpAddr destination, int ifIndex)
        {
            if (!_routes.TryGetValue(Mask(destination, PrefixLength), out List<RouteEntry>? same))
                return null;
            return ifIndex == 0 ? same[0] : same.Find(e => e.Device?.IfIndex == ifIndex);
        }
    }
}

/// <summary>An address of a device. Linux: in_ifaddr, inet6_ifaddr.</summary>
internal sealed record InterfaceAddress(NetDevice Device, IpAddr Address, int PrefixLength)
{
    /// <summary>The subnet's broadcast address; null for IPv6 and for prefixes of 31 and 32.</summary>
    public IpAddr? Broadcast =>
        Address.IsV4 && PrefixLength < 31 ? IpAddr.FromV4(Address.V4 | (uint.MaxValue >> PrefixLength)) : null;
}
