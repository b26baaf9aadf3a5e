using System.CommandLine;
using System.IO;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Cli.Commands;

/// <summary><c>millrace trace</c>: two hosts on an in-memory wire, and every step of one connection between them.</summary>
internal static class TraceCommand
{
    private static readonly Option<long> Bytes = new Option<long>("--bytes")
    {
        Description = "Bytes that the client sends.",
        DefaultValueFactory = static _ => 1000,
    }.Between(0, 1L << 30);

    public static Command Create()
    {
        var command = new Command("trace", "Shows every step of one TCP connection between two simulated hosts.") { Bytes };
        command.SetAction(RunAsync);
        return command;
    }

    private static Task<int> RunAsync(ParseResult line, CancellationToken cancel)
    {
        TextWriter output = line.InvocationConfiguration.Output;
        output.WriteLine(line.GetValue(Bytes));
        return Task.FromResult(CommandLine.Success);
    }
}
