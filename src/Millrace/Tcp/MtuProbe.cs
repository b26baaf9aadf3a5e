using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>The search for the path's MTU by larger and larger segments, for paths whose ICMP errors do not come through.</summary>
/// <remarks>RFC 4821. Linux: icsk_mtup, mtu_probe. Sizes are of IP packets.</remarks>
internal sealed class MtuProbe
{
    /// <summary>Whether the MSS is held to what has been proved. Linux: enabled.</summary>
    public bool Enabled;

    /// <summary>The largest size that is known to pass, and the largest that may.</summary>
    public int Low, High;

    /// <summary>The size of the probe that is out; 0 if none. Linux: probe_size.</summary>
    public int Size;

    /// <summary>The probe's bytes.</summary>
    public SeqRange Range;

    /// <summary>When the search began. Linux: probe_timestamp.</summary>
    public Micros Began;

    /// <summary>The size to try next.</summary>
    public int Middle => (High + Low) >> 1;
}
