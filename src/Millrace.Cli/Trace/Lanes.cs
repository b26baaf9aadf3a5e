using System;
using System.Collections.Generic;
using System.Linq;

namespace Millrace.Cli.Trace;

/// <summary>
/// The left part of the timeline: a lane for each task, for each CPU's softirqs, and the wire in the middle.
/// </summary>
/// <remarks><c>│</c> a task runs, <c>┆</c> it sleeps or the CPU has nothing to do, <c>●</c> a step, <c>◆</c> a step in an interrupt.</remarks>
internal sealed class Lanes
{
    private readonly int _cpus;
    private readonly int _laneWidth, _wireWidth;
    private readonly Dictionary<string, char> _tasks = new() { [TraceStory.ClientName] = ' ', [TraceStory.ServerName] = ' ' };

    /// <param name="cpus">CPUs of each host.</param>
    /// <param name="isNarrow">Whether the lanes must do with a character each.</param>
    public Lanes(int cpus, bool isNarrow)
    {
        _cpus = cpus;
        (_laneWidth, _wireWidth) = isNarrow ? (1, 3) : (3, 13);
    }

    /// <summary>The names of the lanes, in two lines.</summary>
    public IEnumerable<IReadOnlyList<Piece>> Header()
    {
        int half = _laneWidth * (1 + _cpus);
        yield return [new Piece(Cell("client", half), Palette.Client), new Piece(Centre("wire", _wireWidth), Palette.Wire),
            new Piece(Cell("server", half), Palette.Server)];
        string[] cpus = [.. Enumerable.Range(0, _cpus).Select(static cpu => $"s{cpu}")];
        yield return [new Piece(Cells(["t", .. cpus]), Palette.Client), new Piece(new string(' ', _wireWidth)),
            new Piece(Cells([.. cpus, "t"]), Palette.Server)];
    }

    /// <summary>A row in which nothing happens.</summary>
    public List<Piece> Idle(string wire = "") => Row(null, "", new Piece(Centre(wire, _wireWidth), Palette.Faint));

    /// <summary>The row of a step; the tasks' lanes are what they are after it.</summary>
    public List<Piece> Of(TraceEvent step)
    {
        bool isTask = step is { Context: TraceContext.Task, TaskId: > 0 };
        if (isTask)
            _tasks[step.TaskName] = '│';
        string mark = (step.Context == TraceContext.Hardirq ? "◆" : "●") + (step.NeedResched ? "N" : "");
        List<Piece> row = Row(step, mark, WireOf(step));
        if (step.Name == "sched_switch")
            Switch(step);
        return row;
    }

    /// <summary>The task is gone.</summary>
    public void End(string task) => _tasks[task] = ' ';

    private void Switch(TraceEvent step)
    {
        foreach (TraceField field in step.Fields)
        {
            if (field is { Name: "prev_comm", Symbol: { } sleeper } && _tasks.ContainsKey(sleeper))
                _tasks[sleeper] = '┆';
            else if (field is { Name: "next_comm", Symbol: { } runner } && _tasks.ContainsKey(runner))
                _tasks[runner] = '│';
        }
    }

    private List<Piece> Row(TraceEvent? step, string mark, Piece wire)
    {
        var row = new List<Piece> { Task(step, mark, TraceStory.ClientName) };
        row.AddRange(Softirqs(step, mark, TraceStory.ClientName));
        row.Add(wire);
        row.AddRange(Softirqs(step, mark, TraceStory.ServerName));
        row.Add(Task(step, mark, TraceStory.ServerName));
        return row;
    }

    private Piece Task(TraceEvent? step, string mark, string host)
    {
        bool here = step is { Context: TraceContext.Task, TaskId: > 0 } && step.Stack == host;
        return here
            ? new Piece(Cell(mark, _laneWidth), Palette.Host(host))
            : new Piece(Cell($"{_tasks[host]}", _laneWidth), _tasks[host] == '│' ? Palette.Host(host) : Palette.Faint);
    }

    private IEnumerable<Piece> Softirqs(TraceEvent? step, string mark, string host)
    {
        for (int cpu = 0; cpu < _cpus; cpu++)
        {
            bool here = step is { } s && s.Stack == host && s.Cpu == cpu && (s.Context != TraceContext.Task || s.TaskId == 0);
            yield return here
                ? new Piece(Cell(mark, _laneWidth), step!.Context == TraceContext.Hardirq ? Palette.Lost : Palette.Interrupt)
                : new Piece(Cell("┆", _laneWidth), Palette.Faint);
        }
    }

    // Leaving: a solid arrow. Arriving: a dotted one. Lost on the way: a cross.
    private Piece WireOf(TraceEvent step)
    {
        if (step.Packet is not { } packet)
            return new Piece(new string(' ', _wireWidth));
        bool rightwards = step.Stack == TraceStory.ClientName;
        return step.Name switch
        {
            "net_dev_xmit" => new Piece(Arrow(packet, rightwards, '─', rightwards ? '▶' : '◀'), Palette.Wire),
            "netif_receive_skb" => new Piece(Arrow(packet, !rightwards, '┄', rightwards ? '◀' : '▶'), Palette.Wire),
            _ => new Piece(Arrow(packet, rightwards, '─', '✗'), Palette.Lost),
        };
    }

    private string Arrow(TracePacket packet, bool rightwards, char line, char head)
    {
        int length = Math.Max(_wireWidth - 2, 3);
        string label = packet.Flags.Length + 4 <= length ? packet.Flags : "";
        int left = (length - label.Length) / 2;
        string shaft = new string(line, left) + label + new string(line, length - label.Length - left);
        return (rightwards ? shaft[..^1] + head : head + shaft[1..]).PadRight(_wireWidth);
    }

    private string Cells(IEnumerable<string> cells) => string.Concat(cells.Select(c => Cell(c, _laneWidth)));

    private static string Cell(string text, int width) => text.Length <= width ? text.PadRight(width) : text[..width];

    private static string Centre(string text, int width) =>
        text.Length > width ? new string(' ', width) : text.PadLeft((width + text.Length) / 2).PadRight(width);
}
