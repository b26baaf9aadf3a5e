using Spectre.Console;

namespace Millrace.Cli.Trace;

/// <summary>The colours of a trace: one for each host, the wire between them, and what a reader should not miss.</summary>
internal static class Palette
{
    public static readonly Style Client = new(Color.DeepSkyBlue1);
    public static readonly Style Server = new(Color.SpringGreen2);
    public static readonly Style Wire = new(Color.Gold1);
    public static readonly Style Interrupt = new(Color.Orange1);
    public static readonly Style Lost = new(Color.Red1, decoration: Decoration.Bold);
    public static readonly Style Faint = new(Color.Grey42);
    public static readonly Style Quiet = new(Color.Grey66);
    public static readonly Style State = new(Color.Gold1, decoration: Decoration.Bold);
    public static readonly Style Copy = new(Color.HotPink, decoration: Decoration.Bold);
    public static readonly Style Sleep = new(Color.MediumPurple1);
    public static readonly Style Title = new(decoration: Decoration.Bold);

    public static Style Host(string stack) => stack == TraceStory.ClientName ? Client : Server;
}
