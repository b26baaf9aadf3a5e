using System;
using System.Collections.Generic;
using System.Net;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tcp;
using Millrace.Tests.Recordings;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests.Scripted;

/// <summary>
/// What the recordings say of tables, timers and sleepers at the moment when a segment leaves or a call returns, which the order of the
/// traced steps alone does not show.
/// </summary>
public sealed class HandshakeFactTests
{
    private static readonly byte[] s_mss = Segment.MssOption(1460);

    private static void Play(Action<ScriptedHost> script)
    {
        using var host = new ScriptedHost();
        host.Run(() => script(host));
    }

    [Fact]
    public void A_syn_is_on_the_retransmit_queue_when_it_leaves_and_its_timer_of_a_second_is_armed_after() => Play(host =>
    {
        (bool Queued, bool Armed)? leaving = null;
        host.Leaving = syn => leaving ??= Look(host, (ushort)syn!.From.Port);
        ScriptedPeer peer = ScriptedPeer.Awaits(host, out Segment syn);
        Assert.Equal((true, false), leaving);
        Assert.Equal((true, true), Look(host, (ushort)syn.From.Port));
        host.Sleep(1100);
        Segment again = host.Take();
        Assert.Equal((syn.Seq, 1_000_000), (again.Seq, again.Time - syn.Time));
        peer.Send(peer.Make(TcpFlags.Rst | TcpFlags.Ack));
    });

    private static (bool Queued, bool Armed) Look(ScriptedHost host, ushort port)
    {
        Cpu cpu = host.Stack.Cpus.Acquire();
        TcpSock sk = RecordedStories.FindConnection(host.Stack, cpu, port);
        host.Stack.Cpus.Release(cpu);
        return (!sk.IsRtxEmpty, sk.WriteDeadline != Micros.Never);
    }

    [Fact]
    public void A_syn_puts_a_request_sock_into_the_table_before_its_answer_leaves_and_wakes_nobody() => Play(host =>
    {
        var at = new IPEndPoint(ScriptedHost.Address, 7001);
        int listener = host.Socket();
        host.Process.Bind(listener, at);
        host.Process.Listen(listener, 10);
        host.Spawn("acceptor", () => host.Process.Accept(listener));
        host.Sleep(10);
        NetCounters before = host.Stack.Counters;
        SockCommon? found = null;
        bool timed = false;
        host.Leaving = _ =>
        {
            Cpu cpu = host.Stack.Cpus.Acquire();
            found = host.Stack.Tcp.Established.LookUp(cpu, new FlowKey(IpAddr.From(ScriptedHost.PeerAddress), 40000, IpAddr.From(ScriptedHost.Address), 7001, 0));
            timed = host.Stack.Cpus.Timers.NextDeadline != Micros.Never;
            found?.Put(cpu);
            host.Stack.Cpus.Release(cpu);
        };
        var peer = new ScriptedPeer(host, new IPEndPoint(ScriptedHost.PeerAddress, 40000), at);
        peer.Send(peer.Make(TcpFlags.Syn, options: s_mss));
        Assert.IsType<TcpRequestSock>(found);
        Assert.True(timed);
        Assert.Equal(0, host.Stack.Counters.Since(before)["MillraceWakeups"]);
        // The ACK makes the connection, and one acceptor wakes.
        host.Leaving = null;
        peer.Seq++;
        peer.Expected = host.Take().End;
        peer.Acknowledge();
        Assert.Equal(1, host.Stack.Counters.Since(before)["MillraceWakeups"]);
    });

    [Fact]
    public void A_connection_takes_data_before_it_is_accepted() => Play(host =>
    {
        var at = new IPEndPoint(ScriptedHost.Address, 7001);
        int listener = host.Socket();
        host.Process.Bind(listener, at);
        host.Process.Listen(listener, 10);
        var peer = new ScriptedPeer(host, new IPEndPoint(ScriptedHost.PeerAddress, 40000), at);
        peer.Send(peer.Make(TcpFlags.Syn, options: s_mss));
        peer.Seq++;
        peer.Expected = host.Take().End;
        peer.Acknowledge();
        peer.Data(100);
        Assert.Equal(peer.Seq, host.Take().Ack);
        int fd = host.Process.Accept(listener).Value;
        Assert.Equal(100, host.Process.Recv(fd, new byte[200], MessageFlags.DontWait).Value);
    });

    [Fact]
    public void Over_loopback_neither_connect_nor_a_refusal_nor_send_ever_sleeps() => Play(host =>
    {
        var at = new IPEndPoint(IPAddress.Loopback, 7001);
        int listener = host.Socket();
        host.Process.Bind(listener, at);
        host.Process.Listen(listener, 10);
        long parks = host.Stack.Counters["MillraceParks"];
        int fd = host.Socket();
        Assert.False(host.Process.Connect(fd, at).IsError);
        Assert.Equal(100, host.Process.Send(fd, new byte[100]).Value);
        Assert.Equal(Errno.ECONNREFUSED, host.Process.Connect(host.Socket(), new IPEndPoint(IPAddress.Loopback, 9)).Error);
        Assert.Equal(parks, host.Stack.Counters["MillraceParks"]);
    });

    [Fact]
    public void A_peek_and_a_partial_read_free_nothing_and_the_last_byte_frees_the_buffer() => Play(host =>
    {
        ScriptedPeer peer = ScriptedPeer.Opens(host, s_mss);
        peer.Data(1000);
        int held = Held(host, peer);
        host.Process.Recv(peer.Fd, new byte[1000], MessageFlags.Peek);
        Assert.Equal(held, Held(host, peer));
        host.Process.Recv(peer.Fd, new byte[400]);
        Assert.Equal(held, Held(host, peer));
        host.Process.Recv(peer.Fd, new byte[600]);
        Assert.Equal(0, Held(host, peer));
    });

    private static int Held(ScriptedHost host, ScriptedPeer peer)
    {
        Cpu cpu = host.Stack.Cpus.Acquire();
        TcpSock sk = RecordedStories.FindConnection(host.Stack, cpu, peer.StackPort);
        host.Stack.Cpus.Release(cpu);
        return sk.ReceiveAllocated;
    }

    [Fact]
    public void A_segment_during_the_change_to_a_mini_sock_finds_one_of_the_two() => Play(host =>
    {
        // The full sock's FIN_WAIT2 ends and the mini-sock's begins in one store: the table is never without the connection.
        ScriptedPeer peer = ScriptedPeer.Opens(host, s_mss);
        host.Process.Close(peer.Fd);
        peer.Take();
        var ring = new TraceRing(1000);
        host.Stack.Cpus.Tracer.Attach(ring);
        host.Stack.Cpus.UpdateTracing();
        peer.Acknowledge();
        var records = new List<TraceRecord>();
        ring.Drain(records);
        int mini = records.FindIndex(r => r.Point == Tp.inet_twsk_hashdance), full = records.FindIndex(r => r.Point == Tp.inet_unhash);
        Assert.True(mini >= 0 && mini < full);
        Cpu cpu = host.Stack.Cpus.Acquire();
        SockCommon? found = host.Stack.Tcp.Established.LookUp(cpu, new FlowKey(IpAddr.From(ScriptedHost.PeerAddress), 40000, IpAddr.From(ScriptedHost.Address), 7001, 0));
        host.Stack.Cpus.Release(cpu);
        Assert.Equal(TcpState.FinWait2, Assert.IsType<TcpTimeWaitSock>(found).Substate);
    });
}
