using System.Collections.Generic;
using System.Linq;

namespace Millrace.Bench.Tests;

/// <summary>What the catalogue says fits together.</summary>
public sealed class CatalogueTests
{
    private static IReadOnlyList<Workload> WithAllPeers()
    {
        // Any file that exists stands for a program: nobody is started.
        string file = typeof(CatalogueTests).Assembly.Location;
        var options = RunOptions.Parse(["--peers", "--kload", file, "--pump", file, "--gvisor", file, "--lwip", file, "--smoltcp", file]);
        return new Catalogue(options, new Servers()).All();
    }

    [Fact]
    public void Each_name_stands_for_one_workload_and_each_takes_ours_first()
    {
        IReadOnlyList<Workload> all = WithAllPeers();
        Assert.Equal(all.Count, all.Select(w => w.Name).Distinct().Count());
        Assert.All(all, w => Assert.Equal(Entry.Ours, w.Entries[0].Name));
        Assert.All(all, w => Assert.Equal(w.Entries.Count, w.Entries.Select(e => e.Name).Distinct().Count()));
    }

    [Fact]
    public void Each_bar_is_held_against_somebody_who_takes_part() =>
        Assert.All(WithAllPeers(), w => Assert.All(w.Bars, b => Assert.True(b.Against == Bar.Limit || w.Entries.Any(e => e.Name == b.Against), $"{w.Name}: {b.Against}")));

    [Fact]
    public void Without_peers_the_kernel_is_still_there()
    {
        IReadOnlyList<Workload> all = new Catalogue(RunOptions.Parse(["--quick"]), new Servers()).All();
        Assert.All(all.Where(w => w.Group == "tun"), w => Assert.Contains(w.Entries, e => e.Name.StartsWith("kernel", System.StringComparison.Ordinal)));
        Assert.DoesNotContain(all, w => w.Entries.Any(e => e.Name.StartsWith("gVisor", System.StringComparison.Ordinal)));
    }
}
