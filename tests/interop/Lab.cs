using System;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Win32.SafeHandles;
using Millrace.Linux;
using OsProcess = System.Diagnostics.Process;

namespace Millrace.Interop;

/// <summary>How the two sides of a <see cref="Lab"/> are joined.</summary>
public enum Link
{
    Plain,
    Offload,
    OffloadTwoQueues,
    PlainTwoQueues,
}

/// <summary>
/// One of our stacks and the kernel, joined by a TUN device. The kernel's side lives in a network namespace of its own, which goes, with
/// all that is in it, when the lab is closed.
/// </summary>
internal sealed partial class Lab : IAsyncDisposable
{
    public const string Device = "mr0";

    private static int s_next;

    private Lab(string space, NetStack stack, TunDevice tun)
    {
        Space = space;
        Stack = stack;
        Tun = tun;
    }

    public static IPAddress OurAddress { get; } = IPAddress.Parse("10.77.0.2");

    public static IPAddress KernelAddress { get; } = IPAddress.Parse("10.77.0.1");

    public static IPAddress OurAddress6 { get; } = IPAddress.Parse("fd77::2");

    public static IPAddress KernelAddress6 { get; } = IPAddress.Parse("fd77::1");

    /// <summary>The kernel's side: a network namespace.</summary>
    public string Space { get; }

    public NetStack Stack { get; }

    public TunDevice Tun { get; }

    /// <summary>The reason that the stack was told when its device was lost.</summary>
    public TaskCompletionSource<string> Lost { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public static async Task<Lab> OpenAsync(Link link = Link.Offload, NetStackOptions? options = null, int mtu = 1500)
    {
        if (KernelSupport.Missing is { } missing)
            Assert.Fail($"This machine cannot run it: {missing}.");
        string space = $"mr-{Environment.ProcessId}-{Interlocked.Increment(ref s_next)}";
        (await Shell.RunAsync("ip", "netns", "add", space)).Succeeded("ip netns add");
        var stack = new NetStack(options);
        var tunOptions = new TunOptions
        {
            NetworkNamespace = space,
            Mtu = mtu,
            Offload = link is Link.Offload or Link.OffloadTwoQueues,
            Queues = link is Link.OffloadTwoQueues or Link.PlainTwoQueues ? 2 : 1,
        };
        TaskCompletionSource<string>? lost = null;
        TunDevice tun = stack.AddTun(Device, [TunSubnet.Parse("10.77.0.2/24"), TunSubnet.Parse("fd77::2/64")], tunOptions,
            reason => lost!.SetResult(reason));
        var lab = new Lab(space, stack, tun);
        lost = lab.Lost;
        return lab;
    }

    public async ValueTask DisposeAsync()
    {
        Stack.Dispose();
        await Shell.RunAsync("ip", "netns", "del", Space);
    }

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

    private T InSpace<T>(Func<T> body)
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
        using SafeFileHandle file = File.OpenHandle($"/run/netns/{Space}");
        if (SetNs((int)file.DangerousGetHandle(), networkNamespace) != 0)
            throw new IOException($"setns: {Marshal.GetLastPInvokeError()}");
    }

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int SetNs(int fd, int kind);
}
