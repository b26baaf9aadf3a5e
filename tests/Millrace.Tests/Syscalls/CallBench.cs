using System;
using System.Collections.Generic;
using System.Net;
using System.Threading;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Syscalls;

/// <summary>
/// A simulated machine with one process, for tests of system calls: 127.0.0.0/8 is its loopback, 10.99.0.0/24 a link whose other end
/// swallows everything, and there is no other route. A test is a task of the simulation; it may spawn others.
/// </summary>
internal sealed class CallBench : IDisposable
{
    public const int Inet = 2, Inet6 = 10, Stream = 1, NonBlock = 2048;
    public const int SolSocket = SocketLevel.Socket, SolTcp = SocketLevel.Tcp;
    public const MessageFlags NoSignal = MessageFlags.NoSignal, DontWait = MessageFlags.DontWait;

    /// <summary>Nothing there ever answers.</summary>
    public static readonly IPEndPoint BlackHole = new(IPAddress.Parse("10.99.0.77"), 80);

    private readonly NetStack _abyss;
    private int _spawned;
    private int _nextPort = 7000;

    public CallBench(bool explore = false, ulong seed = 1, SecurityPolicy? security = null, int cpus = 1)
    {
        World = new SimulatedWorld(seed, explore);
        var options = new NetStackOptions { Seed = seed, Cpus = cpus, Security = security ?? SecurityPolicy.AllowAll };
        Stack = new NetStack(options, World.AddHost(), ownsHost: false, buffers: null);
        _abyss = new NetStack(new NetStackOptions { Seed = 2, Cpus = 1 }, World.AddHost(), ownsHost: false, buffers: null);
        NetStack.Wire(Stack, "eth0", _abyss, "eth0");
        Stack.AddAddress("eth0", IPAddress.Parse("10.99.0.1"), 24);
        P = Stack.CreateProcess();
    }

    public SimulatedWorld World { get; }

    public NetStack Stack { get; }

    public Process P { get; }

    /// <summary>Runs a test as a task of a fresh machine, for at most ten minutes of its time.</summary>
    public static T Run<T>(Func<CallBench, T> test, bool explore = false, ulong seed = 1, SecurityPolicy? security = null, int cpus = 1)
    {
        using var bench = new CallBench(explore, seed, security, cpus);
        T result = default!;
        bool ended = false;
        bench.World.Spawn("test", () =>
        {
            result = test(bench);
            ended = true;
        });
        bench.World.Run(Micros.FromSeconds(600), () => ended);
        Assert.True(ended, "the test came to an end within ten minutes of simulated time");
        return result;
    }

    /// <inheritdoc cref="Run{T}"/>
    public static void Run(Action<CallBench> test, bool explore = false, ulong seed = 1, SecurityPolicy? security = null, int cpus = 1) =>
        Run(bench =>
        {
            test(bench);
            return true;
        }, explore, seed, security, cpus);

    public long NowMilliseconds => World.Now.Value / 1000;

    /// <summary>When the call that a test is about began: at first, when the test did.</summary>
    public long CallBegan { get; private set; }

    /// <summary>What came before was preparation.</summary>
    public void BeginCall() => CallBegan = NowMilliseconds;

    public void Sleep(int milliseconds) => Ok(P.Poll([], milliseconds));

    /// <summary>Does something after a time, in a task of its own.</summary>
    public void After(int milliseconds, Action action) => World.Spawn($"helper{++_spawned}", () =>
    {
        Sleep(milliseconds);
        action();
    });

    /// <summary>A token that is cancelled after a time: what a signal is elsewhere.</summary>
    public CancellationToken SignalAfter(int milliseconds)
    {
        var source = new CancellationTokenSource();
        After(milliseconds, source.Cancel);
        return source.Token;
    }

    public static int Ok(SysResult result)
    {
        Assert.False(result.IsError, result.ToString());
        return result.Value;
    }

    public static void Fails(Errno expected, SysResult result) => Assert.Equal(expected, result.Error);

    public int Tcp(int family = Inet, int flags = 0) => Ok(P.Socket(family, Stream | flags, 0));

    public static IPEndPoint Loopback(int port) => new(IPAddress.Loopback, port);

    public IPEndPoint NameOf(int fd)
    {
        Ok(P.GetSockName(fd, out IPEndPoint? name));
        return name!;
    }

    /// <summary>A socket that is bound to a port of loopback by number; each to another.</summary>
    public int Bound(out IPEndPoint at, params ReadOnlySpan<int> options)
    {
        int fd = Tcp();
        foreach (int option in options)
            Ok(P.SetSockOpt(fd, SolSocket, option, 1));
        at = Loopback(_nextPort++);
        Ok(P.Bind(fd, at));
        return fd;
    }

    public int Listening(out IPEndPoint at, int backlog = 16)
    {
        int fd = Bound(out at);
        Ok(P.Listen(fd, backlog));
        return fd;
    }

    /// <summary>An address where nobody listens.</summary>
    public IPEndPoint ClosedPort()
    {
        int fd = Bound(out IPEndPoint at);
        Ok(P.Close(fd));
        return at;
    }

    /// <summary>A connection over loopback: the client's end, the server's, and the listener.</summary>
    public (int Client, int Server, int Listener) Pair()
    {
        int listener = Listening(out IPEndPoint at);
        int client = Tcp();
        Ok(P.Connect(client, at));
        return (client, Ok(P.Accept(listener)), listener);
    }

    /// <summary>A connection that the server has ended with a RST.</summary>
    public int ResetByPeer()
    {
        (int client, int server, _) = Pair();
        Abort(server);
        return client;
    }

    /// <summary>Closes with a RST.</summary>
    public void Abort(int fd)
    {
        Span<byte> linger = stackalloc byte[8];
        linger.Clear();
        linger[0] = 1;
        Ok(P.SetSockOpt(fd, SolSocket, So.Linger, linger));
        Ok(P.Close(fd));
    }

    /// <summary>A connection whose client cannot send any more, because nobody reads.</summary>
    public int FullClient()
    {
        (int client, _, _) = Pair();
        var chunk = new byte[65536];
        do
        {
            while (!P.Send(client, chunk, DontWait).IsError)
            {
            }
            Sleep(300); // What loopback and delayed ACKs may still set free.
        }
        while (!P.Send(client, chunk, DontWait).IsError);
        BeginCall();
        return client;
    }

    public void SetTimeout(int fd, int option, int milliseconds)
    {
        Span<byte> value = stackalloc byte[16];
        BitConverter.TryWriteBytes(value, milliseconds / 1000L);
        BitConverter.TryWriteBytes(value[8..], milliseconds % 1000 * 1000L);
        Ok(P.SetSockOpt(fd, SolSocket, option, value));
    }

    /// <summary>Lets the machine receive an IP packet from its loopback, whatever stands around that.</summary>
    public void Inject(byte[] packet)
    {
        Cpu cpu = Stack.Cpus.Acquire();
        SkBuff skb = cpu.AllocSkb();
        cpu.AppendCopy(skb, packet);
        skb.Protocol = packet[0] >> 4 == 4 ? EtherType.Ipv4 : EtherType.Ipv6;
        cpu.BhDisable();
        NetDevice lo = Stack.Devices.ByName("lo")!;
        skb.IfIndex = lo.IfIndex;
        lo.DeliverUp(cpu, skb);
        cpu.BhEnable();
        Stack.Cpus.Release(cpu);
    }

    public SysResult Get(int fd, int level, int option)
    {
        SysResult result = P.GetSockOpt(fd, level, option, out int value);
        return result.IsError ? result : value;
    }

    public SysResult Send(int fd, string text, MessageFlags flags = 0) => P.Send(fd, System.Text.Encoding.ASCII.GetBytes(text), flags);

    public SysResult Recv(int fd, int length, MessageFlags flags = 0, CancellationToken cancel = default) =>
        P.Recv(fd, new byte[length], flags, cancel);

    /// <summary>The state as TCP_INFO tells it, in the recording's words.</summary>
    public string State(int fd)
    {
        Span<byte> info = stackalloc byte[8];
        Ok(P.GetSockOpt(fd, SolTcp, TcpOption.Info, info));
        return (TcpState)info[0] switch
        {
            TcpState.Established => "ESTABLISHED",
            TcpState.SynSent => "SYN_SENT",
            TcpState.SynRecv => "SYN_RECV",
            TcpState.FinWait1 => "FIN_WAIT1",
            TcpState.FinWait2 => "FIN_WAIT2",
            TcpState.TimeWait => "TIME_WAIT",
            TcpState.Close => "CLOSE",
            TcpState.CloseWait => "CLOSE_WAIT",
            TcpState.LastAck => "LAST_ACK",
            TcpState.Listen => "LISTEN",
            TcpState.Closing => "CLOSING",
            TcpState other => other.ToString(),
        };
    }

    /// <summary>What poll reports at once, in the recording's words.</summary>
    public string Poll(int fd)
    {
        const short asked = (short)(PollEvents.In | PollEvents.Out | PollEvents.RdHup);
        Span<PollDescriptor> one = [new PollDescriptor { Fd = fd, Events = asked }];
        Ok(P.Poll(one, 0));
        var words = new List<string>();
        foreach ((PollEvents bit, string word) in s_pollWords)
        {
            if (((PollEvents)one[0].Returned & bit) != 0)
                words.Add(word);
        }
        return words.Count == 0 ? "none" : string.Join(' ', words);
    }

    private static readonly (PollEvents, string)[] s_pollWords =
    [
        (PollEvents.In, "IN"), (PollEvents.Out, "OUT"), (PollEvents.RdHup, "RDHUP"), (PollEvents.Err, "ERR"), (PollEvents.Hup, "HUP"),
    ];

    public void Dispose()
    {
        World.Dispose();
        Stack.Dispose();
        _abyss.Dispose();
    }
}
