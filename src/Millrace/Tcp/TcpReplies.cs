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
    /// <param name="sk">Whose segment it was; null for nobody's and a mini-sock's.</param>
    public void SendReset(Cpu cpu, TcpSock? sk, SkBuff skb)
    {
        if (!TcpHeader.TryParse(skb.Data, skb.LinearLength, out TcpHeader header) || header.Has(TcpFlags.Rst))
            return;
        IpAddr local = IpHeaders.Destination(skb), remote = IpHeaders.Source(skb);
        // Never to a group or a broadcast.
        if (!tcp.Routes.IsLocal(local))
            return;
        if (!TryFindKey(cpu, sk, skb, header, out Md5Key? key))
            return;
        cpu.Trace(Tp.tcp_v4_send_reset);
        var options = new OutgoingOptions { HasMd5 = key is not null };
        SkBuff reply = cpu.AllocSkb(SkBuff.TransmitHeadroom);
        int headerLength = TcpHeader.MinLength + options.Size;
        byte* p = reply.Put(headerLength);
        if (header.Has(TcpFlags.Ack))
        {
            TcpHeader.Write(p, header.DestinationPort, header.SourcePort, header.AckSeq, default, headerLength, TcpFlags.Rst, 0);
        }
        else
        {
            int length = skb.Length - header.HeaderLength + (header.Has(TcpFlags.Syn) ? 1 : 0) + (header.Has(TcpFlags.Fin) ? 1 : 0);
            TcpHeader.Write(p, header.DestinationPort, header.SourcePort, default, header.Seq + length, headerLength,
                TcpFlags.Rst | TcpFlags.Ack, 0);
        }
        Sign(cpu, key, local, remote, reply, options.Write(p + TcpHeader.MinLength));
        cpu.Mib.Inc(Mib.TcpOutSegs);
        cpu.Mib.Inc(Mib.TcpOutRsts);
        cpu.Trace(Tp.tcp_send_reset);
        Send(cpu, reply, new ReplyFlow(local, remote) { IfIndex = OutInterface(skb, remote) });
    }

    // The key that a RST is signed with, if any. False: the segment bears a signature that nobody here can vouch for, and gets no RST.
    // A connection that we have lost all memory of is vouched for by whoever listens on the port that it came from, as on Linux.
    private bool TryFindKey(Cpu cpu, TcpSock? sk, SkBuff skb, in TcpHeader header, out Md5Key? key)
    {
        IpAddr remote = IpHeaders.Source(skb);
        key = sk?.Md5Keys?.Find(remote);
        if (!TcpOptions.TryFindSignature(header.Options, out ReadOnlySpan<byte> signature))
            return false;
        if (sk is not null || signature.IsEmpty)
            return true;
        var flow = new FlowKey(remote, header.SourcePort, IpHeaders.Destination(skb), header.SourcePort, skb.IfIndex);
        key = (tcp.Listeners.LookUp(cpu, flow) as TcpSock)?.Md5Keys?.Find(remote);
        return key is not null && tcp.Signer.IsSignedWith(cpu, key, skb, signature);
    }

    private void Sign(Cpu cpu, Md5Key? key, IpAddr source, IpAddr destination, SkBuff segment, byte* digest)
    {
        if (key is not null)
            tcp.Signer.Compute(cpu, key, source, destination, segment, new Span<byte>(digest, Md5Signer.DigestLength));
    }

    /// <summary>Refuses a SYN that was kept. RFC 9293 §3.10.7.1.</summary>
    public void SendReset(Cpu cpu, TcpRequestSock request)
    {
        Md5Key? key = request.Listener.Md5Keys?.Find(request.RemoteAddr);
        var options = new OutgoingOptions { HasMd5 = key is not null };
        SkBuff reply = cpu.AllocSkb(SkBuff.TransmitHeadroom);
        int headerLength = TcpHeader.MinLength + options.Size;
        byte* p = reply.Put(headerLength);
        TcpHeader.Write(p, request.LocalPort, request.RemotePort, default, request.RcvIsn + 1, headerLength, TcpFlags.Rst | TcpFlags.Ack, 0);
        Sign(cpu, key, request.LocalAddr, request.RemoteAddr, reply, options.Write(p + TcpHeader.MinLength));
        cpu.Mib.Inc(Mib.TcpOutSegs);
        cpu.Mib.Inc(Mib.TcpOutRsts);
        cpu.Trace(Tp.tcp_send_reset);
        Send(cpu, reply, new ReplyFlow(request.LocalAddr, request.RemoteAddr) { IfIndex = request.BoundIfIndex, Route = request.Route });
    }

    /// <summary>An ACK that a mini-sock or a request sock sends. Linux: tcp_v4_send_ack.</summary>
    public void SendAck(Cpu cpu, in AckReply ack)
    {
        cpu.Trace(Tp.tcp_v4_send_ack);
        // Deviates: with timestamps as well, Linux puts the signature behind them here, and before them everywhere else.
        var options = new OutgoingOptions { HasMd5 = ack.Key is not null };
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
        Sign(cpu, ack.Key, ack.Local, ack.Remote, reply, options.Write(p + TcpHeader.MinLength));
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
        Md5Key? key = request.Listener.Md5Keys?.Find(request.RemoteAddr);
        // A signature and timestamps leave no room for SACK blocks. A cookie needs its timestamp.
        if (key is not null && !request.IsCookie)
            request.HasTimestamps &= !request.HasSack;
        scoped var options = new OutgoingOptions { HasMd5 = key is not null, Mss = AdvertisedMss(request), SackPermitted = request.HasSack };
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
        Sign(cpu, key, request.LocalAddr, request.RemoteAddr, reply, options.Write(p + TcpHeader.MinLength));
        cpu.Mib.Inc(Mib.TcpOutSegs);
        TcpSock listener = request.Listener;
        Send(cpu, reply, new ReplyFlow(request.LocalAddr, request.RemoteAddr)
        {
            Tos = (byte)(tcp.TosOf(request) | (listener.AlgorithmNeedsEcn ? (int)Ecn.Ect0 : 0)),
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
        int mss = request.Route?.AdvertisedMss(tcp.Sysctls) ?? TcpConstants.DefaultMss;
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

    public Md5Key? Key { get; init; }
}
