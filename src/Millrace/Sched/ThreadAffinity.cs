using System;
using System.Runtime.InteropServices;

namespace Millrace.Sched;

/// <summary>Which of the machine's processors a thread may run on. Does nothing but on Linux.</summary>
internal static unsafe partial class ThreadAffinity
{
    private const int MaskWords = 16;

    /// <summary>The processor that the calling thread runs on; −1 if unknown.</summary>
    public static int CurrentCpu => OperatingSystem.IsLinux() ? SchedGetCpu() : -1;

    /// <summary>Lets the calling thread run on this processor only.</summary>
    public static void Pin(int cpu)
    {
        if (!OperatingSystem.IsLinux() || (uint)cpu >= MaskWords * 64)
            return;
        ulong* mask = stackalloc ulong[MaskWords];
        mask[cpu / 64] = 1UL << (cpu % 64);
        _ = SchedSetAffinity(0, MaskWords * sizeof(ulong), mask);
    }

    [LibraryImport("libc", EntryPoint = "sched_getcpu")]
    private static partial int SchedGetCpu();

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    private static partial int SchedSetAffinity(int thread, nuint size, ulong* mask);
}
