using System;
using System.Collections.Generic;

namespace Millrace.Cli.Diagnostics;

/// <summary>What a running command tells <c>millrace ss</c>: one JSON object.</summary>
internal sealed record SocketReport(int Pid, string Command, string Stack, IReadOnlyList<SocketRow> Sockets)
{
    public static SocketReport Of(string command, NetStack stack)
    {
        var rows = new List<SocketRow>();
        foreach (TcpSocketEntry entry in stack.ListTcpSockets())
            rows.Add(SocketRow.Of(entry));
        return new SocketReport(Environment.ProcessId, command, stack.Name, rows);
    }
}

/// <summary>One line of the list. <see cref="TcpSocketEntry"/> says what the members are; a time is in milliseconds.</summary>
internal sealed record SocketRow(TcpState State, string Local, string Remote, int ReceiveQueue, int SendQueue, SocketTimer Timer, long ExpiresMs,
    int Retransmits, string CongestionControl, TcpInfo? Info)
{
    public static SocketRow Of(TcpSocketEntry e)
    {
        // Linux's tools write the port of nobody as a star.
        string remote = e.State == TcpState.Listen ? e.Remote.ToString()[..^1] + "*" : e.Remote.ToString();
        return new SocketRow(e.State, e.Local.ToString(), remote, e.ReceiveQueue, e.SendQueue, e.Timer,
            (long)e.TimerExpires.TotalMilliseconds, e.Retransmits, e.CongestionControl, e.Info);
    }
}
