using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>Protection against wrapped sequences: what TS.Recent says of a segment's timestamp.</summary>
/// <remarks>RFC 7323 §5. Linux: tcp_paws_check.</remarks>
internal static class Paws
{
    /// <summary>When TS.Recent was set, in seconds of the host's clock; never 0, which is "never".</summary>
    public static int Stamp(Micros now) => (int)(now.Value / 1_000_000) + 1;

    /// <summary>
    /// Whether the segment's timestamp is not older than TS.Recent, by more than <paramref name="window"/>; after 24 days TS.Recent says
    /// nothing. RFC 7323 §5.3, §5.5.
    /// </summary>
    public static bool Passes(uint tsRecent, int stamp, uint tsVal, Micros now, int window) =>
        (int)(tsRecent - tsVal) <= window || Stamp(now) - stamp >= TcpConstants.Paws24Days || tsRecent == 0;
}
