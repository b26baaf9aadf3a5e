using System;
using System.Runtime.InteropServices;
using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>Spreads what the window allows over the round trip: when the next segment may leave.</summary>
/// <remarks>Linux: tcp_wstamp_ns, tcp_update_skb_after_send, tcp_update_pacing_rate.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
internal struct Pacer
{
    private int _remainderNs;

    /// <summary>When the last segment left, or the next one may leave: the pacing clock.</summary>
    public Micros Next;

    /// <summary>Bytes a second: the window over the round trip, times the ratio in percent. Linux: tcp_update_pacing_rate.</summary>
    /// <param name="srtt8">Eight times SRTT, microseconds; 0: there is none, and the rate has no bound to speak of.</param>
    public static ulong Rate(int mss, uint packets, uint srtt8, int percent)
    {
        ulong rate = (ulong)mss * (1_000_000 / 100 << 3) * (ulong)percent * packets;
        return srtt8 != 0 ? rate / srtt8 : rate;
    }

    /// <summary>A segment leaves now, or when its time has come. Returns when the one before it was to.</summary>
    public Micros Advance(Micros now)
    {
        Micros prior = Next;
        Next = Micros.Max(Next, now);
        return prior;
    }

    /// <summary>
    /// So many bytes have left: the next segment waits for as long as they take at the rate. Time that nothing was sent in is made up for,
    /// up to half of that.
    /// </summary>
    /// <param name="prior">What <see cref="Advance"/> returned.</param>
    public void OnSent(int bytes, ulong rate, Micros prior)
    {
        long length = (long)((ulong)bytes * 1_000_000_000 / rate) + _remainderNs;
        long credit = (Next - prior).Value * 1000;
        length -= Math.Min(length / 2, credit);
        _remainderNs = (int)(length % 1000);
        Next += new Micros(length / 1000);
    }
}
