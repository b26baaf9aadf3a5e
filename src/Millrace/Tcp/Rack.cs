using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// RACK: a packet is lost if one sent sufficiently later has been delivered. What it remembers of the latest delivery.
/// </summary>
/// <remarks>RFC 8985 §5, §6. Linux: struct rack of tcp_sock, tcp_recovery.c.</remarks>
internal struct Rack
{
    /// <summary>RACK.xmit_ts: when the most recently sent packet that was delivered had been sent, microseconds; 0 if none.</summary>
    public long SentTime;

    /// <summary>RACK.end_seq.</summary>
    public SeqNumber EndSeq;

    /// <summary>RACK.rtt, microseconds.</summary>
    public uint RttUs;

    /// <summary>Something newer has been delivered since the last detection.</summary>
    public bool Advanced;

    /// <summary>A DSACK has come since the reordering window was last adapted.</summary>
    public bool DsackSeen;

    /// <summary>Whether packet 1 was sent after packet 2. Linux: tcp_skb_sent_after.</summary>
    public static bool SentAfter(long t1, long t2, SeqNumber seq1, SeqNumber seq2) => t1 > t2 || (t1 == t2 && seq1 > seq2);

    /// <summary>Notes the delivery of a packet. RFC 8985 §6.2 step 2. Linux: tcp_rack_advance.</summary>
    /// <param name="retransmitted">An ACK that comes sooner than the least round trip is of the original.</param>
    public void Advance(bool retransmitted, SeqNumber endSeq, long sentTime, long now, uint minRttUs)
    {
        uint rtt = (uint)(now - sentTime);
        if (rtt < minRttUs && retransmitted)
            return;
        Advanced = true;
        RttUs = rtt;
        if (SentTime == 0 || SentAfter(sentTime, SentTime, endSeq, EndSeq))
        {
            SentTime = sentTime;
            EndSeq = endSeq;
        }
    }

    /// <summary>Whether something that was sent after this buffer has been delivered. RFC 8985 §6.2 step 5.</summary>
    public readonly bool IsOvertaken(long sentTime, SeqNumber endSeq) => SentAfter(SentTime, sentTime, EndSeq, endSeq);

    /// <summary>
    /// Microseconds until a buffer may be taken for lost that waits <paramref name="window"/> longer than the latest delivery took; not
    /// positive: now. Linux: tcp_rack_skb_timeout.
    /// </summary>
    public readonly long Remaining(long sentTime, long window, long now) => RttUs + window - (now - sentTime);
}
