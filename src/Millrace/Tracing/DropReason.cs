using System.Text;

namespace Millrace.Tracing;

/// <summary>Why a packet was dropped. <see cref="None"/>: it was not. Each has a counter and shows in the kfree_skb event.</summary>
/// <remarks>Linux: skb_drop_reason.</remarks>
internal enum DropReason : byte
{
    None,
    NotSpecified,
    NoSocket,
    SocketClose,
    PktTooSmall,
    TcpCsum,
    TcpAuthHdr,
    TcpMd5NotFound,
    TcpMd5Unexpected,
    TcpMd5Failure,
    UdpCsum,
    SocketRcvbuff,
    SocketBacklog,
    ProtoMem,
    TcpFlags,
    TcpZeroWindow,
    TcpOldData,
    TcpOverwindow,
    TcpOfoMerge,
    TcpOfoQueuePrune,
    TcpOfoDrop,
    TcpRfc7323Paws,
    TcpRfc7323PawsAck,
    TcpRfc7323TwPaws,
    TcpRfc7323TsEcr,
    TcpOldSequence,
    TcpInvalidSequence,
    TcpInvalidEndSequence,
    TcpInvalidAckSequence,
    TcpReset,
    TcpInvalidSyn,
    TcpClose,
    TcpFastopen,
    TcpOldAck,
    TcpTooOldAck,
    TcpAckUnsentData,
    TcpListenOverflow,
    TcpAbortOnData,
    TcpMinTtl,
    TcpTimewait,
    IpCsum,
    IpInhdr,
    IpInvalidSource,
    IpInvalidDest,
    IpLocalSource,
    IpLocalnet,
    IpNoproto,
    IpInAddrErrors,
    IpOutNoroutes,
    IpTtl,
    IpReasmUnsupported,
    Ipv6BadExthdr,
    Ipv6NdiscBadMessage,
    IcmpCsum,
    InvalidProto,
    UnhandledProto,
    OtherHost,
    UnicastInL2Multicast,
    FullRing,
    QdiscDrop,
    PktTooBig,
    NeighCreatefail,
    NeighDead,
    NeighFailed,
    NeighQueuefull,
    NoMem,
    DevHdr,
    DevReady,
    BadOffload,
    WireLoss,
    Security,
}

internal static class DropReasonNames
{
    /// <summary>The kernel's spelling: TcpOldData is TCP_OLD_DATA.</summary>
    public static string KernelName(this DropReason reason)
    {
        string name = reason.ToString();
        var text = new StringBuilder(name.Length + 6);
        for (int i = 0; i < name.Length; i++)
        {
            if (i > 0 && char.IsUpper(name[i]))
                text.Append('_');
            text.Append(char.ToUpperInvariant(name[i]));
        }
        return text.ToString();
    }
}
