using System;
using System.Net;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Linux;

namespace Millrace.Interop;

/// <summary>Making and configuring a device: what comes of it, and each way in which it is refused.</summary>
public sealed partial class TunDeviceTests
{
    [KernelFact]
    public async Task The_kernels_side_is_configured()
    {
        await using Lab lab = await Lab.OpenAsync(Link.OffloadTwoQueues, mtu: 1400);
        string link = (await lab.RunAsync("ip", "link", "show", Lab.Device)).Output;
        Assert.Contains("mtu 1400", link, StringComparison.Ordinal);
        Assert.Contains("UP", link, StringComparison.Ordinal);
        Assert.Contains("inet 10.77.0.1/24", (await lab.RunAsync("ip", "-4", "address")).Output, StringComparison.Ordinal);
        Assert.Contains("inet6 fd77::1/64", (await lab.RunAsync("ip", "-6", "address")).Output, StringComparison.Ordinal);
        Assert.Contains("10.77.0.0/24 dev mr0", (await lab.RunAsync("ip", "-4", "route")).Output, StringComparison.Ordinal);
        lab.Tun.AddRoute(IPAddress.Parse("10.99.0.0"), 16);
        Assert.Contains("10.99.0.0/16 dev mr0", (await lab.RunAsync("ip", "-4", "route")).Output, StringComparison.Ordinal);
        lab.Tun.AddRoute(IPAddress.Parse("fd99::"), 32);
        Assert.Contains("fd99::/32 dev mr0", (await lab.RunAsync("ip", "-6", "route")).Output, StringComparison.Ordinal);
        Assert.Equal(Errno.EEXIST, Assert.Throws<LinuxDeviceException>(() => lab.Tun.AddRoute(IPAddress.Parse("10.99.0.0"), 16)).Errno);
    }

    [KernelFact]
    public async Task The_kernel_may_choose_the_number()
    {
        await using Lab lab = await Lab.OpenAsync();
        using TunDevice device = TunDevice.Create("mr%d", new TunOptions { NetworkNamespace = lab.Space });
        Assert.Equal("mr1", device.Name);
    }

    [KernelFact]
    public async Task A_taken_name_is_refused_and_the_stack_stays_as_it_was()
    {
        await using Lab lab = await Lab.OpenAsync();
        using var stack = new NetStack();
        var options = new TunOptions { NetworkNamespace = lab.Space };
        var e = Assert.Throws<LinuxDeviceException>(() => stack.AddTun(Lab.Device, "10.78.0.2/24", options));
        Assert.Equal("There is an interface named mr0 already.", e.Message);
        Assert.DoesNotContain(Lab.Device, stack.DeviceNames);
    }

    [KernelTheory]
    [InlineData("10.77.0.9/24", "10.77.0.1", "The address 10.77.0.1 is in use on mr0.")]
    [InlineData("10.77.0.9/24", "10.77.0.8", "The subnet 10.77.0.0/24 is in use on mr0.")]
    [InlineData("fd77::9/64", "fd77::1", "The address fd77::1 is in use on mr0.")]
    public async Task A_taken_address_is_refused_and_no_device_is_left(string subnet, string kernel, string message)
    {
        await using Lab lab = await Lab.OpenAsync();
        using var stack = new NetStack();
        var options = new TunOptions { NetworkNamespace = lab.Space };
        var e = Assert.Throws<LinuxDeviceException>(() => stack.AddTun("mr1", [TunSubnet.Parse(subnet, IPAddress.Parse(kernel))], options));
        Assert.Equal(message, e.Message);
        Assert.Equal(Errno.EADDRINUSE, e.Errno);
        Assert.DoesNotContain("mr1", (await lab.RunAsync("ip", "-br", "link")).Output, StringComparison.Ordinal);
        Assert.DoesNotContain("mr1", stack.DeviceNames);
    }

    [KernelFact]
    public async Task A_name_that_the_stack_has_is_refused_and_no_device_is_left()
    {
        await using Lab lab = await Lab.OpenAsync();
        var options = new TunOptions { NetworkNamespace = lab.Space };
        using var stack = new NetStack();
        stack.AddTun("mr7", "10.78.0.2/24", options);
        (await lab.RunAsync("ip", "link", "set", "mr7", "name", "mr8")).Succeeded("ip link set name");
        Assert.Throws<ArgumentException>(() => stack.AddTun("mr7", "10.79.0.2/24", options));
        Assert.DoesNotContain("mr7", (await lab.RunAsync("ip", "-br", "link")).Output, StringComparison.Ordinal);
    }

    [KernelFact]
    public void A_namespace_that_is_not_there_is_refused()
    {
        var options = new TunOptions { NetworkNamespace = "mr-no-such" };
        Assert.Equal(Errno.ENOENT, Assert.Throws<LinuxDeviceException>(() => TunDevice.Create("mr0", options)).Errno);
    }

    [KernelFact]
    public void Without_privilege_it_says_so()
    {
        var e = Assert.Throws<LinuxDeviceException>(() => OnThread(() =>
        {
            // The system call itself changes the calling thread only, which ends.
            Assert.Equal(0, SysCall(RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 147 : 117, 65534, 65534, 65534));
            TunDevice.Create("mr0");
        }));
        Assert.StartsWith("A TUN device needs privilege", e.Message, StringComparison.Ordinal);
    }

    [KernelFact]
    public void Without_the_driver_it_says_so()
    {
        var e = Assert.Throws<LinuxDeviceException>(() => OnThread(() =>
        {
            const int mountNamespace = 0x20000, recursivelyPrivate = 0x4000 | 0x40000;
            Assert.Equal(0, Unshare(mountNamespace));
            Assert.Equal(0, Mount("none", "/", null, recursivelyPrivate, 0));
            Assert.Equal(0, Mount("none", "/dev/net", "tmpfs", 0, 0));
            TunDevice.Create("mr0");
        }));
        Assert.StartsWith("There is no /dev/net/tun", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData(".")]
    [InlineData("a/b")]
    [InlineData("a b")]
    [InlineData("a:b")]
    [InlineData("sixteen-letters!")]
    public void A_bad_name_is_refused(string name) => Assert.ThrowsAny<ArgumentException>(() => TunDevice.Create(name));

    [Fact]
    public void Bad_options_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => TunDevice.Create("mr0", new TunOptions { Mtu = 67 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => TunDevice.Create("mr0", new TunOptions { Mtu = 65536 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => TunDevice.Create("mr0", new TunOptions { Queues = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => TunDevice.Create("mr0", new TunOptions { BusyPoll = TimeSpan.FromTicks(-1) }));
    }

    [Theory]
    [InlineData("10.77.0.2/24", "10.77.0.1")]
    [InlineData("10.77.0.1/24", "10.77.0.2")]
    [InlineData("10.77.3.200/22", "10.77.0.1")]
    [InlineData("fd77::2/64", "fd77::1")]
    [InlineData("10.77.0.2/30", "10.77.0.1")]
    public void The_kernel_gets_the_first_address(string subnet, string kernel) =>
        Assert.Equal(kernel, TunSubnet.Parse(subnet).KernelAddress.ToString());

    [Theory]
    [InlineData("10.77.0.2")]
    [InlineData("10.77.0.2/x")]
    [InlineData("10.77.0/-1")]
    [InlineData("host/24")]
    public void What_is_no_subnet_is_refused(string text) => Assert.Throws<FormatException>(() => TunSubnet.Parse(text));

    [Theory]
    [InlineData("10.77.0.2/33", null)]
    [InlineData("10.77.0.2/0", null)]
    [InlineData("10.77.0.2/32", null)]
    [InlineData("10.77.0.2/24", "10.77.0.2")]
    [InlineData("10.77.0.2/24", "10.78.0.1")]
    [InlineData("10.77.0.2/24", "fd77::1")]
    public void Addresses_that_do_not_fit_are_refused(string text, string? kernel) =>
        Assert.Throws<ArgumentException>(() => TunSubnet.Parse(text, kernel is null ? null : IPAddress.Parse(kernel)));

    private static void OnThread(Action body)
    {
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                body();
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
        });
        thread.Start();
        thread.Join();
        failure?.Throw();
    }

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint SysCall(nint number, nint a, nint b, nint c);

    [LibraryImport("libc", EntryPoint = "unshare")]
    private static partial int Unshare(int flags);

    [LibraryImport("libc", EntryPoint = "mount", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Mount(string source, string target, string? type, nuint flags, nint data);
}
