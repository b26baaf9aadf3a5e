using System;
using System.Diagnostics;
using System.Threading;

namespace Millrace.Linux;

/// <summary>One queue of a TUN device: its descriptor, and where its thread sleeps.</summary>
internal sealed unsafe class TunQueue : IDisposable
{
    private readonly int _wakeFd;
    private int _sleeping;
    private int _wake;

    public TunQueue(int fd)
    {
        Fd = fd;
        _wakeFd = Libc.EventFd(0, Libc.EventFdFlags);
        if (_wakeFd >= 0)
            return;
        Errno error = Libc.LastError;
        _ = Libc.Close(fd);
        throw new LinuxDeviceException($"Cannot make an eventfd: {error}.", error);
    }

    public int Fd { get; }

    /// <summary>Sleeps until there is a packet, somebody wakes it, or the timeout is over; looks for <paramref name="busyPoll"/> ticks first.</summary>
    public void Wait(TimeSpan timeout, long busyPoll)
    {
        // Say so, fence, look: the waker does the same the other way round.
        Interlocked.Exchange(ref _sleeping, 1);
        if (Volatile.Read(ref _wake) == 0 && !FoundBusy(timeout, busyPoll))
            Poll(timeout);
        Volatile.Write(ref _sleeping, 0);
        Interlocked.Exchange(ref _wake, 0);
    }

    public void Wake()
    {
        Interlocked.Exchange(ref _wake, 1);
        if (Volatile.Read(ref _sleeping) == 0)
            return;
        ulong one = 1;
        _ = Libc.Write(_wakeFd, &one, sizeof(ulong));
    }

    public void Dispose()
    {
        _ = Libc.Close(Fd);
        _ = Libc.Close(_wakeFd);
    }

    private bool FoundBusy(TimeSpan timeout, long busyPoll)
    {
        if (busyPoll == 0)
            return false;
        long start = Stopwatch.GetTimestamp();
        long end = timeout < TimeSpan.Zero ? busyPoll : Math.Min(busyPoll, (long)(timeout.TotalSeconds * Stopwatch.Frequency));
        do
        {
            if (Volatile.Read(ref _wake) != 0 || Poll(TimeSpan.Zero))
                return true;
        }
        while (Stopwatch.GetTimestamp() - start < end);
        return false;
    }

    private bool Poll(TimeSpan timeout)
    {
        var limit = new Libc.TimeSpec(timeout);
        Libc.PollFd* fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd(Fd, Libc.PollIn);
        fds[1] = new Libc.PollFd(_wakeFd, Libc.PollIn);
        if (Libc.PPoll(fds, 2, timeout < TimeSpan.Zero ? null : &limit, null) <= 0)
            return false;
        // A waker may write after its wait has ended for another reason: whoever sees it takes it.
        ulong count;
        if (fds[1].Results != 0)
            _ = Libc.Read(_wakeFd, &count, sizeof(ulong));
        return true;
    }
}
