using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Win32.SafeHandles;
using Millrace.Inet;
using Millrace.Linux;
using Millrace.Sched;
using Millrace.Sockets;
using OsProcess = System.Diagnostics.Process;
using Socket = System.Net.Sockets.Socket;
using SocketType = System.Net.Sockets.SocketType;

namespace Millrace.Interop;

/// <summary>How the two sides of a <see cref="Lab"/> are joined.</summary>
public enum Link
{
    Plain,
    Offload,
    OffloadTwoQueues,
    PlainTwoQueues,
    Tap,
    TapTwoQueues,
    Packet,
    PacketTwoQueues,
    Xdp,
    XdpTwoQueues,
    XdpGeneric,
}

/// <summary>
/// One of our stacks and the kernel, joined by a TUN or TAP device, or by a pair of veth interfaces of which the stack has one. The kernel's
/// side lives in a network namespace of its own, and so does the stack's veth; they go, with all that is in them, when the lab is closed.
/// </summary>
internal sealed partial class Lab : IAsyncDisposable
{
    public const string Device = "mr0";

    private static int s_next;

    private Lab(string space, NetStack stack)
    {
        Space = space;
        Stack = stack;
    }

    public static IPAddress OurAddress { get; } = IPAddress.Parse("10.77.0.2");

    public static IPAddress KernelAddress { get; } = IPAddress.Parse("10.77.0.1");

    public static IPAddress OurAddress6 { get; } = IPAddress.Parse("fd77::2");

    public static IPAddress KernelAddress6 { get; } = IPAddress.Parse("fd77::1");

    /// <summary>The kernel's side: a network namespace.</summary>
    public string Space { get; }

    public NetStack Stack { get; }

    /// <summary>The device, if it is TUN or TAP.</summary>
    public TunDevice Tun { get; private set; } = null!;

    /// <summary>The device, whatever it is.</summary>
    public NetDriver Driver { get; private set; } = null!;

    /// <summary>The namespace of the stack's veth; it is there if the link needs one.</summary>
    public string StackSpace => $"{Space}-s";

    /// <summary>The reason that the stack was told when its device was lost.</summary>
    public TaskCompletionSource<string> Lost { get; } = new();

    public static async Task<Lab> OpenAsync(Link link = Link.Offload, NetStackOptions? options = null, int mtu = 1500)
    {
        if (KernelSupport.Missing is { } missing)
            Assert.Fail($"This machine cannot run it: {missing}.");
        string space = $"mr-{Environment.ProcessId}-{Interlocked.Increment(ref s_next)}";
        (await Shell.RunAsync("ip", "netns", "add", space)).Succeeded("ip netns add");
        var lab = new Lab(space, new NetStack(options));
        try
        {
            await lab.JoinAsync(link, mtu);
            return lab;
        }
        catch
        {
            await lab.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        Stack.Dispose();
        await Shell.RunAsync("ip", "netns", "del", Space);
        if (Driver is not TunDevice)
            await Shell.RunAsync("ip", "netns", "del", StackSpace);
    }

    private async Task JoinAsync(Link link, int mtu)
    {
        bool twoQueues = link is Link.OffloadTwoQueues or Link.PlainTwoQueues or Link.TapTwoQueues or Link.PacketTwoQueues or Link.XdpTwoQueues;
        int queues = twoQueues ? 2 : 1;
        if (link is Link.Packet or Link.PacketTwoQueues or Link.Xdp or Link.XdpTwoQueues or Link.XdpGeneric)
        {
            await MakeVethAsync(mtu, queues);
            Driver = link is Link.Packet or Link.PacketTwoQueues ? AddPacket(queues) : AddXdp(link, queues);
            Stack.AddAddress(Device, OurAddress6, 64);
            return;
        }
        TunSubnet[] subnets = [TunSubnet.Parse("10.77.0.2/24"), TunSubnet.Parse("fd77::2/64")];
        var options = new TunOptions
        {
            NetworkNamespace = Space,
            Mtu = mtu,
            Offload = link is not (Link.Plain or Link.PlainTwoQueues),
            Queues = queues,
        };
        Tun = link is Link.Tap or Link.TapTwoQueues ? Stack.AddTap(Device, subnets, options, OnLost) : Stack.AddTun(Device, subnets, options, OnLost);
        Driver = Tun;
    }

    private PacketDevice AddPacket(int queues) =>
        Stack.AddPacketDevice(Device, "10.77.0.2/24", new PacketOptions { NetworkNamespace = StackSpace, Queues = queues }, OnLost);

    private XdpDevice AddXdp(Link link, int queues)
    {
        // A veth leaves checksums to a receiver that knows it; segments, to one that can take more than a frame.
        InSpace(() => LinkSettings.TurnOff(Device, LinkSettings.SendChecksums));
        var options = new XdpOptions
        {
            NetworkNamespace = StackSpace,
            Queues = queues,
            Mode = link == Link.XdpGeneric ? XdpMode.Generic : XdpMode.Native,
        };
        return Stack.AddXdpDevice(Device, "10.77.0.2/24", options, OnLost);
    }

    private async Task MakeVethAsync(int mtu, int queues)
    {
        string[] spread = ["numtxqueues", $"{queues}", "numrxqueues", $"{queues}"];
        (await Shell.RunAsync("ip", "netns", "add", StackSpace)).Succeeded("ip netns add");
        (await Shell.RunAsync(["ip", "-n", Space, "link", "add", Device, "mtu", $"{mtu}", .. spread, "type", "veth",
            "peer", "name", Device, "netns", StackSpace, "mtu", $"{mtu}", .. spread])).Succeeded("ip link add");
        (await Shell.RunAsync("ip", "-n", Space, "address", "add", $"{KernelAddress}/24", "dev", Device)).Succeeded("ip address add");
        (await Shell.RunAsync("ip", "-n", Space, "address", "add", $"{KernelAddress6}/64", "dev", Device, "nodad")).Succeeded("ip address add");
        (await Shell.RunAsync("ip", "-n", Space, "link", "set", Device, "up")).Succeeded("ip link set up");
        (await Shell.RunAsync("ip", "-n", StackSpace, "link", "set", Device, "up")).Succeeded("ip link set up");
    }

    private void OnLost(string reason) => Lost.TrySetResult(reason);

    /// <summary>Runs a program on the kernel's side.</summary>
    public Task<Outcome> RunAsync(params string[] command) => Shell.RunAsync(["ip", "netns", "exec", Space, .. command]);

    /// <inheritdoc cref="RunAsync(string[])"/>
    public Task<Outcome> RunAsync(Stream input, params string[] command) => Shell.RunAsync(input, ["ip", "netns", "exec", Space, .. command]);

    public OsProcess Start(params string[] command) => Shell.Start(["ip", "netns", "exec", Space, .. command]);

    /// <summary>Makes a socket of the kernel's, on its side of the link. It stays there, whichever thread uses it.</summary>
    public Socket KernelSocket(AddressFamily family = AddressFamily.InterNetwork) =>
        InSpace(() => new Socket(family, SocketType.Stream, ProtocolType.Tcp));

    /// <summary>A listening socket of the kernel's.</summary>
    public Socket KernelListener(IPAddress address, int backlog = 4096)
    {
        Socket listener = KernelSocket(address.AddressFamily);
        listener.Bind(new IPEndPoint(address, 0));
        listener.Listen(backlog);
        return listener;
    }

    public async Task<Socket> KernelConnectAsync(IPEndPoint to)
    {
        Socket socket = KernelSocket(to.AddressFamily);
        await socket.ConnectAsync(to);
        return socket;
    }

    /// <summary>The states of our connections from or to this local port, in the table.</summary>
    public TcpState[] OurStates(int port)
    {
        Cpu cpu = Stack.Cpus.Acquire();
        var visitor = new StateCollector(port, []);
        Stack.Tcp.Established.ForEach(cpu, ref visitor);
        Stack.Cpus.Release(cpu);
        return [.. visitor.States];
    }

    /// <summary>The states of the kernel's connections to this port of ours, as ss prints them.</summary>
    public async Task<string[]> KernelStatesAsync(int port)
    {
        Outcome ss = (await RunAsync("ss", "-Htan", "dport", "=", $":{port}")).Succeeded("ss");
        return [.. ss.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' ')[0])];
    }

    /// <summary>Waits for what must come, with nothing to wait on. A test that hangs here has failed.</summary>
    public Task UntilAsync(Func<bool> condition) => UntilAsync(() => Task.FromResult(condition()));

    /// <inheritdoc cref="UntilAsync(Func{bool})"/>
    public async Task UntilAsync(Func<Task<bool>> condition, [CallerArgumentExpression(nameof(condition))] string what = "")
    {
        for (int i = 0; i < 3000; i++)
        {
            if (await condition())
                return;
            await Task.Delay(10);
        }
        Assert.Fail($"never came: {what}");
    }

    private readonly struct StateCollector(int port, List<TcpState> states) : ISockVisitor
    {
        public List<TcpState> States => states;

        public void Visit(Cpu cpu, SockCommon sk)
        {
            if (sk.LocalPort == port)
                states.Add(sk.State);
        }
    }

    public T InSpace<T>(Func<T> body)
    {
        T result = default!;
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                EnterSpace();
                result = body();
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
        });
        thread.Start();
        thread.Join();
        failure?.Throw();
        return result;
    }

    private void EnterSpace()
    {
        const int networkNamespace = 0x4000_0000;
        using SafeFileHandle file = System.IO.File.OpenHandle($"/run/netns/{Space}");
        if (SetNs((int)file.DangerousGetHandle(), networkNamespace) != 0)
            throw new IOException($"setns: {Marshal.GetLastPInvokeError()}");
    }

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int SetNs(int fd, int kind);
}
