using System.CommandLine;
using System.Net;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Cli.Diagnostics;

namespace Millrace.Cli.Commands;

/// <summary><c>millrace tcp_metrics</c>: what another millrace that runs remembers of ended connections.</summary>
internal static class TcpMetricsCommand
{
    private static readonly ControlTarget Target = new();

    private static readonly Option<bool> Flush = new("--flush") { Description = "Forgets it, and says how many entries are gone." };

    private static readonly Argument<string?> Address = new("ADDRESS") { Description = "Only what is known of this peer.", Arity = ArgumentArity.ZeroOrOne };

    public static Command Create()
    {
        Command command = new Command("tcp_metrics", "Shows what a running serve, get or nc has learned of its peers, as ip tcp_metrics does.") { Address, Flush }
            .WithExamples("millrace tcp_metrics", "millrace tcp_metrics 10.77.0.1", "millrace tcp_metrics --flush --pid 4711");
        Target.AddTo(command);
        command.Validators.Add(static result =>
        {
            if (result.GetValue(Address) is { } text && !IPAddress.TryParse(text, out _))
                result.AddError($"'{text}' is no address");
        });
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult line, CancellationToken cancel)
    {
        var query = new MetricsQuery(line.GetValue(Address), line.GetValue(Flush));
        MetricsReport report = await ControlClient.AskMetricsAsync(Target.PathFrom(line), query, cancel);
        foreach (string entry in report.Entries)
            line.InvocationConfiguration.Output.WriteLine(entry);
        if (query.Flush)
            line.InvocationConfiguration.Output.WriteLine($"{report.Removed} forgotten");
        return CommandLine.Success;
    }
}
