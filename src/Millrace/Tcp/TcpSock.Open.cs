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
        AdvMss = (ushort)ClampToUserMss(route.AdvertisedMss(sysctls.MinAdvMss));
        InitRcvMss();
        if (Has(SockFlags.RcvBufLocked) && (Rcv.WndClamp > FullReceiveSpace || Rcv.WndClamp == 0))
            Rcv.WndClamp = FullReceiveSpace;
        int mss = AdvMss - (TsRecentStamp != 0 ? HeaderLength - TcpHeader.MinLength : 0);
        SelectInitialWindow(sysctls, FullReceiveSpace, mss, sysctls.TcpWindowScaling, route.Metrics.InitRwnd, ref Rcv.WndClamp,
            out Rcv.Wnd, out Rcv.WndScale);
        Rcv.Ssthresh = (int)Rcv.Wnd;
        Error = Errno.OK;
        Flags &= ~SockFlags.Done;
        Snd.Wnd = 0;
        Snd.Wl1 = default;
        PurgeWriteQueue(cpu);
        Snd.Una = Snd.Small = Snd.Up = Snd.Nxt = Snd.Written;
        Rcv.Nxt = Rcv.Wup = Rcv.Copied = default;
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
        Stats.TotalRto = 0;
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
            int mss = ClampToUserMss(route.AdvertisedMss(Tcp.Sysctls.MinAdvMss));
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
        InitMtuSearch(cpu);
        SyncMss(PathMtu);
        InitRcvMss();
        Rcv.Copied = Rcv.Nxt;
        FinishConnect(cpu);
        bool resend = AcceptFastOpenSynAck(cpu, skb, tcp, options);
        if (!Has(SockFlags.Dead))
            StateChange(cpu);
        if (resend)
            return Verdict.GoOn;
        if (WritePending > 0 || DeferAccept != 0 || Ack.InPingPong)
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
        bool lossy = Stats.TotalRetransmits > 1 && Recovery is { Undo.HasMarker: true };
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
        int most = FullReceiveSpace;
        if (Rcv.WndClamp >= most)
            Rcv.WndClamp = Math.Max(most, 4 * AdvMss);
        // One segment more than was offered always fits.
        if (Rcv.WndClamp > 2 * AdvMss && Rcv.WndClamp + AdvMss > most)
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

    // ---- All other states ----

    /// <summary>
    /// A segment for a connection that is being opened or closed. The buffer is taken over. A reason: the caller answers with a RST, and
    /// the buffer is his. Linux: tcp_rcv_state_process.
    /// </summary>
    public DropReason ReceiveInState(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.tcp_rcv_state_process, this, (long)State, skb.Tcp.Seq.Value);
        unsafe
        {
            TcpHeader.TryParse(skb.Data, skb.LinearLength, out TcpHeader tcp);
            switch (State)
            {
                case TcpState.Close:
                    Devices.Drops.Free(cpu, skb, DropReason.TcpClose);
                    return DropReason.None;
                case TcpState.Listen:
                    return ReceiveInListen(cpu, skb, tcp);
                case TcpState.SynSent:
                    RefreshTime(cpu);
                    TcpOptions synOptions = TcpOptions.Parse(tcp.Options);
                    DropReason refused = ReceiveInSynSent(cpu, skb, tcp, synOptions, out Verdict verdict);
                    if (refused == DropReason.None && verdict == Verdict.GoOn)
                    {
                        ProcessUrgent(cpu, skb, tcp);
                        cpu.FreeSkb(skb);
                        CheckSendData(cpu);
                    }
                    return refused;
                case TcpState.SynRecv or TcpState.FinWait1 or TcpState.FinWait2 or TcpState.CloseWait or TcpState.Closing
                    or TcpState.LastAck or TcpState.Established:
                    return ReceiveWhileOpen(cpu, skb, tcp);
                case TcpState.TimeWait or TcpState.NewSynRecv:
                    break;
            }
        }
        System.Diagnostics.Debug.Fail("mini-socks have their own input");
        cpu.FreeSkb(skb);
        return DropReason.None;
    }

    private DropReason ReceiveInListen(Cpu cpu, SkBuff skb, in TcpHeader tcp)
    {
        if (tcp.Has(TcpFlags.Ack))
            return DropReason.TcpFlags;
        DropReason reason = DropReason.TcpFlags;
        if (tcp.Has(TcpFlags.Rst))
            reason = DropReason.TcpReset;
        else if (tcp.Has(TcpFlags.Syn) && !tcp.Has(TcpFlags.Fin))
            reason = Tcp.OnConnectionRequest(cpu, this, skb);
        Drop(cpu, skb, reason);
        return DropReason.None;
    }

    private DropReason ReceiveWhileOpen(Cpu cpu, SkBuff skb, in TcpHeader tcp)
    {
        RefreshTime(cpu);
        Features &= ~TcpFeatures.SawTimestamp;
        if (FastOpen is { Passive: { } request } && !Tcp.CheckFastOpenRequest(cpu, this, request, skb, tcp))
        {
            Drop(cpu, skb, DropReason.TcpFastopen);
            return DropReason.None;
        }
        if ((tcp.Flags & (TcpFlags.Ack | TcpFlags.Rst | TcpFlags.Syn)) == 0)
        {
            Drop(cpu, skb, DropReason.TcpFlags);
            return DropReason.None;
        }
        TcpOptions options = TcpOptions.Parse(tcp.Options);
        if (!ValidateIncoming(cpu, skb, tcp, options))
            return DropReason.None;
        uint window = (uint)tcp.Window << Snd.WndScale;
        DropReason ack = OnAck(cpu, skb, window, options, AckFlags.SlowPath | AckFlags.UpdateTsRecent | AckFlags.NoChallengeAck);
        if (ack != DropReason.None)
        {
            // RFC 9293 §3.10.7.4: in SYN-RECEIVED an unacceptable ACK is reset.
            if (State == TcpState.SynRecv)
                return ack;
            if (ack != DropReason.TcpOldAck)
            {
                SendChallengeAck(cpu);
                Drop(cpu, skb, ack);
                return DropReason.None;
            }
        }
        if (StepStates(cpu, skb, tcp, options.SackBlockCount > 0) == Verdict.Consumed)
            return DropReason.None;
        ProcessUrgent(cpu, skb, tcp);
        DropReason text = ProcessText(cpu, skb, tcp);
        if (State != TcpState.Close)
        {
            CheckSendData(cpu);
            CheckSendAck(cpu);
            AssertInvariants();
        }
        if (text != DropReason.None)
            Drop(cpu, skb, text);
        return DropReason.None;
    }

    // What the ACK means in each state. RFC 9293 §3.10.7.4, fifth.
    private Verdict StepStates(Cpu cpu, SkBuff skb, in TcpHeader tcp, bool hasSack)
    {
        switch (State)
        {
            case TcpState.SynRecv:
                BecomeEstablished(cpu, skb, tcp);
                if (IsAccEcn)
                    AcceptThirdAck(skb, tcp.Flags, hasSack);
                return Verdict.GoOn;
            case TcpState.FinWait1:
                FinishFastOpen(cpu);
                return Snd.Una == Snd.Written ? EnterFinWait2(cpu, skb, tcp) : Verdict.GoOn;
            case TcpState.Closing:
                if (Snd.Una != Snd.Written)
                    return Verdict.GoOn;
                Tcp.EnterTimeWait(cpu, this, TcpState.TimeWait, TcpConstants.TimeWaitLength);
                cpu.FreeSkb(skb);
                return Verdict.Consumed;
            case TcpState.LastAck:
                if (Snd.Una != Snd.Written)
                    return Verdict.GoOn;
                Tcp.Metrics.Learn(cpu, this);
                Tcp.Done(cpu, this, Errno.OK);
                cpu.FreeSkb(skb);
                return Verdict.Consumed;
            case TcpState.CloseWait:
                FinishFastOpen(cpu);
                return Verdict.GoOn;
            case TcpState.Established or TcpState.FinWait2:
                return Verdict.GoOn;
            case TcpState.SynSent or TcpState.TimeWait or TcpState.Close or TcpState.Listen or TcpState.NewSynRecv:
                break;
        }
        return Verdict.GoOn;
    }

    private void BecomeEstablished(Cpu cpu, SkBuff skb, in TcpHeader tcp)
    {
        Rate.Delivered++;
        if (!Rtt.HasSample)
            MeasureSynAck(cpu);
        if (HasTimestamps)
            AdvMss -= TcpConstants.TimestampOptionLength;
        if (FastOpen is { Passive: not null })
            FinishFastOpen(cpu);
        else
            BeginTransfer(cpu);
        SetState(cpu, TcpState.Established);
        StateChange(cpu);
        Snd.Una = skb.Tcp.AckSeq;
        Snd.Wnd = (uint)tcp.Window << Snd.WndScale;
        Snd.Wl1 = skb.Tcp.Seq;
        if (Congestion is not { ControlsAll: true })
            UpdatePacingRate();
        LastSent = cpu.Now;
        InitRcvMss();
        FastPath = true;
        if ((Shutdown & ShutdownMask.Send) != 0)
            Tcp.Shutdown(cpu, this, ShutdownMask.Send);
        MaybeDetachRecovery(cpu);
    }

    private void BeginTransfer(Cpu cpu)
    {
        UndoSpuriousSyn();
        if (Recovery is { } recovery)
            recovery.Undo.FirstRetransmit = 0;
        InitTransfer(cpu);
        Rcv.Copied = Rcv.Nxt;
    }

    /// <summary>When the SYN-ACK of this connection left; 0 if it was repeated. Linux: snt_synack.</summary>
    public Micros SynAckSent;

    private void MeasureSynAck(Cpu cpu)
    {
        if (SynAckSent == Micros.Zero)
            return;
        long rtt = (cpu.Now - SynAckSent).Value;
        UpdateMinRtt(cpu, rtt, AckFlags.None);
        Rtt.OnSample(new Micros(rtt), Snd.Una, Snd.Nxt, RtoMin);
        SetRto();
    }

    // Our FIN is acknowledged.
    private Verdict EnterFinWait2(Cpu cpu, SkBuff skb, in TcpHeader tcp)
    {
        SetState(cpu, TcpState.FinWait2);
        Shutdown |= ShutdownMask.Send;
        if (!Has(SockFlags.Dead))
        {
            StateChange(cpu);
            return Verdict.GoOn;
        }
        bool fin = tcp.Has(TcpFlags.Fin);
        bool newData = skb.Tcp.EndSeq != skb.Tcp.Seq && skb.Tcp.EndSeq - (fin ? 1 : 0) > Rcv.Nxt;
        if (Linger2 < 0 || newData)
        {
            // Nobody is there to read it.
            Tcp.Done(cpu, this, Errno.OK);
            cpu.Mib.Inc(Mib.TcpExtTCPAbortOnData);
            Tcp.Replies.SendReset(cpu, this, skb);
            Devices.Drops.Free(cpu, skb, DropReason.TcpAbortOnData);
            return Verdict.Consumed;
        }
        Micros timeout = FinTime;
        if (timeout > TcpConstants.TimeWaitLength)
        {
            ArmKeepAlive(cpu, timeout - TcpConstants.TimeWaitLength);
        }
        else if (fin || Lock.IsOwned)
        {
            // A FIN in this very segment would be lost with the sock.
            ArmKeepAlive(cpu, timeout);
        }
        else
        {
            Tcp.EnterTimeWait(cpu, this, TcpState.FinWait2, timeout);
            cpu.FreeSkb(skb);
            return Verdict.Consumed;
        }
        return Verdict.GoOn;
    }

    // RFC 9293 §3.10.7.4, seventh; RFC 1122 §4.2.2.13: data for a side that is closed is reset. None: the buffer is taken over.
    private DropReason ProcessText(Cpu cpu, SkBuff skb, in TcpHeader tcp)
    {
        bool takes = State is TcpState.Established or TcpState.FinWait1 or TcpState.FinWait2
            || (State is TcpState.CloseWait or TcpState.Closing or TcpState.LastAck && skb.Tcp.Seq < Rcv.Nxt);
        if (!takes)
        {
            if (State == TcpState.Close)
                return DropReason.TcpClose;
            cpu.FreeSkb(skb);
            return DropReason.None;
        }
        if (State != TcpState.Established && (Shutdown & ShutdownMask.Receive) != 0)
        {
            int fin = tcp.Has(TcpFlags.Fin) ? 1 : 0;
            if (skb.Tcp.EndSeq != skb.Tcp.Seq && skb.Tcp.EndSeq - fin > Rcv.Nxt)
            {
                cpu.Mib.Inc(Mib.TcpExtTCPAbortOnData);
                EndByReset(cpu);
                Tcp.Replies.SendReset(cpu, this, skb);
                return DropReason.TcpAbortOnData;
            }
        }
        QueueData(cpu, skb, tcp.HeaderLength);
        return DropReason.None;
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
        if (request.HasTimestamps)
        {
            TsRecent = request.TsRecent;
            TsRecentStamp = (int)(cpu.Now.Value / 1_000_000) + 1;
            HeaderLength = TcpHeader.MinLength + TcpConstants.TimestampOptionLength;
        }
        AdoptEcn(request, skb, tcp);
        MssClamp = request.Mss;
        Route = request.Route;
        if (CheckRoute(Tcp.Routes) is { } route)
        {
            SyncMss(route.Mtu);
            AdvMss = (ushort)ClampToUserMss(route.AdvertisedMss(Tcp.Sysctls.MinAdvMss));
        }
        InitRcvMss();
        if (request.Timeouts > 0)
        {
            // The SYN-ACK timed out: whether that was spurious, its timestamp will tell. Linux: undo_marker, retrans_stamp.
            LossRecovery recovery = AttachRecovery(cpu);
            recovery.Undo.Start(request.SndIsn, 0);
            recovery.Undo.FirstRetransmit = Math.Max(request.SynAckSent.Value, 1);
        }
        Stats.TotalRetransmits = request.Retransmits;
        if (Has(SockFlags.KeepOpen))
            ArmKeepAlive(cpu, KeepAliveTime);
    }

    // ---- Ends ----

    /// <summary>Throws away what was to be sent. Linux: tcp_write_queue_purge.</summary>
    public void PurgeWriteQueue(Cpu cpu)
    {
        Stats.Chrono.Stop(ChronoType.Busy, cpu.Now, nothingQueued: true);
        while (WriteQueue.PopFirst() is { } skb)
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
        Packets.Clear();
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
        (Rare ??= new RareTcpState()).PendingMtu = mtu;
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
