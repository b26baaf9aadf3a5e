using System;
using System.Globalization;

namespace Millrace.Cli.Trace;

/// <summary>The closing figures of the trace, from the steps and the stacks' own counters.</summary>
internal sealed class Summary
{
    private TimeSpan? _syn, _established, _first, _last;
    private TimeSpan _end;
    private long _switches, _lost;

    /// <summary>Adds the next step, whatever it is.</summary>
    public void Add(TraceEvent step)
    {
        _end = step.Time;
        switch (step.Name)
        {
            case "net_dev_xmit" when step.Packet?.Flags == "S":
                _syn ??= step.Time;
                break;
            case "inet_sock_set_state" when step is { Stack: TraceStory.ClientName, Text: "SYN_SENT → ESTABLISHED" }:
                _established ??= step.Time;
                break;
            case "tcp_sendmsg_locked":
                _first ??= step.Time;
                break;
            case "skb_copy_datagram_msg":
                _last = step.Time;
                break;
            case "sched_switch":
                _switches++;
                break;
            case "kfree_skb" when step.Packet is not null:
                _lost++;
                break;
        }
    }

    /// <param name="steps">How many were shown.</param>
    public void Write(Ink ink, TraceStory story, long steps)
    {
        NetCounters client = story.Client.Counters, server = story.Server.Counters;
        ink.Line([new Piece("  in figures", Palette.Title)]);
        Line(ink, "handshake", Milliseconds(_established - _syn), "from the SYN to ESTABLISHED, at the client");
        Line(ink, "bytes", Number(story.Received), Transfer());
        Line(ink, "CPU copies", Copies(client, server, story.Received), "of each byte: into the sender's buffers, to the reader");
        Line(ink, "wake-ups", Number(Both("MillraceWakeups")), $"and {_switches} context switches");
        Line(ink, "retransmits", Number(Both("TcpRetransSegs")), $"{_lost} packets lost on the wire");
        Line(ink, "packets", Number(Both("TcpOutSegs") + Both("TcpRetransSegs")),
            $"{client["TcpOutSegs"] + client["TcpRetransSegs"]} from the client, {server["TcpOutSegs"] + server["TcpRetransSegs"]} from the server");
        Line(ink, "steps", Number(steps), string.Create(CultureInfo.InvariantCulture, $"shown, of {_end.TotalSeconds:0.###} s of virtual time"));

        long Both(string name) => client[name] + server[name];
    }

    private string Transfer() => _last - _first is { } time && time > TimeSpan.Zero
        ? $"from the first send to the last read in {Milliseconds(time)}"
        : "sent and read";

    private static string Copies(NetCounters client, NetCounters server, long bytes)
    {
        long copied = client["MillraceCopiedOutBytes"] + server["MillraceCopiedInBytes"];
        return bytes == 0 ? "none" : ((double)copied / bytes).ToString("0.##", CultureInfo.InvariantCulture);
    }

    private static string Milliseconds(TimeSpan? time) =>
        time is { } t ? t.TotalMilliseconds.ToString("0.000", CultureInfo.InvariantCulture) + " ms" : "never";

    private static string Number(long n) => n.ToString(CultureInfo.InvariantCulture);

    private static void Line(Ink ink, string name, string value, string words) =>
        ink.Line([new Piece($"{name,14}  ", Palette.Faint), new Piece(value.PadRight(14), Palette.Title), new Piece(words, Palette.Quiet)]);
}
