using System;
using System.Runtime.InteropServices;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>The congestion window and what keeps it honest. All in packets. RFC 5681, RFC 7661 in spirit.</summary>
/// <remarks>Linux: snd_cwnd, snd_cwnd_cnt, snd_ssthresh and their kin; tcp_slow_start, tcp_cong_avoid_ai.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
internal struct CongestionWindow
{
    public uint Cwnd;

    /// <summary>Acknowledged packets that have not made the window grow yet. Linux: snd_cwnd_cnt.</summary>
    public uint Count;

    public uint Ssthresh;

    /// <summary>TCP_WINDOW_CLAMP's kin for the window; Linux: snd_cwnd_clamp.</summary>
    public uint Clamp;

    /// <summary>Linux: snd_cwnd_used, snd_cwnd_stamp.</summary>
    public uint Used;
    public Micros Stamp;

    /// <summary>The window and the threshold before the reduction under way. Linux: prior_cwnd, prior_ssthresh.</summary>
    public uint PriorCwnd, PriorSsthresh;

    /// <summary>The most packets that were out in the present window of usage. Linux: max_packets_out, cwnd_usage_seq.</summary>
    public uint MaxPacketsOut;
    public SeqNumber UsageEnd;
    public bool IsLimited;

    public readonly bool InSlowStart => Cwnd < Ssthresh;

    /// <summary>Whether slow start has not met a loss yet. Linux: tcp_in_initial_slowstart.</summary>
    public readonly bool InInitialSlowStart => Ssthresh >= TcpConstants.InfiniteSsthresh;

    /// <summary>Whether the window, rather than the application, limits the connection. Linux: tcp_is_cwnd_limited.</summary>
    public readonly bool IsUsed => IsLimited || (InSlowStart && Cwnd < 2 * MaxPacketsOut);

    /// <summary>
    /// The threshold as it is worth now: a window that is not being reduced may go back to three quarters of itself. Linux:
    /// tcp_current_ssthresh.
    /// </summary>
    public readonly uint CurrentSsthresh(bool inReduction) => inReduction ? Ssthresh : Math.Max(Ssthresh, (Cwnd >> 1) + (Cwnd >> 2));

    /// <summary>Something was sent: notes the most that was out in a window of usage. Linux: tcp_cwnd_validate.</summary>
    /// <param name="limited">The window kept more from being sent.</param>
    public void NoteUsage(SeqNumber una, SeqNumber nxt, uint packetsOut, bool limited)
    {
        if (una < UsageEnd && !limited && (IsLimited || packetsOut <= MaxPacketsOut))
            return;
        IsLimited = limited;
        MaxPacketsOut = packetsOut;
        UsageEnd = nxt;
    }

    /// <summary>
    /// The application did not use the window for a timeout: it falls half of the way to what was used. RFC 7661's concern: what is not
    /// used says nothing of the path. Linux: tcp_cwnd_application_limited.
    /// </summary>
    public void Decay(uint initial, uint currentSsthresh)
    {
        uint used = Math.Max(Used, initial);
        if (used < Cwnd)
        {
            Ssthresh = currentSsthresh;
            Cwnd = (Cwnd + used) >> 1;
        }
        Used = 0;
    }

    /// <summary>After an idle time the window starts again, halved for each timeout that has passed. RFC 5681 §4.1. Linux: tcp_cwnd_restart.</summary>
    public void Restart(Micros idle, Micros rto, uint initial, uint currentSsthresh)
    {
        uint cwnd = Cwnd, restart = Math.Min(initial, cwnd);
        Ssthresh = currentSsthresh;
        for (Micros left = idle - rto; left.Value > 0 && cwnd > restart; left -= rto)
            cwnd >>= 1;
        Cwnd = Math.Max(cwnd, restart);
        Used = 0;
    }

    /// <summary>Grows by what was acknowledged, up to the threshold. Returns what is left of it.</summary>
    public uint SlowStart(uint acked)
    {
        uint cwnd = Math.Min(Cwnd + acked, Ssthresh);
        acked -= cwnd - Cwnd;
        Cwnd = Math.Min(cwnd, Clamp);
        return acked;
    }

    /// <summary>Grows by one packet for each <paramref name="w"/> acknowledged.</summary>
    public void Additive(uint w, uint acked)
    {
        // Credits that gathered at a higher w are applied gently.
        if (Count >= w)
        {
            Count = 0;
            Cwnd++;
        }
        Count += acked;
        if (Count >= w)
        {
            uint delta = Count / w;
            Count -= delta * w;
            Cwnd += delta;
        }
        Cwnd = Math.Min(Cwnd, Clamp);
    }
}
