using System;
using Millrace.Sched;

namespace Millrace.Tcp.Congestion;

/// <summary>Reno: slow start, and one packet more each round trip. RFC 5681. Linux: tcp_reno.</summary>
internal sealed class Reno : CongestionControl
{
    public override string Name => "reno";

    public override uint Ssthresh(TcpSock sk) => Math.Max(sk.Cc.Cwnd >> 1, 2);

    public override void CongestionAvoidance(TcpSock sk, Cpu cpu, uint acked)
    {
        if (!sk.Cc.IsUsed)
            return;
        if (sk.Cc.InSlowStart)
        {
            acked = sk.Cc.SlowStart(acked);
            if (acked == 0)
                return;
        }
        sk.Cc.Additive(sk.Cc.Cwnd, acked);
    }
}
