using System.Runtime.CompilerServices;
using System.Threading;

namespace Millrace.Tracing;

/// <summary>
/// The atomic operations and fences of the data path: <see cref="Interlocked"/>, which a debug build counts, so that a test can say
/// how many a segment costs.
/// </summary>
internal static class Atomic
{
#if DEBUG
    // State for a test, not for the stack: what this thread has done so far.
    [System.ThreadStatic]
    private static long t_count;

    /// <summary>Operations that the calling thread has done.</summary>
    public static long Count => t_count;

    private static void Note() => t_count++;
#else
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Note()
    {
    }
#endif

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int CompareExchange(ref int location, int value, int comparand)
    {
        Note();
        return Interlocked.CompareExchange(ref location, value, comparand);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long CompareExchange(ref long location, long value, long comparand)
    {
        Note();
        return Interlocked.CompareExchange(ref location, value, comparand);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Exchange(ref int location, int value)
    {
        Note();
        return Interlocked.Exchange(ref location, value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Exchange(ref long location, long value)
    {
        Note();
        return Interlocked.Exchange(ref location, value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Add(ref long location, long value)
    {
        Note();
        return Interlocked.Add(ref location, value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Add(ref int location, int value)
    {
        Note();
        return Interlocked.Add(ref location, value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Increment(ref int location) => Add(ref location, 1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Decrement(ref int location) => Add(ref location, -1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Or(ref int location, int value)
    {
        Note();
        return Interlocked.Or(ref location, value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Fence()
    {
        Note();
        Interlocked.MemoryBarrier();
    }
}
