using System;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>The send sequence space: RFC 9293's SND variables and what the sender notes beside them.</summary>
internal struct SendSpace
{
    /// <summary>SND.UNA: the oldest byte that is not acknowledged.</summary>
    public SeqNumber Una;

    /// <summary>SND.NXT: the next byte to be sent.</summary>
    public SeqNumber Nxt;

    /// <summary>SND.WL1: SEG.SEQ of the last window update.</summary>
    public SeqNumber Wl1;

    /// <summary>SND.UP: behind the last urgent byte.</summary>
    public SeqNumber Up;

    /// <summary>Behind the last small segment that was sent: Minshall's condition. Linux: snd_sml.</summary>
    public SeqNumber Small;

    /// <summary>Behind the last byte that the application has written. Linux: write_seq.</summary>
    public SeqNumber Written;

    /// <summary>Behind the last byte that was marked to be pushed. Linux: pushed_seq.</summary>
    public SeqNumber Pushed;

    /// <summary>SND.WND, in bytes.</summary>
    public uint Wnd;

    /// <summary>The largest window that the peer has offered. Linux: max_window.</summary>
    public uint MaxWnd;

    /// <summary>The peer's window scale. Linux: rx_opt.snd_wscale.</summary>
    public byte WndScale;

    public readonly SeqNumber WndEnd => Una + Wnd;

    /// <summary>
    /// Whether an acknowledgement can be true. One of what was never sent is answered, and so is one that is older than any window that was
    /// ever open, which is a guess; one that was only overtaken is <see cref="DropReason.TcpOldAck"/>. RFC 9293 §3.10.7.4, RFC 5961 §5.2.
    /// </summary>
    public readonly DropReason CheckAck(SeqNumber ack, ulong bytesAcked)
    {
        if (ack > Nxt)
            return DropReason.TcpAckUnsentData;
        if (ack >= Una)
            return DropReason.None;
        long maxWindow = Math.Min(MaxWnd, (long)Math.Min(bytesAcked, uint.MaxValue));
        return Una - ack > maxWindow ? DropReason.TcpTooOldAck : DropReason.TcpOldAck;
    }

    /// <summary>
    /// Takes an acknowledgement's window. True: it changed anything. RFC 9293 §3.10.7.4: SND.WL1 and SND.WL2 keep an old segment
    /// from shrinking the window. Linux: tcp_may_update_window, tcp_ack_update_window.
    /// </summary>
    public readonly bool MayUpdateWindow(SeqNumber ack, SeqNumber segSeq, uint window) =>
        ack > Una || segSeq > Wl1 || (segSeq == Wl1 && (window > Wnd || window == 0));

    /// <summary>
    /// Whether Nagle's algorithm, as Minshall amended it, holds a small segment back: one is out already. RFC 1122 §4.2.3.4. Linux:
    /// tcp_nagle_check.
    /// </summary>
    public readonly bool NagleHolds(NagleFlags nagle, uint packetsOut)
    {
        bool smallInFlight = Small > Una && Small <= Nxt;
        return (nagle & NagleFlags.Cork) != 0 || (nagle == NagleFlags.None && packetsOut > 0 && smallInFlight);
    }

    /// <summary>
    /// Bounds a size to half of the largest window that the peer ever offered, so that two segments fit into it. Linux:
    /// tcp_bound_to_half_wnd.
    /// </summary>
    public readonly int BoundToHalfWindow(int size, int headerLength)
    {
        uint cutoff = MaxWnd > TcpConstants.DefaultMss ? MaxWnd >> 1 : MaxWnd;
        return cutoff != 0 && size > cutoff ? Math.Max((int)cutoff, 68 - headerLength) : size;
    }

    /// <summary>
    /// The sequence number of a segment without data: SND.NXT, unless the window has shrunk below it. Linux: tcp_acceptable_seq.
    /// </summary>
    public readonly SeqNumber Acceptable
    {
        get
        {
            SeqNumber end = WndEnd;
            bool inside = end >= Nxt || (WndScale > 0 && Nxt - end < 1 << WndScale);
            return inside ? Nxt : end;
        }
    }
}
