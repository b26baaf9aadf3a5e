using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Urgent data that is received.</summary>
internal sealed partial class TcpSock
{
    internal const ushort UrgentValid = 0x100, UrgentNotYet = 0x200, UrgentRead = 0x400;

    // RFC 9293 §3.8.5, RFC 6093. Linux: tcp_urg.
    private void ProcessUrgent(Cpu cpu, SkBuff skb, in TcpHeader tcp)
    {
        if (tcp.Has(TcpFlags.Urg))
            CheckUrgent(cpu, skb, tcp.UrgentPointer);
        if (UrgData != UrgentNotYet)
            return;
        long offset = Rcv.Up - skb.Tcp.Seq + (tcp.Has(TcpFlags.Syn) ? 1 : 0);
        int at = (int)offset + tcp.HeaderLength;
        if (offset < 0 || at >= skb.Length)
            return;
        Span<byte> one = stackalloc byte[1];
        skb.CopyTo(at, one);
        UrgData = (ushort)(UrgentValid | one[0]);
        if (!Has(SockFlags.Dead))
            DataReady(cpu, Rcv.Nxt);
    }

    // Linux: tcp_check_urg.
    private void CheckUrgent(Cpu cpu, SkBuff skb, ushort pointer)
    {
        uint distance = pointer;
        if (distance != 0 && !Tcp.Sysctls.TcpStdurg)
            distance--;
        SeqNumber up = skb.Tcp.Seq + distance;
        // What is read, or to come in order before, or known: nothing new.
        if (Rcv.Copied > up || up < Rcv.Nxt)
            return;
        if (UrgData != 0 && up <= Rcv.Up)
            return;
        // Two urgent bytes in a row: the reader has passed the first one's place, which is data now.
        if (Rcv.Up == Rcv.Copied && UrgData != 0 && !Has(SockFlags.UrgInline) && Rcv.Copied != Rcv.Nxt)
        {
            Rcv.Copied++;
            if (ReceiveQueue.First is { } first && Rcv.Copied >= first.Tcp.EndSeq)
            {
                ReceiveQueue.Remove(first);
                UnchargeReceived(first.TrueSize);
                cpu.FreeSkb(first);
            }
        }
        UrgData = UrgentNotYet;
        Rcv.Up = up;
        FastPath = false;
    }
}
