using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;

namespace Millrace.Cli.Diagnostics;

/// <summary>Writes sockets as <c>ss -tanoi</c> does: a line for the socket, and an indented one for its numbers.</summary>
internal static class SocketTable
{
    private static readonly string[] Headings = ["State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port", "Timer"];

    public static void Write(TextWriter output, IReadOnlyList<SocketRow> rows, bool header)
    {
        var lines = new List<(string[] Cells, string Numbers)>();
        if (header)
            lines.Add((Headings, ""));
        foreach (SocketRow row in rows.OrderBy(static r => r.State != TcpState.Listen))
            lines.Add((Cells(row), row.Info is { } info ? TcpInfoText.Format(row.CongestionControl, info) : ""));
        int[] widths = [.. Enumerable.Range(0, Headings.Length).Select(column => lines.Select(line => line.Cells[column].Length).DefaultIfEmpty().Max())];
        foreach ((string[] cells, string numbers) in lines)
        {
            output.WriteLine(Align(cells, widths));
            if (numbers.Length > 0)
                output.WriteLine($"\t {numbers}");
        }
    }

    // The queues are numbers and stand to the right, as in ss.
    private static string Align(string[] cells, int[] widths) =>
        string.Join("  ", cells.Select((cell, i) => i is 1 or 2 or 3 ? cell.PadLeft(widths[i]) : cell.PadRight(widths[i]))).TrimEnd();

    private static string[] Cells(SocketRow row) =>
    [
        StateName(row.State),
        row.ReceiveQueue.ToString(CultureInfo.InvariantCulture),
        row.SendQueue.ToString(CultureInfo.InvariantCulture),
        row.Local,
        row.Remote,
        TimerText(row),
    ];

    /// <summary>The state as ss calls it.</summary>
    public static string StateName(TcpState state) => state switch
    {
        TcpState.Established => "ESTAB",
        TcpState.SynSent => "SYN-SENT",
        TcpState.SynRecv or TcpState.NewSynRecv => "SYN-RECV",
        TcpState.FinWait1 => "FIN-WAIT-1",
        TcpState.FinWait2 => "FIN-WAIT-2",
        TcpState.TimeWait => "TIME-WAIT",
        TcpState.Close => "UNCONN",
        TcpState.CloseWait => "CLOSE-WAIT",
        TcpState.LastAck => "LAST-ACK",
        TcpState.Listen => "LISTEN",
        TcpState.Closing => "CLOSING",
    };

    /// <summary>As ss -o: what the timer is for, how long it runs, how often it has fired in vain.</summary>
    public static string TimerText(SocketRow row)
    {
        string? name = row.Timer switch
        {
            SocketTimer.None => null,
            SocketTimer.Retransmit => "on",
            SocketTimer.KeepAlive => "keepalive",
            SocketTimer.TimeWait => "timewait",
            SocketTimer.Probe => "persist",
        };
        return name is null ? "" : $"timer:({name},{Duration(row.ExpiresMs)},{row.Retransmits.ToString(CultureInfo.InvariantCulture)})";
    }

    // Coarser the longer it is: minutes without seconds from ten on, seconds without milliseconds from ten on.
    private static string Duration(long ms)
    {
        long minutes = ms / 60_000;
        long seconds = minutes >= 10 ? 0 : ms / 1000 % 60;
        long rest = minutes > 0 || seconds >= 10 ? 0 : ms % 1000;
        FormattableString[] parts = [$"{minutes}min", $"{seconds}{(rest > 0 ? "." : "sec")}", $"{rest:000}ms"];
        long[] amounts = [minutes, seconds, rest];
        return string.Concat(parts.Where((_, i) => amounts[i] > 0).Select(FormattableString.Invariant));
    }
}
