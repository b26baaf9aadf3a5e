using System;
using Millrace.Buffers;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Segments that no full sock sends: RSTs to nobody's segments, a mini-sock's ACKs, a request sock's SYN-ACKs and ACKs.</summary>
/// <remarks>Linux: tcp_v4_send_reset, tcp_v4_send_ack, tcp_v6_send_response, tcp_make_synack.</remarks>
internal sealed unsafe class TcpReplies(TcpProto tcp)
{
    /// <summary>Answers a segment with a RST. RFC 9293 §3.5.2. <paramref name="skb"/> is at its TCP header and stays the caller's.</summary>
    public void SendReset(Cpu cpu, SkBuff skb)
    {
        if (!TcpHeader.TryParse(skb.Data, skb.LinearLength, out TcpHeader header) || header.Has(TcpFlags.Rst))
            return;
        IpAddr local = IpHeaders.Destination(skb), remote = IpHeaders.Source(skb);
        // Never to a group or a broadcast.
        if (!tcp.Routes.IsLocal(local))
            return;
        cpu.Trace(Tp.tcp_v4_send_reset);
        SkBuff reply = cpu.AllocSkb(SkBuff.TransmitHeadroom);
        byte* p = reply.Put(TcpHeader.MinLength);
        if (header.Has(TcpFlags.Ack))
        {
            TcpHeader.Write(p, header.DestinationPort, header.SourcePort, header.AckSeq, default, TcpHeader.MinLength, TcpFlags.Rst, 0);
        }
        else
        {
            int length = skb.Length - header.HeaderLength + (header.Has(TcpFlags.Syn) ? 1 : 0) + (header.Has(TcpFlags.Fin) ? 1 : 0);
            TcpHeader.Write(p, header.DestinationPort, header.SourcePort, default, header.Seq + length, TcpHeader.MinLength,
                TcpFlags.Rst | TcpFlags.Ack, 0);
        }
        cpu.Mib.Inc(Mib.TcpOutSegs);
        cpu.Mib.Inc(Mib.TcpOutRsts);
        cpu.Trace(Tp.tcp_send_reset);
        Send(cpu, reply, new ReplyFlow(local, remote) { IfIndex = OutInterface(skb, remote) });
    }

    /// <summary>An ACK that a mini-sock or a request sock sends. Linux: tcp_v4_send_ack.</summary>
    public void SendAck(Cpu cpu, in AckReply ack)
    {
        cpu.Trace(Tp.tcp_v4_send_ack);
        var options = new OutgoingOptions();
        if (ack.HasTimestamp)
        {
            options.HasTimestamp = true;
            options.TsVal = ack.TsVal;
            options.TsEcr = ack.TsEcr;
        }
        SkBuff reply = cpu.AllocSkb(SkBuff.TransmitHeadroom);
        int headerLength = TcpHeader.MinLength + options.Size;
        byte* p = reply.Put(headerLength);
        TcpHeader.Write(p, ack.LocalPort, ack.RemotePort, ack.Seq, ack.Ack, headerLength, TcpFlags.Ack, ack.Window);
        options.Write(p + TcpHeader.MinLength);
        cpu.Mib.Inc(Mib.TcpOutSegs);
        Send(cpu, reply, new ReplyFlow(ack.Local, ack.Remote) { Tos = ack.Tos, IfIndex = ack.IfIndex, Mark = ack.Mark });
    }

    /// <summary>Builds and sends a SYN-ACK. Linux: tcp_make_synack, tcp_v4_send_synack.</summary>
    /// <param name="cookie">The Fast Open option that it bears, if any.</param>
    /// <param name="isRetransmit">Whether it goes again, and so without what may have stopped the first.</param>
    public void SendSynAck(Cpu cpu, TcpRequestSock request, FastOpenCookie cookie = default, bool isRetransmit = false)
    {
        cpu.Trace(Tp.tcp_v4_send_synack, request);
        cpu.Trace(Tp.tcp_make_synack, request);
        if (request.SynAckSent == Micros.Zero)
            request.SynAckSent = cpu.Now;
        scoped var options = new OutgoingOptions { Mss = AdvertisedMss(request), SackPermitted = request.HasSack };
        if (request.HasTimestamps)
        {
            options.HasTimestamp = true;
            options.TsVal = request.TimestampAt(cpu.Now);
            options.TsEcr = request.TsRecent;
        }
        if (request.HasWindowScaling)
            options.WindowScale = request.RcvWndScale;
        if (cookie.HasOption)
        {
            options.HasFastOpen = true;
            options.FastOpenIsExperimental = cookie.IsExperimental;
            options.FastOpenCookie = cookie.Bytes;
            options.HasFastOpen = options.Room >= 0;
        }
        if (request.AccEcnOk && tcp.Sysctls.TcpEcnOption != 0 && !isRetransmit)
            options.FitAccEcn(0, default, handshake: true);
        SkBuff reply = cpu.AllocSkb(SkBuff.TransmitHeadroom);
        int headerLength = TcpHeader.MinLength + options.Size;
        byte* p = reply.Put(headerLength);
        TcpFlags flags = TcpFlags.Syn | TcpFlags.Ack | EcnAnswer(request, isRetransmit);
        TcpHeader.Write(p, request.LocalPort, request.RemotePort, request.SndIsn, request.RcvNxt, headerLength, flags,
            (ushort)Math.Min(request.RcvWnd, ushort.MaxValue));
        options.Write(p + TcpHeader.MinLength);
        cpu.Mib.Inc(Mib.TcpOutSegs);
        TcpSock listener = request.Listener;
        Send(cpu, reply, new ReplyFlow(request.LocalAddr, request.RemoteAddr)
        {
            Tos = (byte)((request.AfOps.IsV6 ? listener.TrafficClass : listener.Tos) | (listener.AlgorithmNeedsEcn ? (int)Ecn.Ect0 : 0)),
            Ttl = request.AfOps.IsV6 ? listener.HopLimit : listener.Ttl,
            Mark = listener.Mark,
            IfIndex = request.BoundIfIndex,
            Route = request.Route,
        });
    }

    // What a SYN-ACK says of ECN. RFC 9768 §3.1.4.2: after two timeouts perhaps the flags are what does not pass, and none are set.
    // Linux: tcp_ecn_make_synack.
    private static TcpFlags EcnAnswer(TcpRequestSock request, bool isRetransmit)
    {
        if (!request.AccEcnOk)
            return request.EcnOk ? TcpFlags.Ece : TcpFlags.None;
        return isRetransmit && request.Timeouts > 0 ? TcpFlags.None : AceField.Reflect(request.SynEcn);
    }

    /// <summary>What a SYN-ACK says of the segments that we take.</summary>
    public ushort AdvertisedMss(TcpRequestSock request)
    {
        int mss = request.Route?.AdvertisedMss(tcp.Sysctls.MinAdvMss) ?? TcpConstants.DefaultMss;
        ushort user = request.Listener.UserMss;
        return (ushort)(user != 0 && user < mss ? user : mss);
    }

    // A link-local address means nothing without its link.
    private static int OutInterface(SkBuff skb, IpAddr remote) => !remote.IsV4 && remote.IsLinkLocal6 ? skb.IfIndex : 0;

    private void Send(Cpu cpu, SkBuff reply, in ReplyFlow flow)
    {
        byte* p = reply.Data;
        reply.TransportOffset = reply.Headroom;
        uint pseudo = Checksum.PseudoHeader(flow.Source, flow.Destination, IpProtocol.Tcp, reply.Length);
        Be.PutRaw16(p + TcpHeader.ChecksumOffset, Checksum.Fold(pseudo));
        reply.IpSummed = ChecksumState.Partial;
        reply.ChecksumStart = reply.TransportOffset;
        reply.ChecksumOffset = TcpHeader.ChecksumOffset;
        cpu.BhDisable();
        tcp.AfOpsOf(flow.Destination).SendReply(cpu, reply, flow);
        cpu.BhEnable();
    }
}

/// <summary>What an ACK without a full sock says.</summary>
internal readonly record struct AckReply(IpAddr Local, ushort LocalPort, IpAddr Remote, ushort RemotePort, SeqNumber Seq, SeqNumber Ack, ushort Window)
{
    public bool HasTimestamp { get; init; }

    public uint TsVal { get; init; }

    public uint TsEcr { get; init; }

    public byte Tos { get; init; }

    public uint Mark { get; init; }

    public int IfIndex { get; init; }
}
