using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Syscalls;

/// <summary>
/// A pipe: a bounded queue of buffers whose pages may be a socket's, so that what is spliced through it is never copied.
/// </summary>
/// <remarks>Linux: pipe_inode_info.</remarks>
internal sealed class Pipe
{
    /// <summary>Bytes in the pipe at most. Linux: PIPE_DEF_BUFFERS pages.</summary>
    public const int Capacity = 65536;

    public readonly SkBuffHead Queue = new();
    public SpinLock32 Lock;
    public WaitQueueHead Wait;

    /// <summary>Bytes in the pipe; open ends. Guarded by the lock.</summary>
    public int Bytes, Readers = 1, Writers = 1;
}

/// <summary>One end of a pipe.</summary>
internal sealed class PipeFile(Pipe pipe, bool isReader) : File
{
    public Pipe Pipe { get; } = pipe;

    public bool IsReader { get; } = isReader;

    protected override void OnLastRelease(ref TaskContext context)
    {
        Cpu cpu = context.Cpu;
        Pipe.Lock.Lock(cpu);
        if (IsReader)
            Pipe.Readers--;
        else
            Pipe.Writers--;
        if (Pipe.Readers == 0)
            cpu.FreeAll(Pipe.Queue);
        Pipe.Lock.Unlock(cpu);
        Pipe.Wait.Wake(cpu, new WakeKey(PollEvents.Readable | PollEvents.Writable | PollEvents.Terminal), exclusive: 0);
    }

    public override PollEvents Poll(ref TaskContext context, PollTable? table)
    {
        table?.Wait(context.Cpu, ref Pipe.Wait);
        if (IsReader)
            return (Pipe.Bytes > 0 ? PollEvents.Readable : PollEvents.None) | (Pipe.Writers == 0 ? PollEvents.Hup : PollEvents.None);
        return (Pipe.Bytes < Pipe.Capacity ? PollEvents.Writable : PollEvents.None)
            | (Pipe.Readers == 0 ? PollEvents.Err : PollEvents.None);
    }

    // Linux: pipe_read.
    public override SysResult Read(ref TaskContext context, ref MsgHdr message)
    {
        if (!IsReader)
            return Errno.EBADF;
        while (true)
        {
            Cpu cpu = context.Cpu;
            Pipe.Lock.Lock(cpu);
            int copied = CopyOut(cpu, ref message);
            bool open = Pipe.Writers > 0;
            Pipe.Lock.Unlock(cpu);
            if (copied > 0)
            {
                Pipe.Wait.Wake(cpu, new WakeKey(PollEvents.Writable), exclusive: 0);
                return copied;
            }
            if (!open || message.Iter.Count == 0)
                return 0;
            if (!TrySleep(ref context, PollEvents.Readable, out Errno error))
                return error;
        }
    }

    // Linux: pipe_write.
    public override SysResult Write(ref TaskContext context, ref MsgHdr message)
    {
        if (IsReader)
            return Errno.EBADF;
        int written = 0;
        while (message.Iter.Count > 0)
        {
            Cpu cpu = context.Cpu;
            Pipe.Lock.Lock(cpu);
            bool broken = Pipe.Readers == 0;
            int copied = broken ? 0 : CopyIn(cpu, ref message);
            Pipe.Lock.Unlock(cpu);
            if (broken)
                return written > 0 ? written : Errno.EPIPE;
            written += copied;
            if (copied > 0)
            {
                Pipe.Wait.Wake(cpu, new WakeKey(PollEvents.Readable), exclusive: 0);
                continue;
            }
            if (!TrySleep(ref context, PollEvents.Writable, out Errno error))
                return written > 0 ? written : error;
        }
        return written;
    }

    /// <summary>Waits for room, or for bytes. Linux: wait_for_space, ipipe_prep.</summary>
    public Errno Await(ref TaskContext context, bool nonBlocking)
    {
        PollEvents what = IsReader ? PollEvents.Readable : PollEvents.Writable;
        while (IsReader ? Pipe.Bytes == 0 && Pipe.Writers > 0 : Pipe.Bytes >= Pipe.Capacity && Pipe.Readers > 0)
        {
            if (nonBlocking)
                return Errno.EAGAIN;
            if (!TrySleep(ref context, what, out Errno error))
                return error;
        }
        return IsReader || Pipe.Readers > 0 ? Errno.OK : Errno.EPIPE;
    }

    /// <summary>Puts buffers in, pages and all.</summary>
    public void Put(Cpu cpu, SkBuffHead buffers)
    {
        Pipe.Lock.Lock(cpu);
        for (SkBuff? skb = buffers.First; skb is not null; skb = buffers.After(skb))
            Pipe.Bytes += skb.Length;
        Pipe.Queue.TakeAll(buffers);
        Pipe.Lock.Unlock(cpu);
        Pipe.Wait.Wake(cpu, new WakeKey(PollEvents.Readable), exclusive: 0);
    }

    /// <summary>Takes the first buffer out; null: there is none.</summary>
    public SkBuff? TakeFirst(Cpu cpu)
    {
        Pipe.Lock.Lock(cpu);
        SkBuff? skb = Pipe.Queue.PopFirst();
        Pipe.Bytes -= skb?.Length ?? 0;
        Pipe.Lock.Unlock(cpu);
        Pipe.Wait.Wake(cpu, new WakeKey(PollEvents.Writable), exclusive: 0);
        return skb;
    }

    /// <summary>Gives back what was not used of a buffer taken out.</summary>
    public void PutBack(Cpu cpu, SkBuff skb)
    {
        Pipe.Lock.Lock(cpu);
        Pipe.Queue.PushFirst(skb);
        Pipe.Bytes += skb.Length;
        Pipe.Lock.Unlock(cpu);
    }

    private int CopyOut(Cpu cpu, ref MsgHdr message)
    {
        int copied = 0;
        while (message.Iter.Count > 0 && Pipe.Queue.First is { } skb)
        {
            int take = (int)Math.Min(skb.Length, message.Iter.Count);
            SkbCopy.ToUser(skb, 0, ref message.Iter, take);
            copied += take;
            Pipe.Bytes -= take;
            if (take < skb.Length)
            {
                skb.DropFront(take, cpu);
                continue;
            }
            Pipe.Queue.Remove(skb);
            cpu.FreeSkb(skb);
        }
        return copied;
    }

    private int CopyIn(Cpu cpu, ref MsgHdr message)
    {
        int copied = 0;
        while (message.Iter.Count > 0 && Pipe.Bytes < Pipe.Capacity)
        {
            SkBuff? tail = Pipe.Queue.Last;
            if (tail is null || !cpu.CanFill(tail))
            {
                tail = cpu.AllocSkb();
                Pipe.Queue.PushLast(tail);
            }
            int take = Math.Min(message.Iter.Contiguous.Length, Pipe.Capacity - Pipe.Bytes);
            take = Math.Min(take, cpu.FillSpace(out _).Length);
            cpu.AppendCopy(tail, message.Iter.Contiguous[..take]);
            message.Iter.Advance(take);
            Pipe.Bytes += take;
            copied += take;
        }
        return copied;
    }

    private bool TrySleep(ref TaskContext context, PollEvents what, out Errno error)
    {
        error = NonBlocking ? Errno.EAGAIN : context.Task.SignalPending ? Errno.EINTR : Errno.OK;
        if (error != Errno.OK)
            return false;
        Pipe.Wait.Prepare(context.Cpu, context.Task, what | PollEvents.Terminal, exclusive: false);
        bool ready = what == PollEvents.Readable ? Pipe.Bytes > 0 || Pipe.Writers == 0 : Pipe.Bytes < Pipe.Capacity || Pipe.Readers == 0;
        if (!ready)
            Scheduler.ScheduleTimeout(ref context, Micros.Never, "pipe_wait");
        Pipe.Wait.Finish(context.Cpu, context.Task);
        return true;
    }
}
