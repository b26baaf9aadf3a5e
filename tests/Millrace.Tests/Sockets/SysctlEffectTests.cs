#pragma warning disable xUnit1051 // the simulation ends what waits
using System;
using System.Linq;
using System.Net;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tests.Sockets;

/// <summary>Settings that no story shows.</summary>
public sealed class SysctlEffectTests
{
    private static readonly IPEndPoint s_at = new(IPAddress.Parse("10.0.0.2"), 80);

    // A transfer between two machines, of which the server has these settings.
    private static void Transfer(Action<NetStack> configure, Action<NetStack, TcpConnection> look, int tos = 0)
    {
        using var simulation = new Simulation(1);
        NetStack client = simulation.CreateStack("client"), server = simulation.CreateStack("server");
        NetStack.Wire(client, "eth0", server, "eth0");
        client.AddAddress("eth0", IPAddress.Parse("10.0.0.1"), 24);
        server.AddAddress("eth0", s_at.Address, 24);
        configure(server);
        simulation.Spawn("server", () =>
        {
            using TcpListener listener = server.Listen(new IPEndPoint(IPAddress.Any, s_at.Port));
            using TcpConnection connection = listener.Accept();
            while (connection.Receive(new byte[65536]) > 0)
            {
            }
            look(server, connection);
        });
        simulation.Spawn("client", () =>
        {
            using TcpConnection connection = client.Connect(s_at, new TcpConnectOptions { Configure = c => c.SetOption(0, 1, tos) });
            connection.Send(new byte[100_000]);
        });
        simulation.Run();
    }

    [Theory]
    [InlineData(false, 0)]
    [InlineData(true, 0x48)]
    public void A_connection_bears_its_syns_tos_if_that_is_wanted(bool reflect, int expected) => Transfer(
        stack => stack.Sysctls.TcpReflectTos = reflect,
        (_, connection) =>
        {
            Span<byte> tos = stackalloc byte[sizeof(int)];
            connection.GetOption(0, 1, tos);
            Assert.Equal(expected, BitConverter.ToInt32(tos));
        },
        tos: 0x48);

    [Theory]
    [InlineData(1, 1, true)]
    [InlineData(0, 1, false)]
    [InlineData(1, 0, false)]
    public void Early_demux_can_be_switched_off(int ip, int tcp, bool looks)
    {
        TraceSession? trace = null;
        Transfer(stack =>
        {
            stack.Sysctls["net.ipv4.ip_early_demux"] = $"{ip}";
            stack.Sysctls["net.ipv4.tcp_early_demux"] = $"{tcp}";
            trace = stack.Trace(1 << 18);
        }, (_, _) => Assert.Equal(looks, trace!.Read().Any(static e => e.Name == "tcp_v4_early_demux")));
        trace!.Dispose();
    }

    [Fact]
    public void The_loopback_device_holds_no_more_than_the_backlog()
    {
        using var stack = new NetStack(new NetStackOptions { Cpus = 1 }, new ExternalClockHost(), ownsHost: true, buffers: null);
        stack.Sysctls.NetdevMaxBacklog = 0;
        using Process process = stack.CreateProcess();
        const int streamNonBlocking = 1 | 2048;
        Assert.Equal(Errno.EINPROGRESS, process.Connect(process.Socket(2, streamNonBlocking, 0).Value, new IPEndPoint(IPAddress.Loopback, 1)).Error);
        Assert.Equal(1, stack.Devices.ByName("lo")!.Statistics.RxDropped);
    }

    private static (long Polls, long Packets) PollsOf(Action<Sysctls> set)
    {
        (long, long) seen = default;
        Transfer(stack => set(stack.Sysctls), (stack, _) =>
            seen = (stack.Cpus.Read(Mib.MillraceNapiPolls), stack.Devices.ByName("eth0")!.Statistics.RxPackets));
        return seen;
    }

    [Fact]
    public void A_device_of_weight_one_has_a_turn_for_each_packet()
    {
        (long polls, long packets) = PollsOf(static s => s.DevWeight = 1);
        Assert.True(polls >= packets, $"{polls} polls for {packets} packets");
        (polls, packets) = PollsOf(static _ => { });
        Assert.True(polls < packets, $"{polls} polls for {packets} packets");
    }

    [Fact]
    public void A_budget_of_nothing_still_lets_one_turn_pass() =>
        Assert.True(PollsOf(static s => (s.NetdevBudget, s.NetdevBudgetUsecs) = (0, 0)).Packets > 0);
}
