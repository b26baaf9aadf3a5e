using System;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// What is needed to find out that a reduction was a mistake, and to take it back: every retransmission turned out to be a duplicate,
/// or the receiver's timestamps show that the originals have arrived.
/// </summary>
/// <remarks>RFC 3522 (Eifel detection), RFC 3708 (DSACK). Linux: undo_marker, undo_retrans, retrans_stamp.</remarks>
internal struct Undo
{
    /// <summary>SND.UNA when the reduction began; undoing is possible while <see cref="HasMarker"/>.</summary>
    public SeqNumber Marker;
    public bool HasMarker;

    /// <summary>Retransmissions whose fate is unknown; −1 if DSACK cannot tell.</summary>
    public int Retransmits;

    /// <summary>When the first retransmission of this episode left, microseconds; 0 if none has. RFC 3522 §3.2.</summary>
    public long FirstRetransmit;

    public void Start(SeqNumber sndUna, uint retransOut)
    {
        Marker = sndUna;
        HasMarker = true;
        Retransmits = retransOut == 0 ? -1 : (int)retransOut;
    }

    public void Clear()
    {
        HasMarker = false;
        Retransmits = -1;
    }

    /// <summary>A retransmission leaves, or was to leave.</summary>
    public void OnRetransmit(int packets, long sentTime)
    {
        if (FirstRetransmit == 0)
            FirstRetransmit = Math.Max(sentTime, 1);
        Retransmits = Math.Max(Retransmits, 0) + packets;
    }

    /// <summary>A DSACK up to <paramref name="end"/>: these retransmissions were needless.</summary>
    public void OnDuplicate(int packets, SeqNumber end)
    {
        if (HasMarker && Retransmits > 0 && end > Marker)
            Retransmits = Math.Max(0, Retransmits - packets);
    }

    /// <summary>Every retransmission was needless.</summary>
    public readonly bool AllWereDuplicates => HasMarker && Retransmits == 0;

    /// <summary>
    /// Whether what was acknowledged is the original, late, and not the retransmission: its echo is of a timestamp from before. RFC 3522
    /// §3.2. Linux: tcp_packet_delayed.
    /// </summary>
    /// <param name="tsEcr">The ACK's TSecr; 0 if it has none.</param>
    /// <param name="tsOffset">What the connection adds to the clock, in milliseconds.</param>
    /// <param name="opening">A SYN was sent and no answer has come: nothing retransmitted says nothing.</param>
    public readonly bool IsPacketDelayed(uint tsEcr, uint tsOffset, bool opening)
    {
        if (FirstRetransmit == 0)
            return !opening;
        uint first = (uint)new Micros(FirstRetransmit).Milliseconds + tsOffset;
        return tsEcr != 0 && (int)(tsEcr - first) < 0;
    }
}
