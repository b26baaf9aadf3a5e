using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>TIME_WAIT, and FIN_WAIT2 of connections that nobody holds any more. RFC 9293 §3.6.1, §3.10.7.4.</summary>
internal sealed partial class TcpProto
{
    /// <summary>
    /// A mini-sock takes the connection's place in the tables, and the full sock is done. Linux: tcp_time_wait.
    /// </summary>
    /// <param name="state">TIME_WAIT, or FIN_WAIT2 if the peer's FIN is still to come.</param>
    public void EnterTimeWait(Cpu cpu, TcpSock sk, TcpState state, Micros timeout)
    {
        cpu.Trace(Tp.tcp_time_wait, sk, (long)state);
        if (TimeWaits.TryReserve(cpu))
        {
            TcpTimeWaitSock tw = NewTimeWait(cpu, sk, state);
            Micros least = (sk.Rto << 2) - (sk.Rto >> 1);
            timeout = state == TcpState.TimeWait ? TcpConstants.TimeWaitLength : Micros.Max(timeout, least);
            HashDance(cpu, sk, tw, timeout);
        }
        Metrics.Learn(cpu, sk);
        Done(cpu, sk, Errno.OK);
    }

    // Linux: inet_twsk_alloc and the copying in tcp_time_wait.
    private TcpTimeWaitSock NewTimeWait(Cpu cpu, TcpSock sk, TcpState state)
    {
        cpu.Trace(Tp.inet_twsk_alloc, sk);
        TcpTimeWaitSock tw = sk.SigningKey is { } key ? new SignedTimeWaitSock(key) : new TcpTimeWaitSock();
        tw.LocalAddr = sk.LocalAddr;
        tw.RemoteAddr = sk.RemoteAddr;
        tw.LocalPort = sk.LocalPort;
        tw.RemotePort = sk.RemotePort;
        tw.BoundIfIndex = sk.BoundIfIndex;
        tw.Family = sk.Family;
        tw.Substate = state;
        tw.RcvNxt = sk.Rcv.Nxt;
        tw.SndNxt = sk.Snd.Nxt;
        tw.RcvWnd = sk.Rcv.Remaining;
        tw.RcvWndScale = sk.Rcv.WndScale;
        tw.TsRecent = sk.TsRecent;
        tw.Entered = (uint)cpu.Now.Milliseconds;
        tw.TsRecentStamp = sk.HasTimestamps ? sk.TsRecentStamp : 0;
        tw.TsOffset = sk.TsOffset;
        tw.Tos = sk.LastTos;
        tw.Mark = sk.Mark;
        tw.SetState();
        return tw;
    }

    // The mini-sock stands in the table before the full sock leaves it: one store. Linux: inet_twsk_hashdance_schedule.
    private void HashDance(Cpu cpu, TcpSock sk, TcpTimeWaitSock tw, Micros timeout)
    {
        cpu.Trace(Tp.inet_twsk_hashdance, sk);
        tw.Port = Binds.TransferToTimeWait(cpu, sk, out tw.BoundByBind);
        tw.Publish(1);
        Established.TryReplace(cpu, sk, tw);
        cpu.Mib.Inc(timeout <= Micros.FromSeconds(4) ? Mib.TcpExtTWKilled : Mib.TcpExtTW);
        cpu.Trace(Tp.timer_start, sk, 0, timeout.Value);
        TimeWaits.Add(cpu, tw, cpu.Now + timeout);
    }

    /// <summary>The end of a mini-sock that the row has let go. Linux: inet_twsk_kill.</summary>
    public void KillTimeWait(Cpu cpu, TcpTimeWaitSock tw)
    {
        cpu.Trace(Tp.inet_twsk_kill, tw);
        Established.Remove(cpu, tw);
        if (tw.Port is { } port)
            Binds.Release(cpu, port, tw.BoundByBind);
        tw.Port = null;
        TimeWaits.OnEnded();
        tw.Put(cpu);
    }

    /// <summary>Ends a mini-sock before its time. Linux: inet_twsk_deschedule_put.</summary>
    private void EndTimeWait(Cpu cpu, TcpTimeWaitSock tw)
    {
        if (TimeWaits.TryTake(cpu, tw))
            KillTimeWait(cpu, tw);
    }

    private enum TimeWaitVerdict
    {
        Done,
        Ack,
        Rst,

        /// <summary>A SYN that may open the connection anew.</summary>
        Syn,
    }

    /// <summary>What a late segment means to a mini-sock. Linux: tcp_timewait_state_process.</summary>
    private TimeWaitVerdict ProcessTimeWait(Cpu cpu, TcpTimeWaitSock tw, SkBuff skb, in TcpHeader tcp)
    {
        cpu.Trace(Tp.tcp_timewait_state_process, tw);
        TcpOptions options = TcpOptions.Parse(tcp.Options);
        bool sawTimestamp = options.HasTimestamp && tw.HasTimestamps;
        bool old = sawTimestamp && (int)(tw.TsRecent - options.TsVal) > 0 && !tcp.Has(TcpFlags.Rst)
            && cpu.Now.Value / 1_000_000 + 1 - tw.TsRecentStamp < TcpConstants.Paws24Days;
        SeqNumber seq = skb.Tcp.Seq, end = skb.Tcp.EndSeq;
        if (tw.Substate == TcpState.FinWait2)
            return InFinWait2(cpu, tw, tcp, options, seq, end, old, sawTimestamp);
        if (!old && seq == tw.RcvNxt && (seq == end || tcp.Has(TcpFlags.Rst)))
        {
            if (tcp.Has(TcpFlags.Rst))
            {
                // RFC 1337: TIME-WAIT assassination, unless it is refused.
                if (!Sysctls.TcpRfc1337)
                {
                    EndTimeWait(cpu, tw);
                    return TimeWaitVerdict.Done;
                }
            }
            else
            {
                TimeWaits.Move(cpu, tw, cpu.Now + TcpConstants.TimeWaitLength);
            }
            if (sawTimestamp)
                NoteTimestamp(cpu, tw, options);
            return TimeWaitVerdict.Done;
        }
        // RFC 9293 §3.6.1, RFC 6191: a SYN that cannot be an old one.
        bool fresh = tcp.Has(TcpFlags.Syn) && !tcp.Has(TcpFlags.Rst) && !tcp.Has(TcpFlags.Ack) && !old
            && (seq > tw.RcvNxt || (sawTimestamp && (int)(tw.TsRecent - options.TsVal) < 0));
        if (fresh)
        {
            uint isn = tw.SndNxt.Value + 65535 + 2;
            skb.ReopenIsn = isn != 0 ? isn : 1;
            return TimeWaitVerdict.Syn;
        }
        if (old)
            cpu.Mib.Inc(Mib.TcpExtPAWSTimewait);
        if (tcp.Has(TcpFlags.Rst))
            return TimeWaitVerdict.Done;
        if (old || tcp.Has(TcpFlags.Ack))
            TimeWaits.Move(cpu, tw, cpu.Now + TcpConstants.TimeWaitLength);
        return LimitedAck(cpu, tw, skb, tcp, Mib.TcpExtTCPACKSkippedTimeWait);
    }

    private TimeWaitVerdict InFinWait2(Cpu cpu, TcpTimeWaitSock tw, in TcpHeader tcp, in TcpOptions options, SeqNumber seq, SeqNumber end,
        bool old, bool sawTimestamp)
    {
        if (old || !IsInWindow(seq, end, tw.RcvNxt, tw.RcvNxt + tw.RcvWnd))
            return tw.OutOfWindowAcks.IsLimited(cpu, Sysctls, Mib.TcpExtTCPACKSkippedFinWait2)
                ? TimeWaitVerdict.Done
                : TimeWaitVerdict.Ack;
        if (tcp.Has(TcpFlags.Rst))
        {
            EndTimeWait(cpu, tw);
            return TimeWaitVerdict.Done;
        }
        if (tcp.Has(TcpFlags.Syn) && seq >= tw.RcvNxt)
            return TimeWaitVerdict.Rst;
        if (!tcp.Has(TcpFlags.Ack) || end <= tw.RcvNxt || end == seq)
            return TimeWaitVerdict.Done;
        // Data after our side is closed and gone.
        if (!tcp.Has(TcpFlags.Fin) || end != tw.RcvNxt + 1)
            return TimeWaitVerdict.Rst;
        tw.Substate = TcpState.TimeWait;
        tw.RcvNxt = end;
        if (sawTimestamp)
        {
            NoteTimestamp(cpu, tw, options);
            tw.Entered = (uint)cpu.Now.Milliseconds;
        }
        TimeWaits.Move(cpu, tw, cpu.Now + TcpConstants.TimeWaitLength);
        return TimeWaitVerdict.Ack;
    }

    private TimeWaitVerdict LimitedAck(Cpu cpu, TcpTimeWaitSock tw, SkBuff skb, in TcpHeader tcp, Mib counter)
    {
        // Data is not part of a loop of ACKs.
        bool data = skb.Tcp.Seq != skb.Tcp.EndSeq && !tcp.Has(TcpFlags.Syn);
        return !data && tw.OutOfWindowAcks.IsLimited(cpu, Sysctls, counter) ? TimeWaitVerdict.Done : TimeWaitVerdict.Ack;
    }

    private static void NoteTimestamp(Cpu cpu, TcpTimeWaitSock tw, in TcpOptions options)
    {
        tw.TsRecent = options.TsVal;
        tw.TsRecentStamp = Paws.Stamp(cpu.Now);
    }

    // Linux: tcp_v4_timewait_ack.
    private void AckForTimeWait(Cpu cpu, TcpTimeWaitSock tw) => Replies.SendAck(cpu,
        new AckReply(tw.LocalAddr, tw.LocalPort, tw.RemoteAddr, tw.RemotePort, tw.SndNxt, tw.RcvNxt, (ushort)(tw.RcvWnd >> tw.RcvWndScale))
        {
            HasTimestamp = tw.HasTimestamps,
            TsVal = (uint)cpu.Now.Milliseconds + tw.TsOffset,
            TsEcr = tw.TsRecent,
            Tos = tw.Tos,
            Mark = tw.Mark,
            Key = tw.Key,
            IfIndex = tw.BoundIfIndex,
        });
}
