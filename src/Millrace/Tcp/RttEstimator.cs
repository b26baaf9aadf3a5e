using System;
using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>
/// The smoothed round-trip time, its variation, and the timeout that follows. The variation falls slowly, once a round trip, and never
/// below the least timeout, so that a quiet path does not time out on its first hiccup.
/// </summary>
/// <remarks>RFC 6298 §2, with Linux's departures (tcp_rtt_estimator). All in microseconds; <see cref="Srtt8"/> is scaled by 8, the others by 4.</remarks>
internal struct RttEstimator
{
    /// <summary>Eight times SRTT; 0 before the first sample. Linux: srtt_us.</summary>
    public uint Srtt8;

    /// <summary>Four times the mean deviation. Linux: mdev_us.</summary>
    public uint Mdev4;

    /// <summary>The largest deviation of this round trip. Linux: mdev_max_us.</summary>
    public uint MdevMax4;

    /// <summary>What the timeout is made of. Linux: rttvar_us.</summary>
    public uint Rttvar4;

    /// <summary>SND.NXT when this round trip began. Linux: rtt_seq.</summary>
    public Wire.SeqNumber RoundEnd;

    public readonly bool HasSample => Srtt8 != 0;

    public readonly Micros Srtt => new(Srtt8 >> 3);

    /// <summary>RFC 6298 §2.2 and §2.3. <paramref name="rtoMin"/> bounds the variation from below.</summary>
    public void OnSample(Micros measured, Wire.SeqNumber sndUna, Wire.SeqNumber sndNxt, Micros rtoMin)
    {
        uint floor = (uint)rtoMin.Value;
        if (Srtt8 == 0)
        {
            Srtt8 = (uint)Math.Max(1, measured.Value << 3);
            Mdev4 = (uint)(measured.Value << 1);
            Rttvar4 = Math.Max(Mdev4, floor);
            MdevMax4 = Rttvar4;
            RoundEnd = sndNxt;
            return;
        }
        long error = measured.Value - (Srtt8 >> 3);
        Srtt8 = (uint)Math.Max(1, Srtt8 + error);
        if (error < 0)
        {
            // A sudden drop of the round trip is no reason for a longer timeout: it counts one eighth of what a rise does.
            error = -error - (Mdev4 >> 2);
            if (error > 0)
                error >>= 3;
        }
        else
        {
            error -= Mdev4 >> 2;
        }
        Mdev4 = (uint)(Mdev4 + error);
        if (Mdev4 > MdevMax4)
        {
            MdevMax4 = Mdev4;
            if (MdevMax4 > Rttvar4)
                Rttvar4 = MdevMax4;
        }
        if (sndUna <= RoundEnd)
            return;
        if (MdevMax4 < Rttvar4)
            Rttvar4 -= (Rttvar4 - MdevMax4) >> 2;
        RoundEnd = sndNxt;
        MdevMax4 = floor;
    }

    /// <summary>SRTT + variation, before any backoff, in whole milliseconds. RFC 6298 §2.3. Linux: __tcp_set_rto.</summary>
    public readonly Micros Rto => new Micros((Srtt8 >> 3) + Rttvar4).CeilingToMillisecond;
}
