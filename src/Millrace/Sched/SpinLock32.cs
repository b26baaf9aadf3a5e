using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Threading;
using Millrace.Tracing;

namespace Millrace.Sched;

/// <summary>
/// A spinlock of four bytes. Free: one compare-and-swap, inline. Contended: the host decides whether to spin, to yield, or to pass
/// the simulator's baton, since the holder may have been preempted.
/// </summary>
/// <remarks>
/// Taken only by the holder of a CPU, so that a holder cannot be interrupted by a softirq that wants the same lock. Never held over
/// user code, a device write, or a sleep. Linux: spinlock_t.
/// </remarks>
internal struct SpinLock32
{
    private int _held;

    public readonly bool IsHeld => _held != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Lock(Cpu cpu)
    {
        if (cpu.Explores)
            cpu.Host.Explore();
        if (Atomic.CompareExchange(ref _held, 1, 0) != 0)
            LockContended(cpu);
        cpu.NoteLocked();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryLock(Cpu cpu)
    {
        if (Volatile.Read(ref _held) != 0 || Atomic.CompareExchange(ref _held, 1, 0) != 0)
            return false;
        cpu.NoteLocked();
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Unlock(Cpu cpu)
    {
        Debug.Assert(_held == 1, "only a held lock is released");
        cpu.NoteUnlocked();
        Volatile.Write(ref _held, 0);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void LockContended(Cpu cpu)
    {
        var spin = new SpinWait();
        do
        {
            cpu.Host.OnContended(ref spin);
        }
        while (Volatile.Read(ref _held) != 0 || Atomic.CompareExchange(ref _held, 1, 0) != 0);
    }
}
