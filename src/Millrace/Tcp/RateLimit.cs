using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tcp;

/// <summary>One answer in each interval. RFC 5961 §7. Linux: __tcp_oow_rate_limited, last_oow_ack_time.</summary>
internal struct RateLimit
{
    /// <summary>When the last answer was given, milliseconds modulo 2³²; 0: never.</summary>
    private uint _last;

    /// <summary>Whether an answer must be left out; else notes that one is given.</summary>
    public bool IsLimited(Cpu cpu, Sysctls sysctls, Mib counter)
    {
        uint now = (uint)cpu.Now.Milliseconds;
        if (_last != 0 && now - _last < (uint)sysctls.TcpInvalidRatelimit)
        {
            cpu.Mib.Inc(counter);
            return true;
        }
        _last = now == 0 ? 1 : now;
        return false;
    }
}
