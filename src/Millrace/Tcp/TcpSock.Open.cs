using System;
using Millrace.Buffers;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Opening a connection, and every state but ESTABLISHED. RFC 9293 §3.10.7.3 and §3.10.7.4.</summary>
internal sealed partial class TcpSock
{
    // ---- Active open ----

    /// <summary>Sends the SYN. Addresses, ports and the ISN are set. Linux: tcp_connect.</summary>
    public void SendSyn(Cpu cpu)
    {
        SkBuff syn = PrepareSyn(cpu);
        cpu.BhDisable();
        TransmitSkb(cpu, syn);
        FinishSyn(cpu);
        cpu.BhEnable();
        FastOpen?.IsRequested = false;
    }

    // The SYN, on the queue where its answer is awaited.
    private SkBuff PrepareSyn(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_connect, this);
        InitConnect(cpu);
        SkBuff skb = AllocWriteSkb(cpu, force: true)!;
        skb.Tcp.Seq = Snd.Written;
        skb.Tcp.EndSeq = Snd.Written + 1;
        skb.Tcp.Flags = TcpFlags.Syn;
        skb.Tcp.Segments = 1;
        AskForEcn(skb);
        Snd.Written++;
        WriteQueued += skb.TrueSize;
        Charge(skb.TrueSize);
        LossRecovery recovery = AttachRecovery(cpu);
        RefreshTime(cpu);
        recovery.Undo.FirstRetransmit = Math.Max(Time.Value, 1);
        recovery.Queue.Append(skb);
        Packets.Out++;
        return skb;
    }

    private void FinishSyn(Cpu cpu)
    {
        Snd.Nxt = Snd.Pushed = SendHead?.Tcp.Seq ?? Snd.Written;
        cpu.Mib.Inc(Mib.TcpActiveOpens);
        ResetWriteTimer(cpu, TimerEvent.Retransmit, Rto, RtoMax);
        // A SYN that goes again bears no Fast Open option.
        FastOpen?.Cookie = FastOpenCookie.None;
    }

    // Linux: tcp_connect_init.
    private void InitConnect(Cpu cpu)
    {
        Sysctls sysctls = Tcp.Sysctls;
        Route route = Route!;
        HeaderLength = TcpHeader.MinLength;
        if (sysctls.TcpTimestamps != 0)
            HeaderLength += TcpConstants.TimestampOptionLength;
        if (UserMss != 0)
            MssClamp = UserMss;
        Snd.MaxWnd = 0;
        InitMtuSearch(cpu);
        SyncMss(route.Mtu);
        if (Rcv.WndClamp == 0)
            Rcv.WndClamp = route.Metrics.Window;
        AdvMss = (ushort)ClampToUserMss(route.AdvertisedMss(sysctls));
        InitRcvMss();
        if (Has(SockFlags.RcvBufLocked) && (Rcv.WndClamp > FullReceiveSpace || Rcv.WndClamp == 0))
            Rcv.WndClamp = FullReceiveSpace;
        int mss = AdvMss - (TsRecentStamp != 0 ? HeaderLength - TcpHeader.MinLength : 0);
        ReceiveSpace.SelectInitial(sysctls, FullReceiveSpace, mss, sysctls.TcpWindowScaling, route.Metrics.InitRwnd, ref Rcv.WndClamp,
            out Rcv.Wnd, out Rcv.WndScale);
        Rcv.Ssthresh = (int)Rcv.Wnd;
        Error = Errno.OK;
        Flags &= ~SockFlags.Done;
        Snd.Wnd = 0;
        Snd.Wl1 = default;
        PurgeWriteQueue(cpu);
        Snd.Una = Snd.Small = Snd.Up = Snd.Nxt = Snd.Written;
        if (InRepair)
            LastAckReceived = cpu.Now;
        else
            Rcv.Nxt = default;
        Rcv.Wup = Rcv.Copied = Rcv.Nxt;
        Rto = TcpConstants.TimeoutInit;
        Retransmits = 0;
        ClearRetransmits();
    }

    private int ClampToUserMss(int mss) => UserMss != 0 && UserMss < mss ? UserMss : mss;

    /// <summary>A first guess at the sender's MSS. Linux: tcp_initialize_rcv_mss.</summary>
    public void InitRcvMss()
    {
        int hint = Math.Min(AdvMss, MssCache);
        hint = Math.Min(hint, (int)Math.Min(Rcv.Wnd / 2, int.MaxValue));
        hint = Math.Clamp(hint, TcpConstants.MinMss, TcpConstants.DefaultMss);
        Ack.RcvMss = (ushort)hint;
    }

    private void ClearRetransmits()
    {
        Packets.Retrans = Packets.Lost = Packets.Sacked = 0;
        Losses?.TotalRto = 0;
        if (Recovery is { } recovery)
            recovery.Undo.Clear();
    }

    // The options of a SYN. Linux: tcp_syn_options; of the SYN-ACK of a simultaneous open the same.
    private void AddSynOptions(SkBuff segment, ref OutgoingOptions options)
    {
        Sysctls sysctls = Tcp.Sysctls;
        options.Mss = AdvertiseMss();
        if (sysctls.TcpTimestamps != 0 && !options.HasMd5)
        {
            options.HasTimestamp = true;
            options.TsVal = TimestampOf(new Micros(segment.SentTime != 0 ? segment.SentTime : Time.Value));
            options.TsEcr = TsRecent;
        }
        if (sysctls.TcpWindowScaling)
            options.WindowScale = Rcv.WndScale;
        options.SackPermitted = sysctls.TcpSack;
        AddFastOpenOption(ref options);
        AddAccEcnSynOption(segment, ref options);
    }

    // Linux: tcp_advertise_mss.
    private ushort AdvertiseMss()
    {
        if (Route is { } route)
        {
            int mss = ClampToUserMss(route.AdvertisedMss(Tcp.Sysctls));
            if (mss < AdvMss)
                AdvMss = (ushort)mss;
        }
        return AdvMss;
    }

    // ---- SYN-SENT ----

    /// <summary>What the caller must do with a segment after a state has looked at it.</summary>
    private enum Verdict
    {
        /// <summary>The buffer is gone.</summary>
        Consumed,

        /// <summary>Its text and urgent data are still to be looked at.</summary>
        GoOn,
    }

    // ---- Passive open ----

    /// <summary>Takes over what the handshake has settled. Linux: tcp_create_openreq_child, tcp_v4_syn_recv_sock.</summary>
    public void AdoptRequest(Cpu cpu, TcpRequestSock request, SkBuff skb, in TcpHeader tcp)
    {
        SetFeature(TcpFeatures.Timestamps, request.HasTimestamps);
        SetFeature(TcpFeatures.Sack, request.HasSack);
        SetFeature(TcpFeatures.WindowScaling, request.HasWindowScaling);
        TsOffset = request.TsOffset;
        Rcv.Nxt = Rcv.Wup = Rcv.Copied = request.RcvIsn + 1;
        Stats.SegmentsIn = 1;
        Snd.Una = Snd.Nxt = Snd.Up = Snd.Small = request.SndIsn + 1;
        Snd.Written = Snd.Pushed = request.SndIsn + 1;
        Snd.Wl1 = request.RcvIsn;
        LastSent = cpu.Now;
        Ack.LastReceived = cpu.Now;
        AdoptWindows(request, tcp);
        if (request.HasTimestamps)
        {
            TsRecent = request.TsRecent;
            TsRecentStamp = Paws.Stamp(cpu.Now);
            HeaderLength = TcpHeader.MinLength + TcpConstants.TimestampOptionLength;
        }
        AdoptEcn(request, skb, tcp);
        MssClamp = request.Mss;
        Route = request.Route;
        if (CheckRoute(Tcp.Routes) is { } route)
        {
            SyncMss(route.Mtu);
            AdvMss = (ushort)ClampToUserMss(route.AdvertisedMss(Tcp.Sysctls));
        }
        InitRcvMss();
        if (request.Timeouts > 0)
        {
            // The SYN-ACK timed out: whether that was spurious, its timestamp will tell. Linux: undo_marker, retrans_stamp.
            LossRecovery recovery = AttachRecovery(cpu);
            recovery.Undo.Start(request.SndIsn, 0);
            recovery.Undo.FirstRetransmit = Math.Max(request.SynAckSent.Value, 1);
        }
        if (request.Retransmits > 0)
            AttachLosses().TotalRetransmits = request.Retransmits;
        if (Has(SockFlags.KeepOpen))
            ArmKeepAlive(cpu, KeepAliveTime);
    }

    private void AdoptWindows(TcpRequestSock request, in TcpHeader tcp)
    {
        Rcv.WndClamp = request.WndClamp;
        Rcv.Wnd = request.RcvWnd;
        Rcv.Ssthresh = (int)request.RcvWnd;
        if (request.HasWindowScaling)
        {
            Snd.WndScale = request.SndWndScale;
            Rcv.WndScale = request.RcvWndScale;
        }
        else
        {
            Rcv.WndClamp = Math.Min(Rcv.WndClamp, 65535);
        }
        Snd.Wnd = (uint)tcp.Window << Snd.WndScale;
        Snd.MaxWnd = Snd.Wnd;
    }

    // ---- Ends ----

    /// <summary>Throws away what was to be sent. Linux: tcp_write_queue_purge.</summary>
    public void PurgeWriteQueue(Cpu cpu)
    {
        Transfer?.Chrono.Stop(ChronoType.Busy, cpu.Now, nothingQueued: true);
        while (_writeQueue?.PopFirst() is { } skb)
            FreeWriteSkb(cpu, skb);
        if (Recovery is { } recovery)
        {
            while (recovery.Queue.First is { } sent)
            {
                recovery.Unlink(sent);
                FreeWriteSkb(cpu, sent);
            }
            recovery.RetransmitHint = recovery.HighestSack = null;
            recovery.Probe.IsOut = false;
        }
        // What was known of them stays for TCP_INFO. Linux: likewise.
        Packets.Out = 0;
        Backoff = 0;
    }

    /// <summary>Throws away everything that is queued. Linux: tcp_v4_destroy_sock.</summary>
    public void PurgeAll(Cpu cpu)
    {
        PurgeWriteQueue(cpu);
        DetachRecovery(cpu);
        PurgeOutOfOrder(cpu);
        while (ReceiveQueue.PopFirst() is { } skb)
        {
            UnchargeReceived(skb.TrueSize);
            cpu.FreeSkb(skb);
        }
        if (Congestion is { } congestion)
        {
            congestion.Release(this);
            Congestion = null;
        }
    }

    // ---- Path MTU ----

    /// <summary>
    /// The path takes no packet larger than this. Now, or when the owner lets go. RFC 1191, RFC 8201. Linux: tcp_v4_err.
    /// </summary>
    public void OnPacketTooBig(Cpu cpu, int mtu)
    {
        if (State == TcpState.Listen || PathMtuDiscovery is PathMtuDiscovery.Dont or PathMtuDiscovery.Interface or PathMtuDiscovery.Omit)
            return;
        int least = AfOps.IsV6 ? Ipv6Header.MinMtu : Tcp.Sysctls.MinPmtu;
        mtu = Math.Max(mtu, least);
        if (mtu >= (Route?.Mtu ?? int.MaxValue))
            return;
        Tcp.Routes.UpdatePathMtu(RemoteAddr, mtu);
        AttachRare().PendingMtu = mtu;
        if (Lock.IsOwned)
            Deferred |= DeferredWorkFlags.MtuReduced;
        else
            OnMtuReduced(cpu);
    }

    /// <summary>An ICMP error has told a smaller MTU. RFC 1191. Linux: tcp_v4_mtu_reduced.</summary>
    public void OnMtuReduced(Cpu cpu)
    {
        if (State is TcpState.Listen or TcpState.Close || Rare is not { PendingMtu: > 0 and var mtu })
            return;
        Route = null;
        if (CheckRoute(Tcp.Routes) is not { } route)
            return;
        mtu = Math.Min(mtu, route.Mtu);
        if (PathMtu <= mtu)
            return;
        SyncMss(mtu);
        // Everything that did not fit goes again.
        SimpleRetransmit(cpu);
    }
}
