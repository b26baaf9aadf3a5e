using System.Threading;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Sockets;

/// <summary>Collects the queues that a poll must wait on. Linux: poll_table.</summary>
internal abstract class PollTable
{
    /// <summary>Queues an entry of the poller's. Called before the events are looked at. Linux: poll_wait.</summary>
    public abstract void Wait(Cpu cpu, ref WaitQueueHead queue);
}

/// <summary>Somebody who keeps a file in mind without holding it. Linux: eventpoll_release.</summary>
internal interface IFileObserver
{
    /// <summary>The last reference is gone; the file is about to close.</summary>
    void OnReleased(ref TaskContext context, File file);
}

/// <summary>
/// An open file: what a descriptor refers to. Every call that uses it holds a reference, so closing the descriptor under a blocked call
/// does not take the file from it.
/// </summary>
/// <remarks>Linux: struct file, with file_operations.</remarks>
internal abstract class File
{
    private int _references = 1;
    private IFileObserver[]? _observers;
    private bool _abandoned;

    /// <summary>O_NONBLOCK.</summary>
    public bool NonBlocking { get; set; }

    /// <summary>Takes a reference, unless the last one is gone. Linux: fget.</summary>
    public bool TryHold()
    {
        int seen = Volatile.Read(ref _references);
        while (seen > 0)
        {
            int was = Atomic.CompareExchange(ref _references, seen + 1, seen);
            if (was == seen)
                return true;
            seen = was;
        }
        return false;
    }

    /// <summary>
    /// The .NET object that stands for the file was disposed of: whoever still waits on it gives up, which no close of a descriptor does.
    /// </summary>
    public bool IsAbandoned => Volatile.Read(ref _abandoned);

    public void Abandon()
    {
        Volatile.Write(ref _abandoned, true);
        Atomic.Fence();
    }

    /// <summary>Whether anybody but the caller holds the file.</summary>
    public bool IsShared => Volatile.Read(ref _references) > 1;

    /// <summary>Gives a reference back; the last one closes the file. Linux: fput.</summary>
    public void Release(ref TaskContext context)
    {
        if (DropReference())
            Close(ref context);
    }

    /// <summary>Gives a reference back. True: it was the last, and the caller closes the file where it may sleep.</summary>
    public bool DropReference() => Atomic.Decrement(ref _references) == 0;

    public void Close(ref TaskContext context)
    {
        IFileObserver[]? observers = Interlocked.Exchange(ref _observers, null);
        if (observers is not null)
        {
            foreach (IFileObserver observer in observers)
                observer.OnReleased(ref context, this);
        }
        OnLastRelease(ref context);
    }

    /// <summary>Asks to be told when the file is closed for good.</summary>
    public void Observe(IFileObserver observer)
    {
        IFileObserver[]? before;
        do
        {
            before = Volatile.Read(ref _observers);
        }
        while (Interlocked.CompareExchange(ref _observers, before is null ? [observer] : [.. before, observer], before) != before);
    }

    /// <summary>Linux: f_op->release.</summary>
    protected abstract void OnLastRelease(ref TaskContext context);

    /// <summary>The events that hold now. Linux: f_op->poll.</summary>
    public abstract PollEvents Poll(ref TaskContext context, PollTable? table);

    public abstract SysResult Read(ref TaskContext context, ref MsgHdr message);

    public abstract SysResult Write(ref TaskContext context, ref MsgHdr message);

    /// <summary>Linux: f_op->unlocked_ioctl. <paramref name="value"/>: in and out.</summary>
    public virtual Errno Ioctl(ref TaskContext context, uint request, ref int value) => Errno.ENOTTY;
}
