using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>The answer to our SYN. RFC 9293 §3.10.7.3.</summary>
internal sealed partial class TcpSock
{
    // RFC 9293 §3.10.7.3. Linux: tcp_rcv_synsent_state_process. A reason: answer with a RST.
    private DropReason ReceiveInSynSent(Cpu cpu, SkBuff skb, in TcpHeader tcp, in TcpOptions options, out Verdict verdict)
    {
        verdict = Verdict.Consumed;
        Features &= ~TcpFeatures.SawTimestamp;
        if (options.HasTimestamp && Tcp.Sysctls.TcpTimestamps != 0)
        {
            Features |= TcpFeatures.SawTimestamp;
            RcvTsVal = options.TsVal;
            RcvTsEcr = options.TsEcr;
        }
        if (tcp.Has(TcpFlags.Ack))
            return ReceiveAckOfSyn(cpu, skb, tcp, options, ref verdict);
        if (tcp.Has(TcpFlags.Rst))
        {
            Drop(cpu, skb, DropReason.TcpReset);
            return DropReason.None;
        }
        if (TsRecentStamp != 0 && SawTimestamp && !PassesPaws(cpu, 0))
        {
            Drop(cpu, skb, DropReason.TcpRfc7323Paws);
            return DropReason.None;
        }
        if (!tcp.Has(TcpFlags.Syn))
        {
            Drop(cpu, skb, DropReason.TcpFlags);
            return DropReason.None;
        }
        AcceptCrossedSyn(cpu, skb, tcp, options);
        cpu.FreeSkb(skb);
        return DropReason.None;
    }

    // First, second and fifth of RFC 9293 §3.10.7.3.
    private DropReason ReceiveAckOfSyn(Cpu cpu, SkBuff skb, in TcpHeader tcp, in TcpOptions options, ref Verdict verdict)
    {
        SeqNumber ack = skb.Tcp.AckSeq;
        if (ack <= Snd.Una || ack > Snd.Nxt)
        {
            // Perhaps of an earlier incarnation: after its RST the SYN goes again, soon.
            if (Retransmits == 0)
                ResetWriteTimer(cpu, TimerEvent.Retransmit, TcpConstants.TimeoutMin, RtoMax);
            return DropReason.TcpInvalidAckSequence;
        }
        if (SawTimestamp && RcvTsEcr != 0 && !IsEchoPlausible())
        {
            cpu.Mib.Inc(Mib.TcpExtPAWSActive);
            return DropReason.TcpRfc7323Paws;
        }
        if (tcp.Has(TcpFlags.Rst))
        {
            Reset(cpu, skb);
            return DropReason.None;
        }
        if (!tcp.Has(TcpFlags.Syn))
        {
            Drop(cpu, skb, DropReason.TcpFlags);
            return DropReason.None;
        }
        verdict = AcceptSynAck(cpu, skb, tcp, options);
        return DropReason.None;
    }

    private bool IsEchoPlausible()
    {
        uint first = TimestampOf(new Micros(Recovery!.Undo.FirstRetransmit)), now = TimestampOf(Time);
        return now - first >= RcvTsEcr - first;
    }

    // What the handshake's other half has settled.
    private void AdoptOptions(in TcpOptions options)
    {
        SetFeature(TcpFeatures.Sack, options.SackPermitted && Tcp.Sysctls.TcpSack);
        bool scaling = options.WindowScale >= 0 && Tcp.Sysctls.TcpWindowScaling;
        SetFeature(TcpFeatures.WindowScaling, scaling);
        Snd.WndScale = scaling ? (byte)Math.Min(options.WindowScale, TcpConstants.MaxWindowScale) : (byte)0;
        if (!scaling)
        {
            Rcv.WndScale = 0;
            Rcv.WndClamp = Math.Min(Rcv.WndClamp, 65535);
        }
        ushort mss = options.Mss;
        if (mss != 0)
        {
            if (UserMss != 0 && UserMss < mss)
                mss = UserMss;
            MssClamp = mss;
        }
        else
        {
            MssClamp = UserMss is > 0 and < TcpConstants.DefaultMss ? UserMss : (ushort)TcpConstants.DefaultMss;
        }
    }

    private void AdoptTimestamps(Cpu cpu, bool reduceAdvMss)
    {
        HeaderLength = TcpHeader.MinLength;
        SetFeature(TcpFeatures.Timestamps, SawTimestamp);
        if (!SawTimestamp)
            return;
        HeaderLength += TcpConstants.TimestampOptionLength;
        if (reduceAdvMss)
            AdvMss -= TcpConstants.TimestampOptionLength;
        StoreTsRecent(cpu);
    }

    private Verdict AcceptSynAck(Cpu cpu, SkBuff skb, in TcpHeader tcp, in TcpOptions options)
    {
        AcceptEcnSynAck(skb, tcp, options);
        Snd.Wl1 = skb.Tcp.Seq;
        UndoSpuriousSyn();
        OnAck(cpu, skb, tcp.Window, options, AckFlags.SlowPath);
        Rcv.Nxt = Rcv.Wup = skb.Tcp.Seq + 1;
        // The window of a SYN is never scaled. RFC 7323 §2.2.
        Snd.Wnd = tcp.Window;
        AdoptOptions(options);
        AdoptTimestamps(cpu, reduceAdvMss: true);
        SyncMss(PathMtu);
        InitRcvMss();
        Rcv.Copied = Rcv.Nxt;
        FinishConnect(cpu);
        bool resend = AcceptFastOpenSynAck(cpu, skb, tcp, options);
        if (!Has(SockFlags.Dead))
            StateChange(cpu);
        if (resend)
            return Verdict.GoOn;
        if (WritePending > 0 || DeferAccept != 0 || Ack.InPingPong(Tcp.Sysctls.TcpPingpongThresh))
        {
            // The first data will carry the ACK.
            Ack.Pending |= AckPending.Scheduled | AckPending.Timer;
            Ack.EnterQuickMode(Rcv.Wnd, TcpConstants.MaxQuickAcks);
            AckDeadline = cpu.Now + TcpConstants.DelayedAckMax;
            ArmTimer(cpu, AckDeadline);
            cpu.FreeSkb(skb);
            return Verdict.Consumed;
        }
        SendReflectingAck(cpu, IsAccEcn);
        return Verdict.GoOn;
    }

    // Linux: tcp_finish_connect.
    private void FinishConnect(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_finish_connect, this);
        SetState(cpu, TcpState.Established);
        Ack.LastReceived = cpu.Now;
        InitTransfer(cpu);
        LastSent = cpu.Now;
        if (Has(SockFlags.KeepOpen))
            ArmKeepAlive(cpu, KeepAliveTime);
        FastPath = Snd.WndScale == 0;
    }

    /// <summary>The handshake is over: window, buffers and congestion control begin. Linux: tcp_init_transfer.</summary>
    public void InitTransfer(Cpu cpu)
    {
        InitMtuSearch(cpu);
        Tcp.Metrics.Apply(cpu, this);
        // A SYN that was lost more than once: start carefully. RFC 5681 §3.1, RFC 6298 §5.7.
        bool lossy = TotalRetransmits > 1 && Recovery is { Undo.HasMarker: true };
        Cc.Cwnd = lossy ? 1 : InitialCwnd;
        Cc.Stamp = cpu.Now;
        if (Congestion is not null)
            Congestion.Init(this);
        else if (Tcp.Congestions.MustStartEarly(CongestionName ?? Tcp.Sysctls.TcpCongestionControl))
            AttachCongestion();
        InitBufferSpace(cpu);
    }

    // Linux: tcp_init_buffer_space.
    private void InitBufferSpace(Cpu cpu)
    {
        if (!Has(SockFlags.SendBufLocked))
            ExpandSendBuffer();
        RefreshTime(cpu);
        RcvSpace.Time = Time;
        RcvSpace.Seq = Rcv.Copied;
        int most = FullReceiveSpace, appWin = Tcp.Sysctls.TcpAppWin;
        if (Rcv.WndClamp >= most)
            Rcv.WndClamp = Math.Max(appWin == 0 ? most : most - (most >> appWin), 4 * AdvMss);
        // One segment more than was offered always fits.
        if (appWin != 0 && Rcv.WndClamp > 2 * AdvMss && Rcv.WndClamp + AdvMss > most)
            Rcv.WndClamp = Math.Max(2 * AdvMss, most - AdvMss);
        Rcv.Ssthresh = Math.Min(Rcv.Ssthresh, Rcv.WndClamp);
        Cc.Stamp = cpu.Now;
        RcvSpace.Space = Math.Min(Math.Min(Rcv.Ssthresh, (int)Rcv.Wnd), TcpConstants.InitialCwnd * AdvMss);
    }

    // A SYN that was sent twice, and whose first copy was answered: the window need not suffer. Linux: tcp_try_undo_spurious_syn.
    private void UndoSpuriousSyn()
    {
        if (Recovery is not { Undo: { HasMarker: true, FirstRetransmit: not 0 } } recovery || !SawTimestamp)
            return;
        if (TimestampOf(new Micros(recovery.Undo.FirstRetransmit)) == RcvTsEcr)
            recovery.Undo.HasMarker = false;
    }

    // Both sides have sent a SYN. RFC 9293 §3.5, figure 7.
    private void AcceptCrossedSyn(Cpu cpu, SkBuff skb, in TcpHeader tcp, in TcpOptions options)
    {
        SetState(cpu, TcpState.SynRecv);
        byte offered = Rcv.WndScale;
        AdoptOptions(options);
        AdoptTimestamps(cpu, reduceAdvMss: false);
        InitMtuSearch(cpu);
        Rcv.Nxt = Rcv.Copied = Rcv.Wup = skb.Tcp.Seq + 1;
        Snd.Wnd = tcp.Window;
        Snd.Wl1 = skb.Tcp.Seq;
        Snd.MaxWnd = Snd.Wnd;
        SkBuff? first = Recovery?.Queue.First;
        AcceptEcnSyn(skb, tcp, first);
        SyncMss(PathMtu);
        InitRcvMss();
        // The SYN goes again, with an ACK.
        if (first is { } syn)
        {
            syn.Tcp.Flags |= TcpFlags.Ack;
            byte agreed = Rcv.WndScale;
            // All that our SYN offered is repeated, the scale too, though it holds only if both offered one. RFC 7323 §2.2.
            Rcv.WndScale = offered;
            cpu.BhDisable();
            TransmitSkb(cpu, syn);
            cpu.BhEnable();
            Rcv.WndScale = agreed;
        }
    }
}
