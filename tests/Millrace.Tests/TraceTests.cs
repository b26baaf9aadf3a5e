using System;
using System.Collections.Generic;
using System.Linq;
using System.Net;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tests;

public sealed class TraceTests
{
    private static readonly IPEndPoint Server = new(IPAddress.Parse("10.0.0.2"), 80);

    // Two hosts on a wire; the client connects, sends 1000 bytes and closes; the server reads to the end.
    private static IReadOnlyList<TraceEvent> Story(int capacity, out long lost)
    {
        using var world = new SimulatedWorld(1, explore: false);
        using var client = new NetStack(new NetStackOptions { Name = "client", Seed = 1, Cpus = 1 }, world.AddHost(), false, null);
        using var server = new NetStack(new NetStackOptions { Name = "server", Seed = 2, Cpus = 1 }, world.AddHost(), false, null);
        NetStack.Wire(client, "eth0", server, "eth0", new WireOptions { Offload = false });
        client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        server.AddAddress("eth0", Server.Address, 24);
        using TraceSession session = NetStack.Trace(capacity, client, server);
        world.Spawn("sink", () =>
        {
            Process p = server.CreateProcess();
            int listener = p.Socket(2, 1, 0).Value;
            p.Bind(listener, Server);
            p.Listen(listener, 1);
            int connection = p.Accept(listener).Value;
            while (p.Recv(connection, new byte[4096]).Value > 0)
            {
            }
            p.Close(connection);
        });
        world.Spawn("source", () =>
        {
            Process p = client.CreateProcess();
            int connection = p.Socket(2, 1, 0).Value;
            p.Connect(connection, Server);
            p.Send(connection, new byte[1000]);
            p.Close(connection);
        });
        world.Run(Micros.Never);
        lost = session.Lost;
        return session.Read();
    }

    [Fact]
    public void Every_point_of_the_vocabulary_has_words_for_its_numbers()
    {
        var record = new TraceRecord { Stack = new Tracer("x"), Endpoints = { Known = true } };
        foreach (Tp point in Enum.GetValues<Tp>())
        {
            for (int value = 1; value <= 2; value++)
            {
                record.Point = point;
                record.A = record.B = record.C = record.D = value;
                var step = new TraceEvent(record);
                Assert.DoesNotContain('{', step.Text);
                Assert.DoesNotContain('}', step.Text);
            }
        }
    }

    [Fact]
    public void One_session_puts_the_steps_of_two_stacks_in_one_order()
    {
        IReadOnlyList<TraceEvent> events = Story(1 << 16, out long lost);
        Assert.Equal(0, lost);
        Assert.Equal(Enumerable.Range(1, events.Count).Select(static n => (long)n), events.Select(static e => e.Sequence));
        Assert.Equal(["client", "server"], events.Select(static e => e.Stack).Distinct().Order());
        Assert.True(events.Zip(events.Skip(1)).All(static pair => pair.First.Time <= pair.Second.Time));
    }

    [Fact]
    public void A_state_change_bears_the_kernels_fields()
    {
        TraceEvent change = Story(1 << 16, out _).First(static e => e is { Name: "inet_sock_set_state", Stack: "client" });
        Assert.True(change.IsEvent);
        Assert.Equal("CLOSE → SYN_SENT", change.Text);
        Assert.Equal("source", change.TaskName);
        Assert.Equal(TraceContext.Task, change.Context);
        Assert.Equal(Server, change.Remote);
        Assert.Contains(new TraceField("oldstate", 7, "TCP_CLOSE"), change.Fields);
        Assert.Contains(new TraceField("newstate", 2, "TCP_SYN_SENT"), change.Fields);
        Assert.Contains(change.Fields, static f => f.ToString() == "daddr=10.0.0.2");
    }

    [Fact]
    public void A_packet_says_what_tcpdump_would()
    {
        List<TraceEvent> sent = [.. Story(1 << 16, out _).Where(static e => e.Name == "net_dev_xmit")];
        TracePacket syn = sent[0].Packet!;
        Assert.Equal("S", syn.Flags);
        Assert.Equal(Server, syn.Destination);
        Assert.Contains("mss 1460,sackOK,TS val", syn.Options, StringComparison.Ordinal);
        Assert.Contains("wscale 10", syn.Options, StringComparison.Ordinal);
        TracePacket synAck = sent[1].Packet!;
        Assert.Equal("S.", synAck.Flags);
        Assert.Equal(syn.SequenceNumber + 1, synAck.AcknowledgmentNumber);
        TracePacket data = sent.First(static e => e.Packet!.PayloadLength > 0).Packet!;
        Assert.Equal("P.", data.Flags);
        Assert.Equal(1000, data.PayloadLength);
        Assert.StartsWith($"10.0.0.1.{syn.Source.Port} > 10.0.0.2.80: Flags [S], seq {syn.SequenceNumber}, win 64240, options [mss 1460,",
            syn.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_sleeper_is_switched_away_woken_and_switched_back()
    {
        List<TraceEvent> server = [.. Story(1 << 16, out _).Where(static e => e.Stack == "server")];
        Assert.Equal(
            ["sink [S] → swapper/0", "wakes sink, for CPU 0", "swapper/0 [R] → sink"],
            server.Where(static e => e.Name is "sched_switch" or "sched_waking").Take(3).Select(static e => e.Text));
        Assert.False(server.First(static e => e.Name == "sched_waking").NeedResched);
        Assert.True(server.SkipWhile(static e => e.Name != "sched_waking").Skip(1).First().NeedResched);
    }

    [Fact]
    public void A_full_ring_loses_the_newest_and_counts_them()
    {
        IReadOnlyList<TraceEvent> events = Story(10, out long lost);
        Assert.Equal(10, events.Count);
        Assert.Equal(Story(1 << 16, out _).Count - 10, lost);
    }

    [Fact]
    public void A_session_that_is_over_costs_a_branch_again()
    {
        using var stack = new NetStack();
        TraceSession first = stack.Trace(), second = stack.Trace();
        first.Dispose();
        Assert.True(stack.Cpus.Cpus[0].TraceOn);
        second.Dispose();
        Assert.False(stack.Cpus.Cpus[0].TraceOn);
    }

    [Fact]
    public void Counters_go_by_the_kernels_names()
    {
        using var stack = new NetStack();
        NetCounters before = stack.Counters;
        Process p = stack.CreateProcess();
        int s = p.Socket(2, 1, 0).Value;
        Assert.Equal(Errno.ECONNREFUSED, p.Connect(s, new IPEndPoint(IPAddress.Loopback, 9), TestContext.Current.CancellationToken).Error);
        NetCounters moved = stack.Counters.Since(before);
        Assert.Equal(1, moved["TcpActiveOpens"]);
        Assert.Equal(1, moved["TcpOutRsts"]);
        Assert.Equal(1, moved.Drops["NO_SOCKET"]);
        Assert.Throws<KeyNotFoundException>(() => moved["TcpNoSuch"]);
    }
}
