using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Text.RegularExpressions;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Recordings;

/// <summary>What ss would show over the lives of two connections: timewait_ss.txt, recorded on 6.18, played over loopback.</summary>
public sealed partial class SocketStateTests
{
    private static readonly IPEndPoint s_address = new(IPAddress.Loopback, 7100);

    [Fact]
    public void Sockets_show_as_recorded_over_a_life()
    {
        using var run = new RecordedRun();
        var clients = new Dictionary<ushort, string>();
        var shown = new List<(string Moment, List<string> Sockets)>();
        run.World.Spawn("script", () => Play(run.Server, run.Server.CreateProcess(), (moment) => shown.Add((moment, Show(run.Server, clients)))));
        run.Run();
        foreach (((string moment, List<string> expected), (string ourMoment, List<string> actual)) in Recorded().Zip(shown))
        {
            Assert.Equal(moment, ourMoment);
            Assert.Equal($"{moment}\n{string.Join('\n', expected)}", $"{moment}\n{string.Join('\n', actual)}");
        }
        Assert.Equal(Recorded().Count, shown.Count);
    }

    [GeneratedRegex(@"^\s+\d+\.\d+ (.*)$")]
    private static partial Regex Moment();

    // Client ports differ from run to run: they are numbered in the order in which they appear.
    private static List<(string Moment, List<string> Sockets)> Recorded()
    {
        var moments = new List<(string, List<string>)>();
        foreach (string line in System.IO.File.ReadLines(Path.Combine(Recording.Directory, "timewait_ss.txt")))
        {
            if (Moment().Match(line) is { Success: true } m)
                moments.Add((m.Groups[1].Value, []));
            else if (line.StartsWith("   ", StringComparison.Ordinal))
                moments[^1].Item2.Add(line.Trim().Replace(":46760", ":client1", StringComparison.Ordinal).Replace(":46768", ":client2", StringComparison.Ordinal));
        }
        // These two only say how long the recording had waited.
        moments.RemoveAll(m => m.Item1.Contains(" gone after ", StringComparison.Ordinal));
        foreach ((string _, List<string> sockets) in moments)
            sockets.Sort(StringComparer.Ordinal);
        return moments;
    }

    private static void Play(NetStack stack, Process p, Action<string> show)
    {
        int listener = p.Socket(2, 1, 0).Value;
        p.Bind(listener, s_address);
        show("after bind (not listening)");
        p.Listen(listener, 4);
        show("after listen");
        int client = p.Socket(2, 1, 0).Value;
        p.Connect(client, s_address);
        show("after connect, before accept (accept queue Recv-Q=1)");
        int server = p.Accept(listener).Value;
        show("after accept");
        p.Send(client, new byte[1000]);
        p.Poll([], 50);
        show("1000 bytes unread at server");
        p.Recv(server, new byte[4096]);
        show("read");
        p.Shutdown(client, 1);
        p.Poll([], 50);
        show("client shutdown(SHUT_WR)");
        p.Close(server);
        p.Poll([], 20);
        show("server close -> client TIME_WAIT (client fd still open)");
        p.Close(client);
        p.Poll([], 20);
        show("client fd closed");
        int second = p.Socket(2, 1, 0).Value;
        p.Connect(second, s_address);
        server = p.Accept(listener).Value;
        p.Close(second);
        p.Poll([], 50);
        show("2nd: client close(), server still open (orphan FIN_WAIT2, really a tw mini-socket)");
        p.Poll([], 62_000);
        show("after FIN_WAIT2 timeout");
        p.Send(server, new byte[10]);
        p.Poll([], 50);
        show("server sends to the vanished FIN_WAIT2");
    }

    private static List<string> Show(NetStack stack, Dictionary<ushort, string> clients)
    {
        TaskContext context = stack.Cpus.Enter();
        var lister = new Lister(context.Cpu.Now, [], clients);
        stack.Tcp.Established.ForEach(context.Cpu, ref lister);
        var anyone = new FlowKey(IpAddr.Loopback4, 1, IpAddr.Loopback4, (ushort)s_address.Port, 0);
        if (stack.Tcp.Listeners.LookUp(context.Cpu, anyone) is { } listener)
            lister.Visit(context.Cpu, listener);
        stack.Cpus.Leave(ref context);
        lister.Lines.Sort(StringComparer.Ordinal);
        return lister.Lines;
    }

    private readonly struct Lister(Micros now, List<string> lines, Dictionary<ushort, string> clients) : ISockVisitor
    {
        public List<string> Lines => lines;

        public void Visit(Cpu cpu, SockCommon sock)
        {
            switch (sock)
            {
                case TcpSock { State: TcpState.Listen } l:
                    lines.Add($"LISTEN Rq={l.AcceptBacklog} Sq={l.MaxAcceptBacklog} {Name(l.LocalAddr.ToIPAddress(), l.LocalPort)} 0.0.0.0:*");
                    break;
                case TcpSock sk:
                    lines.Add($"{Ss(sk.State)} Rq={sk.Rcv.Nxt - sk.Rcv.Copied} Sq={sk.Snd.Written - sk.Snd.Una} {Ends(sk)}");
                    break;
                case TcpTimeWaitSock tw:
                    lines.Add($"{Ss(tw.Substate)} Rq=0 Sq=0 {Ends(tw)} timer:(timewait,{(tw.Deadline - now).Value / 1_000_000}sec,0)");
                    break;
            }
        }

        private static string Ss(TcpState state) => state == TcpState.Established
            ? "ESTAB"
            : StackTrace.NameOf(state).Replace('_', '-').Replace("WAIT1", "WAIT-1", StringComparison.Ordinal).Replace("WAIT2", "WAIT-2", StringComparison.Ordinal);

        private string Ends(SockCommon sk) =>
            $"{Name(sk.LocalAddr.ToIPAddress(), sk.LocalPort)} {Name(sk.RemoteAddr.ToIPAddress(), sk.RemotePort)}";

        private string Name(IPAddress address, ushort port)
        {
            if (port == s_address.Port)
                return $"{address}:{port}";
            if (!clients.TryGetValue(port, out string? client))
                clients.Add(port, client = $"client{clients.Count + 1}");
            return $"{address}:{client}";
        }
    }
}
