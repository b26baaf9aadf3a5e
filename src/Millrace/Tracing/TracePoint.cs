namespace Millrace.Tracing;

/// <summary>What a tracepoint's numbers are called, in the order of its fields, and the words that are made of them.</summary>
/// <param name="Fields">
/// Names of the fields, separated by spaces, each <c>name</c> or <c>name:kind</c>. What the record has of its own (addresses, tasks) is
/// known by name; the others are A, B, C, D in order.
/// </param>
/// <param name="Words">
/// <c>{name}</c> is a field as text, <c>{name?yes|no}</c> depends on whether it is zero, <c>{packet}</c> is the packet.
/// </param>
internal readonly record struct TracePoint(string Fields, string Words)
{
    /// <summary>The kernel's trace events stand behind the functions in the list of points.</summary>
    public static bool IsEvent(Tp point) => point >= Tp.inet_sock_set_state;

    /// <summary>The point's fields and words.</summary>
    public static TracePoint Of(Tp point) =>
        TracePoints.OfCalls(point) ?? TracePoints.OfScheduling(point) ?? TracePoints.OfDevices(point) ?? TracePoints.OfTcp(point)
        ?? TracePoints.OfConnectionEnds(point) ?? TracePoints.OfEvents(point) ?? new TracePoint("", "");
}
