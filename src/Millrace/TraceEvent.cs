using System;
using System.Collections.Generic;
using System.Net;
using Millrace.Tracing;

namespace Millrace;

/// <summary>One step on a byte's way through a stack: who took it, where and when, and what it did.</summary>
public sealed class TraceEvent
{
    private readonly TraceRecord _record;
    private readonly TracePoint _point;
    private List<TraceField>? _fields;
    private TracePacket? _packet;
    private string? _text;

    internal TraceEvent(in TraceRecord record)
    {
        _record = record;
        _point = TracePoint.Of(record.Point);
    }

    /// <summary>Order over everything that the session listens to, from 1. A gap: events were lost.</summary>
    public long Sequence => _record.Sequence;

    /// <summary>Time on the stack's clock, since its host began; virtual in a simulation.</summary>
    public TimeSpan Time => new(_record.Time * TimeSpan.TicksPerMicrosecond);

    /// <summary>The name of the stack.</summary>
    public string Stack => _record.Stack.StackName;

    /// <summary>The stack's CPU.</summary>
    public int Cpu => _record.Cpu;

    public TraceContext Context => _record.Context;

    /// <summary>Whether a woken task waits for the CPU. Linux: TIF_NEED_RESCHED.</summary>
    public bool NeedResched => _record.NeedResched;

    /// <summary>The task that took the step or was interrupted; 0 is the idle task.</summary>
    public int TaskId => _record.Task?.Pid ?? 0;

    /// <summary>Its name; <c>swapper/0</c> is the idle task of CPU 0.</summary>
    public string TaskName => TraceSymbols.Comm(_record.Task, _record.Cpu);

    /// <summary>The kernel function that does the step, or the kernel's trace event.</summary>
    public string Name => _record.Point.ToString();

    /// <summary>Whether <see cref="Name"/> is one of the kernel's trace events, such as <c>sched_switch</c>, and no function.</summary>
    public bool IsEvent => TracePoint.IsEvent(_record.Point);

    /// <summary>What it did, in a few words; empty if the name says it all.</summary>
    public string Text => _text ??= TraceText.Describe(_point, FieldList, Packet);

    /// <summary>The socket's local address; null if the step is about none.</summary>
    public IPEndPoint? Local => _record.Endpoints.Known ? TraceSymbols.Local(_record) : null;

    /// <summary>The socket's peer; the unspecified address if it has none, null if the step is about no socket.</summary>
    public IPEndPoint? Remote => _record.Endpoints.Known ? TraceSymbols.Remote(_record) : null;

    /// <summary>The step's numbers.</summary>
    public IReadOnlyList<TraceField> Fields => FieldList;

    /// <summary>The packet that was sent, received or dropped; null if the step is about none.</summary>
    public TracePacket? Packet => _packet ??= _record.Packet is { } bytes ? TracePacket.Parse(bytes) : null;

    private List<TraceField> FieldList => _fields ??= TraceText.Fields(_point, _record);

    /// <inheritdoc/>
    public override string ToString() => $"{Time.TotalSeconds:0.000000} {Stack} [{Cpu:000}] {TaskName}-{TaskId} {Name}: {Text}";
}
