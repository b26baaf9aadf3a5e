using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Invocation;
using System.IO;
using System.Net.Http;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Cli.Commands;

namespace Millrace.Cli;

/// <summary>
/// The command line: which commands there are, and what becomes of their failures. A bad command line is one line on the standard
/// error and exit code 2; a command that fails is one line and exit code 1.
/// </summary>
/// <remarks>
/// A command's action gets a token that Ctrl-C cancels; what it throws then is no failure but exit code 130, as a shell says it. What
/// has another outcome in mind catches the <see cref="OperationCanceledException"/>.
/// </remarks>
internal static class CommandLine
{
    public const int Success = 0, Failed = 1, BadUsage = 2, Interrupted = 130;

    /// <summary>How long a command may take to end after Ctrl-C before the process ends without it.</summary>
    private static readonly TimeSpan EndPatience = TimeSpan.FromSeconds(10);

    /// <summary>Parses and runs one command line.</summary>
    /// <param name="output">What a command reads as its <c>InvocationConfiguration.Output</c>.</param>
    /// <param name="cancel">Cancels the command, as Ctrl-C does.</param>
    /// <returns>The process's exit code.</returns>
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, TextWriter error, CancellationToken cancel)
    {
        ParseResult line = Commands().Parse(args);
        if (line.Action is ParseErrorAction)
        {
            // The last one: of a mistyped command the parser says first that there is none.
            Refuse(error, line, line.Errors[^1].Message);
            return BadUsage;
        }
        var configuration = new InvocationConfiguration
        {
            Output = output,
            Error = error,
            EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = EndPatience,
        };
        try
        {
            return await line.InvokeAsync(configuration, cancel);
        }
        catch (UsageException e)
        {
            Refuse(error, line, e.Message);
            return BadUsage;
        }
        catch (OperationCanceledException)
        {
            return Interrupted;
        }
        catch (Exception e) when (IsFailure(e))
        {
            Complain(error, e.Message);
            return Failed;
        }
    }

    private static RootCommand Commands() => new("A TCP/IP stack in user space: trace it, serve and fetch over it, list its sockets, set its settings.")
    {
        TraceCommand.Create(),
        ServeCommand.Create(),
        GetCommand.Create(),
        NcCommand.Create(),
        SsCommand.Create(),
        SysctlCommand.Create(),
        TcpMetricsCommand.Create(),
    };

    // What the world can do to a command. Anything else is a bug, and shows its stack.
    private static bool IsFailure(Exception e) =>
        e is CommandFailedException or SocketException or IOException or UnauthorizedAccessException or HttpRequestException;

    private static void Refuse(TextWriter error, ParseResult line, string message)
    {
        Command command = line.CommandResult.Command;
        string name = command is RootCommand ? "millrace" : $"millrace {command.Name}";
        Complain(error, $"{message.TrimEnd('.')} (see {name} --help)");
    }

    /// <summary>One line on the standard error.</summary>
    internal static void Complain(TextWriter error, string message) =>
        error.WriteLine($"millrace: {message.ReplaceLineEndings(" ")}");
}
