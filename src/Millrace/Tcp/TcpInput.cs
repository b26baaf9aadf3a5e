using System;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>TCP below the sockets: checks a segment, finds its connection, and hands it over.</summary>
/// <remarks>Linux: tcp_v4_rcv, tcp_v6_rcv, tcp_v4_early_demux, tcp_v4_err.</remarks>
internal sealed partial class TcpProto
{
    /// <summary>The face that the network layer sees.</summary>
    public InetProtocol Input => field ??= new TcpInput(this);

    private sealed class TcpInput(TcpProto tcp) : InetProtocol
    {
        public override byte Number => IpProtocol.Tcp;

        public override void Receive(Cpu cpu, SkBuff skb) => tcp.Receive(cpu, skb);

        public override SockCommon? EarlyDemux(Cpu cpu, SkBuff skb) => tcp.EarlyDemux(cpu, skb);

        public override void Error(Cpu cpu, in IcmpError error) => tcp.OnIcmpError(cpu, error);
    }

    // Linux: tcp_v4_early_demux.
    private unsafe SockCommon? EarlyDemux(Cpu cpu, SkBuff skb)
    {
        if (!Sysctls.IpEarlyDemux || !Sysctls.TcpEarlyDemux)
            return null;
        cpu.Trace(Tp.tcp_v4_early_demux);
        if (!skb.MayPull(TcpHeader.MinLength, cpu) || !TcpHeader.TryParse(skb.Data, skb.LinearLength, out TcpHeader tcp))
            return null;
        cpu.Trace(Tp.__inet_lookup_established, tcp.SourcePort, tcp.DestinationPort);
        return Established.LookUp(cpu, new FlowKey(IpHeaders.Source(skb), tcp.SourcePort, IpHeaders.Destination(skb),
            tcp.DestinationPort, skb.IfIndex));
    }

    // Linux: tcp_v4_rcv.
    private unsafe void Receive(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.tcp_v4_rcv, skb.Length);
        cpu.Mib.Inc(Mib.TcpInSegs);
        if (!skb.MayPull(TcpHeader.MinLength, cpu) || !skb.MayPull(Math.Max((skb.Data[12] >> 4) * 4, TcpHeader.MinLength), cpu)
            || !TcpHeader.TryParse(skb.Data, skb.LinearLength, out TcpHeader tcp))
        {
            Refuse(cpu, skb, DropReason.PktTooSmall, checksum: false);
            return;
        }
        if (!IpHeaders.TransportChecksumIsValid(skb, IpProtocol.Tcp))
        {
            Refuse(cpu, skb, DropReason.TcpCsum, checksum: true);
            return;
        }
        FillControlBlock(skb, tcp);
        var flow = new FlowKey(IpHeaders.Source(skb), tcp.SourcePort, IpHeaders.Destination(skb), tcp.DestinationPort, skb.IfIndex);
        SockCommon? found = StealOwner(skb) ?? LookUp(cpu, flow);
        while (found switch
        {
            TcpSock sk => ToConnection(cpu, sk, skb, tcp),
            TcpRequestSock request => ToRequest(cpu, request, skb, tcp),
            TcpTimeWaitSock tw => ToTimeWait(cpu, tw, skb, tcp, flow),
            _ => ToListenerOrNobody(cpu, skb, flow),
        })
        {
            found = Established.LookUp(cpu, flow);
        }
    }

    private static void Refuse(Cpu cpu, SkBuff skb, DropReason reason, bool checksum)
    {
        if (checksum)
            cpu.Mib.Inc(Mib.TcpInCsumErrors);
        cpu.Mib.Inc(Mib.TcpInErrs);
        Drops.Free(cpu, skb, reason);
    }

    // Linux: tcp_v4_fill_cb.
    private static void FillControlBlock(SkBuff skb, in TcpHeader tcp)
    {
        ref TcpControlBlock cb = ref skb.Tcp;
        int sequence = skb.Length - tcp.HeaderLength;
        if (tcp.Has(TcpFlags.Syn))
            sequence++;
        if (tcp.Has(TcpFlags.Fin))
            sequence++;
        cb.Seq = tcp.Seq;
        cb.EndSeq = tcp.Seq + sequence;
        cb.AckSeq = tcp.AckSeq;
        cb.Flags = tcp.Flags;
        cb.Sacked = SackedFlags.None;
        cb.DsField = IpHeaders.DsField(skb);
        if (skb.IpSummed == ChecksumState.None)
            skb.IpSummed = ChecksumState.Unnecessary;
    }

    // What early demux has found, with its reference. Linux: skb_steal_sock.
    private static SockCommon? StealOwner(SkBuff skb)
    {
        if (skb.Charge != ChargeKind.Reference)
            return null;
        var sk = (SockCommon?)skb.Owner;
        skb.Owner = null;
        skb.Charge = ChargeKind.None;
        return sk;
    }

    // Early demux found nothing, or did not look. Linux: __inet_lookup_skb.
    private SockCommon? LookUp(Cpu cpu, in FlowKey flow)
    {
        cpu.Trace(Tp.__inet_lookup_skb, flow.RemotePort, flow.LocalPort);
        cpu.Trace(Tp.__inet_lookup_established, flow.RemotePort, flow.LocalPort);
        return Established.LookUp(cpu, flow);
    }

    // Each of these is done with the segment, and returns false; or a connection has come or gone meanwhile: true, look again.

    private bool ToListenerOrNobody(Cpu cpu, SkBuff skb, in FlowKey flow)
    {
        if (Listeners.LookUp(cpu, flow) is TcpSock listener)
        {
            ToListener(cpu, listener, skb);
            return false;
        }
        Replies.SendReset(cpu, null, skb);
        Drops.Free(cpu, skb, DropReason.NoSocket);
        return false;
    }

    // A connection: softirq works on it, or its owner will.
    private bool ToConnection(Cpu cpu, TcpSock sk, SkBuff skb, in TcpHeader tcp)
    {
        DropReason refused = Admit(cpu, sk, skb, tcp);
        if (refused != DropReason.None)
        {
            Drops.Free(cpu, skb, refused);
            sk.Put(cpu);
            return false;
        }
        // Linux: sk_incoming_cpu_update.
        if (sk.IncomingCpu != cpu.Index)
            sk.IncomingCpu = cpu.Index;
        sk.Lock.Lock(cpu);
        sk.CountIn(skb);
        if (sk.Lock.IsOwned)
            AddBacklog(cpu, sk, skb);
        else
            Deliver(cpu, sk, skb);
        sk.Lock.Unlock(cpu);
        sk.Put(cpu);
        return false;
    }

    // What is asked of a segment before its socket is touched: the hops that it has come, and the peer's signature.
    private DropReason Admit(Cpu cpu, TcpSock sk, SkBuff skb, in TcpHeader tcp)
    {
        if (sk.MinTtl == 0 || IpHeaders.Ttl(skb) >= sk.MinTtl)
            return Signer.Check(cpu, sk.Md5Keys, skb, tcp);
        cpu.Mib.Inc(Mib.TcpExtTCPMinTTLDrop);
        return DropReason.TcpMinTtl;
    }

    private unsafe void ToListener(Cpu cpu, TcpSock listener, SkBuff skb)
    {
        TcpHeader.TryParse(skb.Data, skb.LinearLength, out TcpHeader tcp);
        DropReason refused = Admit(cpu, listener, skb, tcp);
        if (refused != DropReason.None)
        {
            Drops.Free(cpu, skb, refused);
            return;
        }
        if (TryOpenByCookie(cpu, listener, skb, tcp))
            return;
        // Listening needs no lock: its queue has its own. Linux: tcp_v4_rcv for TCP_LISTEN.
        Deliver(cpu, listener, skb);
    }

    // The owner will deal with it. Linux: tcp_add_backlog.
    private static void AddBacklog(Cpu cpu, TcpSock sk, SkBuff skb)
    {
        long limit = (long)sk.ReceiveBuffer + (sk.SendBuffer >> 1) + 64 * 1024;
        if (sk.Lock.BacklogBytes + sk.ReceiveAllocated > limit)
        {
            cpu.Mib.Inc(Mib.TcpExtTCPBacklogDrop);
            Drops.Free(cpu, skb, DropReason.SocketBacklog);
            return;
        }
        cpu.Trace(Tp.tcp_add_backlog, sk, skb.Length);
        sk.Lock.AddBacklog(skb);
    }

    private bool ToRequest(Cpu cpu, TcpRequestSock request, SkBuff skb, in TcpHeader tcp)
    {
        TcpSock listener = request.Listener;
        if (listener.State != TcpState.Listen)
        {
            DropRequest(cpu, request, Errno.ECANCELED);
            request.Put(cpu);
            return true;
        }
        DropReason refused = Signer.Check(cpu, listener.Md5Keys, skb, tcp);
        if (refused != DropReason.None)
        {
            Drops.Free(cpu, skb, refused);
            request.Put(cpu);
            return false;
        }
        RequestVerdict verdict = CheckRequest(cpu, request, skb, tcp, out TcpSock? child);
        request.Put(cpu);
        switch (verdict)
        {
            case RequestVerdict.Stolen:
                return true;
            case RequestVerdict.ToListener:
                ToListener(cpu, listener, skb);
                return false;
            case RequestVerdict.Child:
                ToChild(cpu, listener, child!, skb);
                return false;
            case RequestVerdict.Drop:
                cpu.FreeSkb(skb);
                return false;
        }
        return false;
    }

    // The first segment of a new connection, which is locked. Linux: tcp_child_process.
    private void ToChild(Cpu cpu, TcpSock listener, TcpSock child, SkBuff skb)
    {
        cpu.Trace(Tp.tcp_child_process, child);
        child.CountIn(skb);
        TcpState before = child.State;
        if (child.Lock.IsOwned)
        {
            child.Lock.AddBacklog(skb);
        }
        else
        {
            DropReason refused = child.ReceiveInState(cpu, skb);
            if (refused != DropReason.None)
            {
                Replies.SendReset(cpu, child, skb);
                Drops.Free(cpu, skb, refused);
            }
            if (before == TcpState.SynRecv && child.State != before)
                listener.DataReady(cpu, default);
        }
        child.Lock.Unlock(cpu);
        child.Put(cpu);
    }

    private bool ToTimeWait(Cpu cpu, TcpTimeWaitSock tw, SkBuff skb, in TcpHeader tcp, in FlowKey flow)
    {
        TimeWaitVerdict verdict = ProcessTimeWait(cpu, tw, skb, tcp);
        if (verdict == TimeWaitVerdict.Syn)
        {
            if (Listeners.LookUp(cpu, flow) is TcpSock listener)
            {
                EndTimeWait(cpu, tw);
                tw.Put(cpu);
                ToListener(cpu, listener, skb);
                return false;
            }
            verdict = TimeWaitVerdict.Ack;
        }
        if (verdict == TimeWaitVerdict.Ack)
        {
            AckForTimeWait(cpu, tw);
        }
        else if (verdict == TimeWaitVerdict.Rst)
        {
            Replies.SendReset(cpu, null, skb);
            EndTimeWait(cpu, tw);
        }
        Drops.Free(cpu, skb, DropReason.TcpTimewait);
        tw.Put(cpu);
        return false;
    }

    // ---- ICMP ----

    /// <summary>An ICMP error about one of our segments. RFC 1122 §4.2.3.9, RFC 5927. Linux: tcp_v4_err, tcp_v6_err.</summary>
    private unsafe void OnIcmpError(Cpu cpu, in IcmpError error)
    {
        ReadOnlySpan<byte> quoted = error.Transport;
        ushort localPort, remotePort;
        SeqNumber seq;
        fixed (byte* p = quoted)
        {
            localPort = Be.Get16(p);
            remotePort = Be.Get16(p + 2);
            seq = new SeqNumber(Be.Get32(p + 4));
        }
        SockCommon? found = Established.LookUp(cpu, new FlowKey(error.Destination, remotePort, error.Source, localPort, error.IfIndex));
        switch (found)
        {
            case null:
                cpu.Mib.Inc(Mib.IcmpInErrors);
                return;
            case TcpRequestSock request:
                // RFC 5927 §4.1: only if it quotes what we sent.
                if (seq != request.SndIsn)
                {
                    cpu.Mib.Inc(Mib.TcpExtOutOfWindowIcmps);
                }
                else if (IcmpErrors.EndsRequest(error))
                {
                    DropRequest(cpu, request, Errno.EHOSTUNREACH);
                    cpu.Mib.Inc(Mib.TcpExtListenDrops);
                }
                break;
            case TcpSock sk:
                sk.Lock.Lock(cpu);
                OnIcmpError(cpu, sk, seq, error);
                sk.Lock.Unlock(cpu);
                break;
        }
        found.Put(cpu);
    }

    private static void OnIcmpError(Cpu cpu, TcpSock sk, SeqNumber seq, in IcmpError error)
    {
        bool tooBig = IcmpErrors.IsPacketTooBig(error);
        if (sk.Lock.IsOwned && !tooBig)
            cpu.Mib.Inc(Mib.TcpExtLockDroppedIcmps);
        if (sk.State == TcpState.Close)
            return;
        TcpRequestSock? passive = sk.FastOpen?.Passive;
        if (sk.State != TcpState.Listen && !seq.IsBetween(passive?.SndIsn ?? sk.Snd.Una, sk.Snd.Nxt))
        {
            cpu.Mib.Inc(Mib.TcpExtOutOfWindowIcmps);
            return;
        }
        if (tooBig)
        {
            sk.OnPacketTooBig(cpu, (int)Math.Min(error.Info, ushort.MaxValue));
            return;
        }
        Errno errno = IcmpErrors.ErrnoOf(error);
        if (errno == Errno.OK)
            return;
        if (passive is null && IcmpErrors.IsUnreachable(error))
            sk.RevertBackOff(cpu, seq);
        // A Fast Open child that has been accepted counts as connected.
        bool opening = sk.State is TcpState.SynSent or TcpState.SynRecv && !(passive is not null && sk.FastOpen!.IsAccepted);
        if (opening)
        {
            // Of IPv4 also unasked, so that who may open no raw socket can trace a route. Linux: tcp_v4_err, tcp_v6_err.
            if (!error.IsV6 || sk.HasInet(InetFlags.RecvErr6))
                AddNotice(cpu, sk, errno, error);
            if (sk.Lock.IsOwned)
                sk.SoftError = errno;
            else
                sk.Tcp.FailConnect(cpu, sk, errno);
            return;
        }
        // RFC 1122 §4.2.3.9: an established connection is not ended by hearsay.
        if (sk.HasInet(error.IsV6 ? InetFlags.RecvErr6 : InetFlags.RecvErr) && !sk.Lock.IsOwned)
        {
            sk.Error = errno;
            sk.ErrorReport(cpu);
        }
        else
        {
            sk.SoftError = errno;
        }
    }

    // Linux: ip_icmp_error, ipv6_icmp_error.
    private static void AddNotice(Cpu cpu, TcpSock sk, Errno errno, in IcmpError error) => sk.AddNotice(cpu, new ErrorNotice
    {
        Error = errno,
        Origin = error.IsV6 ? ErrorOrigin.Icmp6 : ErrorOrigin.Icmp,
        Type = error.Type,
        Code = error.Code,
        Info = error.Info,
        Reporter = error.Reporter,
        Destination = error.Destination,
        Port = sk.RemotePort,
        Payload = error.Transport.ToArray(),
    });

    // A connection that was being opened has failed for good.
    private void FailConnect(Cpu cpu, TcpSock sk, Errno errno)
    {
        sk.PurgeWriteQueue(cpu);
        Done(cpu, sk, errno);
    }
}
