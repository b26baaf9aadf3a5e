using System;
using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>How a sender stands with respect to loss. Linux: enum tcp_ca_state.</summary>
internal enum CaState : byte
{
    /// <summary>Nothing suspicious: the fast path.</summary>
    Open,

    /// <summary>Duplicate ACKs or SACKs have come: something may be lost.</summary>
    Disorder,

    /// <summary>The window is being reduced for a congestion mark or a local drop.</summary>
    Cwr,

    /// <summary>The window is being reduced, and losses are being repaired.</summary>
    Recovery,

    /// <summary>The window was reduced by a timeout or by reneging.</summary>
    Loss,
}

/// <summary>What an algorithm may want to know of. Linux: enum tcp_ca_event.</summary>
internal enum CaEvent
{
    /// <summary>The first packet after an idle time.</summary>
    TxStart,
    CwndRestart,

    /// <summary>The reduction has ended.</summary>
    CompleteCwr,
    Loss,
}

/// <summary>What an ACK acknowledged, for algorithms that measure. Linux: ack_sample.</summary>
/// <param name="RttUs">−1 if there is no sample.</param>
internal readonly record struct AckSample(int Packets, long RttUs, uint InFlight);

/// <summary>
/// One delivery-rate sample: how much was delivered over which interval. Linux: rate_sample.
/// draft-cheng-iccrg-delivery-rate-estimation.
/// </summary>
internal struct RateSample
{
    /// <summary>When the interval began; 0 if there is no sample.</summary>
    public long PriorTime;
    public uint PriorDelivered, PriorDeliveredCe;

    /// <summary>Packets delivered over <see cref="IntervalUs"/>; −1 if unknown.</summary>
    public int Delivered;
    public int DeliveredCe;
    public long IntervalUs;
    public long SendIntervalUs;
    public long RttUs;
    public int Losses;
    public uint AckedSacked;
    public uint PriorInFlight;
    public uint LastEndSeq;
    public bool IsAppLimited, IsRetrans, IsAckDelayed;
}

/// <summary>
/// A congestion control algorithm's state for one connection. Abstract: every algorithm must answer. Virtual: an algorithm that says
/// nothing does as Reno does.
/// </summary>
/// <remarks>Linux: tcp_congestion_ops. Every method is called by the owner of the sock, or under its spinlock.</remarks>
internal abstract class CongestionControl
{
    /// <summary>As TCP_CONGESTION names it.</summary>
    public abstract string Name { get; }

    /// <summary>Whether packets are marked as ECN-capable, whatever was configured. Linux: TCP_CONG_NEEDS_ECN.</summary>
    public virtual bool NeedsEcn => false;

    /// <summary>The connection is established, or has changed to this algorithm. Linux: init.</summary>
    public virtual void Init(TcpSock sk)
    {
    }

    public virtual void Release(TcpSock sk)
    {
    }

    /// <summary>The new slow-start threshold after a loss, in packets. Linux: ssthresh.</summary>
    public abstract uint Ssthresh(TcpSock sk);

    /// <summary>Lets the window grow for <paramref name="acked"/> packets. Linux: cong_avoid.</summary>
    public abstract void CongestionAvoidance(TcpSock sk, Cpu cpu, uint acked);

    /// <summary>The window to go back to when a reduction turns out to have been a mistake. Linux: undo_cwnd.</summary>
    public virtual uint UndoCwnd(TcpSock sk) => Math.Max(sk.Cc.Cwnd, sk.Cc.PriorCwnd);

    /// <summary>Linux: set_state.</summary>
    public virtual void SetState(TcpSock sk, CaState state)
    {
    }

    /// <summary>Linux: cwnd_event.</summary>
    public virtual void OnEvent(TcpSock sk, CaEvent what)
    {
    }

    /// <summary>
    /// A segment with data has come on an ECN connection, marked or not. Linux: cwnd_event with CA_EVENT_ECN_IS_CE, CA_EVENT_ECN_NO_CE.
    /// </summary>
    public virtual void OnMark(TcpSock sk, Cpu cpu, bool marked)
    {
    }

    /// <summary>Whether <see cref="OnAckEvent"/> is wanted.</summary>
    public virtual bool WantsAckEvents => false;

    /// <summary>An ACK has come. Linux: in_ack_event.</summary>
    public virtual void OnAckEvent(TcpSock sk, bool ecnEcho)
    {
    }

    /// <summary>Packets have been acknowledged. Linux: pkts_acked.</summary>
    public virtual void OnPacketsAcked(TcpSock sk, Cpu cpu, in AckSample sample)
    {
    }

    /// <summary>Segments of the smallest super-packet; 0 for the default. Linux: min_tso_segs.</summary>
    public virtual uint MinTsoSegments(TcpSock sk) => 0;

    /// <summary>Whether <see cref="Control"/> replaces the window's growth and reduction altogether.</summary>
    public virtual bool ControlsAll => false;

    /// <summary>Sets window and pacing rate after each ACK. Linux: cong_control.</summary>
    public virtual void Control(TcpSock sk, Cpu cpu, in RateSample sample)
    {
    }

    /// <summary>How many windows the send buffer should hold; 0 for the default. Linux: sndbuf_expand.</summary>
    public virtual uint SendBufferExpansion(TcpSock sk) => 0;

    /// <summary>Fills TCP_CC_INFO; returns the bytes filled. Linux: get_info.</summary>
    public virtual int GetInfo(TcpSock sk, Span<byte> info) => 0;
}
