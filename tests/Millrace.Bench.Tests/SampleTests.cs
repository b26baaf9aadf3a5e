using System;
using System.Linq;

namespace Millrace.Bench.Tests;

/// <summary>The bench's own arithmetic, and its reading of what others print.</summary>
public sealed class SampleTests
{
    [Theory]
    [InlineData(new[] { 3.0 }, 3.0, 3.0, 3.0)]
    [InlineData(new[] { 9.0, 1.0, 4.0 }, 4.0, 1.0, 9.0)]
    [InlineData(new[] { 9.0, 1.0, 4.0, 2.0 }, 3.0, 1.0, 9.0)]
    public void A_summary_is_the_middle_and_both_ends(double[] figures, double median, double least, double most) =>
        Assert.Equal(new Summary(median, least, most), Summary.Of(figures));

    [Theory]
    [InlineData(0, "0")]
    [InlineData(0.00123, "0.0012")]
    [InlineData(0.5, "0.50")]
    [InlineData(12.34, "12.3")]
    [InlineData(5431.2, "5,431")]
    [InlineData(1_234_567, "1.23 M")]
    public void A_figure_is_written_for_people(double value, string text) => Assert.Equal(text, Summary.Figure(value));

    [Fact]
    public void A_word_of_a_line_is_its_number()
    {
        const string line = "n=8 MB/s=712.250 seconds=1.000123";
        Assert.Equal(712.25, Sample.Word(line, "MB/s"));
        Assert.Equal(1.000123, Sample.Word(line, "seconds"));
        Assert.Throws<FormatException>(() => Sample.Word(line, "rt/s"));
        Assert.Throws<FormatException>(() => Sample.Word(line, "second"));
    }

    [Fact]
    public void A_sample_survives_its_line_of_text()
    {
        var sample = new Sample(100, 2, new Meters().With(Meters.Cpu, 0.5).With(Meters.WakeUps, 50));
        var read = Sample.Parse(sample.ToJson());
        Assert.Equal(200, read.Amount);
        Assert.Equal(400, read.RatePerCpuSecond);
        Assert.Equal(0.25, read.Each(Meters.WakeUps));
        Assert.Null(read.Each(Meters.HandOffs));
    }

    [Fact]
    public void The_difference_of_two_readings_is_what_lies_between()
    {
        Meters before = new Meters().With(Meters.Cpu, 1).With(Meters.Sleeps, 10);
        Meters after = new Meters().With(Meters.Cpu, 3).With(Meters.Sleeps, 14);
        Meters cost = after.Since(before).And(new Meters().With(Meters.Sleeps, 6));
        Assert.Equal((2, 10), (cost[Meters.Cpu], cost[Meters.Sleeps]));
    }

    [Fact]
    public void A_field_of_a_proc_file_is_found_by_its_whole_name()
    {
        const string status = "Name:\tx\nVmRSS:\t    4096 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t3\n";
        Assert.Equal(7, ProcFiles.Field(status, "voluntary_ctxt_switches"));
        Assert.Equal(4096, ProcFiles.Field(status, "VmRSS"));
        Assert.Throws<FormatException>(() => ProcFiles.Field(status, "VmSize"));
    }

    [Fact]
    public void The_kernel_tells_of_this_process() =>
        Assert.True(ProcFiles.Read(Environment.ProcessId)[Meters.Cpu] > 0);

    [Fact]
    public void A_rate_has_settled_when_it_no_longer_rises_and_not_before_its_time()
    {
        var settling = new Settling(0.5, leastSeconds: 2, mostSeconds: 5);
        bool[] settled = [.. new double[] { 1, 100, 100, 100, 130, 131, 132 }.Select(rate =>
        {
            settling.Add(rate);
            return settling.IsSettled;
        })];
        Assert.Equal([false, false, false, true, false, false, true], settled);
    }

    [Fact]
    public void What_never_settles_is_taken_as_it_is()
    {
        var settling = new Settling(0.5, leastSeconds: 1, mostSeconds: 3);
        bool[] settled = [.. new double[] { 1, 9, 1, 9, 1, 9 }.Select(rate =>
        {
            settling.Add(rate);
            return settling.IsSettled;
        })];
        Assert.Equal([false, false, false, false, false, true], settled);
    }
}
