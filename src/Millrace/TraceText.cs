using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;
using Millrace.Tracing;

namespace Millrace;

/// <summary>Makes fields and words of the numbers in a trace record.</summary>
internal static class TraceText
{
    /// <summary>The fields of one record.</summary>
    public static List<TraceField> Fields(TracePoint point, in TraceRecord record)
    {
        var fields = new List<TraceField>();
        int next = 0;
        foreach (string part in point.Fields.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            int colon = part.IndexOf(':', StringComparison.Ordinal);
            string name = colon < 0 ? part : part[..colon];
            fields.Add(TraceSymbols.OwnField(record, name)
                ?? TraceSymbols.Numbered(record, name, colon < 0 ? "" : part[(colon + 1)..], Number(record, next++)));
        }
        return fields;
    }

    /// <summary>The point's words, filled with the record's fields.</summary>
    public static string Describe(TracePoint point, List<TraceField> fields, TracePacket? packet) => Fill(point.Words, fields, packet);

    // A hole may hold words that have holes of their own.
    private static string Fill(ReadOnlySpan<char> words, List<TraceField> fields, TracePacket? packet)
    {
        var text = new StringBuilder();
        while (words.IndexOf('{') is var open and >= 0)
        {
            int close = open + 1;
            for (int depth = 1; depth > 0; close++)
                depth += words[close] switch { '{' => 1, '}' => -1, _ => 0 };
            text.Append(words[..open]);
            text.Append(Value(words[(open + 1)..(close - 1)], fields, packet));
            words = words[close..];
        }
        return text.Append(words).ToString();
    }

    private static string Value(ReadOnlySpan<char> hole, List<TraceField> fields, TracePacket? packet)
    {
        int question = hole.IndexOf('?');
        ReadOnlySpan<char> name = question < 0 ? hole : hole[..question];
        if (name is "packet")
            return packet?.ToString() ?? "a packet";
        TraceField field = Find(fields, name);
        if (question < 0)
            return Short(field);
        ReadOnlySpan<char> choice = hole[(question + 1)..];
        int bar = choice.IndexOf('|');
        return Fill(field.Value != 0 ? choice[..bar] : choice[(bar + 1)..], fields, packet);
    }

    private static TraceField Find(List<TraceField> fields, ReadOnlySpan<char> name)
    {
        foreach (TraceField field in fields)
        {
            if (name.SequenceEqual(field.Name))
                return field;
        }
        throw new ArgumentException($"The words of a tracepoint name a field {name} that it has not.", nameof(name));
    }

    // The kernel's prefix of states helps no reader.
    private static string Short(TraceField field)
    {
        if (field.Symbol is not { } symbol)
            return field.Value.ToString(CultureInfo.InvariantCulture);
        return symbol.StartsWith("TCP_", StringComparison.Ordinal) && field.Name.EndsWith("state", StringComparison.Ordinal) ? symbol[4..] : symbol;
    }

    private static long Number(in TraceRecord record, int index) => index switch
    {
        0 => record.A,
        1 => record.B,
        2 => record.C,
        _ => record.D,
    };
}
