using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tcp;

/// <summary>One answer in each interval. RFC 5961 §7. Linux: __tcp_oow_rate_limited.</summary>
internal static class RateLimit
{
    /// <summary>Whether an answer must be left out; else notes that one is given. <paramref name="last"/> is Never before the first.</summary>
    public static bool IsLimited(Cpu cpu, Sysctls sysctls, ref Micros last, Mib counter)
    {
        Micros now = cpu.Now;
        if (last != Micros.Never && now - last < Micros.FromMilliseconds(sysctls.TcpInvalidRatelimit))
        {
            cpu.Mib.Inc(counter);
            return true;
        }
        last = now;
        return false;
    }
}
