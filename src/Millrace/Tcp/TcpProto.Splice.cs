using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Received bytes handed on as the pages they lie in. Linux: tcp_splice_read, tcp_read_sock.</summary>
internal sealed partial class TcpProto
{
    public override SysResult SpliceRead(ref TaskContext context, Sock sock, SkBuffHead target, int count, bool nonBlocking)
    {
        var sk = (TcpSock)sock;
        sk.LockSock(ref context);
        SysResult result = sk.State == TcpState.Listen ? Errno.ENOTCONN : SpliceLocked(ref context, sk, target, count, nonBlocking);
        sk.ReleaseSock(context.Cpu);
        return result;
    }

    private static SysResult SpliceLocked(ref TaskContext context, TcpSock sk, SkBuffHead target, int count, bool nonBlocking)
    {
        Micros deadline = sk.ReceiveDeadline(context.Cpu, nonBlocking);
        while (true)
        {
            int moved = MoveOut(context.Cpu, sk, target, count);
            if (moved > 0)
                return moved;
            if (sk.Has(SockFlags.Done))
                return 0;
            if (sk.Error != Errno.OK)
                return sk.TakeError();
            if ((sk.Shutdown & ShutdownMask.Receive) != 0)
                return 0;
            if (sk.State == TcpState.Close)
                return Errno.ENOTCONN;
            if (context.Cpu.Now >= deadline)
                return Errno.EAGAIN;
            // Something is queued and cannot be moved: an urgent byte stands first.
            if (!sk.ReceiveQueue.IsEmpty)
                return 0;
            if (context.Task.SignalPending)
                return Sock.InterruptedErrno(deadline);
            sk.WaitForData(ref context, deadline, sk.ReceiveQueue.Last, null);
        }
    }

    private static int MoveOut(Cpu cpu, TcpSock sk, SkBuffHead target, int count)
    {
        int moved = 0;
        while (moved < count && Find(sk, sk.Rcv.Copied, out int offset, out bool atFin) is { } skb)
        {
            if (atFin)
            {
                sk.Rcv.Copied++;
                Eat(cpu, sk, skb);
                break;
            }
            int take = Math.Min(skb.Length - offset, count - moved);
            if (sk.UrgData != 0 && sk.Rcv.Up - sk.Rcv.Copied is >= 0 and var urgent)
                take = Math.Min(take, urgent);
            if (take == 0)
                break;
            SkBuff part = cpu.AllocSkb();
            part.ShareRange(skb, offset, take, cpu);
            target.PushLast(part);
            moved += take;
            sk.Rcv.Copied += take;
            if (offset + take == skb.Length && (skb.Tcp.Flags & TcpFlags.Fin) == 0)
                Eat(cpu, sk, skb);
        }
        if (moved > 0)
        {
            AdjustReceiveSpace(cpu, sk);
            CleanUp(cpu, sk, moved);
        }
        return moved;
    }
}
