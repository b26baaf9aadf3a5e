using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>The retransmission timeout: what is sent again, how the next one is longer, and when it is over. RFC 6298 §5.</summary>
internal sealed partial class TcpSock
{
    // RFC 6298 §5.4 to §5.7. Linux: tcp_retransmit_timer.
    private void OnRetransmitTimer(Cpu cpu)
    {
        if (FastOpen is { Passive: { } request })
        {
            OnFastOpenTimer(cpu, request);
            return;
        }
        if (PacketsOut == 0 || Recovery?.Queue.First is not { } head)
            return;
        bool opening = State is TcpState.SynSent or TcpState.SynRecv;
        if (Snd.Wnd == 0 && !Has(SockFlags.Dead) && !opening)
        {
            // The peer has shrunk its window: retransmissions are probes, and the connection lives as long as it answers.
            if (HasProbedTooLong(head))
            {
                WriteError(cpu);
                return;
            }
            EnterLoss(cpu);
            Retransmit(cpu, Recovery.Queue.First!, 1);
            Route = null;
            BackOff(cpu);
            return;
        }
        cpu.Mib.Inc(Mib.TcpExtTCPTimeouts);
        if (HasTimedOut(cpu))
            return;
        if (TryRehash())
            cpu.Mib.Inc(Mib.TcpExtTcpTimeoutRehash);
        if (Retransmits == 0)
            CountFailure(cpu);
        EnterLoss(cpu);
        if (Retransmits < byte.MaxValue)
            Retransmits++;
        NoteRto(cpu);
        if (Retransmit(cpu, Recovery!.Queue.First!, 1) == Errno.ENOBUFS)
        {
            // Local congestion: try again soon.
            ResetWriteTimer(cpu, TimerEvent.Retransmit, TcpConstants.ResourceProbeInterval, RtoMax);
            return;
        }
        BackOff(cpu);
    }

    private void NoteRto(Cpu cpu)
    {
        LossStatistics losses = AttachLosses();
        if (losses.RtoStart == Micros.Zero)
        {
            losses.RtoStart = cpu.Now;
            losses.TotalRtoRecoveries++;
        }
        losses.TotalRto++;
    }

    private void CountFailure(Cpu cpu)
    {
        switch (CaState)
        {
            case CaState.Recovery:
                cpu.Mib.Inc(HasSack ? Mib.TcpExtTCPSackRecoveryFail : Mib.TcpExtTCPRenoRecoveryFail);
                break;
            case CaState.Loss:
                cpu.Mib.Inc(Mib.TcpExtTCPLossFailures);
                break;
            case CaState.Open or CaState.Disorder or CaState.Cwr:
                if (CaState == CaState.Disorder || SackedOut > 0)
                    cpu.Mib.Inc(HasSack ? Mib.TcpExtTCPSackFailures : Mib.TcpExtTCPRenoFailures);
                break;
        }
    }

    // The next timeout is twice as long, but for thin streams and the first SYNs.
    private void BackOff(Cpu cpu)
    {
        bool thin = (Rare is { ThinLinearTimeouts: true } || Tcp.Sysctls.TcpThinLinearTimeouts) && PacketsOut < 4
            && !Cc.InInitialSlowStart;
        if (State == TcpState.Established && thin && Retransmits <= TcpConstants.ThinLinearRetries)
        {
            Backoff = 0;
            Rto = Micros.Min(Micros.Max(Rtt.Rto, RtoMin), RtoMax);
        }
        else if (State != TcpState.SynSent || (Losses?.TotalRto ?? 0) > Tcp.Sysctls.TcpSynLinearTimeouts)
        {
            Backoff++;
            Rto = Micros.Min(Rto << 1, RtoMax);
        }
        ResetWriteTimer(cpu, TimerEvent.Retransmit, ClampToUserTimeout(cpu), RtoMax);
        if (RetransmitsTimedOut(cpu, Tcp.Sysctls.TcpRetries1 + 1, Micros.Zero))
            Route = null;
    }

    /// <summary>
    /// The path has said that the segment which timed out met no way to its peer: it was not congestion, and the timeout is halved
    /// again. RFC 6069 §3. Linux: tcp_ld_RTO_revert.
    /// </summary>
    public void RevertBackOff(Cpu cpu, SeqNumber seq)
    {
        if (Lock.IsOwned || seq != Snd.Una || Retransmits == 0 || Backoff == 0 || Recovery?.Queue.First is not { } head)
            return;
        Backoff--;
        Rto = Rtt.HasSample ? Micros.Min(Rtt.Rto, RtoMax) : TcpConstants.TimeoutInit;
        Rto = Micros.Min(Rto << Backoff, RtoMax);
        RefreshTime(cpu);
        Micros remaining = Rto - (Time - new Micros(head.SentTime));
        if (remaining > Micros.Zero)
            ResetWriteTimer(cpu, TimerEvent.Retransmit, remaining, RtoMax);
        else
            OnRetransmitTimer(cpu);
    }

    private Micros ClampToUserTimeout(Cpu cpu) => UserTimeout == 0
        ? Rto
        : RetryLimit.ClampToUserTimeout(Rto, UserTimeout, cpu.Now - new Micros(Recovery!.Undo.FirstRetransmit), Micros.FromMilliseconds(1));

    // Linux: tcp_write_timeout.
    private bool HasTimedOut(Cpu cpu)
    {
        int retries;
        bool expired = false;
        if (State is TcpState.SynSent or TcpState.SynRecv)
        {
            if (Retransmits > 0)
                Route = null;
            retries = SynRetries != 0 ? SynRetries : Tcp.Sysctls.TcpSynRetries;
            int most = State == TcpState.SynSent ? retries + Tcp.Sysctls.TcpSynLinearTimeouts : retries;
            expired = Retransmits >= most;
        }
        else
        {
            if (RetransmitsTimedOut(cpu, Tcp.Sysctls.TcpRetries1, Micros.Zero))
            {
                SuspectMtu(cpu);
                Route = null;
            }
            retries = Tcp.Sysctls.TcpRetries2;
            if (Has(SockFlags.Dead))
            {
                bool alive = Rto < RtoMax;
                retries = OrphanRetries(alive);
                bool reset = alive || !RetransmitsTimedOut(cpu, retries, Micros.Zero);
                if (Tcp.IsOutOfOrphans(cpu, this, reset))
                    return true;
            }
        }
        expired = expired || RetransmitsTimedOut(cpu, retries, Micros.FromMilliseconds(UserTimeout));
        DetectBlackhole(cpu, expired);
        if (!expired)
            return false;
        WriteError(cpu);
        return true;
    }

    // Linux: tcp_orphan_retries.
    private int OrphanRetries(bool alive)
    {
        int retries = Tcp.Sysctls.TcpOrphanRetries;
        if (SoftError != Errno.OK && !alive)
            return 0;
        return retries == 0 && alive ? 8 : retries;
    }

    // Whether retransmitting has gone on for as long as that many doublings take, or for the timeout. Linux: retransmits_timed_out.
    private bool RetransmitsTimedOut(Cpu cpu, int boundary, Micros timeout)
    {
        if (Retransmits == 0 || Recovery is null)
            return false;
        if (timeout == Micros.Zero)
        {
            Micros first = State is TcpState.SynSent or TcpState.SynRecv ? TcpConstants.TimeoutInit : TcpConstants.RtoMin;
            timeout = RetryLimit.Timeout(boundary, first, RtoMax);
        }
        Micros elapsed = cpu.Now - new Micros(Recovery.Undo.FirstRetransmit);
        return elapsed.Milliseconds >= timeout.Milliseconds;
    }

    // Linux: tcp_rtx_probe0_timed_out.
    private bool HasProbedTooLong(SkBuff head)
    {
        if (UserTimeout != 0)
        {
            long first = Recovery!.Undo.FirstRetransmit;
            Micros since = Time - new Micros(first != 0 ? first : head.SentTime);
            return since >= Micros.FromMilliseconds(UserTimeout) && Time - LastAckReceived >= Micros.FromMilliseconds(UserTimeout);
        }
        // Two minutes without any answer from a peer that may well be gone.
        return Time - LastAckReceived > RtoMax * 2 && Retransmits > 0 && Recovery!.Undo.FirstRetransmit != 0
            && Time - new Micros(Recovery.Undo.FirstRetransmit) > RtoMax * 2;
    }

    /// <summary>The connection has failed: nothing answers. Linux: tcp_write_err.</summary>
    private void WriteError(Cpu cpu)
    {
        Errno error = SoftError != Errno.OK ? SoftError : Errno.ETIMEDOUT;
        PurgeWriteQueue(cpu);
        Tcp.Done(cpu, this, error);
        cpu.Mib.Inc(Mib.TcpExtTCPAbortOnTimeout);
    }

    /// <summary>
    /// The first timeout, if earlier connections had a longer round trip than the handshake, whose segments are small. And if the
    /// handshake gave no sample, because its SYN was repeated, the first timeouts are careful: RFC 6298 §5.7. Linux: tcp_init_metrics.
    /// </summary>
    /// <param name="srtt8">Eight times the round trip that earlier connections have seen; 0 if unknown.</param>
    public void StartRtoFrom(uint srtt8)
    {
        if (srtt8 > Rtt.Srtt8)
        {
            var known = new Micros(srtt8 >> 3);
            Rto = known + Micros.Max(known * 2, RtoMin);
        }
        else if (!Rtt.HasSample)
        {
            Rtt.Rttvar4 = Rtt.Mdev4 = Rtt.MdevMax4 = (uint)Micros.FromSeconds(3).Value;
            Rto = Micros.FromSeconds(3);
        }
    }
}
