using System;
using Millrace.Inet;
using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>What earlier connections between two addresses have learned; 0 is unknown.</summary>
/// <remarks>Linux: tcp_metrics_block.</remarks>
internal struct PeerMetrics
{
    /// <summary>Eight times the round trip, four times its variation; microseconds. Linux: TCP_METRIC_RTT, TCP_METRIC_RTTVAR.</summary>
    public uint Srtt8, Rttvar4;

    /// <summary>Packets. Linux: TCP_METRIC_SSTHRESH, TCP_METRIC_CWND, TCP_METRIC_REORDERING.</summary>
    public uint Ssthresh, Cwnd, Reordering;

    /// <summary>What the route dictates, so that no connection changes it. Linux: tcpm_lock.</summary>
    public LearnedMetrics Locked;

    /// <summary>When a connection, or the route, last changed it. Linux: tcpm_stamp.</summary>
    public Micros Stamp;

    /// <summary>What Fast Open knows of the peer: its MSS and cookie. Linux: tcp_fastopen_metrics.</summary>
    public ushort FastOpenMss;
    public FastOpenCookie Cookie;

    /// <summary>1: the peer did not know the option, perhaps it knows the older one; 2: nor that. Linux: try_exp.</summary>
    public byte TryExperimental;

    /// <summary>SYNs with data or a cookie that were lost in a row, and when the last was. Linux: syn_loss, last_syn_loss.</summary>
    public ushort SynLosses;
    public Micros LastSynLoss;

    /// <summary>The route's numbers replace what was learned. Linux: tcpm_suck_dst.</summary>
    public void TakeFrom(RouteMetrics route, Micros now)
    {
        Srtt8 = (uint)route.Srtt8.Value;
        Rttvar4 = (uint)route.Rttvar4.Value;
        Ssthresh = route.Ssthresh;
        Cwnd = route.Cwnd;
        Reordering = route.Reordering;
        Locked = route.Locked;
        Stamp = now;
    }

    /// <summary>A connection that had samples ends. Linux: tcp_update_metrics.</summary>
    /// <param name="saveSsthresh">net.ipv4.tcp_no_ssthresh_metrics_save is off.</param>
    public void Learn(TcpSock sk, bool saveSsthresh, Micros now)
    {
        LearnRtt(sk.Rtt);
        LearnWindow(sk, saveSsthresh && Free(LearnedMetrics.Ssthresh), Free(LearnedMetrics.Cwnd));
        Stamp = now;
    }

    // A longer round trip counts at once, a shorter one by an eighth.
    private void LearnRtt(in RttEstimator rtt)
    {
        long shrink = (long)Srtt8 - rtt.Srtt8;
        if (Free(LearnedMetrics.Rtt))
            Srtt8 = shrink <= 0 ? rtt.Srtt8 : Srtt8 - (uint)(shrink >> 3);
        if (!Free(LearnedMetrics.Rttvar))
            return;
        uint deviation = Math.Max((uint)(Math.Abs(shrink) >> 1), rtt.Mdev4);
        Rttvar4 = deviation >= Rttvar4 ? deviation : Rttvar4 - ((Rttvar4 - deviation) >> 2);
    }

    private void LearnWindow(TcpSock sk, bool ssthresh, bool cwnd)
    {
        CongestionWindow cc = sk.Cc;
        if (cc.InInitialSlowStart)
        {
            if (ssthresh && Ssthresh != 0 && cc.Cwnd >> 1 > Ssthresh)
                Ssthresh = cc.Cwnd >> 1;
            if (cwnd && cc.Cwnd > Cwnd)
                Cwnd = cc.Cwnd;
        }
        else if (!cc.InSlowStart && sk.CaState == CaState.Open)
        {
            // Congestion avoidance: the window is what the path bears.
            if (ssthresh)
                Ssthresh = Math.Max(cc.Cwnd >> 1, cc.Ssthresh);
            if (cwnd)
                Cwnd = (Cwnd + cc.Cwnd) >> 1;
        }
        else
        {
            // After a loss the window says nothing, and the threshold perhaps too much.
            if (cwnd)
                Cwnd = (Cwnd + cc.Ssthresh) >> 1;
            if (ssthresh && Ssthresh != 0 && cc.Ssthresh > Ssthresh)
                Ssthresh = cc.Ssthresh;
            // Only here, as there: who sends freely has not suffered from its guess.
            if (Free(LearnedMetrics.Reordering) && Reordering < sk.Reorder.Degree && sk.Reorder.Degree != sk.Tcp.Sysctls.TcpReordering)
                Reordering = sk.Reorder.Degree;
        }
    }

    private readonly bool Free(LearnedMetrics which) => (Locked & which) == 0;
}
