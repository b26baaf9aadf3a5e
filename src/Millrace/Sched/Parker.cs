using System;
using System.Runtime.InteropServices;
using System.Threading;

namespace Millrace.Sched;

/// <summary>
/// Where one thread sleeps: a permit that <see cref="Signal"/> gives and <see cref="Wait"/> takes. On Linux a futex, elsewhere a
/// monitor. The signaller skips the system call if nobody sleeps.
/// </summary>
internal sealed unsafe partial class Parker
{
    private const int Empty = 0, Permit = 1, Sleeping = -1;

    private static readonly bool UseFutex = OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture is Architecture.X64 or Architecture.Arm64;
    private static readonly nint FutexNumber = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 98 : 202;

    // Pinned for ever: a task's parker lives as long as its thread.
    private readonly int[] _word = GC.AllocateArray<int>(1, pinned: true);

    /// <summary>
    /// Sleeps until there is a permit or <paramref name="timeout"/> is over, and takes the permit. False: timed out. May return true
    /// without cause.
    /// </summary>
    public bool Wait(Micros timeout)
    {
        ref int word = ref _word[0];
        if (Interlocked.CompareExchange(ref word, Empty, Permit) == Permit)
            return true;
        if (timeout.Value <= 0)
            return false;
        if (Interlocked.CompareExchange(ref word, Sleeping, Empty) == Permit)
        {
            Volatile.Write(ref word, Empty);
            return true;
        }
        if (UseFutex)
            FutexWait(timeout);
        else
            MonitorWait(timeout);
        return Interlocked.Exchange(ref word, Empty) == Permit;
    }

    public void Signal()
    {
        ref int word = ref _word[0];
        if (Interlocked.Exchange(ref word, Permit) != Sleeping)
            return;
        if (UseFutex)
        {
            fixed (int* p = _word)
                _ = Syscall(FutexNumber, p, FutexWakePrivate, 1, null, null, 0);
            return;
        }
        lock (_word)
            Monitor.Pulse(_word);
    }

    private const int FutexWaitPrivate = 128, FutexWakePrivate = 129;

    private void FutexWait(Micros timeout)
    {
        Timespec t;
        Timespec* limit = null;
        if (timeout != Micros.Never)
        {
            t.Seconds = (nint)(timeout.Value / 1_000_000);
            t.Nanoseconds = (nint)(timeout.Value % 1_000_000 * 1000);
            limit = &t;
        }
        fixed (int* p = _word)
            _ = Syscall(FutexNumber, p, FutexWaitPrivate, Sleeping, limit, null, 0);
    }

    private void MonitorWait(Micros timeout)
    {
        lock (_word)
        {
            if (Volatile.Read(ref _word[0]) != Sleeping)
                return;
            if (timeout == Micros.Never)
                Monitor.Wait(_word);
            else
                Monitor.Wait(_word, timeout.ToTimeSpan());
        }
    }

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint Syscall(nint number, int* word, nint operation, nint value, Timespec* timeout, int* word2, nint value3);

    private struct Timespec
    {
        public nint Seconds, Nanoseconds;
    }
}
