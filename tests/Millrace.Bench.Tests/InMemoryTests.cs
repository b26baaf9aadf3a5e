namespace Millrace.Bench.Tests;

/// <summary>Every in-memory workload does what it counts; how fast is not asked.</summary>
public sealed class InMemoryTests
{
    [Theory]
    [InlineData("bulk-1500")]
    [InlineData("bulk-64k")]
    [InlineData("bulk-super")]
    [InlineData("bulk-1500-zero-copy")]
    [InlineData("bulk-64k-zero-copy")]
    [InlineData("bulk-super-zero-copy")]
    [InlineData("ping-pong-async")]
    [InlineData("ping-pong-blocking")]
    public void It_runs_and_is_metered(string workload)
    {
        using InMemoryWork work = InMemory.Create(workload);
        Sample sample = work.Measure(0.05);
        Assert.True(sample.Amount > 0);
        Assert.Equal(work.Done, sample.Amount, 3);
        Assert.True(sample.Cost[Meters.Segments] >= sample.Amount, "each megabyte and each trip takes a segment at least");
        Assert.True(sample.Cost[Meters.Cpu] > 0);
    }
}
