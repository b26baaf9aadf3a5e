using System;

namespace Millrace.Tcp;

/// <summary>
/// What a receive buffer's memory is worth in payload, as the segments that have come show it; and how far window and buffer grow by that.
/// </summary>
/// <remarks>Linux: scaling_ratio, tcp_win_from_space, tcp_grow_window, tcp_rcvbuf_grow.</remarks>
internal struct BufferScale(byte ratio)
{
    /// <summary>A receive buffer holds twice the payload, until segments have shown otherwise. Linux: TCP_DEFAULT_SCALING_RATIO.</summary>
    public const byte Default = 128;

    /// <summary>Payload in 256 bytes of memory.</summary>
    public byte Ratio = ratio;

    /// <summary>Payload that a buffer of so many bytes of memory holds. Linux: tcp_win_from_space.</summary>
    public readonly int Window(int space) => (int)(((long)space * Ratio) >> 8);

    /// <summary>Memory that so much payload takes. Linux: tcp_space_from_win.</summary>
    public readonly int Space(int window) => (int)Math.Min(((long)window << 8) / Ratio, int.MaxValue);

    /// <summary>A larger segment than before has come. True: its payload is another part of its memory than was known.</summary>
    public bool Adapt(int payload, int trueSize)
    {
        byte before = Ratio;
        Ratio = (byte)Math.Clamp(((long)payload << 8) / Math.Max(trueSize, 1), 1, 255);
        return before != Ratio;
    }

    /// <summary>
    /// By how much the window may grow for a segment that was received: two segments if its memory is no more than its payload is worth;
    /// else two of the sender's, as long as the buffer that the window would need stays in bounds; else nothing. Linux: tcp_grow_window,
    /// __tcp_grow_window.
    /// </summary>
    /// <param name="room">What the clamp and the free memory allow.</param>
    public readonly int Growth(int payload, int trueSize, int room, int ssthresh, int advMss, int rcvMss, int most)
    {
        int increase = Window(trueSize) <= payload ? 2 * advMss : Probe(payload, trueSize, ssthresh, rcvMss, most);
        return increase == 0 ? 0 : Math.Min(room, Math.Max(increase, 2 * payload));
    }

    // The smaller the window is against the largest buffer, the more overhead is allowed.
    private readonly int Probe(int payload, int trueSize, int ssthresh, int rcvMss, int most)
    {
        int size = Window(trueSize) >> 1;
        int window = Window(most) >> 1;
        while (ssthresh <= window)
        {
            if (size <= payload)
                return 2 * rcvMss;
            size >>= 1;
            window >>= 1;
        }
        return 0;
    }

    /// <summary>
    /// Memory for what the application reads in a round trip, doubled because this is always one round trip late, and more while it
    /// grows. Linux: tcp_rcvbuf_grow.
    /// </summary>
    /// <param name="before">What it read in the round trip before.</param>
    /// <param name="beyondHole">Payload that waits for something missing, and must not eat the room for what comes.</param>
    public readonly int BufferFor(int copied, int before, int beyondHole, int most)
    {
        long prior = Math.Max(before, 1);
        long window = (long)copied << 1;
        window += (long)((ulong)window * (ulong)(copied - prior) / (ulong)prior) << 1;
        window += beyondHole;
        return (int)Math.Min((Math.Min(window, int.MaxValue) << 8) / Ratio, most);
    }
}
