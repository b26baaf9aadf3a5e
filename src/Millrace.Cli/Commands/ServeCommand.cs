using System;
using System.Collections.Generic;
using System.CommandLine;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Millrace.Cli.Serving;
using Millrace.Cli.Tun;

namespace Millrace.Cli.Commands;

/// <summary><c>millrace serve</c>: servers behind a device, until the user stops them.</summary>
internal static class ServeCommand
{
    private static readonly TunOptionSet Tun = new();

    private static readonly Option<ushort?> Http = Port("--http", "Serves HTTP on this port.");

    private static readonly Option<ushort?> Echo = Port("--echo", "Sends back what it gets (RFC 862; its port is 7).");

    private static readonly Option<ushort?> Discard = Port("--discard", "Throws away what it gets (RFC 863; its port is 9).");

    private static readonly Option<ushort?> Chargen = Port("--chargen", "Sends characters without end (RFC 864; its port is 19).");

    private static readonly Option<DirectoryInfo?> Root = new("--root")
    {
        Description = "The directory whose files --http serves, with listings and ranges.",
        HelpName = "DIR",
    };

    public static Command Create()
    {
        Command command = new Command("serve", "Serves HTTP and the small services over a TUN device or an interface, until Ctrl-C.") { Http, Root, Echo, Discard, Chargen }
            .WithExamples(
                "millrace serve --tun mr0 --address 10.77.0.2/24 --http 8080 --root .     # then: curl http://10.77.0.2:8080/",
                "millrace serve --packet eth0 --address 192.0.2.7/24 --gateway 192.0.2.1 --http 80",
                "millrace serve --tun mr0 --address 10.77.0.2/24 --echo 7 --pcap echo.pcapng");
        Tun.AddTo(command);
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult line, CancellationToken cancel)
    {
        TunSettings settings = Tun.Read(line);
        string? root = RootOf(line);
        if (line.GetValue(Http) is null && line.GetValue(Echo) is null && line.GetValue(Discard) is null && line.GetValue(Chargen) is null)
            throw new UsageException("nothing to serve: give --http, --echo, --discard or --chargen a port");
        await using TunSession session = await TunSession.OpenAsync("serve", settings);
        var services = new List<SmallService>();
        WebApplication? http = null;
        try
        {
            AddService(services, session, line.GetValue(Echo), SmallService.EchoAsync);
            AddService(services, session, line.GetValue(Discard), SmallService.DiscardAsync);
            AddService(services, session, line.GetValue(Chargen), SmallService.ChargenAsync);
            if (line.GetValue(Http) is { } port)
                http = await HttpService.StartAsync(session, port, root, cancel);
            Announce(line, session);
            return await session.RunAsync(UntilStoppedAsync, cancel);
        }
        finally
        {
            foreach (SmallService service in services)
                await service.DisposeAsync();
            if (http is not null)
                await HttpService.StopAsync(http);
        }
    }

    // Ctrl-C is how a server ends: success.
    private static async Task<int> UntilStoppedAsync(CancellationToken stop)
    {
        var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration registration = stop.Register(stopped.SetResult);
        await stopped.Task;
        return CommandLine.Success;
    }

    private static string? RootOf(ParseResult line)
    {
        if (line.GetValue(Root) is not { } root)
            return null;
        if (line.GetValue(Http) is null)
            throw new UsageException("--root needs --http");
        if (!root.Exists)
            throw new CommandFailedException($"there is no directory {root}");
        return root.FullName;
    }

    private static void AddService(List<SmallService> services, TunSession session, ushort? port, Func<TcpConnection, CancellationToken, Task> talk)
    {
        if (port is not { } number)
            return;
        try
        {
            services.Add(SmallService.Start(session.Stack, new IPEndPoint(session.Address, number), talk));
        }
        catch (SocketException e)
        {
            throw new CommandFailedException($"cannot listen on port {number}: {e.Message}", e);
        }
    }

    private static void Announce(ParseResult line, TunSession session)
    {
        TextWriter output = line.InvocationConfiguration.Output;
        string host = session.Address.AddressFamily == AddressFamily.InterNetworkV6 ? $"[{session.Address}]" : session.Address.ToString();
        output.WriteLine(session.Settings);
        if (line.GetValue(Http) is { } http)
            output.WriteLine($"  http     curl http://{host}:{http}/");
        Tell("echo", line.GetValue(Echo));
        Tell("discard", line.GetValue(Discard));
        Tell("chargen", line.GetValue(Chargen));
        output.WriteLine("  sockets  millrace ss");
        output.WriteLine("Ctrl-C ends it.");
        output.Flush();

        void Tell(string name, ushort? port)
        {
            if (port is { } number)
                output.WriteLine($"  {name,-8} nc {session.Address} {number}");
        }
    }

    private static Option<ushort?> Port(string name, string description) =>
        new Option<ushort?>(name) { Description = description, HelpName = "PORT" }.AsPort();
}
