using System;

namespace Millrace.Tcp;

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
            send = Math.Max((int)(Delivered - Out), (int)newlyDelivered);
            // The losses are behind us: slow start back to the target.
            if (unaAdvanced && !lossesFound)
                send++;
            send = Math.Min(delta, send);
        }
        // The first ACK of a recovery always lets the retransmission out.
        send = Math.Max(send, Out != 0 ? 0 : 1);
        return inFlight + (uint)send;
    }
}
