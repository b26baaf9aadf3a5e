using System;
using System.Collections.Generic;
using System.Linq;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;

namespace Millrace.Tests.Devices;

/// <summary>Disciplines over a device that has room for so many packets, and says so.</summary>
public sealed class QdiscTests : IDisposable
{
    private readonly ExternalClockHost _host = new();
    private readonly NetStack _stack;
    private readonly Recorder _device = new();

    public QdiscTests()
    {
        _stack = new NetStack(new NetStackOptions { Seed = 1, Cpus = 1 }, _host, ownsHost: true, buffers: null);
        _stack.Devices.Add(_device);
    }

    public void Dispose() => _stack.Dispose();

    private bool Send(uint mark, long time = 0, int priority = 0, BufferOwner? owner = null, int length = 100)
    {
        Cpu cpu = _stack.Cpus.Acquire();
        cpu.BhDisable();
        SkBuff skb = cpu.AllocSkb();
        unsafe
        {
            skb.Put(length);
        }
        skb.Mark = mark;
        skb.Time = time;
        skb.Priority = priority;
        skb.Owner = owner;
        bool taken = _device.Qdisc.Transmit(cpu, skb);
        cpu.BhEnable();
        _stack.Cpus.Release(cpu);
        return taken;
    }

    private void MakeRoom(int packets)
    {
        _device.Room += packets;
        Cpu cpu = _stack.Cpus.Acquire();
        Assert.True(_device.Qdisc.IsStopped);
        _device.Qdisc.Run(cpu);
        _stack.Cpus.Release(cpu);
    }

    private QdiscStatistics Use(QueueDiscipline discipline)
    {
        _stack.SetQueueDiscipline("rec0", discipline);
        return Statistics;
    }

    private QdiscStatistics Statistics => _stack.GetQueueStatistics("rec0");

    private IEnumerable<uint> Sent => _device.Sent.Select(static s => s.Mark);

    [Fact]
    public void Without_a_queue_what_comes_is_sent()
    {
        Assert.Equal("noqueue", Statistics.Kind);
        Send(1);
        Assert.Equal([1u], Sent);
    }

    [Fact]
    public void Pfifo_keeps_so_many_while_the_device_is_full_and_drops_the_rest()
    {
        Assert.Equal("pfifo", Use(new PacketFifo { Limit = 2 }).Kind);
        _device.Room = 1;
        Assert.Equal([true, true, true, false], Enumerable.Range(1, 4).Select(i => Send((uint)i)));
        Assert.Equal((1L, 100L, 1L, 2), (Statistics.Packets, Statistics.Bytes, Statistics.Dropped, Statistics.Waiting));
        Assert.Equal(1, _device.Statistics.TxDropped);
        MakeRoom(1);
        Assert.Equal([1u, 2u], Sent);
        MakeRoom(5);
        Assert.Equal([1u, 2u, 3u], Sent);
        Assert.Equal(0, Statistics.Waiting);
    }

    [Fact]
    public void Pfifo_fast_sends_the_interactive_first_and_the_bulk_last()
    {
        Use(new PriorityFifo());
        _device.Room = 0;
        const int bulk = 2, interactive = 6;
        Send(1, priority: bulk);
        Send(2);
        Send(3, priority: interactive);
        Send(4);
        MakeRoom(10);
        Assert.Equal([3u, 2u, 4u, 1u], Sent);
    }

    [Fact]
    public void Fq_lets_connections_take_turns_by_bytes()
    {
        Use(new FairQueue { Quantum = 200, InitialQuantum = 200 });
        Owner a = new(), b = new();
        _device.Room = 0;
        for (uint i = 0; i < 4; i++)
            Send(10 + i, owner: a);
        for (uint i = 0; i < 4; i++)
            Send(20 + i, owner: b);
        MakeRoom(10);
        Assert.Equal([10u, 11u, 20u, 21u, 12u, 13u, 22u, 23u], Sent);
        Assert.Equal(2, Statistics.Flows);
    }

    [Fact]
    public void Fq_keeps_so_many_of_one_connection()
    {
        Use(new FairQueue { FlowLimit = 2 });
        Owner a = new(), b = new();
        _device.Room = 0;
        Assert.Equal([true, true, false], Enumerable.Range(1, 3).Select(i => Send((uint)i, owner: a)));
        Assert.True(Send(4, owner: b));
        Assert.Equal((1L, 1L, 3), (Statistics.FlowLimitDrops, Statistics.Dropped, Statistics.Waiting));
    }

    [Fact]
    public void Fq_does_not_keep_what_lies_beyond_its_horizon()
    {
        Use(new FairQueue { Horizon = TimeSpan.FromSeconds(1) });
        Assert.True(Send(1, time: 1_000_000));
        Assert.False(Send(2, time: 1_000_001));
        Assert.Equal((1L, 1, 1), (Statistics.HorizonDrops, Statistics.ThrottledFlows, Statistics.Waiting));
        Use(new FairQueue { Horizon = TimeSpan.FromSeconds(1), DropsBeyondHorizon = false });
        Assert.True(Send(3, time: 7_000_000));
        Assert.Equal(1, Statistics.HorizonCaps);
        _host.AdvanceTo(Micros.FromSeconds(1));
        Assert.Equal([(3u, 1_000_000L)], _device.Sent);
    }

    [Fact]
    public void What_waits_in_a_discipline_that_is_replaced_is_dropped()
    {
        Use(new FairQueue());
        Send(1, time: 5000);
        Use(new PacketFifo());
        Assert.Equal(1, _device.Statistics.TxDropped);
        _host.AdvanceTo(new Micros(10_000));
        Send(2);
        Assert.Equal([2u], Sent);
    }

    public static TheoryData<QueueDiscipline> Senseless =>
    [
        new PacketFifo { Limit = -1 },
        new FairQueue { Limit = -1 },
        new FairQueue { FlowLimit = -1 },
        new FairQueue { Quantum = 0 },
        new FairQueue { Quantum = (1 << 20) + 1 },
        new FairQueue { InitialQuantum = -1 },
        new FairQueue { Horizon = TimeSpan.Zero },
    ];

    [Theory, MemberData(nameof(Senseless), DisableDiscoveryEnumeration = true)]
    public void Senseless_numbers_are_refused(QueueDiscipline discipline)
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Use(discipline));
        Assert.Throws<ArgumentException>(() => _stack.SetQueueDiscipline("rec1", new NoQueue()));
        Assert.Equal("noqueue", Statistics.Kind);
    }

    [Fact]
    public void A_connection_that_fq_has_paced_is_not_held_back_once_fq_is_gone()
    {
        using var simulation = new Simulation(1);
        NetStack client = simulation.CreateStack("client"), server = simulation.CreateStack("server");
        NetStack.Wire(client, "eth0", server, "eth0");
        client.AddAddress("eth0", System.Net.IPAddress.Parse("10.0.0.1"), 24);
        server.AddAddress("eth0", System.Net.IPAddress.Parse("10.0.0.2"), 24);
        client.SetQueueDiscipline("eth0", new FairQueue());
        var at = new System.Net.IPEndPoint(System.Net.IPAddress.Parse("10.0.0.2"), 80);
        var states = new List<(bool Paced, bool Below)>();
        simulation.Spawn("server", () =>
        {
            using TcpListener listener = server.Listen(at);
            using TcpConnection connection = listener.Accept(TestContext.Current.CancellationToken);
            while (connection.Receive(new byte[65536], cancel: TestContext.Current.CancellationToken) > 0)
            {
            }
        });
        simulation.Spawn("client", () =>
        {
            using TcpConnection connection = client.Connect(at, cancel: TestContext.Current.CancellationToken);
            connection.Send(new byte[100_000], cancel: TestContext.Current.CancellationToken);
            states.Add(Pacing(client));
            client.SetQueueDiscipline("eth0", new PacketFifo());
            connection.Send(new byte[100_000], cancel: TestContext.Current.CancellationToken);
            states.Add(Pacing(client));
        });
        simulation.Run();
        Assert.Equal([(true, true), (false, false)], states);
    }

    private static (bool Paced, bool Below) Pacing(NetStack stack)
    {
        TaskContext context = stack.Cpus.Enter();
        var found = new Only();
        stack.Tcp.Established.ForEach(context.Cpu, ref found);
        stack.Cpus.Leave(ref context);
        return (found.Sock!.IsPaced, found.Sock.IsPacedBelow);
    }

    private struct Only : Millrace.Inet.ISockVisitor
    {
        public Millrace.Tcp.TcpSock? Sock;

        public void Visit(Cpu cpu, Millrace.Sockets.SockCommon sock) => Sock = sock as Millrace.Tcp.TcpSock ?? Sock;
    }

    private sealed class Owner : BufferOwner
    {
    }

    private sealed class Recorder() : NetDevice("rec0", 1500)
    {
        public int Room { get; set; } = int.MaxValue;

        public override bool HasRoom => Room > 0;

        public List<(uint Mark, long Time)> Sent { get; } = [];

        public override void StartXmit(Cpu cpu, SkBuff skb)
        {
            Room--;
            Sent.Add((skb.Mark, cpu.Now.Value));
            skb.Owner = null;
            cpu.FreeSkb(skb);
        }
    }
}
