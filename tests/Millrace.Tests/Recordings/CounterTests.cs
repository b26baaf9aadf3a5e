using System;
using System.Collections.Generic;
using System.Linq;
using System.Net;
using Millrace.Tests.Scripted;

namespace Millrace.Tests.Recordings;

/// <summary>
/// Which TCP counters move in which operation, on the client and on the server: snmp.tsv, recorded on 6.18, played row by row.
/// </summary>
public sealed class CounterTests
{
    /// <summary>Rows that are not played, and why.</summary>
    private static readonly Dictionary<string, string> s_notPlayed = new()
    {
        ["bulk 10 MB (client->server) + FIN"] = "how 10 MB fall into segments, backlogs and windows is the recorded machine's timing",
    };

    /// <summary>What moves otherwise with us, and why. Recorded => ours.</summary>
    private static readonly Dictionary<string, (string From, string To, string Reason)> s_deviations = new()
    {
    };

    private static readonly Lazy<Dictionary<string, Queue<(string Client, string Server)>>> s_played = new(Play);

    public static TheoryData<int> Rows => [.. Enumerable.Range(0, Recorded().Count)];

    [Theory]
    [MemberData(nameof(Rows))]
    public void The_recorded_counters_move_and_no_others(int row)
    {
        (string operation, string client, string server) = Recorded()[row];
        if (s_notPlayed.ContainsKey(operation))
            return;
        if (s_deviations.TryGetValue(operation, out (string From, string To, string Reason) deviation))
        {
            Assert.Contains(deviation.From, client, StringComparison.Ordinal);
            client = client.Replace(deviation.From, deviation.To, StringComparison.Ordinal);
        }
        int before = Recorded().Take(row).Count(r => r.Operation == operation);
        (string ourClient, string ourServer) = s_played.Value[operation].ElementAt(before);
        Assert.Equal($"{operation}\nclient {client}\nserver {server}", $"{operation}\nclient {ourClient}\nserver {ourServer}");
    }

    private static List<(string Operation, string Client, string Server)> Recorded() =>
        [.. System.IO.File.ReadLines(System.IO.Path.Combine(Recording.Directory, "snmp.tsv")).Select(line => line.Split('\t'))
            .Select(f => (f[0], Normal(f[1]), Normal(f[2])))];

    // "client: Tcp.InSegs+1, TcpExt.TW+1" as "TcpExtTW+1 TcpInSegs+1".
    private static string Normal(string side)
    {
        string moved = side[(side.IndexOf(':') + 1)..].Trim();
        return moved == "-" ? "" : string.Join(' ', moved.Split(", ").Select(c => c.Replace(".", "")).Order(StringComparer.Ordinal));
    }

    // ---- The play ----

    private sealed class Stage : IDisposable
    {
        private NetCounters _client, _server;

        public Stage()
        {
            Run = new RecordedRun();
            Run.Server.Devices.ByName("eth1")!.Wrap(Wire);
            Client = Run.Client.CreateProcess();
            Server = Run.Server.CreateProcess();
            _client = Run.Client.Counters;
            _server = Run.Server.Counters;
        }

        public RecordedRun Run { get; }

        public LosingLayer Wire { get; } = new();

        public Process Client { get; }

        public Process Server { get; }

        public Dictionary<string, Queue<(string, string)>> Rows { get; } = [];

        /// <summary>Plays an operation, waits until delayed ACKs are out, and notes what moved.</summary>
        public void Row(string operation, Action play)
        {
            Forget();
            play();
            Settle();
            if (!Rows.TryGetValue(operation, out Queue<(string, string)>? played))
                Rows.Add(operation, played = new Queue<(string, string)>());
            played.Enqueue((Moved(Run.Client.Counters.Since(_client)), Moved(Run.Server.Counters.Since(_server))));
        }

        public void Forget()
        {
            _client = Run.Client.Counters;
            _server = Run.Server.Counters;
        }

        public void Settle() => Client.Poll([], 300);

        private static string Moved(NetCounters delta) => string.Join(' ', delta.Values
            .Where(c => c.Value != 0 && c.Key.StartsWith("Tcp", StringComparison.Ordinal))
            .Select(c => c.Value > 0 ? $"{c.Key}+{c.Value}" : $"{c.Key}{c.Value}").Order(StringComparer.Ordinal));

        public void Dispose() => Run.Dispose();
    }

    private static readonly IPEndPoint s_address = new(RecordedRun.ServerAddress, 7001), s_closed = new(RecordedRun.ServerAddress, 7999);
    private static readonly byte[] s_abort = [1, 0, 0, 0, 0, 0, 0, 0];

    private static Dictionary<string, Queue<(string Client, string Server)>> Play()
    {
        using var stage = new Stage();
        stage.Run.World.Spawn("script", () => Script(stage));
        stage.Run.Run();
        return stage.Rows;
    }

    private static void Script(Stage s)
    {
        int listener = Listen(s, s_address, 10);
        OneLife(s, listener);
        RefusedAndVanished(s, listener);
        Aborts(s, listener);
        Overflow(s);
    }

    private static int Listen(Stage s, IPEndPoint at, int backlog)
    {
        int listener = s.Server.Socket(2, 1, 0).Value;
        Assert.False(s.Server.Bind(listener, at).IsError);
        Assert.False(s.Server.Listen(listener, backlog).IsError);
        return listener;
    }

    private static (int Client, int Server) Pair(Stage s, int listener)
    {
        int client = s.Client.Socket(2, 1, 0).Value;
        Assert.False(s.Client.Connect(client, s_address).IsError);
        int server = s.Server.Accept(listener).Value;
        s.Settle();
        return (client, server);
    }

    private static void OneLife(Stage s, int listener)
    {
        var buffer = new byte[4096];
        int client = s.Client.Socket(2, 1, 0).Value, server = -1;
        s.Row("connect (3WHS, not yet accepted)", () => Assert.False(s.Client.Connect(client, s_address).IsError));
        s.Row("accept", () => server = s.Server.Accept(listener).Value);
        foreach (string send in new[] { "1st send(1000), unread", "2nd send(1000), unread" })
        {
            s.Row(send, () => s.Client.Send(client, new byte[1000]));
            s.Row("recv", () => Assert.Equal(1000, s.Server.Recv(server, buffer).Value));
        }
        s.Row("blocking recv woken by send(1000)", () =>
        {
            bool read = false;
            s.Run.World.Spawn("reader", () => read = s.Server.Recv(server, new byte[4096]).Value == 1000);
            s.Client.Poll([], 100);
            s.Client.Send(client, new byte[1000]);
            s.Client.Poll([], 100);
            Assert.True(read);
        });
        s.Row("send 3 bytes request", () => s.Client.Send(client, new byte[3]));
        s.Row("server recv + reply 3 bytes", () => Reply(s, server));
        s.Row("client recv reply", () => s.Client.Recv(client, buffer));
        s.Row("2nd request (server in pingpong: delayed ACK)", () => s.Client.Send(client, new byte[3]));
        s.Row("server recv + reply 3", () => Reply(s, server));
        s.Row("client recv", () => s.Client.Recv(client, buffer));
        s.Row("client close() first", () => s.Client.Close(client));
        s.Row("server recv=EOF", () => Assert.Equal(0, s.Server.Recv(server, buffer).Value));
        s.Row("server close()", () => s.Server.Close(server));
    }

    private static void Reply(Stage s, int server)
    {
        Assert.Equal(3, s.Server.Recv(server, new byte[10]).Value);
        Assert.Equal(3, s.Server.Send(server, new byte[3]).Value);
    }

    private static void RefusedAndVanished(Stage s, int listener)
    {
        s.Row("connect to closed port", () =>
            Assert.Equal(Errno.ECONNREFUSED, s.Client.Connect(s.Client.Socket(2, 1, 0).Value, s_closed).Error));
        (int client, int server) = Pair(s, listener);
        s.Row("server socket vanishes (TCP_REPAIR close)", () =>
        {
            const int repair = 19;
            Assert.False(s.Server.SetSockOpt(server, 6, repair, 1).IsError);
            s.Server.Close(server);
        });
        s.Row("client send() into removed connection", () => s.Client.Send(client, new byte[100]));
        s.Row("client recv -> ECONNRESET", () => Assert.Equal(Errno.ECONNRESET, s.Client.Recv(client, new byte[10]).Error));
        s.Row("client close", () => s.Client.Close(client));
    }

    private static void Abort(Stage s, int server)
    {
        s.Server.SetSockOpt(server, 1, 13, s_abort);
        s.Server.Close(server);
    }

    private static void Aborts(Stage s, int listener)
    {
        (int _, int server) = Pair(s, listener);
        s.Row("server close() with SO_LINGER 0 (RST)", () => Abort(s, server));

        (int client, server) = Pair(s, listener);
        s.Client.Send(client, new byte[100]);
        s.Settle();
        s.Row("server close() with unread data (RST)", () => s.Server.Close(server));

        (client, server) = Pair(s, listener);
        s.Row("server close(), client then send()", () =>
        {
            s.Server.Close(server);
            s.Settle();
            s.Client.Send(client, new byte[100]);
        });
    }

    private static void Overflow(Stage s)
    {
        var at = new IPEndPoint(RecordedRun.ServerAddress, 7002);
        int listener = Listen(s, at, 0);
        int[] clients = [.. Enumerable.Range(0, 3).Select(_ => s.Client.Socket(2, 1 | 2048, 0).Value)];
        s.Row("listen(0), 3 connects, no accept (overflow)", () =>
        {
            foreach (int fd in clients)
                s.Client.Connect(fd, at);
        });
        s.Row("close all of them", () =>
        {
            foreach (int fd in clients)
                s.Client.Close(fd);
            s.Server.Close(listener);
        });
    }
}
