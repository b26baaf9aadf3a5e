using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>
/// A segment that is sent two round trips after the last one, if no ACK comes: its ACK shows a loss at the tail, which nothing behind it
/// would, long before the timeout.
/// </summary>
/// <remarks>RFC 8985 §7. Linux: tlp_high_seq, tlp_retrans.</remarks>
internal struct TailLossProbe
{
    /// <summary>SND.NXT when the probe left. RFC 8985 §7.1: TLP.end_seq.</summary>
    public SeqNumber End;

    /// <summary>A probe is out, and what its ACK means is not known.</summary>
    public bool IsOut;

    /// <summary>The probe was no new data. RFC 8985 §7.1: TLP.is_retrans.</summary>
    public bool IsRetransmit;

    /// <summary>
    /// How long after the last segment the probe goes: 2·SRTT; with one packet out also the time that its ACK may be delayed; a second
    /// before the first sample; never after the timeout. RFC 8985 §7.2. Linux: tcp_schedule_loss_probe.
    /// </summary>
    /// <param name="srtt8">Eight times SRTT, microseconds; 0 if there is no sample.</param>
    /// <param name="rto">Until the timeout; if that has passed, it sets no bound.</param>
    public static Micros Timeout(uint srtt8, uint packetsOut, Micros rtoMin, Micros rto)
    {
        Micros timeout = TcpConstants.TimeoutInit;
        if (srtt8 != 0)
            timeout = (new Micros(srtt8 >> 2) + (packetsOut == 1 ? rtoMin : TcpConstants.TimeoutMin)).CeilingToMillisecond;
        return rto.Value > 0 ? Micros.Min(timeout, rto.CeilingToMillisecond) : timeout;
    }

    public void OnSent(SeqNumber sndNxt)
    {
        End = sndNxt;
        IsOut = true;
    }

    /// <summary>
    /// What the ACK tells about the probe that is out. True: the probe has repaired a loss, which must not go unpunished. RFC 8985 §7.4.
    /// Linux: tcp_process_tlp_ack.
    /// </summary>
    public bool OnAck(SeqNumber ack, AckFlags flags)
    {
        if (ack < End)
            return false;
        // New data was acknowledged, or the retransmission is reported as a duplicate: there was no loss.
        if (!IsRetransmit || (flags & AckFlags.DsackTlp) != 0)
        {
            IsOut = false;
            return false;
        }
        // Something behind it is acknowledged, and yet no duplicate was reported.
        if (ack > End)
            return true;
        // A pure duplicate ACK: the receiver had both.
        if ((flags & (AckFlags.UnaAdvanced | AckFlags.NotDuplicate | AckFlags.DataSacked)) == 0)
            IsOut = false;
        return false;
    }
}
