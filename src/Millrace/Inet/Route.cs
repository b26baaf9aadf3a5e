using System;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>What a route leads to. Linux: RTN_*.</summary>
internal enum RouteType : byte
{
    Unicast,
    Local,
    Broadcast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
}

/// <summary>Metrics that TCP learns for itself, unless the route has locked them. Linux: TCP_METRIC_*.</summary>
[Flags]
internal enum LearnedMetrics : byte
{
    None = 0,
    Rtt = 1,
    Rttvar = 2,
    Ssthresh = 4,
    Cwnd = 8,
    Reordering = 16,
}

/// <summary>The metrics of a route; 0 is unset. Linux: RTAX_*.</summary>
internal sealed record RouteMetrics
{
    public static RouteMetrics None { get; } = new();

    public int Mtu { get; init; }

    /// <summary>Path-MTU discovery must not change <see cref="Mtu"/>.</summary>
    public bool MtuLocked { get; init; }
    public int AdvMss { get; init; }
    public int Window { get; init; }
    public int InitCwnd { get; init; }
    public int InitRwnd { get; init; }

    /// <summary>Milliseconds.</summary>
    public int RtoMin { get; init; }
    public bool QuickAck { get; init; }
    public int HopLimit { get; init; }
    public string? CongestionControl { get; init; }
    public bool FastOpenNoCookie { get; init; }
    public bool Ecn { get; init; }

    /// <summary>
    /// What connections begin with until they have learned better: eight times the round trip, four times its variation, and packets.
    /// Linux: RTAX_RTT, RTAX_RTTVAR, RTAX_SSTHRESH, RTAX_CWND, RTAX_REORDERING.
    /// </summary>
    public Micros Srtt8 { get; init; }

    public Micros Rttvar4 { get; init; }
    public uint Ssthresh { get; init; }
    public uint Cwnd { get; init; }
    public uint Reordering { get; init; }

    /// <summary>Which of them connections do not change. Linux: RTAX_LOCK.</summary>
    public LearnedMetrics Locked { get; init; }
}

/// <summary>An entry of the routing table. Linux: fib_info, rt6_info.</summary>
internal sealed record RouteEntry(IpAddr Prefix, int PrefixLength, NetDevice? Device)
{
    public RouteType Type { get; init; } = RouteType.Unicast;

    /// <summary>The next hop; null if the destination is on the link.</summary>
    public IpAddr? Gateway { get; init; }

    /// <summary>The source to prefer.</summary>
    public IpAddr? Source { get; init; }

    /// <summary>Less is better.</summary>
    public int Metric { get; init; }

    public RouteMetrics Metrics { get; init; } = RouteMetrics.None;
}

/// <summary>
/// The way to one destination, as a sock keeps it: obsolete once the table or the path's MTU has changed.
/// </summary>
/// <remarks>Linux: rtable, dst_entry.</remarks>
internal sealed class Route(RoutingTable table, RouteEntry entry, IpAddr destination, IpAddr source, int generation, int pathMtu)
{
    public RouteEntry Entry { get; } = entry;

    public NetDevice Device => Entry.Device!;

    public IpAddr Destination { get; } = destination;

    /// <summary>The source address that packets on this route carry unless the sock chose one.</summary>
    public IpAddr Source { get; } = source;

    /// <summary>The next hop on an Ethernet, once it has been looked up. Linux: dst_neigh_lookup.</summary>
    public Neighbour? Neighbour;

    /// <summary>The peer has made progress with what was sent to it, so the next hop is alive. RFC 4861 §7.3.1. Linux: sk_dst_confirm, neigh_confirm.</summary>
    public void Confirm(Micros now)
    {
        if (Neighbour is { } neighbour)
            neighbour.Confirmed = now;
    }

    public IpAddr NextHop => Entry.Gateway ?? Destination;

    public RouteType Type => Entry.Type;

    public RouteMetrics Metrics => Entry.Metrics;

    public bool IsObsolete => generation != table.Generation;

    /// <summary>The largest packet on the path, in bytes, as far as known. Linux: dst_mtu.</summary>
    public int Mtu => pathMtu != 0 ? pathMtu : Entry.Metrics.Mtu != 0 ? Entry.Metrics.Mtu : Device.Mtu;

    /// <summary>Whether an ICMP error has told the path's MTU. Linux: rt_pmtu.</summary>
    public bool IsPathMtu => pathMtu != 0;

    /// <summary>Linux: dst_metric_advmss.</summary>
    public int AdvertisedMss(Sysctls sysctls)
    {
        int minimum = Destination.IsV4 ? sysctls.MinAdvMss : sysctls.MinAdvMss6;
        if (Entry.Metrics.AdvMss != 0)
            return Entry.Metrics.AdvMss;
        int headers = Destination.IsV4 ? Ipv4Header.MinLength : Ipv6Header.Length;
        int mss = Math.Max(Mtu - headers - TcpHeader.MinLength, minimum);
        return Math.Min(mss, 65535 - headers - TcpHeader.MinLength);
    }
}
