using System;
using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Cli.Transfers;
using Millrace.Cli.Tun;

namespace Millrace.Cli.Commands;

/// <summary><c>millrace nc</c>: the standard input to a connection, and the connection to the standard output.</summary>
internal static class NcCommand
{
    private static readonly TunOptionSet Tun = new();

    private static readonly Argument<string[]> Where = new("where")
    {
        Description = "HOST PORT to connect to; with -l, [ADDRESS] PORT to listen on.",
        HelpName = "[HOST] PORT",
        Arity = new ArgumentArity(1, 2),
    };

    private static readonly Option<bool> Listen = new("--listen", "-l") { Description = "Waits for a connection instead of making one." };

    private static readonly Option<bool> KeepListening = new("--keep-open", "-k") { Description = "With -l: takes one connection after the other." };

    private static readonly Option<bool> NoInput = new("--no-stdin", "-d") { Description = "Does not read the standard input, and sends nothing." };

    private static readonly Option<bool> Verbose = new("--verbose", "-v") { Description = "Says on the standard error who is connected." };

    private static readonly Option<ushort?> SourcePort =
        new Option<ushort?>("--source-port", "-p") { Description = "The port to connect from.", HelpName = "PORT" }.AsPort();

    private static readonly Option<int?> Wait = new("--wait", "-w") { Description = "Seconds that connecting may take.", HelpName = "SECONDS", CustomParser = ParseSeconds };

    public static Command Create()
    {
        Command command = new Command("nc", "Connects or listens over a TUN device; the end of the standard input is sent as FIN.")
            {
                Where, Listen, KeepListening, NoInput, Verbose, SourcePort, Wait,
            }
            .WithExamples(
                "millrace nc 10.78.0.1 7 --tun mr1 --address 10.78.0.2/24",
                "millrace nc -l 9000 --tun mr1 --address 10.78.0.2/24 > file     # then: nc -N 10.78.0.2 9000 < file");
        Tun.AddTo(command);
        command.Validators.Add(Validate);
        command.SetAction(RunAsync);
        return command;
    }

    private static void Validate(CommandResult result)
    {
        bool listens = result.GetValue(Listen);
        string[] where = result.GetValue(Where) ?? [];
        if (!listens && where.Length == 1)
            result.AddError("nc needs HOST and PORT, or -l and PORT");
        if (where.Length > 0 && !PortOption.TryParse(where[^1], out _))
            result.AddError($"'{where[^1]}' is no port from 1 to 65535");
        if (listens && where.Length == 2 && !IPAddress.TryParse(where[0], out _))
            result.AddError($"'{where[0]}' is no address to listen on");
        if (!listens && result.GetValue(KeepListening))
            result.AddError("-k needs -l");
        if (listens && (result.GetValue(SourcePort) is not null || result.GetValue(Wait) is not null))
            result.AddError("-p and -w are for connecting, not for -l");
    }

    private static async Task<int> RunAsync(ParseResult line, CancellationToken cancel)
    {
        TunSettings settings = Tun.Read(line);
        await using TunSession session = await TunSession.OpenAsync("nc", settings);
        return await session.RunAsync(stop => line.GetValue(Listen) ? ListenAsync(line, session, stop) : ConnectAsync(line, session, stop), cancel);
    }

    private static async Task<int> ConnectAsync(ParseResult line, TunSession session, CancellationToken stop)
    {
        string[] where = line.GetValue(Where)!;
        PortOption.TryParse(where[1], out ushort port);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(stop);
        if (line.GetValue(Wait) is { } seconds)
            patience.CancelAfter(TimeSpan.FromSeconds(seconds));
        IPEndPoint remote = await ResolveAsync(where[0], port, session.Address.AddressFamily, stop);
        TcpConnection connection;
        try
        {
            connection = await session.Stack.ConnectAsync(remote, OptionsFor(line, session), patience.Token);
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            throw new CommandFailedException($"cannot connect to {remote}: no answer within {line.GetValue(Wait)} s");
        }
        catch (SocketException e)
        {
            throw new CommandFailedException($"cannot connect to {remote}: {e.Message}", e);
        }
        await using (connection)
        {
            Say(line, $"connected to {remote}");
            await TalkAsync(line, connection, stop);
        }
        return CommandLine.Success;
    }

    private static TcpConnectOptions OptionsFor(ParseResult line, TunSession session) => new()
    {
        NoDelay = true,
        LocalEndPoint = line.GetValue(SourcePort) is { } port ? new IPEndPoint(session.Address, port) : null,
    };

    private static async Task<int> ListenAsync(ParseResult line, TunSession session, CancellationToken stop)
    {
        string[] where = line.GetValue(Where)!;
        PortOption.TryParse(where[^1], out ushort port);
        var local = new IPEndPoint(where.Length == 2 ? IPAddress.Parse(where[0]) : session.Address, port);
        TcpListener listener;
        try
        {
            listener = session.Stack.Listen(local);
        }
        catch (SocketException e)
        {
            throw new CommandFailedException($"cannot listen on {local}: {e.Message}", e);
        }
        await using (listener)
        {
            Say(line, $"listening on {local}");
            do
            {
                await using TcpConnection connection = await listener.AcceptAsync(stop);
                Say(line, $"connection from {connection.RemoteEndPoint}");
                await TalkAsync(line, connection, stop);
            }
            while (line.GetValue(KeepListening));
        }
        return CommandLine.Success;
    }

    private static async Task TalkAsync(ParseResult line, TcpConnection connection, CancellationToken stop)
    {
        try
        {
            Stream? input = line.GetValue(NoInput) ? null : Console.OpenStandardInput();
            await using Stream output = Console.OpenStandardOutput();
            await Relay.RunAsync(connection, input, output, isTerminal: !Console.IsInputRedirected, stop);
        }
        catch (SocketException e)
        {
            throw new CommandFailedException($"the connection failed: {e.Message}", e);
        }
    }

    private static async Task<IPEndPoint> ResolveAsync(string host, ushort port, AddressFamily family, CancellationToken stop)
    {
        if (IPAddress.TryParse(host, out IPAddress? literal))
            return new IPEndPoint(literal, port);
        try
        {
            IPAddress[] found = await Dns.GetHostAddressesAsync(host, family, stop);
            return found.Length > 0 ? new IPEndPoint(found[0], port) : throw new CommandFailedException($"{host} has no address of the stack's family");
        }
        catch (SocketException e)
        {
            throw new CommandFailedException($"there is no host {host}: {e.Message}", e);
        }
    }

    private static void Say(ParseResult line, string what)
    {
        if (line.GetValue(Verbose))
            line.InvocationConfiguration.Error.WriteLine($"millrace: {what}");
    }

    private static int? ParseSeconds(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int seconds) && seconds is > 0 and <= 86400)
            return seconds;
        result.AddError($"--wait takes seconds from 1 to 86400, not '{text}'");
        return null;
    }
}
