using System.CommandLine;
using System.IO;
using Millrace.Cli.Diagnostics;

namespace Millrace.Cli.Commands;

/// <summary>The options that say which of the running commands is asked.</summary>
internal sealed class ControlTarget
{
    private readonly Option<int?> _pid = new("--pid") { Description = "The process to ask, if several run.", HelpName = "PID" };

    private readonly Option<FileInfo?> _socket = new("--socket") { Description = "The Unix socket to ask.", HelpName = "FILE" };

    public void AddTo(Command command)
    {
        command.Options.Add(_pid);
        command.Options.Add(_socket);
        command.Validators.Add(result =>
        {
            if (result.GetValue(_pid) is not null && result.GetValue(_socket) is not null)
                result.AddError("--pid and --socket exclude each other");
        });
    }

    /// <exception cref="CommandFailedException">None was named, and there is not just one.</exception>
    public string PathFrom(ParseResult line) => line.GetValue(_socket)?.FullName
        ?? (line.GetValue(_pid) is { } pid ? RuntimeDirectory.SocketOf(RuntimeDirectory.Default, pid) : ControlClient.FindOnly(RuntimeDirectory.Default));
}
