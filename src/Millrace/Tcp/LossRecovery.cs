using System.Runtime.CompilerServices;
using Millrace.Buffers;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// What a sender keeps only while something is in flight: the retransmit queue in order of sequence and in order of sending, the
/// scoreboard's caches, RACK, the reduction, the loss probe, and what an undo would need. Attached at the first send, returned to its
/// pool when everything is acknowledged and nothing is suspicious.
/// </summary>
internal sealed class LossRecovery
{
    /// <summary>Sent and not acknowledged, by sequence. Linux: tcp_rtx_queue.</summary>
    public SeqTree Queue;

    /// <summary>The same buffers in the order in which they were last sent, those known to be lost left out. Linux: tsorted_sent_queue.</summary>
    public SentOrder Sent;

    /// <summary>The buffer behind the highest that is SACKed; null if that is the last one sent. Linux: highest_sack.</summary>
    public SkBuff? HighestSack;

    /// <summary>Where the next look for something to retransmit begins. Linux: retransmit_skb_hint.</summary>
    public SkBuff? RetransmitHint;

    /// <summary>The SACK blocks of the last ACK, so that what it said already is not walked again. Linux: recv_sack_cache.</summary>
    public SackCache SackBlocks;

    public Rack Rack;
    public Prr Prr;
    public Undo Undo;

    /// <summary>RFC 6675's RecoveryPoint: SND.NXT when the reduction began. Linux: high_seq.</summary>
    public SeqNumber RecoveryPoint;

    /// <summary>SND.NXT when the loss probe left; and whether one is out. Linux: tlp_high_seq, tlp_retrans. RFC 8985 §7.</summary>
    public SeqNumber ProbeEnd;
    public bool ProbeOut, ProbeWasRetransmit;

    /// <summary>F-RTO is looking at the ACKs after a timeout. RFC 5682. Linux: frto.</summary>
    public bool InFrto;

    [InlineArray(TcpOptions.MaxSackBlocks)]
    internal struct SackCache
    {
        private SeqRange _first;
    }

    /// <summary>As new, for the pool.</summary>
    public void Reset()
    {
        HighestSack = RetransmitHint = null;
        SackBlocks = default;
        Rack = default;
        Prr = default;
        Undo = default;
        RecoveryPoint = ProbeEnd = default;
        ProbeOut = ProbeWasRetransmit = InFrto = false;
    }
}

/// <summary>Sent buffers in order of their last transmission, linked by their own time links. Linux: tcp_tsorted_anchor.</summary>
internal struct SentOrder
{
    public SkBuff? First { get; private set; }

    public SkBuff? Last { get; private set; }

    public void Append(SkBuff skb)
    {
        skb.TimePrev = Last;
        skb.TimeNext = null;
        if (Last is null)
            First = skb;
        else
            Last.TimeNext = skb;
        Last = skb;
    }

    /// <summary>Nothing if the buffer is not in the list.</summary>
    public void Remove(SkBuff skb)
    {
        if (skb.TimePrev is null && skb.TimeNext is null && First != skb)
            return;
        if (skb.TimePrev is null)
            First = skb.TimeNext;
        else
            skb.TimePrev.TimeNext = skb.TimeNext;
        if (skb.TimeNext is null)
            Last = skb.TimePrev;
        else
            skb.TimeNext.TimePrev = skb.TimePrev;
        skb.TimeNext = skb.TimePrev = null;
    }

    public void InsertAfter(SkBuff skb, SkBuff previous)
    {
        skb.TimePrev = previous;
        skb.TimeNext = previous.TimeNext;
        if (previous.TimeNext is null)
            Last = skb;
        else
            previous.TimeNext.TimePrev = skb;
        previous.TimeNext = skb;
    }

    public readonly bool Contains(SkBuff skb) => skb.TimePrev is not null || skb.TimeNext is not null || First == skb;
}

/// <summary>What is needed to find out that a reduction was a mistake, and to take it back. Linux: undo_marker, undo_retrans, retrans_stamp.</summary>
internal struct Undo
{
    /// <summary>SND.UNA when the reduction began; undoing is possible while set.</summary>
    public SeqNumber Marker;
    public bool HasMarker;

    /// <summary>Retransmissions whose fate is unknown; −1 if DSACK cannot tell.</summary>
    public int Retransmits;

    /// <summary>When the first retransmission of this episode left, on the timestamp clock; 0 if none has. RFC 3522.</summary>
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
}

/// <summary>
/// Proportional rate reduction: how many packets may be sent for those delivered, so that the window is down at its target when the
/// round trip is over.
/// </summary>
/// <remarks>RFC 6937, with RFC 9937's reduction bound when the window has fallen below the target. Linux: tcp_cwnd_reduction.</remarks>
internal struct Prr
{
    /// <summary>Packets delivered and sent since the reduction began. Linux: prr_delivered, prr_out.</summary>
    public uint Delivered, Out;

    public void Start()
    {
        Delivered = 0;
        Out = 0;
    }

    /// <summary>The window for the packets that one ACK delivered.</summary>
    /// <param name="priorCwnd">The window when the reduction began: RecoverFS.</param>
    /// <param name="lossesFound">Whether the ACK showed more losses.</param>
    public uint Window(uint newlyDelivered, uint inFlight, uint ssthresh, uint priorCwnd, bool lossesFound, bool unaAdvanced)
    {
        int send;
        int delta = (int)(ssthresh - inFlight);
        Delivered += newlyDelivered;
        if (delta < 0)
        {
            ulong dividend = (ulong)ssthresh * Delivered + priorCwnd - 1;
            send = (int)(dividend / priorCwnd) - (int)Out;
        }
        else
        {
            send = System.Math.Max((int)(Delivered - Out), (int)newlyDelivered);
            // The losses are behind us: slow start back to the target.
            if (unaAdvanced && !lossesFound)
                send++;
            send = System.Math.Min(delta, send);
        }
        // The first ACK of a recovery always lets the retransmission out.
        send = System.Math.Max(send, Out != 0 ? 0 : 1);
        return inFlight + (uint)send;
    }
}

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
}
