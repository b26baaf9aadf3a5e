using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Millrace.Wire;

namespace Millrace.Tests.Wire;

public sealed class SharedPrngTests
{
    [Fact]
    public void The_same_seed_gives_the_same_numbers()
    {
        SharedPrng a = new(7), b = new(7), c = new(8);
        ulong[] first = [.. Enumerable.Range(0, 10).Select(_ => a.NextUInt64())];
        Assert.Equal(first, Enumerable.Range(0, 10).Select(_ => b.NextUInt64()));
        Assert.NotEqual(first, Enumerable.Range(0, 10).Select(_ => c.NextUInt64()));
    }

    [Fact]
    public void No_two_threads_draw_the_same_number()
    {
        const int Threads = 4, Draws = 100_000;
        var random = new SharedPrng(1);
        var drawn = new ulong[Threads][];
        using var start = new Barrier(Threads);
        Thread[] threads = [.. Enumerable.Range(0, Threads).Select(t => new Thread(() =>
        {
            var mine = new ulong[Draws];
            start.SignalAndWait();
            for (int i = 0; i < Draws; i++)
                mine[i] = random.NextUInt64();
            drawn[t] = mine;
        }))];
        foreach (Thread thread in threads)
            thread.Start();
        foreach (Thread thread in threads)
            thread.Join();
        Assert.Equal(Threads * Draws, new HashSet<ulong>(drawn.SelectMany(static d => d)).Count);
    }

    [Fact]
    public void Bounded_numbers_are_below_their_bound_and_reach_it()
    {
        var random = new SharedPrng(3);
        int[] seen = [.. Enumerable.Range(0, 1000).Select(_ => random.Below(8)).Distinct().Order()];
        Assert.Equal(Enumerable.Range(0, 8), seen);
    }
}
