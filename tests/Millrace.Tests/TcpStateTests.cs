using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Text;
using Millrace.Tcp;
using Millrace.Tests.Recordings;
using Millrace.Tests.Support;
using Millrace.Tracing;

namespace Millrace.Tests;

/// <summary>The state machine's table: printed, drawn, and walked by real connections.</summary>
public sealed class TcpStateTests
{
    private static readonly TcpState[] s_states = Enum.GetValues<TcpState>();
    private static readonly byte[] s_abort = [1, 0, 0, 0, 0, 0, 0, 0];

    [Fact]
    public void Every_pair_of_states_is_as_approved()
    {
        var text = new StringBuilder();
        foreach (TcpState from in s_states)
        {
            foreach (TcpState to in s_states.Where(s => s != from))
                text.Append(StackTrace.NameOf(from)).Append(' ').Append(StackTrace.NameOf(to)).Append(TcpStateMachine.Allows(from, to) ? " yes\n" : " -\n");
        }
        foreach (TcpState from in s_states)
        {
            (TcpState next, bool fin) = TcpStateMachine.OnClose(from);
            text.Append("close in ").Append(StackTrace.NameOf(from)).Append(" leads to ").Append(StackTrace.NameOf(next)).Append(fin ? ", FIN\n" : "\n");
        }
        Approve(text.ToString(), "tests", "Millrace.Tests", "Approved", "tcp-states.txt");
    }

    [Fact]
    public void The_drawing_is_the_table()
    {
        var dot = new StringBuilder("// The states of a connection, drawn from TcpStateMachine by TcpStateTests. RFC 9293 §3.3.2.\ndigraph tcp {\n");
        foreach ((TcpState from, TcpState to) in Arrows())
            dot.Append("  ").Append(StackTrace.NameOf(from)).Append(" -> ").Append(StackTrace.NameOf(to)).Append(";\n");
        Approve(dot.Append("}\n").ToString(), "docs", "tcp-states.dot");
    }

    [Fact]
    public void No_state_leads_to_itself() => Assert.DoesNotContain(s_states, s => TcpStateMachine.Allows(s, s));

    [Fact]
    public void Connections_walk_every_arrow_and_no_other()
    {
        var walked = new SortedSet<string>(StringComparer.Ordinal);
        foreach (Action<RecordedRun> play in (Action<RecordedRun>[])[LifeAndDeath, HalfClose, OpenAtOnce, OpenAtOnceAndClose,
            OpenAtOnceAndAbort, CloseAtOnce, AbortInFinWait1, AbortInCloseWait, Refused])
        {
            using var run = new RecordedRun(TimeSpan.FromMilliseconds(10));
            var rings = new List<TraceRing>();
            foreach (NetStack stack in (NetStack[])[run.Client, run.Server])
            {
                var ring = new TraceRing(1 << 18);
                stack.Cpus.Tracer.Attach(ring);
                rings.Add(ring);
            }
            play(run);
            run.Run();
            foreach (TraceRing ring in rings)
                walked.UnionWith(ArrowsOf(ring));
        }
        Assert.Equal(Arrows().Select(Name).Order(StringComparer.Ordinal), walked);
    }

    private static IEnumerable<(TcpState From, TcpState To)> Arrows() =>
        from f in s_states from t in s_states where TcpStateMachine.Allows(f, t) select (f, t);

    private static string Name((TcpState From, TcpState To) arrow) => $"{StackTrace.NameOf(arrow.From)}>{StackTrace.NameOf(arrow.To)}";

    // The mini-sock takes over where the full sock stood, and its end is the arrow from TIME_WAIT.
    private static IEnumerable<string> ArrowsOf(TraceRing ring)
    {
        var records = new List<TraceRecord>();
        ring.Drain(records);
        var states = new Dictionary<(ushort, ushort), TcpState>();
        foreach (TraceRecord r in records)
        {
            (ushort, ushort) key = (r.Endpoints.LocalPort, r.Endpoints.RemotePort);
            if (r.Point == Tp.inet_sock_set_state)
            {
                states[key] = (TcpState)r.B;
                yield return Name(((TcpState)r.A, (TcpState)r.B));
            }
            else if (r.Point == Tp.tcp_time_wait && r.A == (long)TcpState.TimeWait)
            {
                yield return Name((states[key], TcpState.TimeWait));
            }
            else if (r.Point == Tp.inet_twsk_kill)
            {
                yield return Name((TcpState.TimeWait, TcpState.Close));
            }
        }
    }

    // ---- The stories ----

    private static readonly IPEndPoint s_server = new(RecordedRun.ServerAddress, 7001), s_client = new(RecordedRun.ClientAddress, 7002);

    private static int Open(Actor me, IPEndPoint? local = null, bool nonBlocking = false)
    {
        int fd = me.Process.Socket(2, nonBlocking ? 1 | 2048 : 1, 0).Value;
        if (local is not null)
            Assert.False(me.Process.Bind(fd, local).IsError);
        return fd;
    }

    private static void Abort(Actor me, int fd)
    {
        me.Process.SetSockOpt(fd, 1, 13, s_abort);
        me.Process.Close(fd);
    }

    // A server that accepts one connection.
    private static void Serve(RecordedRun run, Action<Actor, int> then) => run.Spawn(run.Server, "server", me =>
    {
        int listener = Open(me, s_server);
        Assert.False(me.Process.Listen(listener, 1).IsError);
        then(me, me.Process.Accept(listener).Value);
        me.Process.Close(listener);
    });

    private static void Connect(RecordedRun run, Action<Actor, int> then) => run.Spawn(run.Client, "client", me =>
    {
        int fd = Open(me);
        me.At(100);
        Assert.False(me.Process.Connect(fd, s_server).IsError);
        then(me, fd);
    });

    private static void LifeAndDeath(RecordedRun run)
    {
        Serve(run, (me, fd) =>
        {
            me.Process.Recv(fd, new byte[1]);
            me.Process.Close(fd);
            // Until the client's TIME_WAIT is over.
            me.At(70_000);
        });
        Connect(run, (me, fd) => me.Process.Close(fd));
    }

    private static void HalfClose(RecordedRun run)
    {
        Serve(run, (me, fd) =>
        {
            me.Process.Recv(fd, new byte[1]);
            me.Process.Close(fd);
        });
        Connect(run, (me, fd) =>
        {
            me.Process.Shutdown(fd, 1);
            me.Process.Recv(fd, new byte[1]);
            me.Process.Close(fd);
        });
    }

    // Both connect to each other at the same time; what each does then, half a way later.
    private static void BothOpen(RecordedRun run, bool nonBlocking, Action<Actor, int> then)
    {
        void Side(NetStack stack, string name, IPEndPoint mine, IPEndPoint other) => run.Spawn(stack, name, me =>
        {
            int fd = Open(me, mine, nonBlocking);
            me.At(100);
            me.Process.Connect(fd, other);
            then(me, fd);
        });
        Side(run.Server, "server", s_server, s_client);
        Side(run.Client, "client", s_client, s_server);
    }

    private static void OpenAtOnce(RecordedRun run) => BothOpen(run, nonBlocking: false, (me, fd) => Abort(me, fd));

    // The SYNs cross at 110 ms, and their answers at 120.
    private static void OpenAtOnceAndClose(RecordedRun run) => BothOpen(run, nonBlocking: true, (me, fd) =>
    {
        me.At(115);
        me.Process.Close(fd);
        me.At(500);
    });

    private static void OpenAtOnceAndAbort(RecordedRun run) => BothOpen(run, nonBlocking: true, (me, fd) =>
    {
        me.At(115);
        Abort(me, fd);
        me.At(500);
    });

    private static void CloseAtOnce(RecordedRun run)
    {
        void CloseAt200(Actor me, int fd)
        {
            me.At(200);
            me.Process.Close(fd);
            me.At(500);
        }
        Serve(run, CloseAt200);
        Connect(run, CloseAt200);
    }

    private static void AbortInFinWait1(RecordedRun run)
    {
        Serve(run, (me, fd) => me.Process.Recv(fd, new byte[1]));
        Connect(run, (me, fd) =>
        {
            me.Process.Shutdown(fd, 1);
            Abort(me, fd);
        });
    }

    private static void AbortInCloseWait(RecordedRun run)
    {
        Serve(run, (me, fd) =>
        {
            me.Process.Recv(fd, new byte[1]);
            Abort(me, fd);
        });
        Connect(run, (me, fd) =>
        {
            me.Process.Shutdown(fd, 1);
            me.Process.Recv(fd, new byte[1]);
        });
    }

    private static void Refused(RecordedRun run) => run.Spawn(run.Client, "client", me =>
        Assert.Equal(Errno.ECONNREFUSED, me.Process.Connect(Open(me), s_server).Error));

    // ---- Approval ----

    // The approved text lies in the repository. MILLRACE_APPROVE=1 writes it anew; the change is then seen in review.
    private static void Approve(string text, params string[] path)
    {
        string file = Path.Combine([Repository.Root, .. path]);
        if (Environment.GetEnvironmentVariable("MILLRACE_APPROVE") == "1")
            File.WriteAllText(file, text);
        Assert.Equal(File.ReadAllText(file), text);
    }
}
