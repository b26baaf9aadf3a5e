using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using Spectre.Console;

namespace Millrace.Cli.Trace;

/// <summary>A piece of a line, in one style.</summary>
internal readonly record struct Piece(string Text, Style Style)
{
    public Piece(string text)
        : this(text, Style.Plain)
    {
    }
}

/// <summary>Writes lines of a known width: coloured to a terminal, plain and always of the same width to anything else.</summary>
internal sealed class Ink
{
    /// <summary>Width where there is no terminal to ask.</summary>
    public const int PlainWidth = 120;

    private const int LeastWidth = 60;

    private readonly TextWriter _output;
    private readonly IAnsiConsole? _console;

    /// <param name="console">What colours the lines; null leaves them plain.</param>
    public Ink(TextWriter output, int width, IAnsiConsole? console = null)
    {
        _output = output;
        _console = console;
        Width = Math.Max(width, LeastWidth);
    }

    /// <summary>Characters of a line; what is longer is cut.</summary>
    public int Width { get; }

    /// <summary>Colours if <paramref name="output"/> is the process's terminal.</summary>
    public static Ink For(TextWriter output)
    {
        if (!ReferenceEquals(output, Console.Out) || Console.IsOutputRedirected)
            return new Ink(output, PlainWidth);
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings());
        return new Ink(output, console.Profile.Width, console);
    }

    public void Blank() => Line([]);

    /// <summary>Writes one line; what does not fit ends in an ellipsis.</summary>
    public void Line(IEnumerable<Piece> pieces)
    {
        var plain = new StringBuilder();
        var coloured = new Paragraph();
        int room = Width;
        foreach (Piece piece in pieces)
        {
            string text = piece.Text.Length <= room ? piece.Text : room > 0 ? string.Concat(piece.Text.AsSpan(0, room - 1), "…") : "";
            room -= text.Length;
            plain.Append(text);
            coloured.Append(text, piece.Style);
        }
        if (_console is null)
        {
            _output.WriteLine(plain.ToString().TrimEnd());
            return;
        }
        _console.Write(coloured);
        _console.WriteLine();
    }
}
