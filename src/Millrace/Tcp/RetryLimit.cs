using System.Numerics;
using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>How long retransmitting goes on: counts of doublings, as times. RFC 1122 §4.2.3.5: R1 and R2.</summary>
internal static class RetryLimit
{
    /// <summary>The time that so many timeouts take, each twice the last one until they are as long as may be. Linux: tcp_model_timeout.</summary>
    public static Micros Timeout(int boundary, Micros first, Micros most)
    {
        int doublings = BitOperations.Log2((ulong)(most.Value / first.Value));
        return boundary <= doublings
            ? first * ((2L << boundary) - 1)
            : first * ((2L << doublings) - 1) + most * (boundary - doublings);
    }

    /// <summary>The distance of window probes: twice the last one's, as often as it takes from the least timeout to the largest. Linux: tcp_probe0_when.</summary>
    public static Micros ProbeDelay(Micros first, int backoff, Micros most)
    {
        int doublings = BitOperations.Log2((ulong)(TcpConstants.RtoMax.Value / TcpConstants.RtoMin.Value)) + 1;
        return Micros.Min(first << System.Math.Min(backoff, doublings), most);
    }

    /// <summary>A delay that ends no later than TCP_USER_TIMEOUT, which began <paramref name="elapsed"/> ago. Linux: tcp_clamp_rto_to_user_timeout.</summary>
    /// <param name="least">What is left to try if the time is over.</param>
    public static Micros ClampToUserTimeout(Micros delay, uint userTimeoutMs, Micros elapsed, Micros least)
    {
        if (userTimeoutMs == 0)
            return delay;
        Micros remaining = Micros.Max(Micros.FromMilliseconds(userTimeoutMs) - elapsed, least);
        return Micros.Min(delay, remaining);
    }
}
