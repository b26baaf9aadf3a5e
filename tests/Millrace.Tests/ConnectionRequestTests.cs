#pragma warning disable xUnit1051 // the simulation ends what waits
using System;
using System.Collections.Generic;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tcp;
using Millrace.Tests.Concurrency;
using Millrace.Tests.Scripted;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests;

/// <summary>SYNs whose answer the listener's user decides.</summary>
public sealed class ConnectionRequestTests
{
    private static readonly IPEndPoint At = new(ScriptedHost.Address, 80);

    // A listener whose requests wait, and the peer that knocks at it.
    private sealed class Door : IDisposable
    {
        public Door(ScriptedHost host, TcpListenOptions? options = null)
        {
            Host = host;
            options ??= new TcpListenOptions();
            options.OnRequest ??= _ => AcceptDecision.Later;
            Func<TcpConnectionRequest, AcceptDecision> ask = options.OnRequest;
            options.OnRequest = request =>
            {
                Requests.Add(request);
                return ask(request);
            };
            Listener = host.Stack.Listen(At, options);
        }

        public ScriptedHost Host { get; }

        public List<TcpConnectionRequest> Requests { get; } = [];

        public TcpListener Listener { get; }

        public ScriptedPeer Knock(int port = 1000, uint seq = 5000)
        {
            var peer = new ScriptedPeer(Host, new IPEndPoint(ScriptedHost.PeerAddress, port), At) { Seq = seq };
            Syn(peer);
            return peer;
        }

        public void Syn(ScriptedPeer peer)
        {
            peer.Send(peer.Make(TcpFlags.Syn, options: Segment.MssOption(1460)));
            Host.Sleep(1);
        }

        // The peer's part of the handshake, once it has been answered.
        public void Finish(ScriptedPeer peer)
        {
            Segment answer = Host.Take();
            Assert.Equal(TcpFlags.Syn | TcpFlags.Ack, answer.Flags);
            peer.Seq++;
            peer.Expected = answer.End;
            peer.Acknowledge();
            Host.Sleep(1);
        }

        public void Dispose() => Listener.Dispose();
    }

    private static void Play(Action<Door> script, TcpListenOptions? options = null, Action<NetStack>? configure = null)
    {
        using var host = new ScriptedHost(configure);
        host.Run(() =>
        {
            using var door = new Door(host, options);
            script(door);
        });
    }

    [Fact]
    public void Nothing_is_answered_before_the_decision_and_then_the_connection_is_accepted() => Play(door =>
    {
        ScriptedPeer peer = door.Knock();
        door.Host.Sleep(5000);
        door.Host.SentNothing();
        TcpConnectionRequest request = Assert.Single(door.Requests);
        Assert.Equal((At, new IPEndPoint(ScriptedHost.PeerAddress, 1000), true), (request.LocalEndPoint, request.RemoteEndPoint, request.IsPending));
        Assert.True(request.Allow());
        Assert.False(request.IsPending);
        door.Finish(peer);
        using TcpConnection connection = door.Listener.Accept(TestContext.Current.CancellationToken);
        Assert.Equal(request.RemoteEndPoint, connection.RemoteEndPoint);
        Assert.False(request.Allow() || request.Deny() || request.Drop());
        Assert.False(request.Ended.IsCancellationRequested);
    });

    [Theory]
    [InlineData(AcceptDecision.Allow, "Syn, Ack")]
    [InlineData(AcceptDecision.Deny, "Rst, Ack")]
    [InlineData(AcceptDecision.Drop, null)]
    public void The_answer_can_be_given_at_once(AcceptDecision decision, string? expected) => Play(door =>
    {
        ScriptedPeer peer = door.Knock();
        Segment? answer = door.Host.TryTake();
        Assert.Equal(expected, answer?.Flags.ToString());
        if (answer is not null)
            Assert.Equal(peer.Seq + 1, answer.Ack);
        Assert.Equal(decision != AcceptDecision.Allow, Assert.Single(door.Requests).Ended.IsCancellationRequested);
    }, new TcpListenOptions { OnRequest = _ => decision });

    [Fact]
    public void A_repeated_syn_is_the_same_request_and_not_answered_either() => Play(door =>
    {
        ScriptedPeer peer = door.Knock();
        door.Host.Sleep(1000);
        door.Syn(peer);
        door.Host.SentNothing();
        Assert.Single(door.Requests);
        Assert.True(door.Requests[0].Deny());
        Assert.Equal(TcpFlags.Rst | TcpFlags.Ack, door.Host.Take().Flags);
        door.Syn(peer);
        Assert.Equal(2, door.Requests.Count);
    });

    // The sequence number that the parked request will answer with.
    private static uint PendingIsn(NetStack stack)
    {
        TaskContext context = stack.Cpus.Enter();
        var found = new FirstRequest();
        stack.Tcp.Established.ForEach(context.Cpu, ref found);
        stack.Cpus.Leave(ref context);
        return found.Isn;
    }

    private struct FirstRequest : ISockVisitor
    {
        public uint Isn;

        public void Visit(Cpu cpu, SockCommon sk) => Isn = ((TcpRequestSock)sk).SndIsn.Value;
    }

    [Fact]
    public void An_ack_that_guesses_the_sequence_number_makes_no_connection() => Play(door =>
    {
        ScriptedPeer peer = door.Knock();
        peer.Seq++;
        peer.Expected = PendingIsn(door.Host.Stack) + 1;
        peer.Send(peer.Make(TcpFlags.Ack));
        door.Host.Sleep(1);
        door.Host.SentNothing();
        Assert.True(door.Requests[0].IsPending);
    });

    [Fact]
    public void An_undecided_request_expires_and_the_next_syn_is_a_new_one()
    {
        Play(door =>
        {
            ScriptedPeer peer = door.Knock();
            CancellationToken ended = door.Requests[0].Ended;
            door.Host.Sleep(2990);
            Assert.False(ended.IsCancellationRequested);
            door.Host.Sleep(20);
            Assert.True(ended.IsCancellationRequested);
            Assert.False(door.Requests[0].Allow());
            door.Host.SentNothing();
            door.Syn(peer);
            Assert.True(door.Requests[1].Allow());
            door.Finish(peer);
        }, new TcpListenOptions { DecisionTimeout = TimeSpan.FromSeconds(3) });
    }

    [Fact]
    public void A_peer_that_gives_up_ends_its_request() => Play(door =>
    {
        ScriptedPeer peer = door.Knock();
        CancellationToken ended = door.Requests[0].Ended;
        peer.Seq++;
        peer.Send(peer.Make(TcpFlags.Rst));
        door.Host.Sleep(1);
        Assert.True(ended.IsCancellationRequested);
        Assert.False(door.Requests[0].Deny());
        door.Host.SentNothing();
        Assert.Equal(1, door.Host.Stack.Count(Mib.TcpExtEmbryonicRsts));
    });

    [Fact]
    public void The_syn_ack_is_repeated_from_when_it_was_sent() => Play(door =>
    {
        ScriptedPeer peer = door.Knock();
        door.Host.Sleep(700);
        door.Requests[0].Allow();
        Segment first = door.Host.Take();
        door.Host.Sleep(3100);
        Assert.Equal([1_000_000L, 3_000_000L], [door.Host.Take().Time - first.Time, door.Host.Take().Time - first.Time]);
        door.Host.SentNothing();
        peer.Send(peer.Make(TcpFlags.Rst));
    });

    [Fact]
    public void Cookies_and_fast_open_do_not_get_past_the_decision() => Play(door =>
    {
        for (int i = 0; i < 4; i++)
            door.Knock(1000 + i);
        door.Host.SentNothing();
        Assert.Equal(4, door.Requests.Count);
        Assert.Equal(0, door.Host.Stack.Count(Mib.TcpExtSyncookiesSent));
    }, configure: static stack =>
    {
        stack.Sysctls.TcpSyncookies = 2;
        stack.Sysctls.TcpFastopen = 0x603;
    });

    [Fact]
    public void No_more_than_the_backlog_wait() => Play(door =>
    {
        for (int i = 0; i < 8; i++)
            door.Knock(1000 + i);
        Assert.Equal(5, door.Requests.Count);
        Assert.Equal(3, door.Host.Stack.Count(Mib.TcpExtTCPReqQFullDrop));
        foreach (TcpConnectionRequest request in door.Requests)
            Assert.True(request.Drop());
        door.Knock(2000);
        Assert.Equal(6, door.Requests.Count);
    }, new TcpListenOptions { Backlog = 4 });

    [Fact]
    public void A_request_takes_its_own_connection() => Play(door =>
    {
        ScriptedPeer first = door.Knock(1000), second = door.Knock(1001);
        ValueTask<TcpConnection> own = door.Requests[0].AcceptAsync(TestContext.Current.CancellationToken);
        door.Requests[1].Allow();
        door.Finish(first);
        door.Finish(second);
        Assert.True(own.IsCompletedSuccessfully);
        using TcpConnection connection = own.Result, other = door.Listener.Accept(TestContext.Current.CancellationToken);
        Assert.Equal((1000, 1001), (connection.RemoteEndPoint!.Port, other.RemoteEndPoint!.Port));
        first.Data(3);
        Assert.Equal(3, connection.Receive(new byte[10], cancel: TestContext.Current.CancellationToken));
    });

    private static SocketError ErrorOf(ValueTask<TcpConnection> accept)
    {
        Assert.True(accept.IsFaulted);
        return Assert.IsType<SocketException>(accept.AsTask().Exception!.InnerException).SocketErrorCode;
    }

    [Fact]
    public void Who_waits_for_its_connection_is_told_why_it_will_not_come() => Play(door =>
    {
        ScriptedPeer reset = door.Knock(1000), silent = door.Knock(1001);
        door.Knock(1002);
        ValueTask<TcpConnection>[] accepts = [.. door.Requests.Select(static r => r.AcceptAsync(TestContext.Current.CancellationToken))];
        reset.Seq++;
        reset.Send(reset.Make(TcpFlags.Rst));
        door.Host.Sleep(1);
        Assert.Equal(SocketError.ConnectionReset, ErrorOf(accepts[0]));
        Assert.Equal(SocketError.ConnectionAborted, ErrorOf(door.Requests[0].AcceptAsync(TestContext.Current.CancellationToken)));
        door.Host.Sleep(64_000);
        Assert.Equal(SocketError.TimedOut, ErrorOf(accepts[1]));
        door.Knock(1003);
        ValueTask<TcpConnection> last = door.Requests[^1].AcceptAsync(TestContext.Current.CancellationToken);
        door.Listener.Dispose();
        door.Host.Sleep(1);
        Assert.Equal(SocketError.OperationAborted, ErrorOf(last));
    });

    [Fact]
    public void Who_no_longer_waits_leaves_a_connection_that_is_reset() => Play(door =>
    {
        ScriptedPeer peer = door.Knock();
        using var cancel = new CancellationTokenSource();
        ValueTask<TcpConnection> accept = door.Requests[0].AcceptAsync(cancel.Token);
        cancel.Cancel();
        Assert.True(accept.IsCanceled);
        door.Finish(peer);
        Assert.True(door.Host.Take().Has(TcpFlags.Rst));
    });

    [Fact]
    public void The_end_of_the_listener_ends_what_waits() => Play(door =>
    {
        ScriptedPeer peer = door.Knock();
        CancellationToken ended = door.Requests[0].Ended;
        door.Listener.Dispose();
        door.Host.Sleep(1);
        Assert.True(ended.IsCancellationRequested);
        Assert.False(door.Requests[0].Allow());
        door.Host.SentNothing();
        door.Syn(peer);
        Assert.Equal(TcpFlags.Rst | TcpFlags.Ack, door.Host.Take().Flags);
    });

    [Fact]
    public void A_connection_can_be_made_ready_before_the_peer_believes_in_it()
    {
        using var simulation = new Simulation(3);
        NetStack client = simulation.CreateStack("client"), gateway = simulation.CreateStack("gateway"), server = simulation.CreateStack("server");
        NetStack.Wire(client, "eth0", gateway, "eth0");
        NetStack.Wire(gateway, "eth1", server, "eth0");
        client.AddAddress("eth0", IPAddress.Parse("10.1.0.1"), 24);
        gateway.AddAddress("eth0", IPAddress.Parse("10.1.0.2"), 24);
        gateway.AddAddress("eth1", IPAddress.Parse("10.2.0.1"), 24);
        server.AddAddress("eth0", IPAddress.Parse("10.2.0.2"), 24);
        var log = new List<string>();
        async Task Relay(TcpConnectionRequest request)
        {
            try
            {
                using TcpConnection upstream = await gateway.ConnectAsync(new IPEndPoint(IPAddress.Parse("10.2.0.2"), request.LocalEndPoint.Port));
                log.Add("upstream connected");
                using TcpConnection inbound = await request.AcceptAsync();
                var buffer = new byte[10];
                await upstream.SendAsync(buffer.AsMemory(0, await inbound.ReceiveAsync(buffer)));
                Assert.Equal(0, await inbound.ReceiveAsync(buffer));
            }
            catch (SocketException)
            {
                log.Add("upstream refused");
                request.Deny();
            }
        }

        AcceptDecision decide(TcpConnectionRequest request)
        {
            _ = Relay(request);
            return AcceptDecision.Later;
        }

        var options = new TcpListenOptions { OnRequest = decide };
        using TcpListener open = gateway.Listen(new IPEndPoint(IPAddress.Parse("10.1.0.2"), 80), options);
        using TcpListener dead = gateway.Listen(new IPEndPoint(IPAddress.Parse("10.1.0.2"), 81), options);
        simulation.Spawn("server", () =>
        {
            using TcpListener listener = server.Listen(new IPEndPoint(IPAddress.Any, 80));
            using TcpConnection connection = listener.Accept();
            Assert.Equal(5, connection.Receive(new byte[10]));
        });
        simulation.Spawn("client", () =>
        {
            Assert.Equal(SocketError.ConnectionRefused, Assert.Throws<SocketException>(
                () => client.Connect(new IPEndPoint(IPAddress.Parse("10.1.0.2"), 81))).SocketErrorCode);
            using TcpConnection connection = client.Connect(new IPEndPoint(IPAddress.Parse("10.1.0.2"), 80));
            log.Add("client connected");
            connection.Send("hello"u8);
        });
        simulation.Run();
        Assert.Equal(["upstream refused", "upstream connected", "client connected"], log);
    }

    // Many clients, and for each request three who decide at once: each client sees one decision, and every connection is accepted.
    private static void DecideOnManyThreads(Arena arena, bool disposeMidway)
    {
        const int Clients = 12, Deciders = 3;
        var requests = new System.Collections.Concurrent.ConcurrentQueue<TcpConnectionRequest>();
        int decided = 0, allowed = 0, connected = 0, refused = 0, other = 0;
        TcpListener listener = arena.Server.Listen(arena.EndPoint(), new TcpListenOptions
        {
            OnRequest = request =>
            {
                for (int i = 0; i < Deciders; i++)
                    requests.Enqueue(request);
                return AcceptDecision.Later;
            },
        });
        bool over() => Volatile.Read(ref connected) + Volatile.Read(ref refused) + Volatile.Read(ref other) == Clients;
        for (int d = 0; d < Deciders; d++)
        {
            int mine = d;
            arena.Spawn($"decider{d}", () =>
            {
                Process pause = arena.Server.CreateProcess();
                while (!over())
                {
                    if (requests.TryDequeue(out TcpConnectionRequest? request))
                    {
                        bool positive = (request.RemoteEndPoint.Port + mine) % 2 == 0;
                        if (positive ? request.Allow() : request.Deny())
                        {
                            Interlocked.Increment(ref decided);
                            Interlocked.Add(ref allowed, positive ? 1 : 0);
                        }
                        if (disposeMidway && Volatile.Read(ref decided) == Clients / 2)
                            listener.Dispose();
                    }
                    pause.Poll([], 1);
                }
            });
        }
        for (int c = 0; c < Clients; c++)
        {
            arena.Spawn($"client{c}", () =>
            {
                try
                {
                    using TcpConnection connection = arena.Client.Connect(arena.EndPoint());
                    Interlocked.Increment(ref connected);
                }
                catch (SocketException e)
                {
                    Interlocked.Increment(ref e.SocketErrorCode == SocketError.ConnectionRefused ? ref refused : ref other);
                }
            });
        }
        arena.Run();
        listener.Dispose();
        // Who was let in may be reset by the end of the listener before it has looked.
        if (!disposeMidway)
            Assert.Equal((Clients, allowed, Clients - allowed, 0), (decided, connected, refused, other));
        Assert.Equal(0, arena.Server.ListTcpSockets().Count(static s => s.State is TcpState.SynRecv or TcpState.Listen));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Of_many_who_decide_one_does(bool disposeMidway) => Arena.Both(20, 10, arena => DecideOnManyThreads(arena, disposeMidway));
}
