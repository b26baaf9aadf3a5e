using System;
using System.Collections.Generic;
using System.Globalization;
using Spectre.Console;

namespace Millrace.Cli.Trace;

/// <summary>
/// The trace as a person reads it: a row for each step, with its time, the lane that it happened in, the kernel's name for it, and what
/// it did. Timer softirqs in which no traced step happened are left out.
/// </summary>
internal sealed class Timeline
{
    private const int TimeWidth = 10;
    private const int RoomyWidth = 100;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(0.2);

    private readonly Ink _ink;
    private readonly Lanes _lanes;
    private readonly int _nameWidth;
    private readonly RelativeNumbers _numbers;
    private readonly IReadOnlyDictionary<string, TimeSpan> _ends;
    private readonly List<TraceEvent> _held = [];
    private TimeSpan? _last;

    /// <param name="ends">When tasks have ended: from then on their lanes are empty.</param>
    public Timeline(Ink ink, int cpus, RelativeNumbers numbers, IReadOnlyDictionary<string, TimeSpan> ends)
    {
        _ink = ink;
        _ends = ends;
        bool isNarrow = ink.Width < RoomyWidth;
        _lanes = new Lanes(cpus, isNarrow);
        _nameWidth = isNarrow ? 26 : 32;
        _numbers = numbers;
    }

    /// <summary>Steps that have been shown.</summary>
    public long Rows { get; private set; }

    public void Header()
    {
        bool first = true;
        foreach (IReadOnlyList<Piece> names in _lanes.Header())
        {
            string time = first ? "time" : "ms", name = first ? "kernel function" : "or trace event", words = first ? "what it did" : "";
            _ink.Line([new Piece($"{time,TimeWidth - 1} ".PadRight(TimeWidth + 1), Palette.Faint), .. names, new Piece(" "),
                new Piece(name.PadRight(_nameWidth), Palette.Faint), new Piece(words, Palette.Faint)]);
            first = false;
        }
    }

    /// <summary>Adds the next step.</summary>
    public void Add(TraceEvent step)
    {
        if (IsOfTimer(step) && (step.Name != "softirq_exit" || _held.Count > 0))
        {
            _held.Add(step);
            if (step.Name == "softirq_exit")
                _held.Clear();
            return;
        }
        foreach (TraceEvent held in _held)
            Row(held);
        _held.Clear();
        Row(step);
    }

    private void Row(TraceEvent step)
    {
        foreach ((string task, TimeSpan end) in _ends)
        {
            if (end < step.Time)
                _lanes.End(task);
        }
        Rows++;
        _numbers.Learn(step);
        Separate(step);
        string time = step.Time.TotalMilliseconds.ToString("0.000", CultureInfo.InvariantCulture);
        _ink.Line([new Piece($"{time,TimeWidth} ", step.Time == _last ? Palette.Faint : Palette.Title), .. _lanes.Of(step), new Piece(" "),
            new Piece(step.Name.PadRight(_nameWidth - 1) + " ", NameStyle(step)), new Piece(_numbers.Describe(step), WordStyle(step))]);
        _last = step.Time;
    }

    // A gap before each system call, and one that says how much where time goes by.
    private void Separate(TraceEvent step)
    {
        bool call = step.Name.StartsWith("__sys_", StringComparison.Ordinal);
        TimeSpan gap = _last is { } last ? step.Time - last : TimeSpan.Zero;
        if (!call && gap < Pause)
            return;
        string words = gap >= Pause ? $"{Later(gap)} later" : "";
        _ink.Line([new Piece(new string(' ', TimeWidth + 1)), .. _lanes.Idle(words.Length > 0 ? "⋮" : ""), new Piece(" " + words, Palette.Faint)]);
    }

    private static string Later(TimeSpan gap) => gap < TimeSpan.FromSeconds(10)
        ? gap.TotalMilliseconds.ToString("0.###", CultureInfo.InvariantCulture) + " ms"
        : gap.TotalSeconds.ToString("0.#", CultureInfo.InvariantCulture) + " s";

    private static bool IsOfTimer(TraceEvent step)
    {
        if (!step.Name.StartsWith("softirq_", StringComparison.Ordinal))
            return false;
        foreach (TraceField field in step.Fields)
        {
            if (field is { Name: "vec", Symbol: "TIMER" })
                return true;
        }
        return false;
    }

    private static Style NameStyle(TraceEvent step) => step switch
    {
        { Name: "net_dev_xmit" or "netif_receive_skb" } => Palette.Wire,
        { IsEvent: true } => Palette.Faint,
        _ when step.Name.StartsWith("__sys_", StringComparison.Ordinal) => new Style(Palette.Host(step.Stack).Foreground, decoration: Decoration.Bold),
        _ => Style.Plain,
    };

    private static Style WordStyle(TraceEvent step) => step.Name switch
    {
        "tcp_set_state" or "inet_sock_set_state" => Palette.State,
        "skb_copy_datagram_msg" or "tcp_sendmsg_locked" => Palette.Copy,
        "schedule" or "schedule_timeout" or "sched_switch" or "try_to_wake_up" or "sched_waking" => Palette.Sleep,
        "net_dev_xmit" or "netif_receive_skb" => Palette.Wire,
        "kfree_skb" or "tcp_retransmit_skb" => Palette.Lost,
        _ => Palette.Quiet,
    };
}
