using System;
using System.Diagnostics;
using System.Threading;

namespace Millrace.Linux;

/// <summary>The descriptor of one queue of a device, and where the queue's thread sleeps.</summary>
internal sealed unsafe class QueueDescriptor : IDisposable
{
    private const int ErrorOption = 4;

    private readonly int _wakeFd, _watchedFd;
    private int _sleeping;
    private int _wake;
    private bool _alarm;

    /// <param name="fd">Becomes this object's.</param>
    /// <param name="watched">A socket whose messages end a wait too, and are thrown away; it stays the caller's.</param>
    public QueueDescriptor(int fd, int watched = -1)
    {
        Fd = fd;
        _watchedFd = watched;
        _wakeFd = Libc.EventFd(0, Libc.EventFdFlags);
        if (_wakeFd >= 0)
            return;
        Errno error = Libc.LastError;
        _ = Libc.Close(fd);
        throw new LinuxDeviceException($"Cannot make an eventfd: {error}.", error);
    }

    public int Fd { get; }

    /// <summary>Whether a wait has ended by an error, or by a message to the watched socket, since the last time.</summary>
    public bool TakeAlarm()
    {
        bool had = _alarm;
        _alarm = false;
        return had;
    }

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
        const int count = 3;
        Libc.PollFd* fds = stackalloc Libc.PollFd[count];
        fds[0] = new Libc.PollFd(Fd, Libc.PollIn);
        fds[1] = new Libc.PollFd(_wakeFd, Libc.PollIn);
        // Negative: not looked at.
        fds[2] = new Libc.PollFd(_watchedFd, Libc.PollIn);
        if (Libc.PPoll(fds, count, timeout < TimeSpan.Zero ? null : &limit, null) <= 0)
            return false;
        // A waker may write after its wait has ended for another reason: whoever sees it takes it.
        ulong wakes;
        if (fds[1].Results != 0)
            _ = Libc.Read(_wakeFd, &wakes, sizeof(ulong));
        _alarm |= ClearError(fds[0]) | Drain(fds[2]);
        return true;
    }

    private static bool Drain(in Libc.PollFd polled)
    {
        if (polled.Results == 0)
            return false;
        const int dontWait = 0x40;
        byte first;
        while (Libc.Receive(polled.Fd, &first, 1, dontWait) >= 0)
        {
        }
        return true;
    }

    // An error that nobody takes would end every wait. What is no socket keeps its own, and says it when it is read.
    private static bool ClearError(in Libc.PollFd polled)
    {
        if ((polled.Results & Libc.PollError) == 0)
            return false;
        int error;
        uint length = sizeof(int);
        _ = Libc.GetSockOpt(polled.Fd, Libc.LevelSocket, ErrorOption, &error, &length);
        return true;
    }
}
