using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>What a connection does differently over IPv4 and over IPv6.</summary>
/// <remarks>Linux: inet_connection_sock_af_ops.</remarks>
internal abstract class AfOps
{
    /// <summary>Bytes of the network header. Linux: net_header_len.</summary>
    public abstract int HeaderLength { get; }

    public abstract bool IsV6 { get; }

    /// <summary>
    /// Sends a transport packet on the sock's route, taking it over. The transport header is at the buffer's start.
    /// Linux: queue_xmit.
    /// </summary>
    public abstract Errno QueueXmit(Cpu cpu, InetSock sk, SkBuff skb);

    /// <summary>
    /// Sends a transport packet that belongs to no full sock: a SYN-ACK, a RST, a mini-sock's ACK.
    /// Linux: ip_build_and_send_pkt, ip_send_unicast_reply, ip6_xmit.
    /// </summary>
    public abstract void SendReply(Cpu cpu, SkBuff skb, in ReplyFlow flow);
}

/// <summary>Where a packet without a sock goes, and what its header carries.</summary>
internal readonly record struct ReplyFlow(IpAddr Source, IpAddr Destination)
{
    public byte Tos { get; init; }

    /// <summary>−1 for the default.</summary>
    public int Ttl { get; init; } = -1;

    public uint FlowLabel { get; init; }

    public uint Mark { get; init; }

    public int IfIndex { get; init; }

    /// <summary>A known route; null looks one up.</summary>
    public Route? Route { get; init; }

    /// <summary>Whether the packet may be cut on its way: then it needs an identification.</summary>
    public bool MayFragment { get; init; }

    public byte Protocol { get; init; } = IpProtocol.Tcp;
}
