using System;
using System.Collections.Generic;
using System.Linq;
using System.Net;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tests.Recordings;

/// <summary>
/// The stage of the recordings: a client and a server host on a wire, or one host and its loopback, under the simulator. The
/// actors are tasks of the names that the recordings have.
/// </summary>
internal sealed class RecordedRun : IDisposable
{
    public const ushort Port = 7001;

    private readonly Dictionary<NetStack, StackTrace> _traces = [];

    /// <param name="delay">One way, added to the wire; zero lets an answer arrive while the sender is still in its call.</param>
    public RecordedRun(TimeSpan delay = default, ulong seed = 1)
    {
        World = new SimulatedWorld(seed, explore: false);
        Client = AddStack("client");
        Server = AddStack("server");
        NetStack.Wire(Client, "eth0", Server, "eth1", new WireOptions { Offload = false });
        Client.AddAddress("eth0", ClientAddress, 24);
        Server.AddAddress("eth1", ServerAddress, 24);
        if (delay > TimeSpan.Zero)
        {
            Client.Impair("eth0", new ImpairmentOptions { Delay = delay });
            Server.Impair("eth1", new ImpairmentOptions { Delay = delay });
        }
    }

    public static IPAddress ClientAddress { get; } = IPAddress.Parse("10.9.0.1");

    public static IPAddress ServerAddress { get; } = IPAddress.Parse("10.9.0.2");

    public SimulatedWorld World { get; }

    public NetStack Client { get; }

    public NetStack Server { get; }

    /// <summary>The port that the client's connection was given.</summary>
    public ushort ClientPort { get; set; }

    private NetStack AddStack(string name)
    {
        var stack = new NetStack(new NetStackOptions { Name = name, Seed = (ulong)name.Length, Cpus = 1 }, World.AddHost(), false, null);
        _traces[stack] = new StackTrace(stack);
        return stack;
    }

    /// <summary>Adds a task; it runs when the world does.</summary>
    public void Spawn(NetStack stack, string name, Action<Actor> body) =>
        World.Spawn(name, () => body(new Actor(this, stack, name)));

    public void Run() => World.Run(Micros.Never);

    /// <summary>The traces that were taken, by recording, then by context.</summary>
    public Dictionary<string, SortedDictionary<string, List<string>>> Traces { get; } = [];

    /// <summary>What follows on this host is of <paramref name="recording"/>, until <see cref="Close"/>.</summary>
    /// <param name="marked">Whether a task without marks does not count. One that has marks counts between them.</param>
    public void Open(NetStack stack, string recording, bool marked = true) => _traces[stack].Start(recording, marked);

    public void Close(NetStack stack)
    {
        (string name, SortedDictionary<string, List<string>> streams) = _traces[stack].Take();
        Traces.Add(name, streams);
    }

    public void Dispose() => World.Dispose();

    internal void Mark(NetStack stack, bool begin) => _traces[stack].Mark(begin);
}

/// <summary>A program on one host: its descriptors, its marks in the trace.</summary>
internal sealed class Actor(RecordedRun run, NetStack stack, string name)
{
    public Process Process { get; } = stack.CreateProcess();

    public string Name { get; } = name;

    /// <summary>Runs a call between the marks that the recordings have.</summary>
    public int Do(Func<Process, SysResult> call)
    {
        SysResult result = Try(call);
        Assert.False(result.IsError, $"{Name}: {result}");
        return result.Value;
    }

    /// <summary>The same for a call that may fail.</summary>
    public SysResult Try(Func<Process, SysResult> call)
    {
        run.Mark(stack, begin: true);
        SysResult result = call(Process);
        run.Mark(stack, begin: false);
        return result;
    }

    /// <summary>Sleeps until the virtual clock shows this many milliseconds.</summary>
    public void At(int milliseconds)
    {
        long now = run.World.Now.Milliseconds;
        Assert.True(now < milliseconds, $"{Name} is late: {now} ms, not before {milliseconds} ms");
        Process.Poll([], milliseconds - (int)now);
    }

    /// <summary>What follows on this actor's host is of a recording.</summary>
    public void Open(string recording, bool marked = true) => run.Open(stack, recording, marked);

    public void Close() => run.Close(stack);
}

/// <summary>Reads one stack's trace in the words of the recordings.</summary>
internal sealed class StackTrace
{
    private readonly NetStack _stack;
    private readonly TraceRing _ring = new(1 << 20);
    private string _recording = "";
    private bool _marked;

    public StackTrace(NetStack stack)
    {
        _stack = stack;
        stack.Cpus.Tracer.Attach(_ring);
        stack.Cpus.UpdateTracing();
    }

    /// <summary>Forgets what was traced so far.</summary>
    public void Start(string recording, bool marked)
    {
        _recording = recording;
        _marked = marked;
        Drain();
    }

    /// <summary>A record of the test's own: the calling task's call begins or ends.</summary>
    public void Mark(bool begin)
    {
        var mark = new TraceRecord { Point = Tp.none, Task = ThreadContext.Current.Task, A = begin ? 1 : 0 };
        _stack.Cpus.Tracer.Write(ref mark);
    }

    public (string Recording, SortedDictionary<string, List<string>> Streams) Take()
    {
        var streams = new SortedDictionary<string, List<string>>(StringComparer.Ordinal);
        List<TraceRecord> records = Drain();
        var inside = new HashSet<TraceTask?>();
        HashSet<TraceTask?> marking = [.. records.Where(r => r.Point == Tp.none).Select(r => r.Task)];
        foreach (TraceRecord r in records)
        {
            if (r.Point == Tp.none)
            {
                if (r.A == 1)
                    inside.Add(r.Task);
                else
                    inside.Remove(r.Task);
                continue;
            }
            // The switch to a task is that task's.
            TraceTask? task = r.Point == Tp.sched_switch && r.Task is null ? r.Other : r.Task;
            if (r.Context == TraceContext.Task && (_marked || marking.Contains(task)) && !inside.Contains(task))
                continue;
            if (Token(r) is not { } token)
                continue;
            string context = r.Context switch
            {
                TraceContext.Task => "task:" + NameOf(task),
                TraceContext.Softirq => "softirq",
                TraceContext.Hardirq => "hardirq",
            };
            if (!streams.TryGetValue(context, out List<string>? stream))
                streams.Add(context, stream = []);
            stream.Add(token);
        }
        return (_recording, streams);
    }

    private List<TraceRecord> Drain()
    {
        var records = new List<TraceRecord>();
        _ring.Drain(records);
        Assert.Equal(0, _ring.Lost);
        return records;
    }

    private static string NameOf(TraceTask? task) => task?.Name ?? "idle";

    private static string? Token(in TraceRecord r)
    {
        string name = r.Point.ToString();
        const long netRx = (long)Softirq.NetRx;
        return r.Point switch
        {
            Tp.inet_sock_set_state => $"{name}({NameOf((TcpState)r.A)}>{NameOf((TcpState)r.B)})",
            Tp.sock_recv_length or Tp.sock_send_length => $"{name}({r.A},{-r.B})",
            Tp.kfree_skb => $"{name}({((DropReason)r.A).KernelName()})",
            Tp.tcp_probe => $"{name}({r.A})",
            Tp.net_dev_xmit or Tp.netif_receive_skb => $"{name}({r.B})",
            Tp.softirq_raise or Tp.softirq_entry or Tp.softirq_exit => r.A == netRx ? $"{name}(NET_RX)" : null,
            Tp.napi_poll => $"{name}({r.B}/{r.C})",
            Tp.sched_waking => $"{name}({NameOf(r.Other)})",
            Tp.sched_switch => $"{name}({NameOf(r.Task)}>{NameOf(r.Other)})",
            _ => Vocabulary.Contains(name) ? name : null,
        };
    }

    /// <summary>The kernel's spelling.</summary>
    internal static string NameOf(TcpState state) => state switch
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
        TcpState.NewSynRecv => "NEW_SYN_RECV",
    };
}
