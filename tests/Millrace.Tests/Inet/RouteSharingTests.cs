using Millrace.Inet;
using Millrace.Sched;
using Millrace.Tests.Robustness;
using Millrace.Wire;

namespace Millrace.Tests.Inet;

/// <summary>A million connections between two hosts share a route, as long as it holds.</summary>
public sealed class RouteSharingTests
{
    private static readonly IpAddr Peer = IpAddr.FromV4(0x0a00_0002), Own = IpAddr.FromV4(0x0a00_0001);

    [Fact]
    public void What_was_asked_again_is_answered_with_the_same_route()
    {
        using var link = new HostileLink();
        RoutingTable routes = link.Stack.Tcp.Routes;
        Route first = routes.LookUpOutput(Peer, Own)!;
        Assert.Same(first, routes.LookUpOutput(Peer, Own));
        Assert.NotSame(first, routes.LookUpOutput(Peer, IpAddr.FromV4(0x0a00_0009)));
    }

    [Fact]
    public void A_route_that_no_longer_holds_is_not_answered()
    {
        using var link = new HostileLink();
        RoutingTable routes = link.Stack.Tcp.Routes;
        Route before = routes.LookUpOutput(Peer, Own)!;
        Assert.True(routes.UpdatePathMtu(Peer, 1000));
        Route told = routes.LookUpOutput(Peer, Own)!;
        Assert.Equal((1500, 1000), (before.Mtu, told.Mtu));
        // What an error told is forgotten in time, without an event that would make the route obsolete.
        link.Advance(Micros.FromSeconds(601));
        Assert.Equal(1500, routes.LookUpOutput(Peer, Own)!.Mtu);
    }
}
