using System;
using System.Linq;
using System.Net;
using System.Net.NetworkInformation;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Linux;

namespace Millrace.Interop;

/// <summary>TAP, packet sockets and XDP sockets: neighbours, other people's frames, links that go and come back, and what is refused.</summary>
public sealed partial class EthernetDeviceTests
{
    [KernelTheory]
    [InlineData(Link.Tap, false)]
    [InlineData(Link.Tap, true)]
    [InlineData(Link.Packet, false)]
    [InlineData(Link.Packet, true)]
    [InlineData(Link.Xdp, false)]
    [InlineData(Link.Xdp, true)]
    public async Task Each_side_finds_the_others_address(Link link, bool v6)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        IPAddress kernel = v6 ? Lab.KernelAddress6 : Lab.KernelAddress, ours = v6 ? Lab.OurAddress6 : Lab.OurAddress;
        using (await Pair.ByUsAsync(lab, v6))
        {
            NeighbourEntry seen = Assert.Single(lab.Stack.ListNeighbours(), n => n.Address.Equals(kernel));
            Assert.Equal(NeighbourState.Reachable, seen.State);
            Assert.Equal(await MacOfAsync(lab), seen.HardwareAddress);
        }
        (await lab.RunAsync("ip", "neigh", "flush", "all")).Succeeded("ip neigh flush");
        using (await Pair.ByKernelAsync(lab, v6))
        {
            string known = (await lab.RunAsync("ip", "neigh", "show", $"{ours}")).Output;
            Assert.Contains(Colons(lab.Stack.HardwareAddressOf(Lab.Device)!), known, StringComparison.Ordinal);
            Assert.Contains("REACHABLE", known, StringComparison.Ordinal);
        }
    }

    [KernelTheory]
    [InlineData(Link.Tap)]
    [InlineData(Link.Packet)]
    [InlineData(Link.Xdp)]
    public async Task A_neighbour_that_is_not_there_is_unreachable(Link link)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        lab.Stack.Sysctls.Neigh4.RetransTimeMs = 10;
        var e = await Assert.ThrowsAsync<System.Net.Sockets.SocketException>(async () =>
            await lab.Stack.ConnectAsync(new IPEndPoint(IPAddress.Parse("10.77.0.99"), 7)));
        Assert.Equal(System.Net.Sockets.SocketError.HostUnreachable, e.SocketErrorCode);
    }

    [KernelTheory]
    [InlineData(Link.Tap)]
    [InlineData(Link.Packet)]
    [InlineData(Link.PacketTwoQueues)]
    [InlineData(Link.Xdp)]
    public async Task A_connection_outlives_a_link_that_is_down_for_a_while(Link link)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        using Pair pair = await Pair.ByKernelAsync(lab);
        (await lab.RunAsync("ip", "link", "set", Lab.Device, "down")).Succeeded("ip link set down");
        Assert.Equal(1, await pair.Ours.SendAsync(new byte[] { 7 }));
        await lab.UntilAsync(() => pair.Ours.GetInfo().TotalRetransmits > 0);
        (await lab.RunAsync("ip", "link", "set", Lab.Device, "up")).Succeeded("ip link set up");
        byte[] got = new byte[1];
        Assert.Equal(1, await pair.Kernel.ReceiveAsync(got));
        Assert.Equal(7, got[0]);
        pair.KernelSend([8]);
        Assert.Equal(1, await pair.Ours.ReceiveAsync(got));
        Assert.False(lab.Lost.Task.IsCompleted);
    }

    [KernelFact]
    public async Task With_an_address_of_its_own_the_stack_shares_the_interface_with_the_kernel()
    {
        await using Lab lab = await Lab.OpenAsync(Link.Packet);
        (await Shell.RunAsync("ip", "-n", lab.StackSpace, "address", "add", "10.77.0.3/24", "dev", Lab.Device)).Succeeded("ip address add");
        using var other = new NetStack();
        var options = new PacketOptions { NetworkNamespace = lab.StackSpace, HardwareAddress = PhysicalAddress.Parse("02-00-00-00-00-77") };
        other.AddPacketDevice(Lab.Device, "10.77.0.4/24", options);
        foreach (string address in new[] { "10.77.0.2", "10.77.0.3", "10.77.0.4" })
            Assert.Contains("3 received", (await lab.RunAsync("ping", "-c", "3", "-i", "0.01", "-W", "5", address)).Succeeded("ping").Output, StringComparison.Ordinal);
        Assert.Contains("02:00:00:00:00:77", (await lab.RunAsync("ip", "neigh", "show", "10.77.0.4")).Output, StringComparison.Ordinal);
        Assert.True(other.Counters.Drops["OTHER_HOST"] > 0, "the frames of the others came by");
    }

    [KernelTheory]
    [InlineData(Link.Tap)]
    [InlineData(Link.Packet)]
    [InlineData(Link.Xdp)]
    public async Task Frames_of_a_VLAN_are_dropped_and_counted(Link link)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        PhysicalAddress to = lab.Stack.HardwareAddressOf(Lab.Device)!;
        long before = lab.Stack.Counters.Drops["OTHER_HOST"];
        // Priority 0, VLAN 7, in front of what would be an ARP packet.
        string frame = $"{to}{await MacOfAsync(lab)}810000070806{new string('0', 56)}";
        string program = $"import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('{Lab.Device}', 0)); s.send(bytes.fromhex('{frame}'))";
        (await lab.RunAsync("python3", "-c", program)).Succeeded("python3");
        await lab.UntilAsync(() => lab.Stack.Counters.Drops["OTHER_HOST"] > before);
    }

    [KernelFact]
    public async Task The_kernel_has_the_interface_again_when_the_XDP_device_is_gone()
    {
        await using Lab lab = await Lab.OpenAsync(Link.Xdp);
        Assert.Contains("xdp", (await Shell.RunAsync("ip", "-n", lab.StackSpace, "link", "show", Lab.Device)).Output, StringComparison.Ordinal);
        Assert.False(((XdpDevice)lab.Driver).IsZeroCopy);
        lab.Stack.RemoveDevice(Lab.Device);
        Assert.DoesNotContain("xdp", (await Shell.RunAsync("ip", "-n", lab.StackSpace, "link", "show", Lab.Device)).Output, StringComparison.Ordinal);
        using var next = new NetStack();
        next.AddXdpDevice(Lab.Device, "10.77.0.2/24", new XdpOptions { NetworkNamespace = lab.StackSpace });
        Assert.Contains("1 received", (await lab.RunAsync("ping", "-c", "1", "-W", "5", "10.77.0.2")).Output, StringComparison.Ordinal);
    }

    [KernelFact]
    public async Task What_an_interface_cannot_be_is_said_in_one_line()
    {
        await using Lab lab = await Lab.OpenAsync(Link.Xdp);
        using var stack = new NetStack();
        PacketOptions packet = new() { NetworkNamespace = lab.StackSpace };
        XdpOptions Xdp(bool? zeroCopy = null, int queues = 1) => new() { NetworkNamespace = lab.StackSpace, ZeroCopy = zeroCopy, Queues = queues };
        Refused("There is no interface named no-such0: ENODEV.", () => stack.AddPacketDevice("no-such0", "10.0.0.1/8", packet));
        Refused("lo is no Ethernet interface.", () => stack.AddPacketDevice("lo", "10.0.0.1/8", packet));
        Refused("lo is no Ethernet interface.", () => stack.AddXdpDevice("lo", "10.0.0.1/8", Xdp()));
        Refused("Queue 0 of mr0 is another program's.", () => stack.AddXdpDevice(Lab.Device, "10.0.0.1/8", Xdp()));
        lab.Stack.RemoveDevice(Lab.Device);
        Refused("mr0 has no queue 1, or not for XDP sockets.", () => stack.AddXdpDevice(Lab.Device, "10.0.0.1/8", Xdp(queues: 2)));
        Refused("mr0 cannot read and write the stack's memory itself.", () => stack.AddXdpDevice(Lab.Device, "10.0.0.1/8", Xdp(zeroCopy: true)));
        (await Shell.RunAsync("ip", "-n", lab.StackSpace, "link", "set", Lab.Device, "mtu", "9000")).Succeeded("ip link set mtu");
        Refused("mr0 has an MTU of 9000; XDP sockets take 3822 at most.", () => stack.AddXdpDevice(Lab.Device, "10.0.0.1/8", Xdp()));
        Assert.Equal(["lo"], stack.DeviceNames);
    }

    [KernelFact]
    public void Without_privilege_it_says_so()
    {
        LinuxDeviceException packet = null!, xdp = null!;
        OnThread(() =>
        {
            Assert.Equal(0, SysCall(RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 147 : 117, 65534, 65534, 65534));
            string any = NetworkInterface.GetAllNetworkInterfaces().First(i => i.NetworkInterfaceType == NetworkInterfaceType.Ethernet).Name;
            packet = Assert.Throws<LinuxDeviceException>(() => PacketDevice.Open(any));
            xdp = Assert.Throws<LinuxDeviceException>(() => XdpDevice.Open(any));
        });
        Assert.StartsWith("A packet socket needs privilege", packet.Message, StringComparison.Ordinal);
        Assert.Equal(Errno.EPERM, xdp.Errno);
    }

    [Fact]
    public void Bad_options_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => PacketDevice.Open("eth0", new PacketOptions { Queues = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => XdpDevice.Open("eth0", new XdpOptions { Queues = 257 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => PacketDevice.Open("eth0", new PacketOptions { BusyPoll = TimeSpan.FromTicks(-1) }));
        foreach (string bad in new[] { "01-00-00-00-00-01", "00-00-00-00-00-00", "02-00-00-00-00-00-00-01" })
        {
            PhysicalAddress address = PhysicalAddress.Parse(bad);
            Assert.Throws<ArgumentException>(() => PacketDevice.Open("eth0", new PacketOptions { HardwareAddress = address }));
            Assert.Throws<ArgumentException>(() => TunDevice.CreateTap("mr0", new TunOptions { HardwareAddress = address }));
        }
        Assert.Throws<ArgumentException>(() => TunDevice.Create("mr0", new TunOptions { HardwareAddress = PhysicalAddress.Parse("02-00-00-00-00-01") }));
    }

    private static void Refused(string message, Action action) => Assert.Equal(message, Assert.Throws<LinuxDeviceException>(action).Message);

    private static async Task<PhysicalAddress> MacOfAsync(Lab lab)
    {
        string link = (await lab.RunAsync("ip", "-br", "link", "show", Lab.Device)).Output;
        return PhysicalAddress.Parse(link.Split(' ', StringSplitOptions.RemoveEmptyEntries)[2]);
    }

    private static string Colons(PhysicalAddress address) => string.Join(':', address.GetAddressBytes().Select(b => $"{b:x2}"));

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

    // The system call itself changes the calling thread only, which ends.
    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint SysCall(nint number, nint a, nint b, nint c);
}
