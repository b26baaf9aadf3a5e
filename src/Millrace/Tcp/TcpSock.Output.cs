using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Output: what may be sent, in what pieces, and the making of segments.</summary>
internal sealed partial class TcpSock
{
    // ---- What may be sent ----

    /// <summary>Packets that the congestion window allows now; at most half of it at once. Linux: tcp_cwnd_test.</summary>
    private uint CwndQuota()
    {
        uint inFlight = PacketsInFlight;
        if (inFlight >= Cc.Cwnd)
            return 0;
        return Math.Min(Math.Max(Cc.Cwnd >> 1, 1), Cc.Cwnd - inFlight);
    }

    /// <summary>Whether the first segment of the buffer fits the peer's window. Linux: tcp_snd_wnd_test.</summary>
    private bool FitsWindow(SkBuff skb, int mss)
    {
        SeqNumber end = skb.Length > mss ? skb.Tcp.Seq + mss : skb.Tcp.EndSeq;
        return end <= Snd.WndEnd;
    }

    private bool PassesNagle(SkBuff skb, int mss, NagleFlags nagle) =>
        (nagle & NagleFlags.Push) != 0 || InUrgentMode || (skb.Tcp.Flags & TcpFlags.Fin) != 0 || !(skb.Length < mss && Snd.NagleHolds(nagle, PacketsOut));

    private uint TsoSegments(int mss)
    {
        uint least = Congestion?.MinTsoSegments(this) ?? 0;
        if (least == 0)
            least = (uint)Tcp.Sysctls.TcpMinTsoSegs;
        return TsoSizing.Segments(PacingRate, MinRttUs, Tcp.Sysctls.TcpTsoRttLog, mss, least, GsoMaxSegments);
    }

    private int SplitPoint(SkBuff skb, int mss, uint maxSegments, NagleFlags nagle) => TsoSizing.SplitPoint(
        skb.Length, Snd.WndEnd - skb.Tcp.Seq, mss, maxSegments, skb == WriteQueue.Last, Snd.NagleHolds(nagle, PacketsOut));

    /// <summary>
    /// Whether a super-packet should wait to grow, because an ACK that lets more out is about to come. Linux: tcp_tso_should_defer.
    /// </summary>
    private bool ShouldDefer(SkBuff skb, ref SendLimits limits, uint maxSegments)
    {
        // Only if something was sent within the last millisecond; else waiting makes bursts.
        if (CaState >= CaState.Recovery || Time - Pace.Next > Micros.FromMilliseconds(1))
            return false;
        long sendWindow = Snd.WndEnd - skb.Tcp.Seq, congestionWindow = (long)(Cc.Cwnd - PacketsInFlight) * MssCache;
        long room = Math.Min(sendWindow, congestionWindow), window = Math.Min(Snd.Wnd, (long)Cc.Cwnd * MssCache);
        if (TsoSizing.IsEnough(room, skb.Length, skb == WriteQueue.Last, window, Tcp.Sysctls.TcpTsoWinDivisor, MssCache, maxSegments))
            return false;
        if (Recovery?.Queue.First is not { } head || !TsoSizing.IsAckNear(head.SentTime, Rtt.Srtt8 >> 3, Time.Value))
            return false;
        if (room <= skb.Length)
        {
            if (congestionWindow < sendWindow)
                limits.ByCongestion = true;
            else
                limits.ByReceiver = true;
            return true;
        }
        return (skb.Tcp.Flags & TcpFlags.Fin) == 0 && (skb.Tcp.Notes & BufferNotes.EndOfRecord) == 0;
    }

    /// <summary>Whether the layers below hold enough of this connection already. Linux: tcp_small_queue_check.</summary>
    private bool IsSmallQueueFull(SkBuff skb, bool isRetransmit)
    {
        long limit = Math.Max(2L * skb.TrueSize, (long)Math.Min(PacingRate >> TsoSizing.PacingShift, int.MaxValue));
        if (!IsPaced)
            limit = Math.Min(limit, Tcp.Sysctls.TcpLimitOutputBytes);
        if (isRetransmit)
            limit <<= 1;
        return TransmitAllocated > limit && !IsRtxEmpty && Throttle(limit);
    }

    // ---- The send loop ----

    /// <summary>
    /// Sends what windows, pacing and Nagle allow. True: nothing is in flight and yet something is left, so that the window must be
    /// probed. Linux: tcp_write_xmit.
    /// </summary>
    /// <param name="pushOne">0: all; 1: the first buffer; 2: one segment as a loss probe, whatever the congestion window says.</param>
    public bool WriteXmit(Cpu cpu, int mss, NagleFlags nagle, int pushOne)
    {
        if (RepairsSendQueue)
        {
            TakeAsSent(cpu, mss);
            return false;
        }
        cpu.BhDisable();
        cpu.Trace(Tp.tcp_write_xmit, this, WriteQueue.Count);
        RefreshTime(cpu);
        uint sent = 0, maxSegments = TsoSegments(mss);
        SendLimits limits = default;
        if (pushOne == 0)
        {
            if (TryMtuProbe(cpu, out bool probed))
            {
                cpu.BhEnable();
                return false;
            }
            sent = probed ? 1u : 0u;
        }
        while (SendHead is { } skb && !MustPace(cpu))
        {
            uint quota = CwndQuota();
            if (quota == 0 && pushOne == 2)
                quota = 1;
            quota = Math.Min(quota, maxSegments);
            if (quota == 0 || !ShapeHead(cpu, skb, mss, quota, nagle, pushOne == 0 ? maxSegments : 0, ref limits))
                break;
            if (IsSmallQueueFull(skb, isRetransmit: false))
                break;
            // A buffer without a byte waits for the sender that is filling it.
            if (skb.Tcp.EndSeq == skb.Tcp.Seq)
                break;
            if (TransmitSkb(cpu, skb) != Errno.OK)
                break;
            OnNewDataSent(cpu, skb);
            if (skb.Length < skb.Tcp.Segments * mss)
                Snd.Small = skb.Tcp.EndSeq;
            sent += (uint)skb.Tcp.Segments;
            if (pushOne != 0)
                break;
        }
        bool stillOut = FinishWriteXmit(cpu, sent, limits, pushOne);
        cpu.BhEnable();
        return stillOut;
    }

    // Makes of the first buffer what may go in one piece; false: it has to wait.
    // deferAt: segments of a full super-packet, which a smaller one may wait to become; 0: none waits.
    private bool ShapeHead(Cpu cpu, SkBuff skb, int mss, uint quota, NagleFlags nagle, uint deferAt, ref SendLimits limits)
    {
        if ((long)quota * mss - skb.Length is > 0 and var missing)
            GrowFromNext(cpu, skb, (int)missing);
        int segments = Segmentation.SetSegments(skb, mss);
        if (!FitsWindow(skb, mss))
        {
            limits.ByReceiver = true;
            return false;
        }
        bool waits = segments == 1
            ? !PassesNagle(skb, mss, skb == WriteQueue.Last ? nagle : NagleFlags.Push)
            : deferAt != 0 && ShouldDefer(skb, ref limits, deferAt);
        if (waits)
            return false;
        int limit = segments > 1 && !InUrgentMode ? SplitPoint(skb, mss, quota, nagle) : mss;
        if (skb.Length > limit)
            FragmentUnsent(cpu, skb, limit, mss);
        return true;
    }

    /// <summary>Which window keeps the send loop from going on.</summary>
    private struct SendLimits
    {
        public bool ByCongestion, ByReceiver;
    }

    private bool FinishWriteXmit(Cpu cpu, uint sent, SendLimits limits, int pushOne)
    {
        if (limits.ByReceiver)
            AttachTransfer().Chrono.Start(ChronoType.ReceiveWindow, cpu.Now);
        else
            Transfer?.Chrono.Stop(ChronoType.ReceiveWindow, cpu.Now, NothingQueued);
        bool cwndLimited = limits.ByCongestion || PacketsInFlight >= Cc.Cwnd;
        if (sent > 0 || cwndLimited)
            ValidateCwnd(cpu, cwndLimited);
        if (sent == 0)
            return PacketsOut == 0 && !IsAllSent;
        if (InReduction)
            Recovery!.Prr.Out += sent;
        // One loss probe for each episode of silence.
        if (pushOne != 2)
            ScheduleLossProbe(cpu, advancingRto: false);
        return false;
    }

    /// <summary>Sends what is queued, and probes if nothing is in flight. Linux: __tcp_push_pending_frames.</summary>
    public void PushPending(Cpu cpu, int mss, NagleFlags nagle)
    {
        if (State == TcpState.Close)
            return;
        if (WriteXmit(cpu, mss, nagle, 0))
            CheckProbeTimer(cpu);
    }

    /// <summary>Sends the one buffer that is full, while the writer goes on. Linux: tcp_push_one.</summary>
    public void PushOne(Cpu cpu, int mss) => WriteXmit(cpu, mss, NagleFlags.Push, 1);

    /// <summary>Sends after an ACK has come, if anything is queued. Linux: tcp_push_pending_frames.</summary>
    public void PushPendingFrames(Cpu cpu)
    {
        if (SendHead is not null)
            PushPending(cpu, CurrentMss(), Nagle);
    }
}
