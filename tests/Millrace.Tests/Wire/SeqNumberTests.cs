using CsCheck;
using Millrace.Wire;

namespace Millrace.Tests.Wire;

public sealed class SeqNumberTests
{
    private static readonly Gen<(uint Start, int Distance)> Pairs = Gen.Select(Gen.UInt, Gen.Int[1, int.MaxValue]);

    [Fact]
    public void A_number_is_before_what_lies_up_to_half_the_space_ahead() => Pairs.Sample((start, distance) =>
    {
        var a = new SeqNumber(start);
        SeqNumber b = a + distance;
        return a < b && b > a && a <= b && b >= a && !(b < a) && b - a == distance && a - b == -distance;
    });

    [Fact]
    public void Max_and_min_follow_the_order() => Pairs.Sample((start, distance) =>
    {
        var a = new SeqNumber(start);
        SeqNumber b = a + distance;
        return SeqNumber.Max(a, b) == b && SeqNumber.Min(b, a) == a;
    });

    [Fact]
    public void Between_is_closed_and_wraps() => Gen.Select(Gen.UInt, Gen.UInt, Gen.UInt).Sample((low, length, offset) =>
    {
        var from = new SeqNumber(low);
        return (from + offset).IsBetween(from, from + length) == (offset <= length);
    });

    [Fact]
    public void Adding_and_taking_away_are_inverse() => Gen.Select(Gen.UInt, Gen.UInt).Sample((start, n) =>
        new SeqNumber(start) + n - n == new SeqNumber(start));
}
