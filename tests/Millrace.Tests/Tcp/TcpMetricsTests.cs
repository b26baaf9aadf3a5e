using System.Collections.Generic;
using System.Linq;
using System.Net;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class TcpMetricsTests
{
    private static readonly IpAddr s_source = IpAddr.Parse("10.0.0.1");

    // A connection to the n-th peer that has just measured its round trip.
    private static TcpSock Ended(NetStack stack, uint peer)
    {
        IpAddr remote = IpAddr.FromV4(0x0b00_0000 + peer);
        Route route = stack.Routes.LookUpOutput(IpAddr.Loopback4, IpAddr.Any4, 0, false)!;
        var sk = (TcpSock)stack.Tcp.Allocate(null!);
        sk.SetLocalAddr(s_source);
        sk.RemoteAddr = remote;
        sk.Route = route;
        sk.Rtt.Srtt8 = 8000;
        return sk;
    }

    private static IEnumerable<IPAddress> Peers(NetStack stack) => stack.ListTcpMetrics().Select(static e => e.Remote);

    [Fact]
    public void There_are_no_more_than_so_many_and_who_was_not_asked_for_the_longest_goes()
    {
        using var stack = new NetStack();
        TaskContext context = stack.Cpus.Enter();
        for (uint i = 0; i < TcpMetrics.MaxEntries; i++)
            stack.Tcp.Metrics.Learn(context.Cpu, Ended(stack, i));
        stack.Tcp.Metrics.Apply(context.Cpu, Ended(stack, 0));
        stack.Tcp.Metrics.Learn(context.Cpu, Ended(stack, 100_000));
        stack.Cpus.Leave(ref context);
        Assert.Equal(TcpMetrics.MaxEntries, stack.ListTcpMetrics().Count);
        Assert.Equal([IPAddress.Parse("11.1.134.160"), IPAddress.Parse("11.0.0.0")], Peers(stack).Take(2));
        Assert.DoesNotContain(IPAddress.Parse("11.0.0.1"), Peers(stack));
    }

    [Fact]
    public void One_peer_is_forgotten_or_all_are()
    {
        using var stack = new NetStack();
        TaskContext context = stack.Cpus.Enter();
        for (uint i = 0; i < 4; i++)
            stack.Tcp.Metrics.Learn(context.Cpu, Ended(stack, i));
        stack.Cpus.Leave(ref context);
        Assert.Equal(1, stack.FlushTcpMetrics(IPAddress.Parse("11.0.0.2")));
        Assert.Equal(["11.0.0.3", "11.0.0.1", "11.0.0.0"], Peers(stack).Select(static a => a.ToString()));
        Assert.Equal(3, stack.FlushTcpMetrics());
        Assert.Empty(stack.ListTcpMetrics());
    }

    [Fact]
    public void After_an_hour_only_what_the_route_says_is_left()
    {
        var host = new ExternalClockHost();
        using var stack = new NetStack(new NetStackOptions { Cpus = 1 }, host, ownsHost: true, buffers: null);
        TaskContext context = stack.Cpus.Enter();
        stack.Tcp.Metrics.Learn(context.Cpu, Ended(stack, 0));
        stack.Cpus.Leave(ref context);
        host.AdvanceTo(Micros.FromSeconds(3601));
        context = stack.Cpus.Enter();
        TcpSock next = Ended(stack, 0);
        next.Rtt = default;
        stack.Tcp.Metrics.Apply(context.Cpu, next);
        stack.Cpus.Leave(ref context);
        Assert.Equal(Micros.FromSeconds(3), next.Rto);
        Assert.Equal("11.0.0.0 age 0.000sec source 10.0.0.1", Assert.Single(stack.ListTcpMetrics()).ToString());
    }
}
