using System.Globalization;

namespace Millrace;

/// <summary>A number of a step in the trace, under the name that the kernel's own trace has for it.</summary>
/// <param name="Name">The kernel's name, such as <c>oldstate</c>.</param>
/// <param name="Value">The number; zero if the field is a text.</param>
/// <param name="Symbol">What the kernel prints for it, such as <c>TCP_SYN_SENT</c>; null if it prints the number.</param>
public readonly record struct TraceField(string Name, long Value, string? Symbol = null)
{
    /// <summary>As ftrace prints it: <c>name=value</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Name}={Symbol ?? Value.ToString(CultureInfo.InvariantCulture)}");
}
