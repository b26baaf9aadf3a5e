using System.Collections.Generic;
using System.Globalization;
using System.Net;
using Millrace.Inet;
using Millrace.Tests.Support;
using Millrace.Tests.Syscalls;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tests.Inet;

/// <summary>Who may have a port beside whom, and which port a socket is given that asks for any.</summary>
public sealed class BindTests
{
    private static readonly (string Address, bool V6Only)[] s_addresses =
    [
        ("127.0.0.1", false), ("127.0.0.2", false), ("0.0.0.0", false), ("::1", false), ("::", false), ("::", true), ("::ffff:127.0.0.1", false),
    ];

    private static readonly (bool ReuseAddr, bool ReusePort)[] s_options = [(false, false), (true, false), (false, true), (true, true)];

    public static TheoryData<string, bool, bool, bool, string, string> Recorded()
    {
        var data = new TheoryData<string, bool, bool, bool, string, string>();
        foreach (string[] row in Repository.Recording("bind_conflicts.tsv"))
            data.Add(row[0], row[1] == "1", row[2] == "1", row[3] == "1", row[4], row[5]);
        return data;
    }

    [Theory, MemberData(nameof(Recorded))]
    public void A_second_socket_gets_the_port_when_it_did_on_Linux(
        string address, bool v6Only, bool reuseAddr, bool reusePort, string state, string recorded)
    {
        string actual = CallBench.Run(k =>
        {
            (int listener4, int listener6) = (ListenAt(k, "127.0.0.1"), ListenAt(k, "::1"));
            var outcomes = new List<string>();
            int port = 10000;
            foreach ((string otherAddress, bool otherV6Only) in s_addresses)
            {
                string group = "";
                foreach ((bool otherReuseAddr, bool otherReusePort) in s_options)
                {
                    port++;
                    int first = Socket(k, address, v6Only, reuseAddr, reusePort);
                    CallBench.Ok(k.P.Bind(first, At(address, port)));
                    int peer = Bring(k, first, state, address is "::1" or "::" ? listener6 : listener4, address.Contains(':'));
                    int second = Socket(k, otherAddress, otherV6Only, otherReuseAddr, otherReusePort);
                    group += TryBindAndListen(k, second, At(otherAddress, port));
                    CallBench.Ok(k.P.Close(second));
                    k.P.Close(first);
                    k.P.Close(peer);
                }
                outcomes.Add(group);
            }
            return string.Join(' ', outcomes);
        });
        Assert.Equal(recorded, actual);
    }

    private static int Socket(CallBench k, string address, bool v6Only, bool reuseAddr, bool reusePort)
    {
        int fd = k.Tcp(address.Contains(':') ? CallBench.Inet6 : CallBench.Inet);
        CallBench.Ok(k.P.SetSockOpt(fd, CallBench.SolSocket, So.ReuseAddr, reuseAddr ? 1 : 0));
        CallBench.Ok(k.P.SetSockOpt(fd, CallBench.SolSocket, So.ReusePort, reusePort ? 1 : 0));
        if (v6Only)
            CallBench.Ok(k.P.SetSockOpt(fd, SocketLevel.Ipv6, Ipv6Option.V6Only, 1));
        return fd;
    }

    private static IPEndPoint At(string address, int port) => new(IPAddress.Parse(address), port);

    private static int ListenAt(CallBench k, string address)
    {
        int fd = Socket(k, address, v6Only: false, reuseAddr: false, reusePort: false);
        CallBench.Ok(k.P.Bind(fd, At(address, 5000)));
        CallBench.Ok(k.P.Listen(fd, 100));
        return fd;
    }

    // Returns the other end of a connection, or a bad descriptor.
    private static int Bring(CallBench k, int fd, string state, int listener, bool inet6)
    {
        if (state == "bound")
            return -1;
        if (state == "listening")
        {
            CallBench.Ok(k.P.Listen(fd, 1));
            return -1;
        }
        IPEndPoint at = k.NameOf(listener);
        CallBench.Ok(k.P.Connect(fd, inet6 && at.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork
            ? At("::ffff:127.0.0.1", at.Port)
            : at));
        int peer = CallBench.Ok(k.P.Accept(listener));
        if (state == "connected")
            return peer;
        Assert.Equal("timewait", state);
        CallBench.Ok(k.P.Close(fd));
        CallBench.Ok(k.P.Close(peer));
        k.Sleep(50);
        return -1;
    }

    private static char TryBindAndListen(CallBench k, int fd, IPEndPoint at)
    {
        SysResult bound = k.P.Bind(fd, at);
        if (bound.IsError)
            return bound.Error == Errno.EADDRINUSE ? 'B' : '!';
        SysResult listening = k.P.Listen(fd, 1);
        return !listening.IsError ? '.' : listening.Error == Errno.EADDRINUSE ? 'L' : '?';
    }

    [Fact]
    public void Only_the_same_user_may_join_a_reuseport_group()
    {
        CallBench.Run(k =>
        {
            int first = k.Bound(out IPEndPoint at, So.ReusePort);
            CallBench.Ok(k.P.Listen(first, 1));
            Process other = k.Stack.CreateProcess(uid: 1000);
            int second = CallBench.Ok(other.Socket(CallBench.Inet, CallBench.Stream, 0));
            CallBench.Ok(other.SetSockOpt(second, CallBench.SolSocket, So.ReusePort, 1));
            CallBench.Fails(Errno.EADDRINUSE, other.Bind(second, at));
        });
    }

    [Fact]
    public void Each_listener_of_a_group_gets_its_share_and_a_flow_always_the_same_one()
    {
        CallBench.Run(k =>
        {
            var listeners = new List<int>();
            IPEndPoint at = CallBench.Loopback(8080);
            for (int i = 0; i < 4; i++)
            {
                int fd = Socket(k, "127.0.0.1", v6Only: false, reuseAddr: false, reusePort: true);
                CallBench.Ok(k.P.Bind(fd, at));
                CallBench.Ok(k.P.Listen(fd, 1000));
                CallBench.Ok(k.P.Fcntl(fd, 4, CallBench.NonBlock));
                listeners.Add(fd);
            }
            for (int i = 0; i < 400; i++)
                CallBench.Ok(k.P.Connect(k.Tcp(), at));
            var shares = new List<int>();
            foreach (int listener in listeners)
            {
                int share = 0;
                while (!k.P.Accept(listener).IsError)
                    share++;
                shares.Add(share);
            }
            Assert.Equal(400, shares[0] + shares[1] + shares[2] + shares[3]);
            Assert.All(shares, static share => Assert.InRange(share, 60, 140));

            IPEndPoint from = CallBench.Loopback(9090);
            int? winner = null;
            for (int i = 0; i < 3; i++)
            {
                int client = Socket(k, "127.0.0.1", v6Only: false, reuseAddr: true, reusePort: false);
                CallBench.Ok(k.P.Bind(client, from));
                CallBench.Ok(k.P.Connect(client, at));
                int index = listeners.FindIndex(fd => !k.P.Accept(fd).IsError);
                winner ??= index;
                Assert.Equal(winner, index);
                k.Abort(client);
                k.Sleep(10);
            }
        });
    }

    // ---- Ports that the stack chooses ----

    private static void Narrow(CallBench k, int low, int high) => k.Stack.Sysctls.IpLocalPortRange = (low, high);

    private static int BindAny(CallBench k, params int[] options)
    {
        int fd = k.Tcp();
        foreach (int option in options)
            CallBench.Ok(k.P.SetSockOpt(fd, CallBench.SolSocket, option, 1));
        SysResult bound = k.P.Bind(fd, CallBench.Loopback(0));
        return bound.IsError ? -(int)bound.Error : k.NameOf(fd).Port;
    }

    [Fact]
    public void Bind_takes_the_odd_ports_first_and_connect_the_even_ones_and_each_the_others_when_they_are_gone()
    {
        CallBench.Run(k =>
        {
            Narrow(k, 40000, 40019);
            k.Listening(out IPEndPoint at);
            for (int i = 0; i < 10; i++)
                Assert.Equal(1, BindAny(k) & 1);
            var even = new List<int>();
            for (int i = 0; i < 5; i++)
            {
                int fd = k.Tcp();
                CallBench.Ok(k.P.Connect(fd, at));
                even.Add(k.NameOf(fd).Port);
            }
            Assert.All(even, static port => Assert.Equal(0, port & 1));
            for (int i = 0; i < 5; i++)
                Assert.Equal(0, BindAny(k) & 1);
            Assert.Equal(-(int)Errno.EADDRINUSE, BindAny(k));
            CallBench.Fails(Errno.EADDRNOTAVAIL, ConnectUntilNone(k, at));
        });
    }

    private static SysResult ConnectUntilNone(CallBench k, IPEndPoint at)
    {
        SysResult result;
        int tries = 0;
        do
        {
            result = k.P.Connect(k.Tcp(), at);
        }
        while (!result.IsError && ++tries < 100);
        return result;
    }

    [Fact]
    public void The_same_port_serves_connections_to_different_peers()
    {
        CallBench.Run(k =>
        {
            Narrow(k, 40000, 40003);
            k.Listening(out IPEndPoint one);
            k.Listening(out IPEndPoint two);
            for (int i = 0; i < 4; i++)
            {
                CallBench.Ok(k.P.Connect(k.Tcp(), one));
                CallBench.Ok(k.P.Connect(k.Tcp(), two));
            }
            CallBench.Fails(Errno.EADDRNOTAVAIL, k.P.Connect(k.Tcp(), one));
            CallBench.Fails(Errno.EADDRNOTAVAIL, k.P.Connect(k.Tcp(), two));
        });
    }

    [Fact]
    public void Reserved_ports_are_given_to_nobody_who_does_not_ask_for_them()
    {
        CallBench.Run(k =>
        {
            Narrow(k, 40000, 40009);
            k.Stack.Sysctls.IpLocalReservedPorts = "40000-40006,40008";
            k.Listening(out IPEndPoint at);
            var given = new HashSet<int> { BindAny(k), BindAny(k) };
            Assert.Equal([40007, 40009], given);
            Assert.Equal(-(int)Errno.EADDRINUSE, BindAny(k));
            CallBench.Fails(Errno.EADDRNOTAVAIL, k.P.Connect(k.Tcp(), at));
            CallBench.Ok(k.P.Bind(k.Tcp(), CallBench.Loopback(40003)));
        });
    }

    [Fact]
    public void A_port_that_is_given_away_is_shared_with_nobody_even_if_all_would()
    {
        CallBench.Run(k =>
        {
            Narrow(k, 40000, 40003);
            for (int i = 0; i < 4; i++)
                Assert.InRange(BindAny(k, So.ReusePort, So.ReuseAddr), 40000, 40003);
            Assert.Equal(-(int)Errno.EADDRINUSE, BindAny(k, So.ReusePort));
            Assert.Equal(-(int)Errno.EADDRINUSE, BindAny(k, So.ReuseAddr));
            k.Stack.Sysctls["net.ipv4.ip_autobind_reuse"] = "1";
            Assert.InRange(BindAny(k, So.ReuseAddr), 40000, 40003);
            Assert.Equal(-(int)Errno.EADDRINUSE, BindAny(k, So.ReusePort));
        });
    }

    [Fact]
    public void Bind_address_no_port_leaves_the_choice_to_connect_which_may_share()
    {
        CallBench.Run(k =>
        {
            Narrow(k, 40000, 40001);
            k.Listening(out IPEndPoint one);
            k.Listening(out IPEndPoint two);
            foreach (IPEndPoint at in new[] { one, two, one, two })
            {
                int fd = k.Tcp();
                CallBench.Ok(k.P.SetSockOpt(fd, SocketLevel.Ip, IpOption.BindAddressNoPort, 1));
                CallBench.Ok(k.P.Bind(fd, new IPEndPoint(IPAddress.Parse("127.0.0.9"), 0)));
                Assert.Equal(0, k.NameOf(fd).Port);
                CallBench.Ok(k.P.Connect(fd, at));
                Assert.Equal("127.0.0.9", k.NameOf(fd).Address.ToString());
                Assert.InRange(k.NameOf(fd).Port, 40000, 40001);
            }
        });
    }

    [Fact]
    public void A_socket_can_narrow_the_range_for_itself_and_gets_every_port_of_it()
    {
        CallBench.Run(k =>
        {
            Narrow(k, 40000, 40999);
            k.Listening(out IPEndPoint at);
            var given = new HashSet<int>();
            for (int i = 0; i < 5; i++)
            {
                int fd = k.Tcp();
                CallBench.Ok(k.P.SetSockOpt(fd, SocketLevel.Ip, IpOption.LocalPortRange, 40104 << 16 | 40100));
                SysResult result = i < 3 ? k.P.Connect(fd, at) : k.P.Bind(fd, CallBench.Loopback(0));
                CallBench.Ok(result);
                given.Add(k.NameOf(fd).Port);
            }
            Assert.Equal([40100, 40101, 40102, 40103, 40104], [.. new SortedSet<int>(given)]);
        });
    }

    [Theory]
    [InlineData(0, 0, Errno.OK)]
    [InlineData(100, 0, Errno.OK)]
    [InlineData(0, 100, Errno.OK)]
    [InlineData(100, 99, Errno.EINVAL)]
    public void A_range_is_two_ports_in_order_or_open_on_a_side(int low, int high, Errno expected) => CallBench.Run(k =>
    {
        int fd = k.Tcp();
        Assert.Equal(expected, k.P.SetSockOpt(fd, SocketLevel.Ip, IpOption.LocalPortRange, high << 16 | low).Error);
        Assert.Equal(expected == Errno.OK ? high << 16 | low : 0, k.Get(fd, SocketLevel.Ip, IpOption.LocalPortRange).Value);
    });

    [Fact]
    public void Two_stacks_begin_at_different_ports_and_one_stack_at_different_ports_for_different_peers()
    {
        static string Sequence(ulong seed) => CallBench.Run(k =>
        {
            var ports = new List<string>();
            for (int i = 0; i < 3; i++)
            {
                k.Listening(out IPEndPoint at);
                int fd = k.Tcp();
                CallBench.Ok(k.P.Connect(fd, at));
                ports.Add(k.NameOf(fd).Port.ToString(CultureInfo.InvariantCulture));
            }
            Assert.Equal(3, new HashSet<string>(ports).Count);
            return string.Join(' ', ports);
        }, seed: seed);

        Assert.NotEqual(Sequence(1), Sequence(2));
        Assert.Equal(Sequence(3), Sequence(3));
    }

    [Fact]
    public void Finding_a_port_when_nearly_all_are_taken_looks_at_few()
    {
        CallBench.Run(k =>
        {
            const int ports = 1000;
            Narrow(k, 40000, 40000 + ports - 1);
            int listener = k.Listening(out IPEndPoint at);
            var open = new List<(int Client, int Server)>();
            for (int i = 0; i < ports * 19 / 20; i++)
                open.Add(Connected(k, listener, at));
            long before = Probes(k);
            // One goes, at random, and one comes: 950 of 1000 are taken all the time.
            const int rounds = 2000;
            var random = new Prng(1);
            for (int i = 0; i < rounds; i++)
            {
                int gone = random.Below(open.Count);
                k.Abort(open[gone].Client);
                CallBench.Ok(k.P.Close(open[gone].Server));
                open[gone] = Connected(k, listener, at);
            }
            Assert.InRange((Probes(k) - before) / rounds, 1, 40);
        });
    }

    [Fact]
    public void Binding_when_nearly_all_are_taken_looks_at_few()
    {
        CallBench.Run(k =>
        {
            const int ports = 1000, rounds = 2000;
            Narrow(k, 40000, 40000 + ports - 1);
            var open = new List<int>();
            for (int i = 0; i < ports * 19 / 20; i++)
                open.Add(BoundToAny(k));
            long before = Probes(k);
            var random = new Prng(1);
            for (int i = 0; i < rounds; i++)
            {
                int gone = random.Below(open.Count);
                CallBench.Ok(k.P.Close(open[gone]));
                open[gone] = BoundToAny(k);
            }
            Assert.InRange((Probes(k) - before) / rounds, 1, 80);
        });
    }

    private static int BoundToAny(CallBench k)
    {
        int fd = k.Tcp();
        CallBench.Ok(k.P.Bind(fd, CallBench.Loopback(0)));
        return fd;
    }

    private static (int Client, int Server) Connected(CallBench k, int listener, IPEndPoint at)
    {
        int fd = k.Tcp();
        CallBench.Ok(k.P.Connect(fd, at));
        return (fd, CallBench.Ok(k.P.Accept(listener)));
    }

    private static long Probes(CallBench k) => k.Stack.Cpus.Read(Mib.MillracePortProbes);
}
