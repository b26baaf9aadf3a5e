using System;
using System.Collections.Generic;
using CsCheck;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class SackStateTests
{
    private static SeqRange Range(uint start, uint end) => new(new SeqNumber(start), new SeqNumber(end));

    private static List<SeqRange> Report(SackState state)
    {
        Span<SeqRange> target = stackalloc SeqRange[TcpOptions.MaxSackBlocks];
        return [.. target[..state.Report(target)]];
    }

    [Fact]
    public void The_newest_range_comes_first()
    {
        var s = new SackState();
        s.Add(Range(10, 20));
        s.Add(Range(30, 40));
        Assert.Equal([Range(30, 40), Range(10, 20)], Report(s));
    }

    [Fact]
    public void A_range_that_fills_a_gap_joins_its_neighbours()
    {
        var s = new SackState();
        s.Add(Range(10, 20));
        s.Add(Range(30, 40));
        s.Add(Range(50, 60));
        s.Add(Range(20, 30));
        Assert.Equal([Range(10, 40), Range(50, 60)], Report(s));
    }

    [Fact]
    public void What_the_sequence_has_passed_is_forgotten()
    {
        var s = new SackState();
        s.Add(Range(10, 20));
        s.Add(Range(30, 40));
        s.OnAdvance(new SeqNumber(20), queueIsEmpty: false);
        Assert.Equal([Range(30, 40)], Report(s));
        s.OnAdvance(new SeqNumber(25), queueIsEmpty: true);
        Assert.Empty(Report(s));
    }

    [Fact]
    public void A_duplicate_is_reported_before_the_ranges_and_once()
    {
        var s = new SackState();
        s.Add(Range(30, 40));
        s.AddDuplicate(Range(5, 8));
        s.AddDuplicate(Range(8, 9));
        Assert.Equal([Range(5, 9), Range(30, 40)], Report(s));
        s.ClearDuplicate();
        Assert.Equal([Range(30, 40)], Report(s));
    }

    /// <summary>Whatever comes, the report is short, disjoint, without touching ranges, and led by the range of the last segment.</summary>
    [Fact]
    public void Any_arrivals_leave_a_sound_report() =>
        Gen.Select(Gen.UInt, Gen.Select(Gen.UInt[0, 100], Gen.UInt[1, 20]).Array[1, 40]).Sample((origin, arrivals) =>
        {
            var s = new SackState();
            foreach ((uint at, uint length) in arrivals)
            {
                SeqRange range = Range(origin + at, origin + at + length);
                s.Add(range);
                List<SeqRange> report = Report(s);
                if (report[0].Start > range.Start || report[0].End < range.End)
                    return false;
                for (int i = 0; i < report.Count; i++)
                {
                    for (int j = 0; j < i; j++)
                    {
                        if (report[i].Start <= report[j].End && report[j].Start <= report[i].End)
                            return false;
                    }
                }
            }
            return true;
        });
}
