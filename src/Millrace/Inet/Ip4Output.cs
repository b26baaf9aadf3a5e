using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>IPv4's way out: header, route, device.</summary>
/// <remarks>Linux: ip_output.c.</remarks>
internal sealed unsafe class Ip4Output(RoutingTable routes, NeighbourTable neighbours, Sysctls sysctls, IpIdGenerator ids) : AfOps
{
    public override int HeaderLength => Ipv4Header.MinLength;

    public override bool IsV6 => false;

    public override Errno QueueXmit(Cpu cpu, InetSock sk, SkBuff skb)
    {
        cpu.Trace(Tp.ip_queue_xmit, sk);
        Route? route = sk.CheckRoute(routes);
        if (route is null)
        {
            cpu.Mib.Inc(Mib.IpOutNoRoutes);
            Drops.Free(cpu, skb, DropReason.IpOutNoroutes);
            return Errno.EHOSTUNREACH;
        }
        bool dontFragment = sk.PathMtuDiscovery is PathMtuDiscovery.Do or PathMtuDiscovery.Probe
            || (sk.PathMtuDiscovery == PathMtuDiscovery.Want && !route.Metrics.MtuLocked);
        byte ttl = sk.Ttl >= 0 ? (byte)sk.Ttl : DefaultTtl(route);
        ushort id = sk.TakeIpIds(skb.IsGso ? skb.GsoSegs : 1);
        byte tos = skb.Tcp.DsField != 0 ? skb.Tcp.DsField : sk.Tos;
        PushHeader(skb, tos, id, dontFragment ? Ipv4Header.DontFragment : (ushort)0, ttl, IpProtocol.Tcp, sk.SourceAddr, sk.RemoteAddr);
        skb.Priority = sk.Priority;
        skb.Mark = sk.Mark;
        return Output(cpu, route, skb);
    }

    public override void SendReply(Cpu cpu, SkBuff skb, in ReplyFlow flow)
    {
        Route? route = flow.Route is { IsObsolete: false } known
            ? known
            : routes.LookUpOutput(flow.Destination, flow.Source, flow.IfIndex);
        if (route is null)
        {
            cpu.Mib.Inc(Mib.IpOutNoRoutes);
            Drops.Free(cpu, skb, DropReason.IpOutNoroutes);
            return;
        }
        byte ttl = flow.Ttl >= 0 ? (byte)flow.Ttl : DefaultTtl(route);
        ushort id = flow.MayFragment ? ids.Next(flow.Source, flow.Destination, flow.Protocol) : (ushort)0;
        IpAddr source = flow.Source.IsAny ? route.Source : flow.Source;
        PushHeader(skb, flow.Tos, id, flow.MayFragment ? (ushort)0 : Ipv4Header.DontFragment, ttl, flow.Protocol, source,
            flow.Destination);
        skb.Mark = flow.Mark;
        Output(cpu, route, skb);
    }

    /// <summary>Sends a packet whose IP header is written. Linux: ip_local_out, ip_output, ip_finish_output.</summary>
    public Errno Output(Cpu cpu, Route route, SkBuff skb)
    {
        cpu.Mib.Inc(Mib.IpOutRequests);
        cpu.Mib.Add(Mib.IpExtOutOctets, skb.Length);
        cpu.Trace(Tp.ip_output, skb.Length);
        skb.Protocol = EtherType.Ipv4;
        if (skb.Length > route.Mtu && !skb.IsGso)
            return OutputTooLarge(cpu, route, skb);
        return neighbours.Output(cpu, route, skb) ? Errno.OK : Errno.ENOBUFS;
    }

    private byte DefaultTtl(Route route) => route.Metrics.HopLimit > 0 ? (byte)route.Metrics.HopLimit : sysctls.IpDefaultTtl;

    private static void PushHeader(SkBuff skb, byte tos, ushort id, ushort fragmentField, byte ttl, byte protocol, IpAddr source,
        IpAddr destination)
    {
        byte* ip = skb.Push(Ipv4Header.MinLength);
        skb.NetworkOffset = skb.Headroom;
        // A super-packet may be longer than the field can say; its segments are not.
        Ipv4Header.Write(ip, skb.Length <= ushort.MaxValue ? skb.Length : 0, tos, id, fragmentField, ttl, protocol, source, destination);
    }

    // Linux: ip_fragment.
    private Errno OutputTooLarge(Cpu cpu, Route route, SkBuff skb)
    {
        if ((Be.Get16(skb.NetworkHeader + 6) & Ipv4Header.DontFragment) != 0)
        {
            cpu.Mib.Inc(Mib.IpFragFails);
            Drops.Free(cpu, skb, DropReason.PktTooBig);
            return Errno.EMSGSIZE;
        }
        if (skb.IpSummed == ChecksumState.Partial)
            SoftwareGso.FinishChecksum(skb);
        var fragments = new SkBuffHead();
        Ip4Fragmenter.Cut(cpu, skb, route.Mtu, fragments);
        cpu.Mib.Inc(Mib.IpFragOKs);
        bool all = true;
        while (fragments.PopFirst() is { } fragment)
        {
            cpu.Mib.Inc(Mib.IpFragCreates);
            all &= neighbours.Output(cpu, route, fragment);
        }
        return all ? Errno.OK : Errno.ENOBUFS;
    }
}
