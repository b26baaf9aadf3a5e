using System;
using System.Collections.Generic;
using System.CommandLine;
using System.IO;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Cli.Trace;

namespace Millrace.Cli.Commands;

/// <summary><c>millrace trace</c>: two hosts on an in-memory wire, and every step of one connection between them.</summary>
internal static class TraceCommand
{
    private static readonly Option<long> Bytes = new Option<long>("--bytes")
    {
        Description = "Bytes that the client sends.",
        HelpName = "N",
        DefaultValueFactory = static _ => 1000,
    }.Between(0, 1L << 30);

    private static readonly Option<double> Loss = new Option<double>("--loss")
    {
        Description = "Probability that the wire loses a packet.",
        HelpName = "P",
    }.Between(0.0, 1.0);

    private static readonly Option<double> Delay = new Option<double>("--delay")
    {
        Description = "Milliseconds that a packet is on the wire.",
        HelpName = "MS",
        DefaultValueFactory = static _ => 1,
    }.Between(0.0, 60_000.0);

    private static readonly Option<ulong> Seed = new Option<ulong>("--seed")
    {
        Description = "Decides ports, sequence numbers and losses; the same seed prints the same bytes.",
        HelpName = "S",
        DefaultValueFactory = static _ => 1,
    }.Between(0UL, ulong.MaxValue);

    private static readonly Option<int> Cpus = new Option<int>("--cpus")
    {
        Description = "CPUs of each host.",
        HelpName = "N",
        DefaultValueFactory = static _ => 1,
    }.Between(1, 4);

    private static readonly Option<string> Format = new("--format")
    {
        Description = "A timeline to read, or one event a line for machines.",
        DefaultValueFactory = static _ => "text",
    };

    private static readonly Option<string?> Pcap = new("--pcap")
    {
        Description = "Writes the packets, as the client sees them, to a pcapng file.",
        HelpName = "FILE",
    };

    public static Command Create()
    {
        Format.AcceptOnlyFromAmong("text", "json");
        var command = new Command("trace", "Shows every step of one TCP connection between two simulated hosts.")
        {
            Bytes, Loss, Delay, Seed, Cpus, Format, Pcap,
        };
        command.SetAction(RunAsync);
        return command;
    }

    private static Task<int> RunAsync(ParseResult line, CancellationToken cancel)
    {
        using FileStream? capture = line.GetValue(Pcap) is { } file ? new FileStream(file, FileMode.Create, FileAccess.Write) : null;
        var options = new TraceStoryOptions(line.GetValue(Bytes), line.GetValue(Loss), TimeSpan.FromMilliseconds(line.GetValue(Delay)),
            line.GetValue(Seed), line.GetValue(Cpus), capture);
        using var story = new TraceStory(options);
        TextWriter output = line.InvocationConfiguration.Output;
        if (line.GetValue(Format) == "json")
            WriteJson(story.Run(cancel), output);
        else
            WriteTimeline(story, Ink.For(output), options.Cpus, cancel);
        return Task.FromResult(CommandLine.Success);
    }

    private static void WriteJson(IEnumerable<TraceEvent> steps, TextWriter output)
    {
        foreach (TraceEvent step in steps)
            output.WriteLine(TraceLine.Write(step));
    }

    private static void WriteTimeline(TraceStory story, Ink ink, int cpus, CancellationToken cancel)
    {
        var numbers = new RelativeNumbers();
        var timeline = new Timeline(ink, cpus, numbers, story.Ends);
        var conversation = new Conversation(numbers);
        var summary = new Summary();
        timeline.Header();
        foreach (TraceEvent step in story.Run(cancel))
        {
            timeline.Add(step);
            conversation.Add(step);
            summary.Add(step);
        }
        ink.Blank();
        conversation.Write(ink);
        ink.Blank();
        summary.Write(ink, story, timeline.Rows);
    }
}
