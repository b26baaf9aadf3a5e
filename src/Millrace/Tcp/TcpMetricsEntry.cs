using System;
using System.Globalization;
using System.Net;
using System.Text;

namespace Millrace;

/// <summary>What a stack remembers of the connections between two addresses; a zero is unknown.</summary>
/// <remarks>Linux: TCP_METRICS_ATTR_*.</remarks>
public sealed class TcpMetricsEntry
{
    /// <summary>The stack's address.</summary>
    public required IPAddress Source { get; init; }

    public required IPAddress Remote { get; init; }

    /// <summary>Since a connection last changed it.</summary>
    public TimeSpan Age { get; init; }

    public TimeSpan RoundTrip { get; init; }

    public TimeSpan RoundTripVariation { get; init; }

    /// <summary>Packets, as the two below.</summary>
    public int SlowStartThreshold { get; init; }

    public int CongestionWindow { get; init; }

    public int Reordering { get; init; }

    /// <summary>The MSS that a SYN with data goes by, in bytes.</summary>
    public int FastOpenMss { get; init; }

    /// <summary>Empty if there is none.</summary>
    public ReadOnlyMemory<byte> FastOpenCookie { get; init; }

    /// <summary>SYNs with a Fast Open option that were lost in a row, and how long ago the last was.</summary>
    public int FastOpenSynLosses { get; init; }

    public TimeSpan LastFastOpenSynLoss { get; init; }

    /// <summary>The line that <c>ip tcp_metrics</c> shows for it.</summary>
    public override string ToString()
    {
        StringBuilder line = new StringBuilder(Remote.ToString()).Append(" age ").Append(Seconds(Age)).Append("sec");
        Add(line, "ssthresh", SlowStartThreshold, "");
        Add(line, "cwnd", CongestionWindow, "");
        Add(line, "reordering", Reordering, "");
        Add(line, "rtt", (long)RoundTrip.TotalMicroseconds, "us");
        Add(line, "rttvar", (long)RoundTripVariation.TotalMicroseconds, "us");
        Add(line, "fo_mss", FastOpenMss, "");
        if (FastOpenSynLosses != 0)
            line.Append(" fo_syn_drops ").Append(FastOpenSynLosses).Append('/').Append(Seconds(LastFastOpenSynLoss)).Append("sec ago");
        if (!FastOpenCookie.IsEmpty)
            line.Append(" fo_cookie ").Append(Convert.ToHexStringLower(FastOpenCookie.Span));
        return line.Append(" source ").Append(Source).ToString();
    }

    private static void Add(StringBuilder line, string name, long value, string unit)
    {
        if (value != 0)
            line.Append(' ').Append(name).Append(' ').Append(value).Append(unit);
    }

    private static string Seconds(TimeSpan time) => time.TotalSeconds.ToString("0.000", CultureInfo.InvariantCulture);
}
