using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Writing to a connection: one copy, from the caller's memory to pages that segments share.</summary>
internal sealed partial class TcpProto
{
    /// <summary>Buffers that are filled between two looks at the backlog.</summary>
    private const int BacklogInterval = 16;

    // Linux: tcp_sendmsg.
    public override SysResult SendMessage(ref TaskContext context, Sock sock, ref MsgHdr message)
    {
        var sk = (TcpSock)sock;
        context.Cpu.Trace(Tp.tcp_sendmsg, sk, message.Iter.Count);
        sk.LockSock(ref context);
        SysResult result = SendLocked(ref context, sk, ref message);
        sk.ReleaseSock(context.Cpu);
        return result;
    }

    public override SysResult SendOwned(ref TaskContext context, Sock sk, ref MsgHdr message) =>
        SendLocked(ref context, (TcpSock)sk, ref message);

    /// <summary>Writes with the socket owned by the caller. Linux: tcp_sendmsg_locked.</summary>
    public SysResult SendLocked(ref TaskContext context, TcpSock sk, ref MsgHdr message)
    {
        context.Cpu.Trace(Tp.tcp_sendmsg_locked, sk, message.Iter.Count);
        Micros deadline = sk.SendDeadline(context.Cpu, message.Has(MessageFlags.DontWait));
        sk.CheckAppLimited();
        Errno error = Errno.OK;
        int copied = 0, inSyn = 0, mss = 0, goal = 0;
        TcpSock.ZeroCopySend? notice = null;
        if (message.Has(MessageFlags.ZeroCopy) && message.Iter.Count > 0 && sk.Has(SockFlags.ZeroCopy))
        {
            notice = sk.BeginZeroCopy(message.Iter.Count);
            if (notice is null)
                return Errno.ENOBUFS;
        }
        if ((message.Has(MessageFlags.FastOpen) || sk.DefersConnect) && !sk.InRepair)
        {
            error = SendFastOpen(ref context, sk, ref message, notice, out inSyn);
            if (error == Errno.EINPROGRESS && inSyn > 0)
            {
                notice?.Release(context.Cpu);
                return inSyn;
            }
            if (error != Errno.OK)
                inSyn = 0;
        }
        if (error == Errno.OK && sk.State is not (TcpState.Established or TcpState.CloseWait) && !sk.IsPassiveFastOpen)
            error = WaitForConnect(ref context, sk, deadline);
        if (error == Errno.OK && sk.InRepair && !IsForSendQueue(context.Cpu, sk, ref message, out SysResult repaired))
        {
            notice?.Release(context.Cpu);
            return repaired;
        }
        uint timestamping = sk.Timestamping;
        if (error == Errno.OK && !message.Control.IsEmpty)
            error = SendControl.Read(sk, message.Control, ref timestamping);
        if (error == Errno.OK)
            error = Fill(ref context, sk, ref message, deadline, notice, ref copied, out mss, out goal);
        Cpu cpu = context.Cpu;
        if (error != Errno.OK)
            RemoveEmptyTail(cpu, sk);
        if (copied > 0)
        {
            sk.RequestStamps(timestamping);
            Push(cpu, sk, message.Flags, mss, sk.Nagle, goal);
            notice?.Release(cpu);
            return copied + inSyn;
        }
        if (error == Errno.OK || inSyn > 0)
        {
            notice?.Release(cpu);
            return inSyn;
        }
        if (notice is not null)
            sk.AbortZeroCopy(cpu, notice);
        if (error == Errno.EAGAIN && sk.NothingQueued)
        {
            // Nothing is queued whose ACK could wake the writer.
            sk.WriteSpace(cpu);
            sk.Transfer?.Chrono.Stop(ChronoType.SendBuffer, cpu.Now, nothingQueued: true);
        }
        if (error == Errno.EPIPE && sk.TakeError() is var pending && pending != Errno.OK)
            return pending;
        return error;
    }

    private static Errno Fill(ref TaskContext context, TcpSock sk, ref MsgHdr message, Micros deadline,
        TcpSock.ZeroCopySend? notice, ref int copied, out int mss, out int goal)
    {
        bool oob = message.Has(MessageFlags.OutOfBand);
        mss = sk.SendMss(oob, out goal);
        int sinceBacklog = 0;
        if (sk.Error != Errno.OK || (sk.Shutdown & ShutdownMask.Send) != 0)
            return Errno.EPIPE;
        while (message.Iter.Count > 0)
        {
            Cpu cpu = context.Cpu;
            SkBuff? skb = sk.WriteQueue.Last;
            int room = skb is null ? 0 : goal - skb.Length;
            if (room <= 0 || (skb!.Tcp.Notes & BufferNotes.EndOfRecord) != 0 || !CanAppend(cpu, skb, message, notice))
            {
                if (room > 0 && skb is not null && !CanAppend(cpu, skb, message, notice))
                    sk.MarkPush(skb);
                if (!sk.HasSendRoom)
                {
                    Errno error = WaitForSpace(ref context, sk, message.Flags, deadline, copied, mss, goal);
                    if (error != Errno.OK)
                        return error;
                    mss = sk.SendMss(oob, out goal);
                    continue;
                }
                if (++sinceBacklog > BacklogInterval && sk.Lock.HasBacklog)
                {
                    sinceBacklog = 0;
                    sk.FlushBacklog(cpu);
                    mss = sk.SendMss(oob, out goal);
                    if (sk.Error != Errno.OK || (sk.Shutdown & ShutdownMask.Send) != 0)
                        return Errno.EPIPE;
                    continue;
                }
                skb = sk.AllocWriteSkb(cpu, force: sk.NothingQueued);
                if (skb is null)
                {
                    Errno error = WaitForSpace(ref context, sk, message.Flags, deadline, copied, mss, goal);
                    if (error != Errno.OK)
                        return error;
                    mss = sk.SendMss(oob, out goal);
                    continue;
                }
                sk.Entail(cpu, skb);
                room = goal;
            }
            int took = notice is null ? CopyIn(cpu, sk, skb, ref message, room) : LendIn(cpu, sk, skb, ref message, room, notice);
            if (took == 0)
            {
                Errno error = WaitForSpace(ref context, sk, message.Flags, deadline, copied, mss, goal);
                if (error != Errno.OK)
                    return error;
                mss = sk.SendMss(oob, out goal);
                continue;
            }
            if (copied == 0)
                skb.Tcp.Flags &= ~TcpFlags.Psh;
            copied += took;
            if (message.Iter.Count == 0)
            {
                if (message.Has(MessageFlags.EndOfRecord))
                    skb.Tcp.Notes |= BufferNotes.EndOfRecord;
                break;
            }
            if (skb.Length < goal || oob || sk.InRepair)
                continue;
            // The buffer is full: it may go while the next is filled. Copying has taken time.
            cpu.RefreshClock();
            if (sk.IsPushForced)
            {
                sk.MarkPush(skb);
                sk.PushPending(cpu, mss, NagleFlags.Push);
            }
            else if (skb == sk.SendHead)
            {
                sk.PushOne(cpu, mss);
            }
        }
        return Errno.OK;
    }

    // Copies up to so many bytes into the buffer's pages. 0: there is no memory.
    private static int CopyIn(Cpu cpu, TcpSock sk, SkBuff skb, ref MsgHdr message, int room)
    {
        int wanted = (int)Math.Min(room, message.Iter.Count);
        Span<byte> space = cpu.FillSpace(out _);
        wanted = Math.Min(wanted, Math.Min(space.Length, message.Iter.Contiguous.Length));
        int take = sk.ScheduleCopy(cpu, wanted);
        if (take == 0)
            return 0;
        message.Iter.Contiguous[..take].CopyTo(space);
        message.Iter.Advance(take);
        cpu.CommitFill(skb, take);
        cpu.Mib.Add(Mib.MillraceCopiedOutBytes, take);
        Account(sk, skb, take);
        return take;
    }

    // The caller's memory itself becomes part of the buffer. 0: there is no memory for the account. Linux: skb_zerocopy_iter_stream.
    private static unsafe int LendIn(Cpu cpu, TcpSock sk, SkBuff skb, ref MsgHdr message, int room, TcpSock.ZeroCopySend notice)
    {
        Span<byte> user = message.Iter.Contiguous;
        int take = sk.ScheduleCopy(cpu, Math.Min(room, user.Length));
        if (take == 0)
            return 0;
        // The caller keeps it where it is until the notice comes.
        byte* memory = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(user));
        if (skb.CanExtendLast(memory, BufferPool.NoPage))
            skb.ExtendLast(take);
        else
            skb.AddFragment(memory, take, BufferPool.NoPage);
        if (skb.ZeroCopy is null)
        {
            notice.Hold();
            skb.ZeroCopy = notice;
        }
        message.Iter.Advance(take);
        Account(sk, skb, take);
        return take;
    }

    // A buffer has one notice; the copied may stand behind the lent.
    private static unsafe bool CanAppend(Cpu cpu, SkBuff skb, in MsgHdr message, TcpSock.ZeroCopySend? notice)
    {
        if (notice is null)
            return cpu.CanFill(skb);
        if (skb.ZeroCopy is not null && skb.ZeroCopy != notice)
            return false;
        return skb.FragmentCount < SkBuff.MaxFragments
            || skb.CanExtendLast((byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(message.Iter.Contiguous)), BufferPool.NoPage);
    }

    private static void Account(TcpSock sk, SkBuff skb, int take)
    {
        skb.TrueSize += take;
        sk.WriteQueued += take;
        sk.Charge(take);
        sk.Snd.Written += take;
        skb.Tcp.EndSeq += take;
        skb.Tcp.Segments = 0;
    }

    // Sends what is queued, and waits for some of it to be acknowledged.
    private static Errno WaitForSpace(ref TaskContext context, TcpSock sk, MessageFlags flags, Micros deadline, int copied, int mss, int goal)
    {
        sk.Flags |= SockFlags.NoSpace;
        RemoveEmptyTail(context.Cpu, sk);
        if (copied > 0)
            Push(context.Cpu, sk, flags & ~MessageFlags.More, mss, NagleFlags.Push, goal);
        return WaitForMemory(ref context, sk, deadline);
    }

    // Linux: sk_stream_wait_memory.
    private static Errno WaitForMemory(ref TaskContext context, TcpSock sk, Micros deadline)
    {
        while (true)
        {
            Cpu cpu = context.Cpu;
            if (sk.Error != Errno.OK || (sk.Shutdown & ShutdownMask.Send) != 0)
                return Errno.EPIPE;
            bool free = sk.HasSendRoom;
            if (free && sk.MayGrow)
                return Errno.OK;
            sk.Flags |= SockFlags.NoSpace;
            if (cpu.Now >= deadline)
                return Errno.EAGAIN;
            if (context.Task.SignalPending)
                return Sock.InterruptedErrno(deadline);
            sk.Socket!.Wait.Prepare(cpu, context.Task, PollEvents.Writable | PollEvents.Terminal, exclusive: false);
            sk.ReleaseSock(cpu);
            Scheduler.ScheduleTimeout(ref context, deadline, "sk_stream_wait_memory");
            sk.LockSock(ref context);
            sk.Socket!.Wait.Finish(context.Cpu, context.Task);
        }
    }

    // Linux: sk_stream_wait_connect.
    private static Errno WaitForConnect(ref TaskContext context, TcpSock sk, Micros deadline)
    {
        while (sk.State is not (TcpState.Established or TcpState.CloseWait))
        {
            Cpu cpu = context.Cpu;
            if (sk.TakeError() is var error && error != Errno.OK)
                return error;
            if (sk.State is not (TcpState.SynSent or TcpState.SynRecv))
                return Errno.EPIPE;
            if (cpu.Now >= deadline)
                return Errno.EAGAIN;
            if (context.Task.SignalPending)
                return Sock.InterruptedErrno(deadline);
            sk.Socket!.Wait.Prepare(cpu, context.Task, PollEvents.Writable | PollEvents.Terminal, exclusive: false);
            sk.WritePending++;
            sk.ReleaseSock(cpu);
            Scheduler.ScheduleTimeout(ref context, deadline, "sk_stream_wait_connect");
            sk.LockSock(ref context);
            sk.WritePending--;
            sk.Socket!.Wait.Finish(context.Cpu, context.Task);
        }
        return Errno.OK;
    }

    // A buffer that nothing was written to is taken back. Linux: tcp_remove_empty_skb.
    private static void RemoveEmptyTail(Cpu cpu, TcpSock sk)
    {
        if (sk.WriteQueue.Last is not { } skb || skb.Tcp.Seq != skb.Tcp.EndSeq)
            return;
        sk.WriteQueue.Remove(skb);
        if (sk.IsAllSent)
            sk.Transfer?.Chrono.Stop(ChronoType.Busy, cpu.Now, sk.NothingQueued);
        sk.FreeWriteSkb(cpu, skb);
    }

    /// <summary>The application has written: send, unless it is better to wait. Linux: tcp_push.</summary>
    private static void Push(Cpu cpu, TcpSock sk, MessageFlags flags, int mss, NagleFlags nagle, int goal)
    {
        cpu.Trace(Tp.tcp_push, sk);
        if (sk.WriteQueue.Last is not { } skb)
            return;
        if ((flags & MessageFlags.More) == 0 || sk.IsPushForced)
            sk.MarkPush(skb);
        if ((flags & MessageFlags.OutOfBand) != 0)
            sk.MarkUrgent();
        if (sk.ShouldAutocork(skb, goal))
        {
            cpu.Mib.Inc(Mib.TcpExtTCPAutoCorking);
            if (sk.Throttle(skb.TrueSize))
                return;
        }
        if ((flags & MessageFlags.More) != 0)
            nagle = NagleFlags.Cork;
        sk.PushPending(cpu, mss, nagle);
    }
}
