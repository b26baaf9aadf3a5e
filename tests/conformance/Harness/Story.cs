using System;
using System.Collections.Generic;
using System.Net;

namespace Millrace.Conformance;

/// <summary>
/// A packet story: one stack, an application on it, and a peer that the story speaks for.
/// <code>
/// using var tcp = Story.Established(mss: 1000);
/// tcp.App.Write(2000);
/// tcp.Sends("1:1001 ack 1", "1001:2001 ack 1");
/// tcp.Gets("ack 2001");
/// </code>
/// Expectations are exact: these segments, in this order, at this time, and nothing more. When one fails, the whole exchange is shown.
/// </summary>
/// <remarks>The notation is <see cref="Segment"/>'s. The same text plays on every <see cref="Backend"/>; see <see cref="Stage"/>.</remarks>
internal sealed class Story : IDisposable
{
    /// <summary>The port that the stack listens on, or that it connects to.</summary>
    public const ushort Port = 8080;

    private const ushort FirstPeerPort = 40000;

    private readonly List<Flow> _flows = [];
    private readonly Queue<IpPacket> _others = new();
    private int _peers;
    private App? _app;

    private Story(StorySettings settings)
    {
        Settings = settings;
        Backend = Stage.NewBackend(settings);
        foreach ((string name, string value) in StorySettings.Defaults)
            Sysctl(name, value);
        foreach ((string name, string value) in settings.Sysctls)
            Sysctl(name, value);
    }

    public StorySettings Settings { get; }

    public Backend Backend { get; }

    public Ladder Ladder { get; } = new();

    /// <summary>The story's first connection.</summary>
    public Flow Peer { get; private set; } = null!;

    /// <summary>The application on the first connection; what listens, before one is accepted.</summary>
    public App App => _app ?? throw new InvalidOperationException("Nothing has been accepted.");

    /// <summary>The listening socket, if the story has one.</summary>
    public App Listener { get; private set; } = null!;

    public TcpInfo Info => App.Info;

    // ---- Beginnings ----

    /// <summary>A stack with nothing on it.</summary>
    public static Story Idle(StorySettings? settings = null)
    {
        var story = new Story(settings ?? new StorySettings());
        story.Peer = story.NewFlow();
        return story;
    }

    /// <summary>A stack that listens on <see cref="Port"/>.</summary>
    /// <param name="prepare">Called with the socket before it listens, to set options.</param>
    public static Story Listening(StorySettings? settings = null, Action<App>? prepare = null)
    {
        Story story = Idle(settings);
        story.Listener = story.NewSocket();
        prepare?.Invoke(story.Listener);
        story.Must(story.Backend.Bind(story.Listener.Fd, new IPEndPoint(story.AnyAddress, Port)));
        story.Must(story.Backend.Listen(story.Listener.Fd, story.Settings.Backlog));
        return story;
    }

    /// <summary>A connection that the peer opened and the application accepted.</summary>
    /// <param name="prepare">Called with the listening socket before it listens.</param>
    public static Story Established(int? mss = 1460, bool sack = true, bool ts = false, int? wscale = 7, int? win = null, double rtt = 50,
        StorySettings? settings = null, Action<App>? prepare = null)
    {
        Story story = Listening(settings, prepare);
        story.Peer.Shakes(new Peer(mss, sack, ts, wscale, win, rtt));
        story.Accept();
        return story;
    }

    /// <summary>A socket on its way to the peer: its SYN has been sent and waits to be looked at.</summary>
    public static Story Connecting(StorySettings? settings = null, Action<App>? prepare = null)
    {
        var story = new Story(settings ?? new StorySettings());
        story.Connect(prepare);
        return story;
    }

    /// <summary>A connection that the application opened.</summary>
    public static Story Connected(int? mss = 1460, bool sack = true, bool ts = false, int? wscale = 7, int? win = null, double rtt = 50,
        StorySettings? settings = null, Action<App>? prepare = null)
    {
        Story story = Connecting(settings, prepare);
        story.Peer.Answers(new Peer(mss, sack, ts, wscale, win, rtt));
        return story;
    }

    // ---- The application ----

    public App NewSocket()
    {
        SysResult fd = Backend.Socket(Stage.Family);
        Must(fd);
        return new App(this, fd.Value);
    }

    /// <summary>A socket that the story has made itself becomes <see cref="App"/>.</summary>
    public App Use(App app) => _app = app;

    /// <summary>Accepts a connection, which becomes <see cref="App"/>.</summary>
    public App Accept()
    {
        SysResult fd = TryAccept();
        return fd.IsError ? throw new StoryException($"\naccept = {fd}\nthe exchange so far:\n{Ladder}") : _app = new App(this, fd.Value);
    }

    public SysResult TryAccept()
    {
        SysResult fd = Backend.Accept(Listener.Fd);
        Ladder.App(Backend.Now, $"accept() = {fd}");
        return fd;
    }

    /// <summary>A new socket begins to connect and becomes <see cref="App"/>, its flow <see cref="Peer"/>.</summary>
    /// <returns>The result of connect(2).</returns>
    public SysResult Connect(Action<App>? prepare = null)
    {
        _app = NewSocket();
        prepare?.Invoke(_app);
        return ConnectAgain();
    }

    /// <summary>The socket that is <see cref="App"/> already connects; its flow becomes <see cref="Peer"/>.</summary>
    /// <returns>The result of connect(2).</returns>
    public SysResult ConnectAgain() => ConnectTo(Backend.Remote);

    /// <summary>The same, with the peer's address in the form that the socket wants.</summary>
    public SysResult ConnectTo(IPAddress remote)
    {
        Peer = new Flow(this, 0, Port);
        _flows.Add(Peer);
        SysResult result = Backend.Connect(App.Fd, new IPEndPoint(remote, Port));
        Ladder.App(Backend.Now, $"connect() = {result}");
        Backend.Settle();
        return result;
    }

    /// <summary>Connects and sends in one call: MSG_FASTOPEN.</summary>
    /// <returns>The result of sendto(2).</returns>
    public SysResult ConnectWithData(int bytes)
    {
        _app = NewSocket();
        Peer = new Flow(this, 0, Port);
        _flows.Add(Peer);
        SysResult result = _app.TryWrite(bytes, MessageFlags.FastOpen, new IPEndPoint(Backend.Remote, Port));
        Backend.Settle();
        return result;
    }

    // ---- Peers ----

    /// <summary>Another peer, with a port of its own.</summary>
    public Flow NewFlow() => NewFlow(Port, (ushort)(FirstPeerPort + _peers++));

    public Flow NewFlow(ushort localPort, ushort remotePort)
    {
        var flow = new Flow(this, localPort, remotePort);
        _flows.Add(flow);
        return flow;
    }

    /// <summary>A new connection between the ports of an old one: its ISNs and timestamps are learned anew.</summary>
    public Flow Reopen(Flow old) => NewFlow(old.LocalPort, old.RemotePort);

    public void Gets(params string[] segments) => Peer.Gets(segments);

    public void GetsIcmp(Icmp error, string quoted, int mtu = 0) => Peer.GetsIcmp(error, quoted, mtu);

    public void Sends(params string[] segments) => Peer.Sends(segments);

    public void SendsAfter(double ms, params string[] segments) => Peer.SendsAfter(ms, segments);

    public void SendsNothing() => Peer.Sends();

    public void SendsNothingFor(double ms) => Peer.SendsNothingFor(ms);

    public void SendsData(long from, long to, int mss) => Peer.SendsData(from, to, mss);

    public IReadOnlyList<Segment> Drain() => Peer.Drain();

    /// <summary>Time passes. What the stack sends meanwhile waits to be looked at.</summary>
    public void After(double ms)
    {
        Backend.RunUntil(Backend.Now + (long)(ms * 1000), stopAtPacket: false);
        Pump();
    }

    // ---- Below TCP ----

    /// <summary>A packet of any kind arrives.</summary>
    public void Injects(byte[] packet, string what)
    {
        Ladder.Peer(Backend.Now, what);
        Backend.Inject(packet);
    }

    /// <summary>The next packet that the stack has sent and that belongs to no flow of the story; null if there is none.</summary>
    public IpPacket? TakePacket()
    {
        Pump();
        return _others.TryDequeue(out IpPacket? packet) ? packet : null;
    }

    /// <summary>An MTU that leaves the same room for TCP in both families: the argument is IPv4's.</summary>
    public static int Mtu(int mtu) => Stage.Family == Family.V4 ? mtu : mtu + 20;

    // ---- Settings and counters ----

    public void Sysctl(string name, string value) => Backend.SetSysctl("net.ipv4." + name, value);

    public long Counter(string name) => Backend.Counter(name);

    public IPAddress AnyAddress => Stage.Family == Family.V4 ? IPAddress.Any : IPAddress.IPv6Any;

    /// <summary>Sorts what the stack has sent to the flows that it belongs to.</summary>
    public void Pump()
    {
        Backend.Settle();
        while (Backend.TryTake(out byte[] bytes, out long time))
        {
            IpPacket packet = IpPacket.Parse(bytes);
            Flow? flow = SegmentCodec.TryReadEnds(packet, out Ends ends)
                ? _flows.FindLast(f => f.Claims(ends, SegmentCodec.IsSyn(packet)))
                : null;
            if (flow is not null)
                flow.Accept(packet, time);
            else
                _others.Enqueue(packet);
        }
    }

    public void Dispose()
    {
        Backend.Dispose();
        Stage.LastLadder = Ladder;
    }

    private void Must(SysResult result)
    {
        if (result.IsError)
            throw new StoryException($"\na call failed: {result}\nthe exchange so far:\n{Ladder}");
    }
}
