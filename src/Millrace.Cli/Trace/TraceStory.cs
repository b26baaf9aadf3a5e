using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Threading;

namespace Millrace.Cli.Trace;

/// <summary>What the story of <c>millrace trace</c> can be told to be.</summary>
/// <param name="Bytes">That the client sends.</param>
/// <param name="Loss">Probability that a packet is lost, in each direction.</param>
/// <param name="Delay">Of the wire, in each direction.</param>
/// <param name="Cpus">Of each host.</param>
/// <param name="Capture">Where the packets go as pcapng; null: nowhere.</param>
internal sealed record TraceStoryOptions(long Bytes, double Loss, TimeSpan Delay, ulong Seed, int Cpus = 1, Stream? Capture = null);

/// <summary>
/// Two hosts on an in-memory wire. The server blocks in accept and then in recvfrom; the client connects, waits a moment, sends, waits
/// a moment, and closes first. It ends when the client's TIME_WAIT does.
/// </summary>
internal sealed class TraceStory : IDisposable
{
    public const string ClientName = "client", ServerName = "server";

    private const int StreamSocket = 1, InetFamily = 2, AnyProtocol = 0;
    private const int RingSize = 1 << 17, RingMark = 1 << 14;
    private const int PauseMilliseconds = 10;
    private static readonly IPEndPoint ServerEnd = new(IPAddress.Parse("10.0.0.2"), 80);

    // TCP gives a connection up before this, if the wire is that bad.
    private static readonly TimeSpan Limit = TimeSpan.FromHours(2), Step = TimeSpan.FromSeconds(1);

    private readonly TraceStoryOptions _options;
    private readonly Simulation _simulation;
    private readonly TraceSession _trace;
    private readonly IDisposable? _capture;

    public TraceStory(TraceStoryOptions options)
    {
        _options = options;
        _simulation = new Simulation(options.Seed);
        Client = _simulation.CreateStack(new NetStackOptions { Name = ClientName, Cpus = options.Cpus });
        Server = _simulation.CreateStack(new NetStackOptions { Name = ServerName, Cpus = options.Cpus });
        // Real packets, cut to the MTU and summed: what a wire carries, and what a capture should show.
        NetStack.Wire(Client, "eth0", Server, "eth0", new WireOptions { Offload = false });
        Client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        Server.AddAddress("eth0", ServerEnd.Address, 24);
        Client.Impair("eth0", Link(options.Seed));
        Server.Impair("eth0", Link(~options.Seed));
        _trace = NetStack.Trace(RingSize, Client, Server);
        _capture = options.Capture is { } stream ? NetStack.Capture(stream, (Client, "eth0")) : null;
    }

    public NetStack Client { get; }

    public NetStack Server { get; }

    /// <summary>Bytes that the server has read.</summary>
    public long Received { get; private set; }

    /// <summary>When its tasks ended, as far as they have.</summary>
    public Dictionary<string, TimeSpan> Ends { get; } = [];

    /// <summary>Runs the story, and gives its steps as they happen.</summary>
    /// <exception cref="CommandFailedException">The connection failed, as it may on a wire that loses too much.</exception>
    public IEnumerable<TraceEvent> Run(CancellationToken cancel)
    {
        _simulation.Spawn(ServerName, Serve);
        _simulation.Spawn(ClientName, Send);
        bool over = false;
        while (!over && _simulation.Now < Limit)
        {
            _simulation.Run(Step, () => cancel.IsCancellationRequested || _trace.Count >= RingMark);
            cancel.ThrowIfCancellationRequested();
            foreach (TraceEvent step in _trace.Read())
            {
                over |= step is { Name: "inet_twsk_kill", Stack: ClientName };
                yield return step;
            }
        }
        if (_trace.Lost > 0)
            throw new CommandFailedException($"{_trace.Lost} steps came faster than they were read and are missing");
    }

    public void Dispose()
    {
        _trace.Dispose();
        _simulation.Dispose();
        _capture?.Dispose();
    }

    private ImpairmentOptions Link(ulong seed) => new() { Delay = _options.Delay, Loss = _options.Loss, Seed = seed };

    private void Serve()
    {
        Process process = Server.CreateProcess();
        int listener = Check(process.Socket(InetFamily, StreamSocket, AnyProtocol), "socket");
        Check(process.Bind(listener, ServerEnd), "bind");
        Check(process.Listen(listener, 1), "listen");
        int connection = Check(process.Accept(listener), "accept");
        var buffer = new byte[65536];
        while (Check(process.RecvFrom(connection, buffer, MessageFlags.None, out _), "recvfrom") is var got and > 0)
            Received += got;
        Check(process.Close(connection), "close");
        Check(process.Close(listener), "close");
        Ends[ServerName] = _simulation.Now;
    }

    private void Send()
    {
        Process process = Client.CreateProcess();
        int connection = Check(process.Socket(InetFamily, StreamSocket, AnyProtocol), "socket");
        Check(process.Connect(connection, ServerEnd), "connect");
        Check(process.Poll([], PauseMilliseconds), "poll");
        var data = new byte[65536];
        for (long left = _options.Bytes; left > 0;)
            left -= Check(process.Send(connection, data.AsSpan(0, (int)Math.Min(left, data.Length))), "sendto");
        Check(process.Poll([], PauseMilliseconds), "poll");
        Check(process.Close(connection), "close");
        Ends[ClientName] = _simulation.Now;
    }

    private static int Check(SysResult result, string call) =>
        result.IsError ? throw new CommandFailedException($"{call} failed: {result.Error}") : result.Value;
}
