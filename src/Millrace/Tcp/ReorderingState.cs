using System;

namespace Millrace.Tcp;

/// <summary>
/// How much the path reorders: the distance that was seen, in packets, and how long RACK waits for what was overtaken. Outlives a
/// recovery, because the path does.
/// </summary>
/// <remarks>RFC 8985 §6.2 step 4, RFC 4653. Linux: reordering, reord_seen, rack.reo_wnd_steps, reo_wnd_persist, last_delivered.</remarks>
internal struct ReorderingState(int degree)
{
    /// <summary>Packets delivered when the window was last widened.</summary>
    private uint _lastDelivered;

    /// <summary>Packets that may be overtaken before the one is taken for lost. RFC 6675's DupThresh, as it was learned.</summary>
    public ushort Degree = (ushort)degree;

    /// <summary>How often something was found to be reordered.</summary>
    public byte Seen;

    /// <summary>RACK's window in quarters of the least round trip; and recoveries that it still keeps that width.</summary>
    public byte Steps = 1, Persist;

    /// <summary>Something has been overtaken by <paramref name="bytes"/>. Linux: tcp_check_sack_reordering.</summary>
    public void OnOvertaken(int bytes, int mss, int most)
    {
        if (mss > 0 && bytes > Degree * mss)
            Degree = (ushort)Math.Min((bytes + mss - 1) / mss, most);
        CountSeen();
    }

    /// <summary>More duplicate ACKs came than there were packets to cause them. Linux: tcp_check_reno_reordering.</summary>
    public void OnRenoOvertaken(uint packets, int most)
    {
        Degree = (ushort)Math.Min(packets, (uint)most);
        CountSeen();
    }

    private void CountSeen() => Seen = (byte)Math.Min(Seen + 1, byte.MaxValue);

    /// <summary>So many duplicates and still a timeout: it was overestimated. Linux: tcp_enter_loss.</summary>
    public void OnTimeout(int usual) => Degree = (ushort)Math.Min(Degree, usual);

    /// <summary>
    /// How long a packet may be overtaken before it counts as lost, in microseconds. None, as long as the path was never seen to reorder and
    /// either losses are being repaired or as many packets have overtaken it as the rule of three duplicates asks. Linux: tcp_rack_reo_wnd.
    /// </summary>
    /// <param name="ignoresDupThresh">Bit 4 of tcp_recovery: the number of packets says nothing.</param>
    public readonly long Window(bool inRecovery, uint sacked, bool ignoresDupThresh, uint minRttUs, uint srttUs)
    {
        if (Seen == 0 && (inRecovery || (sacked >= Degree && !ignoresDupThresh)))
            return 0;
        return Math.Min((long)(minRttUs >> 2) * Steps, srttUs);
    }

    /// <summary>
    /// A round trip with a DSACK: a retransmission was needless, so the window was too small. Without one it falls back, after 16
    /// recoveries. Linux: tcp_rack_update_reo_wnd.
    /// </summary>
    /// <param name="dsackSeen">Whether a DSACK has come since the window was last adapted; cleared when it is used or too old.</param>
    public void Adapt(ref bool dsackSeen, uint priorDelivered, uint delivered)
    {
        // Once a round trip: not for what was sent before the last step.
        if ((int)(priorDelivered - _lastDelivered) < 0)
            dsackSeen = false;
        if (dsackSeen)
        {
            Steps = (byte)Math.Min(0xff, Steps + 1);
            dsackSeen = false;
            _lastDelivered = delivered;
            Persist = TcpConstants.RackRecoveryThreshold;
        }
        else if (Persist == 0)
        {
            Steps = 1;
        }
    }

    /// <summary>A recovery that was needed has ended.</summary>
    public void OnRecovered()
    {
        if (Persist > 0)
            Persist--;
    }

    /// <summary>A recovery was taken back for DSACKs: the window keeps its width for one more.</summary>
    public void OnDsackUndo() => Persist = (byte)Math.Min(TcpConstants.RackRecoveryThreshold, Persist + 1);
}
