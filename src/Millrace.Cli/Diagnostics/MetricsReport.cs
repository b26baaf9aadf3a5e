using System.Collections.Generic;
using System.Linq;
using System.Net;

namespace Millrace.Cli.Diagnostics;

/// <summary>What <c>millrace tcp_metrics</c> asks.</summary>
/// <param name="Remote">Null: of all peers.</param>
internal sealed record MetricsQuery(string? Remote, bool Flush);

/// <summary>What a running command tells it: a line an entry, or how many are gone.</summary>
internal sealed record MetricsReport(IReadOnlyList<string> Entries, int Removed)
{
    public static MetricsReport Of(NetStack stack, MetricsQuery query)
    {
        IPAddress? remote = IPAddress.TryParse(query.Remote, out IPAddress? parsed) ? parsed : null;
        if (query.Flush)
            return new MetricsReport([], stack.FlushTcpMetrics(remote));
        return new MetricsReport(
            [.. stack.ListTcpMetrics().Where(entry => remote is null || entry.Remote.Equals(remote)).Select(static entry => entry.ToString())], 0);
    }
}
