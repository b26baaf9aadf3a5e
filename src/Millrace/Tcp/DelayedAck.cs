using System;
using System.Runtime.InteropServices;
using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>What the receiver owes the sender. Linux: ICSK_ACK_*.</summary>
[Flags]
internal enum AckPending : byte
{
    None = 0,

    /// <summary>Data has come that is not acknowledged. Linux: ICSK_ACK_SCHED.</summary>
    Scheduled = 1,
    Timer = 2,

    /// <summary>Data was pushed: reading it should acknowledge it. Linux: ICSK_ACK_PUSHED.</summary>
    Pushed = 4,
    Pushed2 = 8,

    /// <summary>The next acknowledgement goes at once. Linux: ICSK_ACK_NOW.</summary>
    Now = 16,
    NoMemory = 32,
}

/// <summary>
/// When an acknowledgement is sent: at once while the connection is young or the sender probes, delayed while the application answers
/// by itself, with a delay that follows the distance of the segments.
/// </summary>
/// <remarks>RFC 1122 §4.2.3.2, RFC 5681 §4.2. Linux: icsk_ack, tcp_event_data_recv, tcp_incr_quickack.</remarks>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
internal struct DelayedAck
{
    public AckPending Pending;

    /// <summary>Acknowledgements that go at once before delays begin. Linux: quick.</summary>
    public byte Quick;

    /// <summary>How interactive the connection is. Linux: pingpong.</summary>
    public byte PingPong;

    /// <summary>The delay in use, microseconds; 0 until the first data. Linux: ato.</summary>
    public int Ato;

    /// <summary>When the last data came. Linux: lrcvtime.</summary>
    public Micros LastReceived;

    /// <summary>An estimate of the sender's MSS, and the last segment's length. Linux: rcv_mss, last_seg_size.</summary>
    public ushort RcvMss, LastSegment;

    public readonly bool IsScheduled => (Pending & AckPending.Scheduled) != 0;

    /// <summary>Linux: inet_csk_in_pingpong_mode.</summary>
    /// <param name="threshold">Interactive exchanges after which answers carry the acknowledgements: net.ipv4.tcp_pingpong_thresh.</param>
    public readonly bool InPingPong(int threshold) => PingPong >= threshold;

    public void EnterPingPong(int threshold) => PingPong = (byte)threshold;

    public void ExitPingPong() => PingPong = 0;

    /// <summary>The application has answered data that was received just before. Linux: inet_csk_inc_pingpong_cnt.</summary>
    public void IncPingPong()
    {
        if (PingPong < byte.MaxValue)
            PingPong++;
    }

    /// <summary>Whether the next acknowledgement goes at once. Linux: tcp_in_quickack_mode.</summary>
    public readonly bool InQuickMode(bool routeAsks, int threshold) => routeAsks || (Quick > 0 && !InPingPong(threshold));

    /// <summary>Linux: tcp_incr_quickack.</summary>
    public void IncreaseQuick(uint rcvWnd, int max)
    {
        uint count = RcvMss == 0 ? 2 : Math.Max(rcvWnd / (2u * RcvMss), 2);
        byte quick = (byte)Math.Min(count, (uint)max);
        if (quick > Quick)
            Quick = quick;
    }

    /// <summary>Linux: tcp_enter_quickack_mode.</summary>
    public void EnterQuickMode(uint rcvWnd, int max)
    {
        IncreaseQuick(rcvWnd, max);
        ExitPingPong();
        Ato = (int)TcpConstants.AckTimeoutMin.Value;
    }

    /// <summary>Data has come: schedules its acknowledgement and adapts the delay. Linux: tcp_event_data_recv.</summary>
    public void OnDataReceived(Micros now, Micros rto, uint rcvWnd)
    {
        Pending |= AckPending.Scheduled;
        int min = (int)TcpConstants.AckTimeoutMin.Value;
        if (Ato == 0)
        {
            // The first data: slow start of the sender is fed with acknowledgements.
            IncreaseQuick(rcvWnd, TcpConstants.MaxQuickAcks);
            Ato = min;
        }
        else
        {
            long distance = (now - LastReceived).Value;
            if (distance <= min / 2)
            {
                Ato = Ato / 2 + min / 2;
            }
            else if (distance < Ato)
            {
                Ato = (int)Math.Min(Ato / 2 + distance, rto.Value);
            }
            else if (distance > rto.Value)
            {
                // The sender has been idle for so long that it starts slowly again.
                IncreaseQuick(rcvWnd, TcpConstants.MaxQuickAcks);
            }
        }
        LastReceived = now;
    }

    /// <summary>An acknowledgement goes out with a packet. Linux: tcp_dec_quickack_mode and inet_csk_clear_xmit_timer(DACK).</summary>
    public void OnAckSent(int segments)
    {
        if (Quick != 0)
        {
            if (segments >= Quick)
            {
                Quick = 0;
                Ato = (int)TcpConstants.AckTimeoutMin.Value;
            }
            else
            {
                Quick -= (byte)segments;
            }
        }
        Pending = AckPending.None;
    }

    /// <summary>
    /// A segment has come: the estimate of the sender's MSS follows the largest ones, and smaller ones when two alike come in a row. What
    /// was pushed is noted. True: it is larger than any before. Linux: tcp_measure_rcv_mss.
    /// </summary>
    /// <param name="length">Payload of one segment.</param>
    /// <param name="headerLength">Of the TCP header.</param>
    /// <param name="plain">Nothing is set but ACK and PSH.</param>
    public bool OnSegment(int length, ushort advMss, int headerLength, bool plain, bool pushed)
    {
        int last = LastSegment;
        LastSegment = 0;
        if (length >= RcvMss)
        {
            bool larger = length != RcvMss;
            RcvMss = (ushort)Math.Min(length, advMss);
            if (pushed)
                Pending |= AckPending.Pushed;
            return larger;
        }
        int packet = length + headerLength;
        if (packet >= TcpConstants.DefaultMss + Wire.TcpHeader.MinLength
            || (packet >= TcpConstants.MinMss + Wire.TcpHeader.MinLength && plain && !pushed))
        {
            LastSegment = (ushort)length;
            if (length == last)
            {
                RcvMss = (ushort)length;
                return false;
            }
        }
        if ((Pending & AckPending.Pushed) != 0)
            Pending |= AckPending.Pushed2;
        Pending |= AckPending.Pushed;
        return false;
    }

    /// <summary>
    /// How long the acknowledgement may wait: the delay in use, but no longer than a round trip, or 200 ms in an interactive exchange, and
    /// half a second at most. RFC 1122 §4.2.3.2. Linux: tcp_send_delayed_ack.
    /// </summary>
    /// <param name="srtt">Never: unknown.</param>
    /// <param name="limit">The connection's own bound.</param>
    /// <param name="threshold">See <see cref="InPingPong"/>.</param>
    public readonly Micros Delay(Micros srtt, Micros limit, int threshold)
    {
        Micros delay = new(Ato);
        if (delay > TcpConstants.DelayedAckMin)
        {
            Micros most = InPingPong(threshold) || (Pending & AckPending.Pushed) != 0 ? TcpConstants.DelayedAckMax : Micros.FromMilliseconds(500);
            most = Micros.Min(most, Micros.Max(srtt, TcpConstants.DelayedAckMin));
            delay = Micros.Min(delay, most);
        }
        return Micros.Min(delay, limit);
    }

    /// <summary>The delay is over, and nothing has taken the acknowledgement along. Linux: tcp_delack_timer_handler.</summary>
    public void OnTimeout(Micros rto, int threshold)
    {
        if (InPingPong(threshold))
        {
            // The answer did not come in time: no interactive exchange after all.
            ExitPingPong();
            Ato = (int)TcpConstants.AckTimeoutMin.Value;
        }
        else
        {
            Ato = (int)Math.Min((long)Ato << 1, rto.Value);
        }
    }
}
