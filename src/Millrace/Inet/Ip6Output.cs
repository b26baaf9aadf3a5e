using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>IPv6's way out: header, route, device.</summary>
/// <remarks>RFC 8200, RFC 6437 (flow labels). Linux: ip6_xmit, ip6_output.</remarks>
internal sealed unsafe class Ip6Output(RoutingTable routes, NeighbourTable neighbours, Sysctls sysctls, SipKey labelKey) : AfOps
{
    public override int HeaderLength => Ipv6Header.Length;

    public override bool IsV6 => true;

    public override Errno QueueXmit(Cpu cpu, InetSock sk, SkBuff skb)
    {
        cpu.Trace(Tp.ip_queue_xmit, sk);
        Route? route = sk.CheckRoute(routes);
        if (route is null)
        {
            cpu.Mib.Inc(Mib.Ip6OutNoRoutes);
            Drops.Free(cpu, skb, DropReason.IpOutNoroutes);
            return Errno.EHOSTUNREACH;
        }
        byte hops = sk.HopLimit >= 0 ? (byte)sk.HopLimit : DefaultHopLimit(route);
        byte trafficClass = (byte)((sk.TrafficClass & ~3) | (skb.Tcp.DsField & 3));
        PushHeader(skb, trafficClass, LabelOf(sk), hops, IpProtocol.Tcp, sk.SourceAddr, sk.RemoteAddr);
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
            cpu.Mib.Inc(Mib.Ip6OutNoRoutes);
            Drops.Free(cpu, skb, DropReason.IpOutNoroutes);
            return;
        }
        byte hops = flow.Ttl >= 0 ? (byte)flow.Ttl : DefaultHopLimit(route);
        IpAddr source = flow.Source.IsAny ? route.Source : flow.Source;
        PushHeader(skb, flow.Tos, flow.FlowLabel, hops, flow.Protocol, source, flow.Destination);
        skb.Mark = flow.Mark;
        Output(cpu, route, skb);
    }

    // Linux: ip6_make_flowlabel, ip6_autoflowlabel.
    private uint LabelOf(InetSock sk)
    {
        bool wanted = sysctls.AutoFlowLabels switch
        {
            0 => false,
            3 => true,
            _ => sk.HasInet(InetFlags.AutoFlowLabel),
        };
        if (sk.FlowLabel == 0 && wanted)
            sk.FlowLabel = AutoLabel(sk.SourceAddr, sk.RemoteAddr, (uint)sk.LocalPort << 16 | sk.RemotePort, sk.Rehashes);
        return sk.FlowLabel;
    }

    /// <summary>A label that tells nothing of the flow, and is never 0. RFC 6437 §3.</summary>
    /// <param name="rehashes">A flow that has timed out so often takes another.</param>
    public uint AutoLabel(IpAddr source, IpAddr destination, uint ports, uint rehashes = 0)
    {
        uint label = (uint)SipHash.Hash13(labelKey, source.High, source.Low, destination.High, destination.Low, (ulong)rehashes << 32 | ports) & 0xf_ffff;
        return label != 0 ? label : 1;
    }

    private Errno Output(Cpu cpu, Route route, SkBuff skb)
    {
        cpu.Mib.Inc(Mib.Ip6OutRequests);
        cpu.Mib.Add(Mib.Ip6OutOctets, skb.Length);
        cpu.Trace(Tp.ip_output, skb.Length);
        skb.Protocol = EtherType.Ipv6;
        if (skb.Length > route.Mtu && !skb.IsGso)
        {
            cpu.Mib.Inc(Mib.Ip6OutDiscards);
            Drops.Free(cpu, skb, DropReason.PktTooBig);
            return Errno.EMSGSIZE;
        }
        return neighbours.Output(cpu, route, skb) ? Errno.OK : Errno.ENOBUFS;
    }

    private byte DefaultHopLimit(Route route) => route.Metrics.HopLimit > 0 ? (byte)route.Metrics.HopLimit : sysctls.IpDefaultTtl;

    private static void PushHeader(SkBuff skb, byte trafficClass, uint flowLabel, byte hops, byte protocol, IpAddr source, IpAddr destination)
    {
        int payload = skb.Length;
        byte* ip = skb.Push(Ipv6Header.Length);
        skb.NetworkOffset = skb.Headroom;
        Ipv6Header.Write(ip, payload <= ushort.MaxValue ? payload : 0, trafficClass, flowLabel, protocol, hops, source, destination);
    }
}
