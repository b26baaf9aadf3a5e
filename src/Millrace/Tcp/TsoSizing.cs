using System;
using Millrace.Buffers;

namespace Millrace.Tcp;

/// <summary>How large super-packets are: large enough to be cheap, small enough that a burst does no harm.</summary>
/// <remarks>Linux: tcp_tso_autosize, tcp_xmit_size_goal, tcp_mss_split_point, tcp_tso_should_defer.</remarks>
internal static class TsoSizing
{
    /// <summary>Bytes of a super-packet at most. Linux: sk_gso_max_size.</summary>
    public const int MaxBytes = SkBuff.MaxGsoSize - 320 - 1;

    /// <summary>Linux: sk_pacing_shift: super-packets hold about a millisecond of the pacing rate.</summary>
    public const int PacingShift = 10;

    /// <summary>Segments of a super-packet at the pacing rate; more on short paths, where a burst does no harm. Linux: tcp_tso_autosize.</summary>
    /// <param name="pacingRate">Bytes a second.</param>
    /// <param name="rttLog">tcp_tso_rtt_log: the part that the round trip gives is halved for every 2^n microseconds.</param>
    /// <param name="least">What the congestion control asks for at least.</param>
    /// <param name="mostSegments">What a device can cut.</param>
    public static uint Segments(ulong pacingRate, uint minRttUs, int rttLog, int mss, uint least, int mostSegments)
    {
        ulong bytes = pacingRate >> PacingShift;
        uint shift = minRttUs >> rttLog;
        if (shift < 32)
            bytes += (uint)MaxBytes >> (int)shift;
        bytes = Math.Min(bytes, MaxBytes);
        return (uint)Math.Min(Math.Max((uint)bytes / (uint)mss, least), mostSegments);
    }

    /// <summary>
    /// Bytes that the send loop gathers in one buffer: whole segments, and the same number as long as it fits. Linux: tcp_xmit_size_goal.
    /// </summary>
    /// <param name="segments">The number in use; changed if it does not fit.</param>
    /// <param name="most">Half of the peer's window.</param>
    public static int Goal(ref ushort segments, int mss, int most, int mostSegments)
    {
        int size = segments * mss;
        if (most < size || most >= size + mss)
        {
            segments = (ushort)Math.Min(most / mss, mostSegments);
            size = segments * mss;
        }
        return Math.Max(size, mss);
    }

    /// <summary>Bytes of a buffer that can go in one piece. Linux: tcp_mss_split_point.</summary>
    /// <param name="window">What the peer's window leaves, from the buffer's start.</param>
    /// <param name="isLast">Nothing is queued behind it.</param>
    /// <param name="holdsPartial">Nagle's algorithm would hold a small segment: the last one is not taken along.</param>
    public static int SplitPoint(int length, long window, int mss, uint maxSegments, bool isLast, bool holdsPartial)
    {
        long most = (long)mss * maxSegments;
        if (most <= window && !isLast)
            return (int)most;
        long needed = Math.Min(length, window);
        if (most <= needed)
            return (int)most;
        int partial = (int)(needed % mss);
        return partial != 0 && holdsPartial ? (int)needed - partial : (int)needed;
    }

    /// <summary>Whether so much can be sent that waiting for more is not worth it. Linux: the middle of tcp_tso_should_defer.</summary>
    /// <param name="room">Bytes that both windows allow now.</param>
    /// <param name="window">The smaller of both windows, in bytes.</param>
    /// <param name="divisor">tcp_tso_win_divisor: the part of it that is worth sending; 0: three segments are.</param>
    public static bool IsEnough(long room, int length, bool isLast, long window, int divisor, int mss, uint maxSegments)
    {
        if (room >= (long)maxSegments * mss || (!isLast && room >= length))
            return true;
        return divisor > 0 ? room >= window / divisor : room > 3L * mss;
    }

    /// <summary>Whether the next ACK is expected soon enough to wait for it: half a round trip, and a millisecond at most.</summary>
    public static bool IsAckNear(long headSentTime, uint srttUs, long now) => headSentTime + srttUs - now <= Math.Min(srttUs >> 1, 1000);
}
