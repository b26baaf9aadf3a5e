using System.Collections.Generic;
using System.Globalization;
using System.Linq;

namespace Millrace.Conformance;

/// <summary>The exchange so far, as a reader wants to see it when a story fails: time, who, what.</summary>
internal sealed class Ladder
{
    private const int Shown = 60;

    private readonly List<string> _lines = [];
    private long? _start;

    public void Peer(long time, string text) => Add(time, "peer  -->", text);

    public void Stack(long time, string text) => Add(time, "stack <--", text);

    public void App(long time, string text) => Add(time, "app      ", text);

    public override string ToString() => (_lines.Count > Shown ? "  ...\n" : "") + string.Join('\n', _lines.TakeLast(Shown));

    private void Add(long time, string who, string text)
    {
        _start ??= time;
        _lines.Add(string.Create(CultureInfo.InvariantCulture, $"  {(time - _start.Value) / 1000.0,12:0.000} ms  {who}  {text}"));
    }
}

/// <summary>The stack did not do what the story says.</summary>
public sealed class StoryException(string message) : System.Exception(message);
