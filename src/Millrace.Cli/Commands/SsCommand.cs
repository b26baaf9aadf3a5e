using System.CommandLine;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Cli.Diagnostics;

namespace Millrace.Cli.Commands;

/// <summary><c>millrace ss</c>: the sockets of another millrace that runs.</summary>
internal static class SsCommand
{
    private static readonly ControlTarget Target = new();

    private static readonly Option<bool> Listening = new("--listening", "-l") { Description = "Shows listeners only." };

    private static readonly Option<bool> NoHeader = new("--no-header", "-H") { Description = "Leaves out the line of headings." };

    private static readonly Option<bool> Json = new("--json") { Description = "One JSON object for machines." };

    public static Command Create()
    {
        Command command = new Command("ss", "Lists the TCP sockets of a running serve, get or nc, as ss -tanoi does.") { Listening, NoHeader, Json }
            .WithExamples("millrace ss", "millrace ss --pid 4711 --json | jq '.sockets[].info.rtt'", "watch -n1 millrace ss -H");
        Target.AddTo(command);
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult line, CancellationToken cancel)
    {
        SocketReport report = await ControlClient.AskSocketsAsync(Target.PathFrom(line), cancel);
        if (line.GetValue(Listening))
            report = report with { Sockets = [.. report.Sockets.Where(static s => s.State == TcpState.Listen)] };
        TextWriter output = line.InvocationConfiguration.Output;
        if (line.GetValue(Json))
            output.WriteLine(JsonSerializer.Serialize(report, ControlJson.Default.SocketReport));
        else
            SocketTable.Write(output, report.Sockets, header: !line.GetValue(NoHeader));
        return CommandLine.Success;
    }
}
