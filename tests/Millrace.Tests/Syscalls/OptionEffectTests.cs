using System;
using System.Linq;
using System.Net;
using System.Runtime.InteropServices;
using System.Text;
using Millrace.Inet;
using Millrace.Tcp;
using Millrace.Tracing;

namespace Millrace.Tests.Syscalls;

/// <summary>What each socket option does, seen from the outside.</summary>
public sealed class OptionEffectTests
{
    private const int Socket = SocketLevel.Socket, Ip = SocketLevel.Ip, Ipv6 = SocketLevel.Ipv6, Tcp = SocketLevel.Tcp;
    private const uint SiocOutq = 0x5411, SiocOutqNsd = 0x894b;

    private static void Set(CallBench k, int fd, int level, int option, int value) => CallBench.Ok(k.P.SetSockOpt(fd, level, option, value));

    private static int Ioctl(CallBench k, int fd, uint request)
    {
        int value = -1;
        CallBench.Ok(k.P.Ioctl(fd, request, ref value));
        return value;
    }

    private static TcpInfo Info(CallBench k, int fd)
    {
        Span<byte> bytes = stackalloc byte[TcpInfo.Length];
        CallBench.Ok(k.P.GetSockOpt(fd, Tcp, TcpOption.Info, bytes));
        return TcpInfo.Read(bytes);
    }

    // A connection over loopback whose packets, from now on, are all lost.
    private static (int Client, int Server) Cut(CallBench k, Action<int>? prepare = null)
    {
        int listener = k.Listening(out IPEndPoint at);
        int client = k.Tcp();
        prepare?.Invoke(client);
        CallBench.Ok(k.P.Connect(client, at));
        int server = CallBench.Ok(k.P.Accept(listener));
        k.Sleep(100);
        k.Stack.Impair("lo", new ImpairmentOptions { Loss = 1 });
        return (client, server);
    }

    private static (int Client, int Server) Connect6(CallBench k, Action<int> prepare)
    {
        int listener = k.Tcp(CallBench.Inet6);
        var at = new IPEndPoint(IPAddress.IPv6Loopback, 8080);
        CallBench.Ok(k.P.Bind(listener, at));
        CallBench.Ok(k.P.Listen(listener, 8));
        int client = k.Tcp(CallBench.Inet6);
        prepare(client);
        CallBench.Ok(k.P.Connect(client, at));
        return (client, CallBench.Ok(k.P.Accept(listener)));
    }

    // ---- SOL_SOCKET ----

    [Fact]
    public void Type_protocol_and_domain_tell_what_was_asked_for() => CallBench.Run(k =>
    {
        int fd = k.Tcp(CallBench.Inet6);
        Assert.Equal(1, k.Get(fd, Socket, So.Type).Value);
        Assert.Equal(6, k.Get(fd, Socket, So.Protocol).Value);
        Assert.Equal(10, k.Get(fd, Socket, So.Domain).Value);
    });

    [Fact]
    public void Dontroute_reaches_only_what_is_on_the_link() => CallBench.Run(k =>
    {
        k.Stack.AddRoute(IPAddress.Parse("192.0.2.0"), 24, "eth0", IPAddress.Parse("10.99.0.254"));
        int fd = k.Tcp(flags: CallBench.NonBlock);
        CallBench.Fails(Errno.EINPROGRESS, k.P.Connect(fd, new IPEndPoint(IPAddress.Parse("192.0.2.7"), 80)));
        fd = k.Tcp(flags: CallBench.NonBlock);
        Set(k, fd, Socket, So.DontRoute, 1);
        CallBench.Fails(Errno.ENETUNREACH, k.P.Connect(fd, new IPEndPoint(IPAddress.Parse("192.0.2.7"), 80)));
        CallBench.Fails(Errno.EINPROGRESS, k.P.Connect(fd, CallBench.BlackHole));
    });

    [Fact]
    public void A_smaller_send_buffer_takes_less()
    {
        static int Taken(int bytes) => CallBench.Run(k =>
        {
            (int client, _) = Cut(k, fd => Set(k, fd, Socket, So.SndBuf, bytes));
            int taken = 0;
            SysResult sent;
            while (!(sent = k.P.Send(client, new byte[1000], CallBench.DontWait)).IsError)
                taken += sent.Value;
            return taken;
        });

        // The last buffer may be filled beyond the limit, and one holds half of the largest packet.
        Assert.InRange(Taken(5_000), 5_000, 10_000 + 32_768);
        Assert.InRange(Taken(500_000), 500_000, 1_000_000 + 32_768);
    }

    [Fact]
    public void Force_passes_the_limit_for_who_may() => CallBench.Run(k =>
    {
        k.Stack.Sysctls.RmemMax = k.Stack.Sysctls.WmemMax = 50_000;
        int fd = k.Tcp();
        foreach ((int plain, int force) in new[] { (So.SndBuf, So.SndBufForce), (So.RcvBuf, So.RcvBufForce) })
        {
            Set(k, fd, Socket, plain, 1_000_000);
            Assert.Equal(100_000, k.Get(fd, Socket, plain).Value);
            Set(k, fd, Socket, force, 1_000_000);
            Assert.Equal(2_000_000, k.Get(fd, Socket, plain).Value);
            Process user = k.Stack.CreateProcess(uid: 1000);
            CallBench.Fails(Errno.EPERM, user.SetSockOpt(CallBench.Ok(user.Socket(CallBench.Inet, CallBench.Stream, 0)), Socket, force, 1));
        }
    });

    [Fact]
    public void A_smaller_receive_buffer_offers_a_smaller_window() => CallBench.Run(k =>
    {
        int listener = k.Tcp();
        Set(k, listener, Socket, So.RcvBuf, 4000);
        IPEndPoint at = CallBench.Loopback(8080);
        CallBench.Ok(k.P.Bind(listener, at));
        CallBench.Ok(k.P.Listen(listener, 1));
        int client = k.Tcp();
        CallBench.Ok(k.P.Connect(client, at));
        Assert.InRange(Info(k, client).SendWindow, 1u, 8000u);
    });

    [Fact]
    public void Keepalive_finds_out_that_the_peer_has_gone() => CallBench.Run(k =>
    {
        (int client, _) = Cut(k, fd =>
        {
            Set(k, fd, Socket, So.KeepAlive, 1);
            Set(k, fd, Tcp, TcpOption.KeepIdle, 10);
            Set(k, fd, Tcp, TcpOption.KeepIntvl, 2);
            Set(k, fd, Tcp, TcpOption.KeepCnt, 3);
        });
        long start = k.NowMilliseconds;
        CallBench.Fails(Errno.ETIMEDOUT, k.Recv(client, 1));
        Assert.InRange(k.NowMilliseconds - start, 15_000, 16_500);
    });

    [Fact]
    public void Keepalive_asks_nobody_while_it_is_off() => CallBench.Run(k =>
    {
        (int client, _) = Cut(k, fd => Set(k, fd, Tcp, TcpOption.KeepIdle, 10));
        k.SetTimeout(client, So.RcvTimeo, 100_000);
        CallBench.Fails(Errno.EAGAIN, k.Recv(client, 1));
    });

    [Fact]
    public void Urgent_data_is_read_apart_unless_it_is_inline() => CallBench.Run(k =>
    {
        foreach (bool inline in new[] { false, true })
        {
            (int client, int server, _) = k.Pair();
            Set(k, client, Socket, So.OobInline, inline ? 1 : 0);
            CallBench.Ok(k.Send(server, "ab"));
            CallBench.Ok(k.Send(server, "c", MessageFlags.OutOfBand));
            CallBench.Ok(k.Send(server, "de"));
            var buffer = new byte[10];
            if (!inline)
            {
                Assert.Equal(1, k.P.Recv(client, buffer, MessageFlags.OutOfBand).Value);
                Assert.Equal((byte)'c', buffer[0]);
            }
            string read = "";
            while (read.Length < (inline ? 5 : 4))
                read += Encoding.ASCII.GetString(buffer, 0, CallBench.Ok(k.P.Recv(client, buffer, CallBench.DontWait)));
            Assert.Equal(inline ? "abcde" : "abde", read);
        }
    });

    [Fact]
    public void Priority_and_mark_go_with_every_packet_also_of_the_handshake() => CallBench.Run(k =>
    {
        PacketTap tap = PacketTap.On(k.Stack, "lo");
        k.Listening(out IPEndPoint at);
        int client = k.Tcp();
        Set(k, client, Socket, So.Priority, 5);
        Set(k, client, Socket, So.Mark, 0x77);
        CallBench.Ok(k.P.Connect(client, at));
        CallBench.Ok(k.Send(client, "x"));
        TappedPacket[] mine = [.. tap.Sent.Where(static p => p.Mark != 0)];
        Assert.Equal(3, mine.Length);
        Assert.All(mine, static p => Assert.Equal((5, 0x77u), (p.Priority, p.Mark)));
        Process user = k.Stack.CreateProcess(uid: 1000);
        int fd = CallBench.Ok(user.Socket(CallBench.Inet, CallBench.Stream, 0));
        CallBench.Fails(Errno.EPERM, user.SetSockOpt(fd, Socket, So.Mark, 1));
        CallBench.Fails(Errno.EPERM, user.SetSockOpt(fd, Socket, So.Priority, 7));
        CallBench.Ok(user.SetSockOpt(fd, Socket, So.Priority, 6));
    });

    [Fact]
    public void Lingering_close_waits_for_the_acknowledgement_or_the_time() => CallBench.Run(k =>
    {
        Span<byte> linger = stackalloc byte[8];
        BitConverter.TryWriteBytes(linger, 1);
        BitConverter.TryWriteBytes(linger[4..], 3);
        (int heard, _, _) = k.Pair();
        CallBench.Ok(k.P.SetSockOpt(heard, Socket, So.Linger, linger));
        long start = k.NowMilliseconds;
        CallBench.Ok(k.P.Close(heard));
        Assert.InRange(k.NowMilliseconds - start, 0, 100);

        (int client, _) = Cut(k);
        CallBench.Ok(k.P.SetSockOpt(client, Socket, So.Linger, linger));
        CallBench.Ok(k.Send(client, "x"));
        start = k.NowMilliseconds;
        CallBench.Ok(k.P.Close(client));
        Assert.InRange(k.NowMilliseconds - start, 3000, 3010);
    });

    [Fact]
    public void Linger_and_the_timeouts_read_back_what_was_set() => CallBench.Run(k =>
    {
        int fd = k.Tcp();
        byte[] linger = [1, 0, 0, 0, 7, 0, 0, 0];
        CallBench.Ok(k.P.SetSockOpt(fd, Socket, So.Linger, linger));
        var back = new byte[8];
        Assert.Equal(8, k.P.GetSockOpt(fd, Socket, So.Linger, back).Value);
        Assert.Equal(linger, back);
        foreach (int option in new[] { So.RcvTimeo, So.SndTimeo, So.RcvTimeoNew, So.SndTimeoNew })
        {
            Span<long> time = [3, 250_000], read = [0, 0];
            CallBench.Ok(k.P.SetSockOpt(fd, Socket, option, MemoryMarshal.AsBytes(time)));
            CallBench.Ok(k.P.GetSockOpt(fd, Socket, option, MemoryMarshal.AsBytes(read)));
            Assert.Equal((3, 250_000), (read[0], read[1]));
            time[1] = 1_000_000;
            CallBench.Fails(Errno.EDOM, k.P.SetSockOpt(fd, Socket, option, MemoryMarshal.AsBytes(time)));
            CallBench.Fails(Errno.EINVAL, k.P.SetSockOpt(fd, Socket, option, new byte[8]));
        }
    });

    [Fact]
    public void A_socket_bound_to_a_device_hears_only_that_device() => CallBench.Run(k =>
    {
        foreach (bool byIndex in new[] { false, true })
        {
            int fd = k.Tcp();
            int index = k.Stack.Devices.ByName("eth0")!.IfIndex;
            CallBench.Ok(byIndex
                ? k.P.SetSockOpt(fd, Socket, So.BindToIfIndex, index)
                : k.P.SetSockOpt(fd, Socket, So.BindToDevice, "eth0\0"u8));
            var at = new IPEndPoint(IPAddress.Any, byIndex ? 8081 : 8080);
            CallBench.Ok(k.P.Bind(fd, at));
            CallBench.Ok(k.P.Listen(fd, 1));
            CallBench.Fails(Errno.ECONNREFUSED, k.P.Connect(k.Tcp(), CallBench.Loopback(at.Port)));
            var name = new byte[16];
            Assert.Equal("eth0", Encoding.ASCII.GetString(name, 0, CallBench.Ok(k.P.GetSockOpt(fd, Socket, So.BindToDevice, name)) - 1));
            Assert.Equal(index, k.Get(fd, Socket, So.BindToIfIndex).Value);
        }
        CallBench.Fails(Errno.ENODEV, k.P.SetSockOpt(k.Tcp(), Socket, So.BindToDevice, "eth9"u8));
    });

    [Fact]
    public void Peername_cookie_meminfo_and_sndlowat_tell_of_the_connection() => CallBench.Run(k =>
    {
        (int client, int server, int listener) = k.Pair();
        var name = new byte[16];
        Assert.Equal(16, k.P.GetSockOpt(client, Socket, So.PeerName, name).Value);
        Assert.Equal(k.NameOf(listener).Port, name[2] << 8 | name[3]);
        CallBench.Fails(Errno.ENOTCONN, k.P.GetSockOpt(k.Tcp(), Socket, So.PeerName, name));

        ulong Cookie(int fd)
        {
            var bytes = new byte[8];
            CallBench.Ok(k.P.GetSockOpt(fd, Socket, So.Cookie, bytes));
            return BitConverter.ToUInt64(bytes);
        }

        Assert.Equal(Cookie(client), Cookie(client));
        Assert.NotEqual(Cookie(client), Cookie(server));

        CallBench.Ok(k.Send(server, "unread"));
        var memory = new int[9];
        CallBench.Ok(k.P.GetSockOpt(client, Socket, So.MemInfo, MemoryMarshal.AsBytes(memory.AsSpan())));
        Assert.True(memory[0] > 0, "what is unread counts");
        Assert.Equal(k.Get(client, Socket, So.RcvBuf).Value, memory[1]);
        Assert.Equal(1, k.Get(client, Socket, So.SndLowat).Value);
    });

    [Fact]
    public void The_pacing_rate_bounds_a_transfer() => CallBench.Run(k =>
    {
        int listener = k.Listening(out IPEndPoint at);
        int client = k.Tcp();
        Set(k, client, Tcp, TcpOption.MaxSeg, 1000);
        Set(k, client, Socket, So.MaxPacingRate, 100_000);
        CallBench.Ok(k.P.Connect(client, at));
        int server = CallBench.Ok(k.P.Accept(listener));
        long start = k.NowMilliseconds;
        k.After(0, () =>
        {
            for (int sent = 0; sent < 500_000;)
                sent += CallBench.Ok(k.P.Send(client, new byte[50_000]));
        });
        CallBench.Ok(k.Recv(server, 500_000, MessageFlags.WaitAll));
        Assert.InRange(k.NowMilliseconds - start, 3500, 6500);
    });

    [Fact]
    public void Incoming_cpu_tells_where_the_last_packet_was_handled() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.Send(client, "x"));
        Assert.Equal(0, k.Get(server, Socket, So.IncomingCpu).Value);
        Assert.Equal(-1, k.Get(k.Tcp(), Socket, So.IncomingCpu).Value);
    });

    [Fact]
    public void Buf_lock_tells_which_buffers_were_set_by_hand_and_lets_them_grow_again() => CallBench.Run(k =>
    {
        int fd = k.Tcp();
        Set(k, fd, Socket, So.RcvBuf, 10_000);
        Assert.Equal(2, k.Get(fd, Socket, So.BufLock).Value);
        Set(k, fd, Socket, So.SndBuf, 10_000);
        Assert.Equal(3, k.Get(fd, Socket, So.BufLock).Value);
        Set(k, fd, Socket, So.BufLock, 0);
        k.Listening(out IPEndPoint at);
        CallBench.Ok(k.P.Connect(fd, at));
        Assert.True(k.Get(fd, Socket, So.SndBuf).Value > 20_000, "the send buffer is the stack's to size again");
    });

    // ---- IP and IPv6 ----

    [Fact]
    public void Tos_and_ttl_are_in_the_header_and_dont_fragment_is_as_discovery_asks() => CallBench.Run(k =>
    {
        PacketTap tap = PacketTap.On(k.Stack, "lo");
        k.Listening(out IPEndPoint at);
        int fd = k.Tcp();
        Set(k, fd, Ip, IpOption.Tos, 0xb8);
        Set(k, fd, Ip, IpOption.Ttl, 9);
        Set(k, fd, Ip, IpOption.MtuDiscover, (int)PathMtuDiscovery.Dont);
        CallBench.Ok(k.P.Connect(fd, at));
        Assert.Equal((0xb8, 9, false), (tap.Sent[0].Tos, tap.Sent[0].Ttl, tap.Sent[0].DontFragment));
        Assert.Equal((0, 64, true), (tap.Sent[1].Tos, tap.Sent[1].Ttl, tap.Sent[1].DontFragment));
        CallBench.Ok(k.P.Connect(k.Tcp(), at));
        Assert.True(tap.Sent[^1].DontFragment);
    });

    [Fact]
    public void Traffic_class_hop_limit_and_flow_label_are_in_the_header() => CallBench.Run(k =>
    {
        PacketTap tap = PacketTap.On(k.Stack, "lo");
        Connect6(k, fd =>
        {
            Set(k, fd, Ipv6, Ipv6Option.TClass, 0x58);
            Set(k, fd, Ipv6, Ipv6Option.UnicastHops, 11);
        });
        Assert.Equal((0x58, 11), (tap.Sent[0].Tos, tap.Sent[0].Ttl));
        Assert.NotEqual(0u, tap.Sent[0].FlowLabel);
    });

    [Fact]
    public void Without_autoflowlabel_there_is_none() => CallBench.Run(k =>
    {
        PacketTap tap = PacketTap.On(k.Stack, "lo");
        Connect6(k, fd => Set(k, fd, Ipv6, Ipv6Option.AutoFlowLabel, 0));
        Assert.Equal(0u, tap.Sent[0].FlowLabel);
        Assert.Equal(64, tap.Sent[0].Ttl);
    });

    [Fact]
    public void Mtu_is_the_paths_once_there_is_a_peer() => CallBench.Run(k =>
    {
        CallBench.Fails(Errno.ENOTCONN, k.Get(k.Tcp(), Ip, IpOption.Mtu));
        Assert.Equal(k.Stack.Devices.ByName("lo")!.Mtu, k.Get(k.Pair().Client, Ip, IpOption.Mtu).Value);
        (int client, _) = Connect6(k, static _ => { });
        Assert.Equal(k.Stack.Devices.ByName("lo")!.Mtu, k.Get(client, Ipv6, Ipv6Option.Mtu).Value);
    });

    [Theory]
    [InlineData(SocketLevel.Ip, IpOption.FreeBind, "192.0.2.1")]
    [InlineData(SocketLevel.Ip, IpOption.Transparent, "192.0.2.1")]
    [InlineData(SocketLevel.Ipv6, Ipv6Option.FreeBind, "2001:db8::1")]
    [InlineData(SocketLevel.Ipv6, Ipv6Option.Transparent, "2001:db8::1")]
    public void Freebind_and_transparent_bind_what_is_not_ours(int level, int option, string address) => CallBench.Run(k =>
    {
        var foreign = new IPEndPoint(IPAddress.Parse(address), 8080);
        int family = level == Ip ? CallBench.Inet : CallBench.Inet6;
        CallBench.Fails(Errno.EADDRNOTAVAIL, k.P.Bind(k.Tcp(family), foreign));
        int fd = k.Tcp(family);
        Set(k, fd, level, option, 1);
        CallBench.Ok(k.P.Bind(fd, foreign));
        Process user = k.Stack.CreateProcess(uid: 1000);
        SysResult result = user.SetSockOpt(CallBench.Ok(user.Socket(family, CallBench.Stream, 0)), level, option, 1);
        Assert.Equal(option is IpOption.Transparent or Ipv6Option.Transparent ? Errno.EPERM : Errno.OK, result.Error);
    });

    [Fact]
    public void Packets_that_came_from_too_far_are_not_heard() => CallBench.Run(k =>
    {
        int listener = k.Bound(out IPEndPoint at);
        Set(k, listener, Ip, IpOption.MinTtl, 65);
        CallBench.Ok(k.P.Listen(listener, 1));
        int fd = k.Tcp();
        k.SetTimeout(fd, So.SndTimeo, 500);
        CallBench.Fails(Errno.EINPROGRESS, k.P.Connect(fd, at));
        Assert.Equal(1, k.Stack.Cpus.Read(Mib.TcpExtTCPMinTTLDrop));
        int near = k.Tcp();
        Set(k, near, Ip, IpOption.Ttl, 65);
        CallBench.Ok(k.P.Connect(near, at));
    });

    [Fact]
    public void Packets_that_came_over_too_many_hops_are_not_heard() => CallBench.Run(k =>
    {
        (int client, int server) = Connect6(k, static _ => { });
        Set(k, server, Ipv6, Ipv6Option.MinHopCount, 65);
        CallBench.Ok(k.Send(client, "x"));
        CallBench.Fails(Errno.EAGAIN, k.Recv(server, 1, CallBench.DontWait));
        Assert.Equal(1, k.Stack.Cpus.Read(Mib.TcpExtTCPMinTTLDrop));
    });

    [Theory]
    [InlineData(0, Errno.OK)]
    [InlineData(1, Errno.ECONNREFUSED)]
    public void A_v6only_listener_does_not_hear_IPv4(int only, Errno expected) => CallBench.Run(k =>
    {
        int fd = k.Tcp(CallBench.Inet6);
        Set(k, fd, Ipv6, Ipv6Option.V6Only, only);
        CallBench.Ok(k.P.Bind(fd, new IPEndPoint(IPAddress.IPv6Any, 8080)));
        CallBench.Ok(k.P.Listen(fd, 1));
        CallBench.Fails(Errno.EINVAL, k.P.SetSockOpt(fd, Ipv6, Ipv6Option.V6Only, 0));
        Assert.Equal(expected, k.P.Connect(k.Tcp(), CallBench.Loopback(8080)).Error);
    });

    // What a router says of a packet that it cannot deliver.
    private static byte[] HostUnreachable(byte[] packet)
    {
        bool v6 = packet[0] >> 4 == 6;
        byte[] quoted = packet[..(v6 ? 60 : 40)];
        byte[] error = [.. packet[..(v6 ? 40 : 20)], v6 ? (byte)1 : (byte)3, v6 ? (byte)3 : (byte)1, 0, 0, 0, 0, 0, 0, .. quoted];
        int at = v6 ? 40 : 20, length = error.Length - at;
        if (v6)
        {
            error[6] = 58;
            (error[4], error[5]) = (0, (byte)length);
            byte[] pseudo = [.. error[8..40], 0, 0, 0, (byte)length, 0, 0, 0, 58, .. error[at..]];
            (error[at + 2], error[at + 3]) = Sum(pseudo);
            return error;
        }
        error[9] = 1;
        (error[2], error[3]) = (0, (byte)error.Length);
        (error[10], error[11]) = (0, 0);
        (error[10], error[11]) = Sum(error[..20]);
        (error[at + 2], error[at + 3]) = Sum(error[at..]);
        return error;
    }

    private static (byte High, byte Low) Sum(byte[] bytes)
    {
        uint sum = 0;
        for (int i = 0; i < bytes.Length; i += 2)
            sum += (uint)(bytes[i] << 8 | (i + 1 < bytes.Length ? bytes[i + 1] : 0));
        while (sum > 0xffff)
            sum = (sum & 0xffff) + (sum >> 16);
        return ((byte)(~sum >> 8), (byte)~sum);
    }

    [Theory]
    [InlineData(false, 0, Errno.EAGAIN)]
    [InlineData(false, 1, Errno.EHOSTUNREACH)]
    [InlineData(true, 0, Errno.EAGAIN)]
    [InlineData(true, 1, Errno.EHOSTUNREACH)]
    public void With_recverr_an_established_connection_is_told_of_ICMP_errors(bool v6, int on, Errno expected) => CallBench.Run(k =>
    {
        int client = v6 ? Connect6(k, static _ => { }).Client : k.Pair().Client;
        Set(k, client, v6 ? Ipv6 : Ip, v6 ? Ipv6Option.RecvErr : IpOption.RecvErr, on);
        k.Stack.Impair("lo", new ImpairmentOptions { Loss = 1 });
        PacketTap tap = PacketTap.On(k.Stack, "lo");
        CallBench.Ok(k.Send(client, "unacknowledged"));
        byte[] lost = tap.Sent[^1].Bytes;
        Assert.Equal(14, tap.Sent[^1].Payload);
        k.Inject(HostUnreachable(lost));
        CallBench.Fails(expected, k.P.Recv(client, new byte[1], CallBench.DontWait));
    });

    [Fact]
    public void The_settings_of_IPv6_are_the_defaults_of_new_sockets() => CallBench.Run(k =>
    {
        k.Stack.Sysctls["net.ipv6.bindv6only"] = "1";
        Assert.Equal(1, k.Get(k.Tcp(CallBench.Inet6), Ipv6, Ipv6Option.V6Only).Value);
        foreach ((string setting, int option, bool labelled) in new[] { ("0", 0, false), ("2", 0, false), ("1", 1, true), ("3", 1, true) })
        {
            k.Stack.Sysctls["net.ipv6.auto_flowlabels"] = setting;
            Assert.Equal(option, k.Get(k.Tcp(CallBench.Inet6), Ipv6, Ipv6Option.AutoFlowLabel).Value);
            PacketTap tap = PacketTap.On(k.Stack, "lo");
            k.P.Connect(k.Tcp(CallBench.Inet6), new IPEndPoint(IPAddress.IPv6Loopback, 9));
            Assert.Equal(labelled, tap.Sent[0].FlowLabel != 0);
        }
    });

    [Fact]
    public void Options_of_IPv6_are_not_there_on_an_IPv4_socket() => CallBench.Run(k =>
    {
        CallBench.Fails(Errno.ENOPROTOOPT, k.P.SetSockOpt(k.Tcp(), Ipv6, Ipv6Option.V6Only, 1));
        CallBench.Fails(Errno.EOPNOTSUPP, k.Get(k.Tcp(), Ipv6, Ipv6Option.V6Only));
    });

    // ---- TCP ----

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 0)]
    public void Nodelay_sends_small_writes_beside_unacknowledged_ones(int noDelay, int heldBack) => CallBench.Run(k =>
    {
        (int client, _) = Cut(k, fd => Set(k, fd, Tcp, TcpOption.NoDelay, noDelay));
        CallBench.Ok(k.Send(client, "a"));
        CallBench.Ok(k.Send(client, "b"));
        Assert.Equal(heldBack, Ioctl(k, client, SiocOutqNsd));
        Assert.Equal(2, Ioctl(k, client, SiocOutq));
    });

    [Fact]
    public void A_cork_holds_what_fills_no_segment_until_it_is_drawn() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        Set(k, client, Tcp, TcpOption.Cork, 1);
        CallBench.Ok(k.Send(client, "half"));
        CallBench.Fails(Errno.EAGAIN, k.Recv(server, 10, CallBench.DontWait));
        Set(k, client, Tcp, TcpOption.Cork, 0);
        Assert.Equal(4, k.Recv(server, 10, CallBench.DontWait).Value);
    });

    [Fact]
    public void Maxseg_bounds_both_directions() => CallBench.Run(k =>
    {
        int listener = k.Listening(out IPEndPoint at);
        int client = k.Tcp();
        Set(k, client, Tcp, TcpOption.MaxSeg, 1000);
        CallBench.Ok(k.P.Connect(client, at));
        int server = CallBench.Ok(k.P.Accept(listener));
        Assert.Equal(988, k.Get(client, Tcp, TcpOption.MaxSeg).Value);
        Assert.Equal(988, k.Get(server, Tcp, TcpOption.MaxSeg).Value);
    });

    [Fact]
    public void Syncnt_bounds_the_time_that_a_connect_takes_to_fail() => CallBench.Run(k =>
    {
        int fd = k.Tcp();
        Set(k, fd, Tcp, TcpOption.SynCnt, 2);
        long start = k.NowMilliseconds;
        CallBench.Fails(Errno.ETIMEDOUT, k.P.Connect(fd, CallBench.BlackHole));
        // As 6.18 does: five repeated at intervals of a second (tcp_syn_linear_timeouts adds to the count), then two more seconds.
        Assert.InRange(k.NowMilliseconds - start, 6_990, 7_010);
    });

    [Theory]
    [InlineData(2, 4000, 0)]
    [InlineData(0, 4000, 1)]
    [InlineData(-1, 10, 0)]
    public void Linger2_bounds_the_wait_for_the_peers_end(int seconds, int later, int left) => CallBench.Run(k =>
    {
        (int client, _, _) = k.Pair();
        if (seconds != 0)
            Set(k, client, Tcp, TcpOption.Linger2, seconds);
        CallBench.Ok(k.P.Close(client));
        k.Sleep(later);
        Assert.Equal(left, k.Stack.Tcp.TimeWaits.Count);
    });

    [Fact]
    public void With_defer_accept_a_connection_without_data_is_not_told_of() => CallBench.Run(k =>
    {
        int listener = k.Bound(out IPEndPoint at);
        Set(k, listener, Tcp, TcpOption.DeferAccept, 10);
        CallBench.Ok(k.P.Listen(listener, 1));
        int client = k.Tcp();
        CallBench.Ok(k.P.Connect(client, at));
        k.Sleep(100);
        Assert.Equal("none", k.Poll(listener));
        CallBench.Ok(k.Send(client, "hello"));
        Assert.Equal("IN", k.Poll(listener));
    });

    [Fact]
    public void The_window_clamp_bounds_what_is_offered() => CallBench.Run(k =>
    {
        int listener = k.Bound(out IPEndPoint at);
        Set(k, listener, Tcp, TcpOption.WindowClamp, 5000);
        CallBench.Ok(k.P.Listen(listener, 1));
        int client = k.Tcp();
        CallBench.Ok(k.P.Connect(client, at));
        Assert.InRange(Info(k, client).SendWindow, 1u, 5000u);
    });

    [Theory]
    [InlineData(0, false)]
    [InlineData(1, true)]
    public void Quickack_decides_whether_data_is_acknowledged_at_once(int quick, bool atOnce) => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        Set(k, server, Tcp, TcpOption.QuickAck, quick);
        CallBench.Ok(k.Send(client, "x"));
        Assert.Equal(atOnce, Ioctl(k, client, SiocOutq) == 0);
        k.Sleep(60);
        Assert.Equal(0, Ioctl(k, client, SiocOutq));
    });

    [Fact]
    public void Congestion_names_the_algorithm_and_takes_one_that_there_is() => CallBench.Run(k =>
    {
        int client = k.Pair().Client;

        string Name()
        {
            var bytes = new byte[16];
            CallBench.Ok(k.P.GetSockOpt(client, Tcp, TcpOption.Congestion, bytes));
            return Encoding.ASCII.GetString(bytes).TrimEnd('\0');
        }

        Assert.Equal("cubic", Name());
        CallBench.Fails(Errno.ENOENT, k.P.SetSockOpt(client, Tcp, TcpOption.Congestion, "hybla-of-nowhere"u8));
        CallBench.Fails(Errno.EINVAL, k.P.SetSockOpt(client, Tcp, TcpOption.Congestion, ""u8));
        CallBench.Ok(k.P.SetSockOpt(client, Tcp, TcpOption.Congestion, "reno"u8));
        Assert.Equal("reno", Name());
        Assert.Equal(0, k.P.GetSockOpt(client, Tcp, TcpOption.CcInfo, new byte[64]).Value);
    });

    [Fact]
    public void Info_is_cut_to_the_room_there_is() => CallBench.Run(k =>
    {
        int client = k.Pair().Client;
        Assert.Equal(TcpInfo.Length, k.P.GetSockOpt(client, Tcp, TcpOption.Info, new byte[1000]).Value);
        Assert.Equal(10, k.P.GetSockOpt(client, Tcp, TcpOption.Info, new byte[10]).Value);
    });

    private static int RetransmissionsAfter(CallBench k, int milliseconds, Action<int>? prepare)
    {
        (int client, _) = Cut(k, prepare);
        CallBench.Ok(k.Send(client, "x"));
        k.Sleep(milliseconds);
        return (int)Info(k, client).TotalRetransmits;
    }

    [Fact]
    public void Thin_streams_retransmit_at_even_intervals()
    {
        int plain = CallBench.Run(k => RetransmissionsAfter(k, 1500, null));
        int thin = CallBench.Run(k => RetransmissionsAfter(k, 1500, fd => Set(k, fd, Tcp, TcpOption.ThinLinearTimeouts, 1)));
        Assert.True(thin >= plain + 2, $"{thin} against {plain}");
    }

    [Fact]
    public void The_least_and_the_greatest_timeout_bound_the_intervals()
    {
        int plain = CallBench.Run(k => RetransmissionsAfter(k, 30_000, null));
        int soon = CallBench.Run(k => RetransmissionsAfter(k, 150, fd => Set(k, fd, Tcp, TcpOption.RtoMinUs, 20_000)));
        int often = CallBench.Run(k => RetransmissionsAfter(k, 30_000, fd => Set(k, fd, Tcp, TcpOption.RtoMaxMs, 1000)));
        Assert.True(soon >= 2, $"{soon} within 150 ms");
        Assert.True(often >= plain + 8, $"{often} against {plain}");
    }

    [Fact]
    public void The_user_timeout_ends_a_connection_that_is_not_acknowledged() => CallBench.Run(k =>
    {
        (int client, _) = Cut(k, fd => Set(k, fd, Tcp, TcpOption.UserTimeout, 2000));
        CallBench.Ok(k.Send(client, "x"));
        long start = k.NowMilliseconds;
        CallBench.Fails(Errno.ETIMEDOUT, k.Recv(client, 1));
        Assert.InRange(k.NowMilliseconds - start, 1900, 2600);
    });

    [Fact]
    public void With_notsent_lowat_a_socket_is_not_writable_while_as_much_is_unsent() => CallBench.Run(k =>
    {
        (int client, _) = Cut(k);
        Set(k, client, Tcp, TcpOption.NotsentLowat, 1000);
        Assert.Equal("OUT", k.Poll(client));
        CallBench.Ok(k.Send(client, "a"));
        CallBench.Ok(k.P.Send(client, new byte[2500], MessageFlags.More));
        Assert.True(Ioctl(k, client, SiocOutqNsd) >= 1000);
        Assert.Equal("none", k.Poll(client));
    });

    [Fact]
    public void A_saved_syn_is_the_packet_and_is_read_once() => CallBench.Run(k =>
    {
        PacketTap tap = PacketTap.On(k.Stack, "lo");
        int listener = k.Bound(out IPEndPoint at);
        Set(k, listener, Tcp, TcpOption.SaveSyn, 1);
        CallBench.Ok(k.P.Listen(listener, 1));
        CallBench.Ok(k.P.Connect(k.Tcp(), at));
        int server = CallBench.Ok(k.P.Accept(listener));
        byte[] syn = tap.Sent[0].Bytes, read = new byte[200];
        CallBench.Fails(Errno.EINVAL, k.P.GetSockOpt(server, Tcp, TcpOption.SavedSyn, new byte[10]));
        Assert.Equal(syn.Length, k.P.GetSockOpt(server, Tcp, TcpOption.SavedSyn, read).Value);
        Assert.Equal(syn.AsSpan(12, 30), read.AsSpan(12, 30));
        Assert.Equal(0, k.P.GetSockOpt(server, Tcp, TcpOption.SavedSyn, read).Value);
    });

    [Fact]
    public void Inq_tells_with_each_receive_what_is_left() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        Set(k, client, Tcp, TcpOption.Inq, 1);
        CallBench.Ok(k.Send(server, "0123456789"));
        Span<byte> control = stackalloc byte[64];
        byte[] room = GC.AllocateArray<byte>(4, pinned: true);
        ReadOnlySpan<IoVec> pieces = [new IoVec(Marshal.UnsafeAddrOfPinnedArrayElement(room, 0), room.Length)];
        var header = new MessageHeader { Pieces = pieces, Control = control };
        Assert.Equal(4, k.P.RecvMsg(client, ref header, 0).Value);
        Assert.Equal(24, header.ControlLength);
        Assert.Equal((Tcp, 36, 6), (BitConverter.ToInt32(control[8..]), BitConverter.ToInt32(control[12..]), BitConverter.ToInt32(control[16..])));
    });

    [Fact]
    public void The_delayed_ack_comes_no_later_than_asked() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        Set(k, server, Tcp, TcpOption.DelAckMaxUs, 10_000);
        Set(k, server, Tcp, TcpOption.QuickAck, 0);
        CallBench.Ok(k.Send(client, "x"));
        Assert.Equal(1, Ioctl(k, client, SiocOutq));
        k.Sleep(12);
        Assert.Equal(0, Ioctl(k, client, SiocOutq));
    });
}
