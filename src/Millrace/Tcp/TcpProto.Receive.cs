using System;
using Millrace.Buffers;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Reading a connection: one copy, from the device's memory to the caller's.</summary>
internal sealed partial class TcpProto
{
    /// <summary>recvmsg's own control messages. Linux: TCP_CM_INQ.</summary>
    private const int ControlInq = 36;

    // Linux: tcp_recvmsg.
    public override SysResult ReceiveMessage(ref TaskContext context, Sock sock, ref MsgHdr message)
    {
        var sk = (TcpSock)sock;
        context.Cpu.Trace(Tp.tcp_recvmsg, sk);
        if (message.Has(MessageFlags.ErrorQueue))
            return ErrorQueueReader.Receive(context.Cpu, sk, ref message);
        sk.LockSock(ref context);
        SysResult result = ReceiveLocked(ref context, sk, ref message);
        sk.ReleaseSock(context.Cpu);
        return result;
    }

    public override SysResult ReceiveOwned(ref TaskContext context, Sock sk, ref MsgHdr message) =>
        ReceiveLocked(ref context, (TcpSock)sk, ref message);

    /// <summary>Reads with the socket owned by the caller. Linux: tcp_recvmsg_locked.</summary>
    public SysResult ReceiveLocked(ref TaskContext context, TcpSock sk, ref MsgHdr message)
    {
        context.Cpu.Trace(Tp.tcp_recvmsg_locked, sk);
        if (sk.State == TcpState.Listen)
            return Errno.ENOTCONN;
        if (message.Has(MessageFlags.OutOfBand))
            return ReceiveUrgent(sk, ref message);
        if (sk.InRepair && !IsForReceiveQueue(context.Cpu, sk, ref message, out SysResult repaired))
            return repaired;
        var read = new Reading(context.Cpu, sk, ref message);
        SysResult result = Read(ref context, sk, ref message, ref read);
        CleanUp(context.Cpu, sk, result.IsError ? 0 : read.Copied);
        // Whoever leaves something behind lets the next reader have it.
        if (sk.Rcv.Nxt != sk.Rcv.Copied)
            sk.HandOver(context.Cpu, sk.Rcv.Nxt);
        if (result.IsError)
            return result;
        if (read.Stamp != 0)
            StampControl.PutReceived(context.Cpu.Host, sk, read.Stamp, ref message);
        if (sk.Rare is { ReportInq: true })
            ReportInq(sk, ref message);
        return result;
    }

    /// <summary>One receive call's progress.</summary>
    private struct Reading
    {
        public readonly bool IsPeek, IsTruncate;
        public readonly int Target, PeekOffset;
        public readonly Micros Deadline;

        /// <summary>Where a peek stands.</summary>
        public SeqNumber PeekSeq;
        public int Copied;
        public long Left;
        public int UrgentHole;

        /// <summary>When the last buffer came that bytes were taken from; 0 if nobody noted it. Linux: tss.</summary>
        public long Stamp;

        public Reading(Cpu cpu, TcpSock sk, ref MsgHdr message)
        {
            IsPeek = message.Has(MessageFlags.Peek);
            IsTruncate = message.Has(MessageFlags.Truncate);
            Left = message.Iter.Count;
            int length = (int)Math.Min(Left, int.MaxValue);
            Target = message.Has(MessageFlags.WaitAll) ? length : Math.Min(sk.ReceiveLowWater, length);
            Target = Math.Max(Target, 1);
            Deadline = sk.ReceiveDeadline(cpu, message.Has(MessageFlags.DontWait));
            PeekOffset = Math.Max(sk.PeekOffset, 0);
            PeekSeq = sk.Rcv.Copied + PeekOffset;
        }
    }

    private static SysResult Read(ref TaskContext context, TcpSock sk, ref MsgHdr message, ref Reading read)
    {
        do
        {
            Cpu cpu = context.Cpu;
            SeqNumber at = read.IsPeek ? read.PeekSeq : sk.Rcv.Copied;
            if (sk.UrgData != 0 && sk.Rcv.Up == at && (read.Copied > 0 || context.Task.SignalPending))
            {
                if (read.Copied == 0)
                    return Errno.EINTR;
                break;
            }
            SkBuff? skb = Find(sk, at, out int offset, out bool atFin);
            if (skb is not null && !atFin)
            {
                if (Take(cpu, sk, ref message, ref read, skb, offset, at))
                    break;
                continue;
            }
            if (atFin)
            {
                PassFin(cpu, sk, ref read, skb!);
                break;
            }
            if (!MustWait(ref context, sk, ref read, out Errno error))
            {
                if (error != Errno.OK)
                    return error;
                break;
            }
            if (read.Copied >= read.Target)
                sk.FlushBacklog(context.Cpu);
            else
                Wait(ref context, sk, ref read);
            if (read.IsPeek && read.PeekSeq - read.PeekOffset - read.Copied - read.UrgentHole != sk.Rcv.Copied)
            {
                // Somebody else has read what was peeked at.
                read.PeekSeq = sk.Rcv.Copied + read.PeekOffset;
            }
        }
        while (read.Left > 0);
        return read.Copied;
    }

    // The buffer that holds the byte, walking the circular list from its head; null if it has not come.
    private static SkBuff? Find(TcpSock sk, SeqNumber at, out int offset, out bool atFin)
    {
        offset = 0;
        atFin = false;
        SkBuffHead queue = sk.ReceiveQueue;
        for (SkBuff? skb = queue.First; skb is not null; skb = queue.After(skb))
        {
            offset = at - skb.Tcp.Seq;
            if ((skb.Tcp.Flags & TcpFlags.Syn) != 0)
                offset--;
            if (offset < skb.Length)
                return skb;
            if ((skb.Tcp.Flags & TcpFlags.Fin) != 0)
            {
                atFin = true;
                return skb;
            }
        }
        return null;
    }

    // Copies what the buffer has. True: the FIN was reached, and the call is over.
    private static bool Take(Cpu cpu, TcpSock sk, ref MsgHdr message, ref Reading read, SkBuff skb, int offset, SeqNumber at)
    {
        int used = (int)Math.Min(skb.Length - offset, read.Left);
        if (sk.UrgData != 0)
        {
            int urgent = sk.Rcv.Up - at;
            if (urgent >= 0 && urgent < used)
            {
                if (urgent > 0)
                {
                    used = urgent;
                }
                else if (!sk.Has(SockFlags.UrgInline))
                {
                    // The urgent byte is read apart: step over it.
                    Advance(sk, ref read, 1, counted: false);
                    read.UrgentHole++;
                    offset++;
                    used--;
                }
            }
        }
        if (used > 0)
        {
            if (!read.IsTruncate)
            {
                cpu.Trace(Tp.skb_copy_datagram_msg, sk, used);
                SkbCopy.ToUser(skb, offset, ref message.Iter, used);
                cpu.Mib.Add(Mib.MillraceCopiedInBytes, used);
            }
            Advance(sk, ref read, used, counted: true);
            AdjustReceiveSpace(cpu, sk);
        }
        if (sk.UrgData != 0 && sk.Rcv.Copied > sk.Rcv.Up)
        {
            sk.UrgData = 0;
            sk.CheckFastPath();
        }
        if (skb.Time != 0)
            read.Stamp = skb.Time;
        if (used + offset < skb.Length)
            return false;
        if ((skb.Tcp.Flags & TcpFlags.Fin) != 0)
        {
            PassFin(cpu, sk, ref read, skb);
            return true;
        }
        if (!read.IsPeek)
            Eat(cpu, sk, skb);
        return false;
    }

    private static void Advance(TcpSock sk, ref Reading read, int n, bool counted)
    {
        if (read.IsPeek)
            read.PeekSeq += n;
        else
            sk.Rcv.Copied += n;
        if (!counted)
            return;
        read.Copied += n;
        read.Left -= n;
        sk.MovePeekOffset(read.IsPeek ? n : -n);
    }

    private static void PassFin(Cpu cpu, TcpSock sk, ref Reading read, SkBuff skb)
    {
        if (read.IsPeek)
            return;
        sk.Rcv.Copied++;
        Eat(cpu, sk, skb);
    }

    // Linux: tcp_eat_recv_skb.
    private static void Eat(Cpu cpu, TcpSock sk, SkBuff skb)
    {
        sk.ReceiveQueue.Remove(skb);
        sk.UnchargeReceived(skb.TrueSize);
        cpu.FreeSkb(skb);
    }

    // Nothing is there. False: the call ends, with what it has or with an error. Queue, error and state are looked at before the
    // deadline and the signal.
    private static bool MustWait(ref TaskContext context, TcpSock sk, ref Reading read, out Errno error)
    {
        error = Errno.OK;
        if (read.Copied >= read.Target && !sk.Lock.HasBacklog)
            return false;
        // A call that does not wait needs no clock.
        bool late = read.Deadline == Micros.Zero || context.Cpu.Now >= read.Deadline;
        if (read.Copied > 0)
        {
            return sk.Error == Errno.OK && sk.State != TcpState.Close && (sk.Shutdown & ShutdownMask.Receive) == 0 && !late
                && !context.Task.SignalPending;
        }
        if (sk.Has(SockFlags.Done))
            return false;
        if (sk.Error != Errno.OK)
            error = sk.TakeError();
        else if ((sk.Shutdown & ShutdownMask.Receive) != 0)
            return false;
        else if (sk.State == TcpState.Close)
            error = Errno.ENOTCONN;
        else if (late)
            error = Errno.EAGAIN;
        else if (context.Task.SignalPending)
            error = Sock.InterruptedErrno(read.Deadline);
        return error == Errno.OK;
    }

    private static void Wait(ref TaskContext context, TcpSock sk, ref Reading read)
    {
        Cpu cpu = context.Cpu;
        CleanUp(cpu, sk, read.Copied);
        if (sk.Rcv.Nxt != sk.Rcv.Copied)
            sk.HandOver(cpu, sk.Rcv.Nxt);
        sk.WaitForData(ref context, read.Deadline, sk.ReceiveQueue.Last, read.IsPeek ? sk.Rcv.Nxt : null);
    }

    /// <summary>
    /// After a read: an ACK, if it is owed and reading is the sign for it, or if the window has opened enough. Linux: tcp_cleanup_rbuf.
    /// </summary>
    public static void CleanUp(Cpu cpu, TcpSock sk, int copied)
    {
        cpu.Trace(Tp.tcp_cleanup_rbuf, sk, copied);
        bool ack = false;
        if (sk.Ack.IsScheduled)
        {
            AckPending pending = sk.Ack.Pending;
            bool pushed = (pending & AckPending.Pushed2) != 0 || ((pending & AckPending.Pushed) != 0 && !sk.Ack.InPingPong(sk.Tcp.Sysctls.TcpPingpongThresh));
            ack = sk.Rcv.Nxt - sk.Rcv.Wup > sk.Ack.RcvMss || (copied > 0 && pushed && sk.ReceiveAllocated == 0);
        }
        if (copied > 0 && !ack && (sk.Shutdown & ShutdownMask.Receive) == 0)
        {
            uint now = sk.Rcv.Remaining;
            if (2L * now <= sk.Rcv.WndClamp)
            {
                int next = sk.ChooseWindow();
                ack = next > 0 && next >= 2L * now;
            }
        }
        if (ack)
            sk.SendAck(cpu);
    }

    /// <summary>The receive buffer grows with what the application reads in a round trip. Linux: tcp_rcv_space_adjust, tcp_rcvbuf_grow.</summary>
    private static void AdjustReceiveSpace(Cpu cpu, TcpSock sk)
    {
        cpu.Trace(Tp.tcp_rcv_space_adjust, sk);
        if (sk.ReceiveRtt8 == 0)
            return;
        Micros now = cpu.Now;
        ref ReceiveSpaceEstimator space = ref sk.RcvSpace;
        if ((now - space.Time).Value < sk.ReceiveRtt8 >> 3)
            return;
        int copied = sk.Rcv.Copied - space.Seq - (sk.Rcv.Nxt - sk.Rcv.Copied);
        if (copied > space.Space)
            sk.GrowReceiveBuffer(copied);
        space.Seq = sk.Rcv.Copied;
        space.Time = now;
    }

    // Linux: tcp_recv_urg.
    private static SysResult ReceiveUrgent(TcpSock sk, ref MsgHdr message)
    {
        if (sk.Has(SockFlags.UrgInline) || sk.UrgData is 0 or TcpSock.UrgentRead)
            return Errno.EINVAL;
        if (sk.State == TcpState.Close && !sk.Has(SockFlags.Done))
            return Errno.ENOTCONN;
        if ((sk.UrgData & TcpSock.UrgentValid) != 0)
        {
            byte value = (byte)sk.UrgData;
            if (!message.Has(MessageFlags.Peek))
                sk.UrgData = TcpSock.UrgentRead;
            message.OutFlags |= MessageFlags.OutOfBand;
            if (message.Iter.Count == 0)
            {
                message.OutFlags |= MessageFlags.Truncate;
                return 0;
            }
            if (!message.Has(MessageFlags.Truncate))
                message.Iter.CopyToUser([value]);
            return 1;
        }
        if (sk.State == TcpState.Close || (sk.Shutdown & ShutdownMask.Receive) != 0)
            return 0;
        return Errno.EAGAIN;
    }

    // Linux: tcp_inq_hint.
    private static void ReportInq(TcpSock sk, ref MsgHdr message)
    {
        int inq = sk.Rcv.Nxt - sk.Rcv.Copied;
        // A FIN that waits to be read counts for one, so that the reader comes back for it.
        if (inq == 0 && sk.Has(SockFlags.Done))
            inq = 1;
        else if (inq > 0 && sk.Has(SockFlags.Done) && (sk.Shutdown & ShutdownMask.Receive) != 0 && sk.ReceiveQueue.Last is { } last
            && (last.Tcp.Flags & TcpFlags.Fin) != 0)
            inq--;
        message.PutControl(SocketLevel.Tcp, ControlInq, BitConverter.GetBytes(inq));
    }

    // Linux: tcp_poll. No lock: what is read may be old by a moment, and the wake-up follows.
    public override PollEvents Poll(Cpu cpu, Sock sock)
    {
        var sk = (TcpSock)sock;
        TcpState state = sk.State;
        if (state == TcpState.Listen)
            return sk.AcceptQueue is { IsEmpty: false } ? PollEvents.Readable : PollEvents.None;
        PollEvents events = PollEvents.None;
        if (sk.Shutdown == ShutdownMask.Both || state == TcpState.Close)
            events |= PollEvents.Hup;
        if ((sk.Shutdown & ShutdownMask.Receive) != 0)
            events |= PollEvents.Readable | PollEvents.RdHup;
        if (state is not (TcpState.SynSent or TcpState.SynRecv) || sk.IsPassiveFastOpen)
        {
            int target = sk.ReceiveLowWater;
            if (sk.UrgData != 0 && sk.Rcv.Up == sk.Rcv.Copied && !sk.Has(SockFlags.UrgInline))
                target++;
            if (sk.IsReadable(target, sk.Rcv.Copied))
                events |= PollEvents.Readable;
            events |= PollWritable(sk);
            if ((sk.UrgData & TcpSock.UrgentValid) != 0)
                events |= PollEvents.Pri;
        }
        else if (state == TcpState.SynSent && sk.DefersConnect)
        {
            events |= PollEvents.Out | PollEvents.WrNorm;
        }
        if (sk.Error != Errno.OK || sk.ErrorQueue is { IsEmpty: false })
            events |= PollEvents.Err;
        return events;
    }

    private static PollEvents PollWritable(TcpSock sk)
    {
        const PollEvents writable = PollEvents.Out | PollEvents.WrNorm;
        if ((sk.Shutdown & ShutdownMask.Send) != 0 || sk.IsWriteable)
            return writable;
        // Ask to be told, then look again: room may have come in between.
        sk.RequestWriteSpace();
        return sk.IsWriteable ? writable : PollEvents.None;
    }

    private const uint SiocInq = 0x541b, SiocOutq = 0x5411, SiocAtMark = 0x8905, SiocOutqNsd = 0x894b;

    // Linux: tcp_ioctl.
    public override Errno Ioctl(ref TaskContext context, Sock sock, uint request, ref int value)
    {
        var sk = (TcpSock)sock;
        switch (request)
        {
            case SiocInq:
                if (sk.State == TcpState.Listen)
                    return Errno.EINVAL;
                sk.LockSock(ref context);
                value = Inq(sk);
                sk.ReleaseSock(context.Cpu);
                return Errno.OK;
            case SiocAtMark:
                value = sk.UrgData != 0 && sk.Rcv.Up == sk.Rcv.Copied ? 1 : 0;
                return Errno.OK;
            case SiocOutq or SiocOutqNsd:
                if (sk.State == TcpState.Listen)
                    return Errno.EINVAL;
                bool none = sk.State is TcpState.SynSent or TcpState.SynRecv;
                value = none ? 0 : sk.Snd.Written - (request == SiocOutq ? sk.Snd.Una : sk.Snd.Nxt);
                return Errno.OK;
            default:
                return Errno.ENOTTY;
        }
    }

    // Linux: tcp_inq.
    private static int Inq(TcpSock sk)
    {
        if (sk.State is TcpState.SynSent or TcpState.SynRecv)
            return 0;
        bool all = sk.Has(SockFlags.UrgInline) || sk.UrgData == 0 || sk.Rcv.Up < sk.Rcv.Copied || sk.Rcv.Up >= sk.Rcv.Nxt;
        if (!all)
            return sk.Rcv.Up - sk.Rcv.Copied;
        int inq = sk.Rcv.Nxt - sk.Rcv.Copied;
        // A FIN is no byte.
        return inq > 0 && sk.Has(SockFlags.Done) ? inq - 1 : inq;
    }
}
