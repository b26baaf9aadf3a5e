using System;
using System.Collections.Generic;
using System.Text.Json;

namespace Millrace.Bench.Tests;

/// <summary>How figures are held beside each other and against the bars.</summary>
public sealed class ResultsTests
{
    private const string Peer = "peer";

    private static Workload Make(string unit, bool lessIsBetter, params Bar[] bars) =>
        new("tun bulk, of the test", unit, [new Entry(Entry.Ours, null!), new Entry(Peer, null!)], bars) { LessIsBetter = lessIsBetter };

    private static Results Fill(Workload workload, double[] ours, double[] peers)
    {
        var results = new Results([workload]);
        foreach (double rate in ours)
            results.Add(workload, Entry.Ours, new Sample(rate, 1, new Meters().With(Meters.Cpu, 0.5)));
        foreach (double rate in peers)
            results.Add(workload, Peer, new Sample(rate, 1, new Meters()));
        return results;
    }

    [Fact]
    public void The_ratio_is_that_of_the_medians_and_above_one_is_better()
    {
        Workload rate = Make("MB/s", lessIsBetter: false), memory = Make("B/end", lessIsBetter: true);
        Assert.Equal(2, Fill(rate, [10, 200, 1000], [90, 100, 5000]).Ratio(rate, Peer));
        Assert.Equal(0.5, Fill(memory, [200], [100]).Ratio(memory, Peer));
    }

    [Fact]
    public void A_bar_is_held_against_the_peer_of_this_run_and_else_against_what_was_seen()
    {
        var bar = new Bar(Peer, 1.5, Seen: 400);
        Workload workload = Make("MB/s", lessIsBetter: false, bar);
        Assert.Equal(new Verdict(bar, 300, 0.5, Measured: true), Fill(workload, [150], [200]).Judge(workload, bar));
        Assert.Equal(new Verdict(bar, 600, 0.25, Measured: false), Fill(workload, [150], []).Judge(workload, bar));
    }

    [Fact]
    public void What_keeps_one_core_busy_is_judged_by_its_time()
    {
        var bar = new Bar(Peer, 1, Seen: 100);
        Workload workload = Make("MB/s", lessIsBetter: false, bar) with { PerCore = true };
        // Half a second of processor time in each second by the clock.
        Assert.Equal(new Verdict(bar, 100, 2, Measured: false), Fill(workload, [100], []).Judge(workload, bar));
    }

    [Fact]
    public void A_limit_is_reached_from_below()
    {
        var bar = Bar.AtMost(1024);
        Workload workload = Make("B/end", lessIsBetter: true, bar);
        Assert.Equal(new Verdict(bar, 1024, 2, Measured: false), Fill(workload, [512], [9999]).Judge(workload, bar));
    }

    [Fact]
    public void The_tables_tell_who_did_what_and_which_bar_is_missed()
    {
        Workload workload = Make("MB/s", lessIsBetter: false, new Bar(Peer, 1.2, double.NaN));
        Results results = Fill(workload, [100, 300, 200], [400]);
        Assert.Contains("| tun bulk, of the test | Millrace | MB/s | 200 (100 – 300) |  | 400 |  |", Report.Rates(results));
        Assert.Contains("|  | peer | MB/s | 400 (400 – 400) | 0.50× |  |  |", Report.Rates(results));
        Assert.Contains("| tun bulk, of the test: 1.2× peer | 200 | 480 MB/s | 0.42 **below** |", Report.Bars(results));
        // 0.5 s of processor time for each 100, 300 and 200 MB: 2,500 µs for a megabyte in the middle.
        Assert.Contains("| tun bulk, of the test | MB | 2,500 |", Report.Costs(results));
    }

    [Fact]
    public void The_json_holds_every_sample()
    {
        Workload workload = Make("MB/s", lessIsBetter: false);
        var header = new RunHeader(DateTime.UnixEpoch, "machine", "load 0", RunOptions.Parse([]));
        using var document = JsonDocument.Parse(Report.Json(Fill(workload, [1, 2], [3]), header));
        JsonElement entries = document.RootElement.GetProperty("workloads")[0].GetProperty("entries");
        Assert.Equal(2, entries[0].GetProperty("samples").GetArrayLength());
        Assert.Equal(3, entries[1].GetProperty("samples")[0].GetProperty("rate").GetDouble());
    }

    [Fact]
    public void Options_are_what_was_asked_for_or_an_error()
    {
        var options = RunOptions.Parse(["--quick", "--rounds", "7", "--lwip", "/x/lwip", "--docs", "docs", "tun bulk in"]);
        Assert.Equal((7, 0.5, true), (options.Rounds, options.Seconds, options.Quick));
        Assert.Equal("/x/lwip", options.Programs["lwip"]);
        // A part of the workloads makes no page.
        Assert.Null(options.Docs);
        Assert.True(options.Wants(new Workload("tun bulk in, 1 flow, plain", "MB/s", [], [])));
        Assert.False(options.Wants(new Workload("tun bulk out, 1 flow, plain", "MB/s", [], [])));
        foreach (string[] wrong in new List<string[]> { (string[])["--fast"], (string[])["--rounds"], (string[])["--rounds", "none"], (string[])["--seconds", "0"] })
            Assert.Throws<ArgumentException>(() => RunOptions.Parse(wrong));
    }
}
