using System;
using System.Numerics;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

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

    /// <summary>
    /// Whether a segment may be taken. RFC 9293 §3.4, as Linux reads it: what ends beyond the window is taken whole if nothing waits to
    /// be read; a FIN needs no room. Linux: tcp_sequence.
    /// </summary>
    public readonly DropReason Check(SeqNumber seq, SeqNumber end, bool fin, bool nothingQueued)
    {
        if (end < Wup)
            return DropReason.TcpOldSequence;
        SeqNumber edge = WndEnd;
        if (end - (fin ? 1 : 0) <= edge)
            return DropReason.None;
        if (seq > edge)
            return DropReason.TcpInvalidSequence;
        return nothingQueued ? DropReason.None : DropReason.TcpInvalidEndSequence;
    }

    // ---- The window that we offer ----

    /// <summary>
    /// The window to offer now: nothing less than was offered, in whole segments, and none at all rather than a silly one. RFC 9293
    /// §3.8.6.2.2. Linux: __tcp_select_window.
    /// </summary>
    /// <param name="free">Payload that there is room for.</param>
    /// <param name="allowed">Payload that the empty buffer holds.</param>
    /// <param name="mss">The sender's segments.</param>
    public readonly int Choose(int free, int allowed, int mss)
    {
        int full = Math.Min(WndClamp, allowed);
        mss = Math.Min(mss, full);
        if (free < full >> 1)
        {
            free = free >> WndScale << WndScale;
            if (free < allowed >> 4 || free < mss)
                return 0;
        }
        free = Math.Min(free, Ssthresh);
        // With a scale, the field says whole units and nothing between.
        if (WndScale > 0)
            return RoundUp(free);
        int window = (int)Wnd;
        if (window <= free - mss || window > free)
            return free / mss * mss;
        return mss == full && free > window + (full >> 1) ? free : window;
    }

    /// <summary>The window where the right edge may move left: tcp_shrink_window. Linux: the end of __tcp_select_window.</summary>
    public readonly int ChooseShrinking(int free, int allowed, int mss)
    {
        int full = Math.Min(WndClamp, allowed);
        free = free >> WndScale << WndScale;
        if (free < full >> 1 && (free < full >> 4 || free < mss))
            return 0;
        return Math.Min(free, RoundUp(Ssthresh));
    }

    /// <summary>
    /// Notes that a window is offered, and returns it in units of the scale: the header's field. Unless it may shrink, the right edge
    /// never moves left. Linux: tcp_select_window.
    /// </summary>
    /// <param name="signed">The peer may take the field for a signed number: tcp_workaround_signed_windows.</param>
    public ushort Offer(uint window, bool mayShrink, bool signed)
    {
        uint current = Remaining;
        if (window < current && !mayShrink)
            window = (uint)RoundUp((int)current);
        Wnd = window;
        Wup = Nxt;
        uint most = WndScale == 0 && signed ? TcpConstants.MaxWindow : 65535u << WndScale;
        return (ushort)(Math.Min(window, most) >> WndScale);
    }

    /// <summary>No window, whatever was offered: there is no memory.</summary>
    public void Close()
    {
        Wnd = 0;
        Wup = Nxt;
    }

    private readonly int RoundUp(int window) => (window + (1 << WndScale) - 1) >> WndScale << WndScale;

    /// <summary>
    /// The window and the scale to start with, from the receive buffer and what it may grow to. Linux: tcp_select_initial_window.
    /// </summary>
    public static void SelectInitial(Sysctls sysctls, int space, int mss, bool scaling, int initialSegments, ref int clamp,
        out uint window, out byte scale)
    {
        if (clamp == 0)
            clamp = 65535 << TcpConstants.MaxWindowScale;
        space = Math.Min(clamp, Math.Max(space, 0));
        if (space > mss)
            space = space / mss * mss;
        window = (uint)(sysctls.TcpWorkaroundSignedWindows ? Math.Min(space, TcpConstants.MaxWindow) : space);
        if (initialSegments > 0)
            window = Math.Min(window, (uint)(initialSegments * mss));
        scale = 0;
        if (scaling)
        {
            space = Math.Max(space, Math.Max(sysctls.TcpRmem.Max, sysctls.RmemMax));
            space = Math.Min(space, clamp);
            scale = (byte)Math.Clamp(BitOperations.Log2((uint)Math.Max(space, 1)) - 15, 0, TcpConstants.MaxWindowScale);
        }
        clamp = Math.Min(65535 << scale, clamp);
    }

    /// <summary>TCP_WINDOW_CLAMP on an open connection. Linux: tcp_set_window_clamp.</summary>
    public void SetClamp(int clamp)
    {
        if (clamp == WndClamp)
            return;
        int threshold = (int)Math.Min(Wnd, (uint)clamp);
        Ssthresh = clamp < WndClamp ? Math.Min(Ssthresh, threshold) : Math.Max(threshold, Ssthresh);
        WndClamp = clamp;
    }
}
