using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>Whether and how a sock's packets may be fragmented on their way. Linux: IP_PMTUDISC_*.</summary>
internal enum PathMtuDiscovery : byte
{
    Dont = 0,
    Want = 1,
    Do = 2,
    Probe = 3,
    Interface = 4,
    Omit = 5,
}

/// <summary>Switches of an Internet sock. Linux: the bit fields of inet_sock and ipv6_pinfo.</summary>
[System.Flags]
internal enum InetFlags : uint
{
    None = 0,
    RecvErr = 1 << 0,
    FreeBind = 1 << 1,
    Transparent = 1 << 2,
    BindAddressNoPort = 1 << 3,
    RecvTtl = 1 << 4,
    RecvTos = 1 << 5,
    PacketInfo = 1 << 6,
    MinTtl = 1 << 7,

    /// <summary>IPV6_V6ONLY.</summary>
    V6Only = 1 << 8,
    RecvErr6 = 1 << 9,
    RecvHopLimit6 = 1 << 10,
    RecvTclass6 = 1 << 11,
    PacketInfo6 = 1 << 12,
    RecvErrRfc4884 = 1 << 13,

    /// <summary>IPV6_AUTOFLOWLABEL is on.</summary>
    AutoFlowLabel = 1 << 14,
    FlowInfoSend = 1 << 15,
    RecvFragSize = 1 << 16,
    DontFragment6 = 1 << 17,
}

/// <summary>A sock of the Internet families: addresses to send from, what its IP headers carry, and the route it uses.</summary>
/// <remarks>Linux: inet_sock, ipv6_pinfo.</remarks>
internal abstract class InetSock(Proto proto) : Sock(proto)
{
    /// <summary>
    /// The source of outgoing packets: the local address, unless that is no host's own; then any. Linux: inet_saddr.
    /// </summary>
    public IpAddr SourceAddr => !IsBoundToMany ? LocalAddr : Family == Af.Inet6 ? IpAddr.Any6 : IpAddr.Any4;

    /// <summary>The route in use; looked up again when it is obsolete. Linux: sk_dst_cache.</summary>
    public Route? Route;

    public InetFlags InetFlags = InetFlags.AutoFlowLabel;

    /// <summary>IPV6_FLOWINFO and the automatic label: 20 bits.</summary>
    public uint FlowLabel;

    /// <summary>How often the flow has changed its label. Linux: the changes of sk_txhash.</summary>
    public uint Rehashes;

    private ushort _ipId;

    /// <summary>DSCP and ECN of IPv6's packets.</summary>
    public byte TrafficClass;

    /// <summary>IP_TTL and IPV6_UNICAST_HOPS; −1 for the default.</summary>
    public short Ttl = -1, HopLimit = -1;

    /// <summary>IP_MINTTL, IPV6_MINHOPCOUNT.</summary>
    public byte MinTtl;

    /// <summary>What came with the packet that made the connection: device, TTL, TOS. Linux: mc_index, mc_ttl, rcv_tos.</summary>
    public (int IfIndex, byte Ttl, byte Tos) OpenedFrom = (0, 1, 0);

    public PathMtuDiscovery PathMtuDiscovery = PathMtuDiscovery.Want, PathMtuDiscovery6 = PathMtuDiscovery.Want;

    /// <summary>Linux: SOCK_BINDADDR_LOCK, SOCK_BINDPORT_LOCK: the user chose them, so that a disconnect keeps them.</summary>
    public bool BindAddressLocked, BindPortLocked;

    /// <summary>The local address is a multicast or broadcast address.</summary>
    public bool IsBoundToMany;

    public bool HasInet(InetFlags flag) => (InetFlags & flag) != 0;

    public void SetInet(InetFlags flag, bool on) => InetFlags = on ? InetFlags | flag : InetFlags & ~flag;

    /// <summary>Whether it has a port. Linux: inet_num.</summary>
    public virtual bool HasPort => LocalPort != 0;

    /// <summary>Whether the sock sees IPv6 only. Linux: ipv6_only_sock.</summary>
    public bool IsV6Only => HasInet(InetFlags.V6Only);

    /// <summary>Starts the identification of packets that need one, from a secret value. Linux: inet_id.</summary>
    public void SeedIpId(ushort id) => _ipId = id;

    /// <summary>The next identification, and room for the segments that a super-packet is cut into.</summary>
    public ushort TakeIpIds(int count)
    {
        ushort first = _ipId;
        _ipId += (ushort)count;
        return first;
    }

    /// <summary>The route to the peer, looked up again if it is obsolete; null if there is none. Linux: __sk_dst_check, inet_sk_rebuild_header.</summary>
    public Route? CheckRoute(RoutingTable routes)
    {
        if (Route is { IsObsolete: false } route)
            return route;
        Route = routes.LookUpOutput(RemoteAddr, SourceAddr, BoundIfIndex, Has(SockFlags.LocalRoute));
        return Route;
    }

    public (int Low, int High) NarrowPortRange((int Low, int High) all) =>
        (IsWithin(PortRange.Low, all) ? PortRange.Low : all.Low, IsWithin(PortRange.High, all) ? PortRange.High : all.High);

    private static bool IsWithin(int port, (int Low, int High) range) => range.Low <= port && port <= range.High;

    /// <summary>Takes another automatic label, if the socket may. Linux: sk_rethink_txhash.</summary>
    public bool TryRehash()
    {
        if (Has(SockFlags.KeepsLabel))
            return false;
        Rehashes++;
        if (!HasInet(InetFlags.FlowInfoSend))
            FlowLabel = 0;
        return true;
    }

    /// <summary>Back to unbound. Linux: inet_reset_saddr.</summary>
    public void ResetSourceAddr() => SetLocalAddr(Family == Af.Inet6 ? IpAddr.Any6 : IpAddr.Any4);

    /// <summary>Sets the address that packets come to and go from.</summary>
    public void SetLocalAddr(IpAddr address)
    {
        LocalAddr = address;
        IsBoundToMany = false;
    }

    /// <summary>Settles the account of an orphan: the sock has no user, and nothing of it is queued. Linux: inet_sock_destruct.</summary>
    public void DestructInet(Cpu cpu)
    {
        cpu.FreeAll(ReceiveQueue);
        Route = null;
    }
}
