using System;
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
    /// Takes an acknowledgement's window. True: it changed anything. RFC 9293 §3.10.7.4: SND.WL1 and SND.WL2 keep an old segment
    /// from shrinking the window. Linux: tcp_may_update_window, tcp_ack_update_window.
    /// </summary>
    public bool MayUpdateWindow(SeqNumber ack, SeqNumber segSeq, uint window) =>
        ack > Una || segSeq > Wl1 || (segSeq == Wl1 && (window > Wnd || window == 0));
}

/// <summary>The receive sequence space: RFC 9293's RCV variables and what the receiver notes beside them.</summary>
internal struct ReceiveSpace
{
    /// <summary>RCV.NXT: the next byte that is expected.</summary>
    public SeqNumber Nxt;

    /// <summary>RCV.NXT when the window was last advertised. Linux: rcv_wup.</summary>
    public SeqNumber Wup;

    /// <summary>The next byte that the application will read. Linux: copied_seq.</summary>
    public SeqNumber Copied;

    /// <summary>RCV.UP: the urgent byte. Linux: urg_seq.</summary>
    public SeqNumber Up;

    /// <summary>RCV.WND as last advertised, in bytes.</summary>
    public uint Wnd;

    /// <summary>The largest window that may be offered. Linux: window_clamp.</summary>
    public int WndClamp;

    /// <summary>The window that the receiver lets grow as the sender shows that it needs it. Linux: rcv_ssthresh.</summary>
    public int Ssthresh;

    /// <summary>Our own window scale. Linux: rx_opt.rcv_wscale.</summary>
    public byte WndScale;

    /// <summary>
    /// What is left of the window that the peer was told: the right edge never moves left. Linux: tcp_receive_window.
    /// </summary>
    public readonly uint Remaining => (uint)Math.Max(0, (int)(Wup.Value + Wnd - Nxt.Value));

    /// <summary>Behind the last byte of the offered window.</summary>
    public readonly SeqNumber WndEnd => Nxt + Remaining;
}
