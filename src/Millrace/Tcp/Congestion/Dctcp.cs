using System;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp.Congestion;

/// <summary>
/// DCTCP: for networks whose switches mark early. The window shrinks in proportion to the share of marked packets, and the receiver
/// tells exactly which were marked.
/// </summary>
/// <remarks>RFC 8257. Linux: tcp_dctcp. Without ECN it does as Reno does.</remarks>
internal sealed class Dctcp : CongestionControl
{
    /// <summary>DCTCP.Alpha = 1, and the weight of a new sample g = 1/16 as a shift. RFC 8257 §3.3.</summary>
    private const uint AlphaOne = 1024;
    private const int GainShift = 4;

    private readonly Reno _reno = new();
    private uint _alpha, _delivered, _deliveredCe;
    private SeqNumber _windowEnd, _markedUpTo;
    private bool _receivedMark;

    public override string Name => "dctcp";

    public override bool NeedsEcn => true;

    public override bool WantsAckEvents => true;

    public override void Init(TcpSock sk)
    {
        // The handshake's ACK has been heard before, and tells nothing of data.
        _alpha = AlphaOne;
        _receivedMark = false;
        _markedUpTo = sk.Rcv.Nxt;
        StartWindow(sk);
    }

    public override uint Ssthresh(TcpSock sk) =>
        sk.EcnOk ? Math.Max(sk.Cc.Cwnd - (sk.Cc.Cwnd * _alpha >> 11), 2) : _reno.Ssthresh(sk);

    public override void CongestionAvoidance(TcpSock sk, Cpu cpu, uint acked) => _reno.CongestionAvoidance(sk, cpu, acked);

    // RFC 8257 §3.3: once a window, Alpha = (1 − g)·Alpha + g·M, where M is the share that was marked.
    public override void OnAckEvent(TcpSock sk, bool ecnEcho)
    {
        if (sk.Snd.Una < _windowEnd)
            return;
        uint delivered = Math.Max(sk.Delivered - _delivered, 1), marked = sk.Rate.DeliveredCe - _deliveredCe;
        uint decay = _alpha >> GainShift;
        _alpha -= decay != 0 ? decay : _alpha;
        _alpha = Math.Min(_alpha + (uint)((ulong)marked * (AlphaOne >> GainShift) / delivered), AlphaOne);
        StartWindow(sk);
    }

    // RFC 8257 §3.5: a loss costs what it costs Reno.
    public override void SetState(TcpSock sk, CaState state)
    {
        if (state == CaState.Recovery && sk.CaState != CaState.Recovery)
            ReactToLoss(sk);
    }

    public override void OnEvent(TcpSock sk, CaEvent what)
    {
        if (what == CaEvent.Loss)
            ReactToLoss(sk);
        else if (what == CaEvent.TxStart)
            StartWindow(sk);
    }

    // RFC 8257 §3.2: every change of the mark is acknowledged at once, and what was owed before it with the old state.
    public override void OnMark(TcpSock sk, Cpu cpu, bool marked)
    {
        if (marked != _receivedMark)
        {
            if ((sk.Ack.Pending & AckPending.Timer) != 0)
            {
                sk.EchoMark(_receivedMark);
                sk.SendAckOf(cpu, _markedUpTo);
            }
            sk.Ack.Pending |= AckPending.Now;
        }
        _markedUpTo = sk.Rcv.Nxt;
        _receivedMark = marked;
        sk.EchoMark(marked);
    }

    /// <summary>struct tcp_dctcp_info.</summary>
    public override int GetInfo(TcpSock sk, Span<byte> info)
    {
        const int size = 16;
        info[..size].Clear();
        BitConverter.TryWriteBytes(info, (ushort)(sk.EcnOk ? 1 : 0));
        BitConverter.TryWriteBytes(info[2..], (ushort)(_receivedMark ? 1 : 0));
        BitConverter.TryWriteBytes(info[4..], _alpha);
        return size;
    }

    private static void ReactToLoss(TcpSock sk) => sk.Cc.Ssthresh = Math.Max(sk.Cc.Cwnd >> 1, 2);

    private void StartWindow(TcpSock sk)
    {
        _windowEnd = sk.Snd.Nxt;
        _delivered = sk.Delivered;
        _deliveredCe = sk.Rate.DeliveredCe;
    }
}
