using System;
using Millrace.Buffers;

namespace Millrace.Tcp;

/// <summary>
/// How fast packets are delivered: every buffer notes at its sending what had been delivered until then, and each ACK compares. A
/// sample says what the network does only if the application gave enough to send.
/// </summary>
/// <remarks>draft-cheng-iccrg-delivery-rate-estimation. Linux: tcp_rate.c. Times are microseconds.</remarks>
internal struct DeliveryRate
{
    /// <summary>When the first packet of the flight was sent that the latest sample is about. Linux: first_tx_mstamp.</summary>
    public long FirstSent;

    /// <summary>When something was last delivered. Linux: delivered_mstamp.</summary>
    public long DeliveredTime;

    /// <summary>Packets delivered in all, and those of them that bore a congestion mark. Linux: delivered, delivered_ce.</summary>
    public uint Delivered, DeliveredCe;

    /// <summary>Samples are limited by the application until so many are delivered; 0 if they are not. Linux: app_limited.</summary>
    public uint AppLimited;

    /// <summary>The best sample: packets over microseconds. Linux: rate_delivered, rate_interval_us, rate_app_limited.</summary>
    public uint BestDelivered, BestIntervalUs;
    public bool BestAppLimited;

    public void Count(uint packets, bool ecnEcho)
    {
        Delivered += packets;
        if (ecnEcho)
            DeliveredCe += packets;
    }

    /// <summary>A buffer leaves: notes on it what has been delivered. Linux: tcp_rate_skb_sent.</summary>
    public void OnSent(SkBuff skb, bool nothingOut)
    {
        // The time without anything out is nobody's fault.
        if (nothingOut)
            FirstSent = DeliveredTime = skb.SentTime;
        ref TcpControlBlock tcp = ref skb.Tcp;
        tcp.FirstTxTime = FirstSent;
        tcp.DeliveredTime = DeliveredTime;
        tcp.Delivered = Delivered;
        tcp.DeliveredCe = DeliveredCe;
        if (AppLimited != 0)
            tcp.Notes |= BufferNotes.AppLimited;
        else
            tcp.Notes &= ~BufferNotes.AppLimited;
    }

    /// <summary>A buffer is acknowledged or SACKed: the one that was sent last makes the sample. Linux: tcp_rate_skb_delivered.</summary>
    public void OnDelivered(SkBuff skb, ref RateSample sample)
    {
        ref TcpControlBlock tcp = ref skb.Tcp;
        // It has been counted when it was SACKed.
        if (tcp.DeliveredTime == 0)
            return;
        if (sample.PriorDelivered == 0 || Rack.SentAfter(skb.SentTime, FirstSent, tcp.EndSeq, new Wire.SeqNumber(sample.LastEndSeq)))
        {
            sample.PriorDeliveredCe = tcp.DeliveredCe;
            sample.PriorDelivered = tcp.Delivered;
            sample.PriorTime = tcp.DeliveredTime;
            sample.IsAppLimited = (tcp.Notes & BufferNotes.AppLimited) != 0;
            sample.IsRetrans = (tcp.Sacked & SackedFlags.Retrans) != 0;
            sample.LastEndSeq = tcp.EndSeq.Value;
            FirstSent = skb.SentTime;
            sample.IntervalUs = FirstSent - tcp.FirstTxTime;
        }
        if ((tcp.Sacked & SackedFlags.SackedAcked) != 0)
            tcp.DeliveredTime = 0;
    }

    /// <summary>Ends the sample of an ACK, and keeps it if it is the best, or if nothing but the network limited it. Linux: tcp_rate_gen.</summary>
    /// <param name="reneged">What was SACKed is not to be believed: there is no sample.</param>
    public void Finish(ref RateSample sample, uint delivered, uint lost, long now, uint minRttUs, bool reneged)
    {
        if (AppLimited != 0 && (int)(Delivered - AppLimited) > 0)
            AppLimited = 0;
        if (delivered > 0)
            DeliveredTime = now;
        sample.AckedSacked = delivered;
        sample.Losses = (int)lost;
        if (sample.PriorTime == 0 || reneged)
        {
            sample.Delivered = -1;
            sample.IntervalUs = -1;
            return;
        }
        sample.Delivered = (int)(Delivered - sample.PriorDelivered);
        sample.DeliveredCe = (int)(DeliveredCe - sample.PriorDeliveredCe);
        // Of sending and acknowledging the slower one: ACKs that come in a bunch are no bandwidth.
        sample.SendIntervalUs = sample.IntervalUs;
        sample.IntervalUs = Math.Max(sample.IntervalUs, now - sample.PriorTime);
        if (sample.IntervalUs < minRttUs)
        {
            sample.IntervalUs = -1;
            return;
        }
        if (!sample.IsAppLimited || (ulong)sample.Delivered * BestIntervalUs >= (ulong)BestDelivered * (ulong)sample.IntervalUs)
        {
            BestDelivered = (uint)sample.Delivered;
            BestIntervalUs = (uint)Math.Min(sample.IntervalUs, uint.MaxValue);
            BestAppLimited = sample.IsAppLimited;
        }
    }

    /// <summary>What is out now was all that there was to send. Linux: tcp_rate_check_app_limited.</summary>
    public void MarkAppLimited(uint inFlight)
    {
        uint limited = Delivered + inFlight;
        AppLimited = limited != 0 ? limited : 1;
    }
}
