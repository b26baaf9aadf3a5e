using System.Collections.Generic;
using System.CommandLine;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Cli.Diagnostics;

namespace Millrace.Cli.Commands;

/// <summary><c>millrace sysctl</c>: the settings of another millrace that runs, read and written by name.</summary>
internal static class SysctlCommand
{
    private static readonly Argument<string[]> Words = new("NAME[=VALUE]") { Description = "A setting to read, or to write.", Arity = ArgumentArity.ZeroOrMore };

    private static readonly ControlTarget Target = new();

    private static readonly Option<bool> All = new("--all", "-a") { Description = "Shows every setting." };

    private static readonly Option<bool> ValuesOnly = new("--values", "-n") { Description = "Shows values without names." };

    public static Command Create()
    {
        Command command = new Command("sysctl", "Shows and changes the settings of a running serve, get or nc, as sysctl does.") { Words, All, ValuesOnly }
            .WithExamples("millrace sysctl -a", "millrace sysctl net.ipv4.tcp_rmem", "millrace sysctl net.ipv4.tcp_congestion_control=reno --pid 4711");
        Target.AddTo(command);
        command.Validators.Add(static result =>
        {
            string[] words = result.GetValue(Words) ?? [];
            if (result.GetValue(All) == words.Length > 0)
                result.AddError("it takes names of settings, or else -a");
            foreach (string word in words)
            {
                if (SysctlWord.Parse(word) is null)
                    result.AddError($"'{word}' names no setting");
            }
        });
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult line, CancellationToken cancel)
    {
        var words = new List<SysctlWord>();
        foreach (string word in line.GetValue(Words)!)
            words.Add(SysctlWord.Parse(word)!);
        SysctlReport report = await ControlClient.AskSysctlsAsync(Target.PathFrom(line), words, cancel);
        int code = CommandLine.Success;
        foreach (SysctlRow row in report.Settings)
        {
            if (row.Error != Errno.OK)
            {
                CommandLine.Complain(line.InvocationConfiguration.Error, $"{row.Name}: {Marshal.GetPInvokeErrorMessage((int)row.Error)}");
                code = CommandLine.Failed;
            }
            else
            {
                line.InvocationConfiguration.Output.WriteLine(line.GetValue(ValuesOnly) ? row.Value : $"{row.Name} = {row.Value}");
            }
        }
        return code;
    }
}
