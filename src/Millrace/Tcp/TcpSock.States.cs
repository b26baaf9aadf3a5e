using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>A segment for a connection that is in no steady state: SYN-RECEIVED, and everything after a FIN.</summary>
internal sealed partial class TcpSock
{
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

    private uint _synAckSent;

    /// <summary>The SYN-ACK of this connection left then, and was not repeated. Linux: snt_synack.</summary>
    public void NoteSynAck(Micros sent) => _synAckSent = System.Math.Max((uint)sent.Value, 1);

    private void MeasureSynAck(Cpu cpu)
    {
        if (_synAckSent == 0)
            return;
        long rtt = (uint)cpu.Now.Value - _synAckSent;
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
}
