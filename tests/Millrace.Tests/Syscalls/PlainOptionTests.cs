using System;
using System.Linq;
using System.Net;
using System.Runtime.InteropServices;
using Millrace.Inet;
using Millrace.Tcp;

namespace Millrace.Tests.Syscalls;

/// <summary>Options that are there for programs that set them: who may, what is inherited, and what reads back.</summary>
public sealed class PlainOptionTests
{
    private const int Socket = SocketLevel.Socket, Ip = SocketLevel.Ip, Ipv6 = SocketLevel.Ipv6, Tcp = SocketLevel.Tcp;

    private static void Set(CallBench k, int fd, int level, int option, int value) => CallBench.Ok(k.P.SetSockOpt(fd, level, option, value));

    [Fact]
    public void What_is_kept_is_inherited() => CallBench.Run(k =>
    {
        (int Level, int Option)[] kept =
        [
            (Socket, So.Debug), (Socket, So.NoCheck), (Socket, So.RxqOvfl), (Socket, So.WifiStatus), (Socket, So.NoFcs),
            (Socket, So.SelectErrQueue), (Socket, So.RcvMark), (Socket, So.RcvPriority), (Socket, So.Broadcast),
            (Ip, IpOption.PktInfo), (Ip, IpOption.RecvTtl), (Ip, IpOption.RecvTos),
        ];
        int listener = k.Bound(out IPEndPoint at);
        foreach ((int level, int option) in kept)
            Set(k, listener, level, option, 1);
        CallBench.Ok(k.P.Listen(listener, 1));
        int client = k.Tcp();
        CallBench.Ok(k.P.Connect(client, at));
        int server = CallBench.Ok(k.P.Accept(listener));
        Assert.All(kept, o => Assert.Equal((1, 0), (k.Get(server, o.Level, o.Option).Value, k.Get(client, o.Level, o.Option).Value)));
    });

    [Fact]
    public void Some_are_not_for_everybody() => CallBench.Run(k =>
    {
        Process user = k.Stack.CreateProcess(uid: 1000);
        int fd = CallBench.Ok(user.Socket(CallBench.Inet, CallBench.Stream, 0));
        CallBench.Fails(Errno.EACCES, user.SetSockOpt(fd, Socket, So.Debug, 1));
        CallBench.Ok(user.SetSockOpt(fd, Socket, So.Debug, 0));
        CallBench.Fails(Errno.EPERM, user.SetSockOpt(fd, Socket, So.RcvMark, 0));
        CallBench.Ok(user.SetSockOpt(fd, Socket, So.RcvPriority, 1));
    });

    [Fact]
    public void The_cookie_of_the_stack_is_nobody_elses() => CallBench.Run(k =>
    {
        long cookie(int option)
        {
            var bytes = new byte[8];
            CallBench.Ok(k.P.GetSockOpt(k.Tcp(), Socket, option, bytes));
            return BitConverter.ToInt64(bytes);
        }

        long mine = cookie(So.NetnsCookie);
        Assert.Equal(mine, cookie(So.NetnsCookie));
        Assert.All(Enumerable.Range(0, 10), _ => Assert.NotEqual(mine, cookie(So.Cookie)));
        using var other = new NetStack(new NetStackOptions { Name = "other" });
        using Process process = other.CreateProcess();
        var theirs = new byte[8];
        CallBench.Ok(process.GetSockOpt(process.Socket(CallBench.Inet, CallBench.Stream, 0).Value, Socket, So.NetnsCookie, theirs));
        Assert.NotEqual(mine, BitConverter.ToInt64(theirs));
    });

    [Fact]
    public void The_peers_credentials_are_nobodys() => CallBench.Run(k =>
    {
        int[] credentials = [1, 1, 1];
        Assert.Equal(12, k.P.GetSockOpt(k.Pair().Client, Socket, So.PeerCred, MemoryMarshal.AsBytes(credentials.AsSpan())).Value);
        Assert.Equal([0, -1, -1], credentials);
    });

    [Fact]
    public void Connecting_takes_the_flow_label_of_the_address_if_asked() => CallBench.Run(k =>
    {
        const uint label = 0xabcde;
        PacketTap tap = PacketTap.On(k.Stack, "lo");
        int listener = k.Tcp(CallBench.Inet6);
        CallBench.Ok(k.P.Bind(listener, new IPEndPoint(IPAddress.IPv6Loopback, 8080)));
        CallBench.Ok(k.P.Listen(listener, 8));
        // A sockaddr_in6 whose sin6_flowinfo bears a label.
        byte[] address = [10, 0, 0x1f, 0x90, 0, 0xa, 0xbc, 0xde, .. IPAddress.IPv6Loopback.GetAddressBytes(), 0, 0, 0, 0];
        foreach (bool asked in new[] { true, false })
        {
            int client = k.Tcp(CallBench.Inet6);
            Set(k, client, Ipv6, Ipv6Option.FlowInfoSend, asked ? 1 : 0);
            tap.Sent.Clear();
            CallBench.Ok(k.P.Connect(client, address));
            CallBench.Ok(k.Send(client, "x"));
            int port = k.NameOf(client).Port;
            TappedPacket[] mine = [.. tap.Sent.Where(p => (p.Bytes[40] << 8 | p.Bytes[41]) == port)];
            Assert.Equal(3, mine.Length);
            Assert.All(mine, p => Assert.Equal(asked, p.FlowLabel == label));
        }
    });

    [Fact]
    public void Advice_drops_the_route_which_is_looked_up_anew() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        Set(k, client, Socket, So.CnxAdvice, 1);
        CallBench.Ok(k.Send(client, "x"));
        Assert.Equal(1, k.Recv(server, 1).Value);
        CallBench.Fails(Errno.ENOPROTOOPT, k.Get(client, Socket, So.CnxAdvice));
    });

    [Fact]
    public void No_memory_is_reserved_and_no_stream_has_several_paths() => CallBench.Run(k =>
    {
        int fd = k.Tcp();
        CallBench.Fails(Errno.EOPNOTSUPP, k.P.SetSockOpt(fd, Socket, So.ReserveMem, 4096));
        CallBench.Fails(Errno.EINVAL, k.P.SetSockOpt(fd, Socket, So.ReserveMem, -1));
        Assert.Equal(0, k.Get(fd, Tcp, TcpOption.IsMptcp).Value);
        CallBench.Fails(Errno.ENOPROTOOPT, k.P.SetSockOpt(fd, Tcp, TcpOption.IsMptcp, 1));
        CallBench.Fails(Errno.EINVAL, k.P.SetSockOpt(k.Tcp(CallBench.Inet6), Ipv6, Ipv6Option.Mtu, 1279));
        CallBench.Ok(k.P.SetSockOpt(k.Tcp(CallBench.Inet6), Ipv6, Ipv6Option.Mtu, 1280));
    });
}
