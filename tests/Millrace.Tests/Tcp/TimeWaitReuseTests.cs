using System.Net;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Tests.Tcp;

/// <summary>What the loopback device is to net.ipv4.tcp_tw_reuse=2; the rest are stories.</summary>
public sealed class TimeWaitReuseTests
{
    private const int Socket = 1, ReuseAddr = 2, BindToDevice = 25;

    private static void Must(SysResult result) => Assert.False(result.IsError, result.ToString());

    private static SysResult Connect(Process process, IPEndPoint to, string? device)
    {
        int fd = process.Socket(2, 1, 0).Value;
        if (device is not null)
            Must(process.SetSockOpt(fd, Socket, BindToDevice, System.Text.Encoding.ASCII.GetBytes(device)));
        SysResult connected = process.Connect(fd, to);
        if (!connected.IsError)
            Must(process.Close(fd));
        return connected;
    }

    [Theory]
    [InlineData("127.0.0.1", null, Errno.OK)]
    [InlineData("10.0.0.1", null, Errno.EADDRNOTAVAIL)]
    [InlineData("10.0.0.1", "lo", Errno.OK)]
    public void A_loopback_address_or_the_loopback_device_make_a_connection_local(string address, string? device, Errno second)
    {
        var host = new ExternalClockHost();
        using var stack = new NetStack(new NetStackOptions { Cpus = 1 }, host, ownsHost: true, buffers: null);
        stack.AddAddress("lo", IPAddress.Parse("10.0.0.1"), 32);
        stack.Sysctls.IpLocalPortRange = (40000, 40000);
        var at = new IPEndPoint(IPAddress.Parse(address), 80);
        using Process process = stack.CreateProcess();
        int listener = process.Socket(2, 1, 0).Value;
        Must(process.SetSockOpt(listener, Socket, ReuseAddr, 1));
        Must(process.Bind(listener, at));
        Must(process.Listen(listener, 4));
        Assert.Equal(Errno.OK, Connect(process, at, device).Error);
        Must(process.Close(process.Accept(listener, cancel: TestContext.Current.CancellationToken).Value));
        host.AdvanceTo(Micros.FromMilliseconds(1100));
        Assert.Equal(second, Connect(process, at, device).Error);
        Assert.Equal(second == Errno.OK ? 1 : 0, stack.Cpus.Read(Mib.TcpExtTWRecycled));
    }
}
