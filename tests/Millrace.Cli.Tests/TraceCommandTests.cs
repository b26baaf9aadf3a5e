using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using Millrace.Cli.Trace;
using Spectre.Console;

namespace Millrace.Cli.Tests;

public sealed partial class TraceCommandTests
{
    [Theory]
    [InlineData("trace --seed 7 --loss 0.2 --bytes 20000")]
    [InlineData("trace --seed 7 --loss 0.2 --bytes 20000 --format json")]
    public async Task The_same_seed_prints_the_same_bytes_and_another_does_not(string line)
    {
        Tool first = await Tool.Run(line.Split(' ')), second = await Tool.Run(line.Split(' '));
        Assert.Equal(0, first.Code);
        Assert.Equal(first.Output, second.Output);
        Assert.NotEqual(first.Output, (await Tool.Run(line.Replace("--seed 7", "--seed 8", StringComparison.Ordinal).Split(' '))).Output);
    }

    [Fact]
    public async Task The_timeline_is_plain_fits_its_width_and_cuts_nothing_off()
    {
        Tool tool = await Tool.Run("trace");
        Assert.DoesNotContain('\u001b', tool.Output);
        Assert.All(tool.Output.Split('\n'), static line => Assert.InRange(line.Length, 0, Ink.PlainWidth));
        Assert.DoesNotContain('…', tool.Output);
    }

    [Fact]
    public async Task The_timeline_tells_the_whole_story_and_its_figures()
    {
        string text = (await Tool.Run("trace", "--bytes", "3000", "--delay", "5")).Output;
        foreach (string part in new[]
        {
            "__sys_accept4", "server [S] → swapper/0", "SYN_SENT → ESTABLISHED", "──S────▶", "┄┄▶", "◀───S.──", "try_to_wake_up",
            "TIME_WAIT", "60.2 s later", "the connection", "seq 1:1449",
        })
            Assert.Contains(part, text, StringComparison.Ordinal);
        Assert.Matches(@"handshake +10\.000 ms", text);
        Assert.Matches(@"bytes +3000 ", text);
        Assert.Matches(@"CPU copies +2 ", text);
        Assert.Matches(@"retransmits +0 +0 packets lost", text);
    }

    [Fact]
    public async Task Sack_blocks_are_counted_from_the_first_byte_too()
    {
        string text = (await Tool.Run("trace", "--bytes", "20000", "--loss", "0.1", "--seed", "7")).Output;
        MatchCollection edges = SackEdge.Matches(text);
        Assert.NotEmpty(edges);
        Assert.All(edges, static edge => Assert.InRange(long.Parse(edge.Groups[1].Value, CultureInfo.InvariantCulture), 1, 20_002));
    }

    [GeneratedRegex(@"sack (\d+):")]
    private static partial Regex SackEdge { get; }

    [Fact]
    public async Task Lost_packets_show_and_are_sent_again()
    {
        string text = (await Tool.Run("trace", "--bytes", "50000", "--loss", "0.15", "--seed", "3")).Output;
        Assert.Contains("✗", text, StringComparison.Ordinal);
        Assert.Contains("WIRE_LOSS", text, StringComparison.Ordinal);
        Assert.Contains("tcp_retransmit_skb", text, StringComparison.Ordinal);
        Assert.Matches(@"bytes +50000 ", text);
        Assert.Matches(@"retransmits +[1-9]", text);
    }

    [Fact]
    public async Task A_wire_that_loses_everything_is_a_failure()
    {
        Tool tool = await Tool.Run("trace", "--loss", "1");
        Assert.Equal(1, tool.Code);
        Assert.Equal("millrace: connect failed: ETIMEDOUT" + Environment.NewLine, tool.Error);
    }

    [Fact]
    public void Colours_change_nothing_but_the_colour()
    {
        var plain = new StringWriter();
        var coloured = new StringWriter();
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = AnsiSupport.Yes,
            ColorSystem = ColorSystemSupport.TrueColor,
            Out = new AnsiConsoleOutput(coloured),
        });
        console.Profile.Width = 80;
        WriteTimeline(new Ink(plain, 80));
        WriteTimeline(new Ink(TextWriter.Null, 80, console));
        Assert.Contains('\u001b', coloured.ToString());
        Assert.Equal(Lines(plain.ToString()), Lines(Escape().Replace(coloured.ToString(), "")));
        Assert.All(Lines(plain.ToString()), static line => Assert.InRange(line.Length, 0, 80));

        static string[] Lines(string text) => [.. text.Split('\n').Select(static line => line.TrimEnd())];
    }

    private static void WriteTimeline(Ink ink)
    {
        using var story = new TraceStory(new TraceStoryOptions(10, 0, TimeSpan.Zero, 1));
        var timeline = new Timeline(ink, 1, new RelativeNumbers(), story.Ends);
        timeline.Header();
        foreach (TraceEvent step in story.Run(default))
            timeline.Add(step);
    }

    [GeneratedRegex("\u001b\\[[0-9;]*m")]
    private static partial Regex Escape();

    [Fact]
    public async Task Each_line_of_json_is_an_event()
    {
        string[] lines = (await Tool.Run("trace", "--format", "json")).Output.TrimEnd().Split('\n');
        List<JsonElement> events = [.. lines.Select(static line => JsonDocument.Parse(line).RootElement)];
        Assert.Equal(Enumerable.Range(1, lines.Length), events.Select(static e => e.GetProperty("seq").GetInt32()));
        JsonElement change = events.First(static e => e.GetProperty("name").GetString() == "inet_sock_set_state"
            && e.GetProperty("stack").GetString() == "client");
        Assert.Equal("task", change.GetProperty("context").GetString());
        Assert.Equal("client", change.GetProperty("comm").GetString());
        Assert.Equal("10.0.0.2:80", change.GetProperty("remote").GetString());
        Assert.Equal("TCP_SYN_SENT", change.GetProperty("fields").GetProperty("newstate").GetString());
        JsonElement copy = events.First(static e => e.GetProperty("name").GetString() == "skb_copy_datagram_msg");
        Assert.Equal(1000, copy.GetProperty("fields").GetProperty("len").GetInt32());
        Assert.Contains(events, static e => e.TryGetProperty("packet", out JsonElement packet) && packet.GetString()!.Contains("Flags [S.]", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_capture_holds_the_packets_of_the_connection()
    {
        string file = Path.Combine(Path.GetTempPath(), $"millrace-trace-{Environment.ProcessId}.pcapng");
        try
        {
            string text = (await Tool.Run("trace", "--bytes", "3000", "--pcap", file)).Output;
            List<byte[]> packets = Pcapng.Read(await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken));
            string counted = Regex.Match(text, @"packets +(\d+) ").Groups[1].Value;
            Assert.Equal(packets.Count, int.Parse(counted, CultureInfo.InvariantCulture));
            Assert.All(packets, static p => Assert.True(Pcapng.ChecksumsAreRight(p)));
            Assert.Equal([0x02, 0x12, 0x10], packets.Take(3).Select(static p => (int)p[33]));
            Assert.Equal(3000, packets.Sum(static p => p.Length - 20 - (p[32] >> 4) * 4));
        }
        finally
        {
            File.Delete(file);
        }
    }
}
