using System.Globalization;

namespace Millrace.Wire;

/// <summary>A TCP sequence number: 32 bits that wrap, compared by signed distance.</summary>
/// <remarks>
/// RFC 9293 §3.4. The order is not transitive over more than half the space, so the type has no <c>IComparable</c> and can
/// never reach a sort. There is no implicit conversion either way.
/// </remarks>
internal readonly record struct SeqNumber(uint Value)
{
    public static SeqNumber operator +(SeqNumber a, int n) => new(a.Value + (uint)n);

    public static SeqNumber operator +(SeqNumber a, uint n) => new(a.Value + n);

    public static SeqNumber operator -(SeqNumber a, int n) => new(a.Value - (uint)n);

    public static SeqNumber operator -(SeqNumber a, uint n) => new(a.Value - n);

    /// <summary>The signed distance from <paramref name="b"/> to <paramref name="a"/>, in bytes.</summary>
    public static int operator -(SeqNumber a, SeqNumber b) => (int)(a.Value - b.Value);

    public static bool operator <(SeqNumber a, SeqNumber b) => (int)(a.Value - b.Value) < 0;

    public static bool operator >(SeqNumber a, SeqNumber b) => (int)(a.Value - b.Value) > 0;

    public static bool operator <=(SeqNumber a, SeqNumber b) => (int)(a.Value - b.Value) <= 0;

    public static bool operator >=(SeqNumber a, SeqNumber b) => (int)(a.Value - b.Value) >= 0;

    public static SeqNumber operator ++(SeqNumber a) => new(a.Value + 1);

    /// <summary>Whether this number lies in the closed interval [low, high]. Linux: between.</summary>
    public bool IsBetween(SeqNumber low, SeqNumber high) => high.Value - low.Value >= Value - low.Value;

    public static SeqNumber Max(SeqNumber a, SeqNumber b) => a > b ? a : b;

    public static SeqNumber Min(SeqNumber a, SeqNumber b) => a < b ? a : b;

    public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);
}

/// <summary>A half-open range of sequence space, [Start, End).</summary>
internal readonly record struct SeqRange(SeqNumber Start, SeqNumber End)
{
    /// <summary>Length in bytes.</summary>
    public int Length => End - Start;

    public bool IsEmpty => Start == End;

    public override string ToString() => $"{Start}:{End}";
}
