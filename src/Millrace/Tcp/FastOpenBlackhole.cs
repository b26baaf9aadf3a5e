using System;
using System.Threading;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tcp;

/// <summary>Whether the stack as a client leaves Fast Open alone for a while, because packets with it seem to vanish on the way.</summary>
/// <remarks>Linux: tcp_fastopen_active_disable and its kin. RFC 7413 §4.1.3.1.</remarks>
internal sealed class FastOpenBlackhole(Sysctls sysctls)
{
    private const int MaxDoublings = 6;

    private long _since;
    private int _times;

    public bool WasSeen => Volatile.Read(ref _times) > 0;

    /// <summary>One more sign of a black hole: the pause begins, each time twice as long.</summary>
    public void Note(Cpu cpu)
    {
        if (sysctls.TcpFastopenBlackholeTimeoutSec == 0)
            return;
        Volatile.Write(ref _since, cpu.Now.Value);
        Interlocked.Increment(ref _times);
        cpu.Mib.Inc(Mib.TcpExtTCPFastOpenBlackhole);
    }

    /// <summary>It works again.</summary>
    public void Clear() => Volatile.Write(ref _times, 0);

    /// <summary>Linux: tcp_fastopen_active_should_disable.</summary>
    public bool MustPause(Cpu cpu)
    {
        int timeout = sysctls.TcpFastopenBlackholeTimeoutSec, times = Volatile.Read(ref _times);
        if (timeout == 0 || times == 0)
            return false;
        Micros pause = Micros.FromSeconds((long)timeout << Math.Min(times - 1, MaxDoublings));
        return cpu.Now < new Micros(Volatile.Read(ref _since)) + pause;
    }
}
