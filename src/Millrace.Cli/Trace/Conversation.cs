using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;

namespace Millrace.Cli.Trace;

/// <summary>
/// The packets of the connection between the states of its two ends: what is left of the trace when the stacks are black boxes. A long
/// one is shown by its beginning and its end.
/// </summary>
internal sealed class Conversation(RelativeNumbers numbers)
{
    private const int Shown = 14;
    private const int StateWidth = 12;

    private readonly List<Packet> _first = [];
    private readonly Queue<Packet> _last = new();
    private string _client = "CLOSE", _server = "LISTEN";
    private bool _isMini;
    private long _count;

    private sealed record Packet(TimeSpan Time, bool Rightwards, string Words, string Client, string Server)
    {
        public bool Lost { get; set; }
    }

    /// <summary>Adds the next step, whatever it is.</summary>
    public void Add(TraceEvent step)
    {
        if (step.Name == "inet_sock_set_state" && step.Remote is { Port: > 0 })
            Enter(step.Stack, step.Text[(step.Text.IndexOf('→', StringComparison.Ordinal) + 2)..]);
        else if (step is { Name: "tcp_time_wait", Stack: TraceStory.ClientName })
            (_client, _isMini) = (step.Fields[0].Symbol!["TCP_".Length..], true);
        else if (step is { Name: "net_dev_xmit", Packet: { } sent })
            Keep(new Packet(step.Time, step.Stack == TraceStory.ClientName, numbers.Describe(sent), _client, _server));
        else if (step is { Name: "kfree_skb", Packet: not null } && _count > 0)
            (_last.Count > 0 ? _last.Last() : _first[^1]).Lost = true;
    }

    public void Write(Ink ink)
    {
        ink.Line([new Piece("  the connection".PadRight(12 + StateWidth), Palette.Title)]);
        ink.Line([new Piece($"{"ms",10}  ", Palette.Faint), new Piece(TraceStory.ClientName.PadRight(StateWidth), Palette.Client),
            new Piece(new string(' ', Arrow(ink))), new Piece($"  {TraceStory.ServerName}", Palette.Server)]);
        (string Client, string Server) before = ("", "");
        foreach (Packet packet in _first)
            Write(ink, packet, ref before);
        long hidden = _count - _first.Count - _last.Count;
        if (hidden > 0)
            ink.Line([new Piece($"{"⋮",10}  {hidden} more packets", Palette.Faint)]);
        foreach (Packet packet in _last)
            Write(ink, packet, ref before);
        ink.Line([new Piece(new string(' ', 12)), State(_client, before.Client, Palette.Client), new Piece(new string(' ', Arrow(ink) + 2)),
            State(_server, before.Server, Palette.Server)]);
    }

    private static int Arrow(Ink ink) => Math.Min(ink.Width - 12 - 2 * (StateWidth + 1), 60);

    // The full sock goes to CLOSE when a mini-socket has taken over from it: the connection does not.
    private void Enter(string stack, string state)
    {
        if (stack != TraceStory.ClientName)
            _server = state;
        else if (!_isMini)
            _client = state;
    }

    private void Keep(Packet packet)
    {
        _count++;
        if (_first.Count < Shown)
        {
            _first.Add(packet);
            return;
        }
        _last.Enqueue(packet);
        if (_last.Count > Shown)
            _last.Dequeue();
    }

    private static void Write(Ink ink, Packet packet, ref (string Client, string Server) before)
    {
        int width = Arrow(ink);
        string words = packet.Words.Length <= width - 6 ? packet.Words : packet.Words[..(width - 7)] + "…";
        string shaft = $"─── {words} ".PadRight(width - 1, '─');
        string arrow = packet.Rightwards ? shaft + (packet.Lost ? '✗' : '▶') : (packet.Lost ? '✗' : '◀') + shaft;
        ink.Line([new Piece($"{packet.Time.TotalMilliseconds.ToString("0.000", CultureInfo.InvariantCulture),10}  ", Palette.Faint),
            State(packet.Client, before.Client, Palette.Client), new Piece(arrow, packet.Lost ? Palette.Lost : Palette.Wire), new Piece("  "),
            State(packet.Server, before.Server, Palette.Server)]);
        before = (packet.Client, packet.Server);
    }

    // A state is named where it begins.
    private static Piece State(string now, string before, Spectre.Console.Style style) =>
        now == before ? new Piece("┆".PadRight(StateWidth), Palette.Faint) : new Piece(now.PadRight(StateWidth), style);
}
