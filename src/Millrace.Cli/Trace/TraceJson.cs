using System;
using System.Collections.Generic;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Millrace.Cli.Trace;

/// <summary>One step of a trace as a line of JSON.</summary>
internal sealed record TraceLine
{
    public required long Seq { get; init; }

    /// <summary>Seconds on the stack's clock.</summary>
    public required decimal Time { get; init; }

    public required string Stack { get; init; }

    public required int Cpu { get; init; }

    /// <summary>task, softirq or hardirq.</summary>
    public required string Context { get; init; }

    public required int Pid { get; init; }

    public required string Comm { get; init; }

    public required bool NeedResched { get; init; }

    public required string Name { get; init; }

    public required string Text { get; init; }

    public string? Local { get; init; }

    public string? Remote { get; init; }

    /// <summary>The numbers by the kernel's names; a string where the kernel prints a symbol.</summary>
    public required Dictionary<string, object> Fields { get; init; }

    public string? Packet { get; init; }

    public static string Write(TraceEvent step)
    {
        var fields = new Dictionary<string, object>();
        foreach (TraceField field in step.Fields)
            fields[field.Name] = field.Symbol is { } symbol ? symbol : field.Value;
        var line = new TraceLine
        {
            Seq = step.Sequence,
            Time = step.Time.Ticks / (decimal)TimeSpan.TicksPerSecond,
            Stack = step.Stack,
            Cpu = step.Cpu,
            Context = step.Context switch { TraceContext.Task => "task", TraceContext.Softirq => "softirq", TraceContext.Hardirq => "hardirq" },
            Pid = step.TaskId,
            Comm = step.TaskName,
            NeedResched = step.NeedResched,
            Name = step.Name,
            Text = step.Text,
            Local = step.Local?.ToString(),
            Remote = step.Remote?.ToString(),
            Fields = fields,
            Packet = step.Packet?.ToString(),
        };
        return JsonSerializer.Serialize(line, TraceJson.Lines.TraceLine);
    }
}

[JsonSerializable(typeof(TraceLine))]
[JsonSerializable(typeof(long))]
[JsonSerializable(typeof(string))]
internal sealed partial class TraceJson : JsonSerializerContext
{
    /// <summary>One line each, and nothing escaped that a terminal can show.</summary>
    public static TraceJson Lines { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });
}
