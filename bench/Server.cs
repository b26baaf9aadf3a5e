using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Threading.Tasks;

namespace Millrace.Bench;

/// <summary>Somebody who serves ports 7001 (discard), 7002 (character generator) and 7003 (echo), and the namespace from which he is reached.</summary>
internal sealed class Server : IAsyncDisposable
{
    /// <summary>The kernel's interface to the stack under test, and that stack's address.</summary>
    public const string Device = "tun9", Address = "10.9.0.2";
    public const string StackCpu = "1";

    private const string KernelAddress = "10.9.0.1/16";

    private readonly List<NetSpace> _spaces = [];
    private readonly List<Child> _children = [];
    private bool _tellsMore;

    private Server()
    {
    }

    /// <summary>Sources for many short connections, so that ports in TIME_WAIT do not run out.</summary>
    public static IEnumerable<string> Sources => Enumerable.Range(1, 32).Select(i => $"10.9.1.{i}");

    /// <summary>Where the load generator runs.</summary>
    public NetSpace Space => _spaces[0];

    /// <summary>The load generator's words for where the server is, and for which sources it may use.</summary>
    public string[] Target { get; private init; } = ["-a", Address, "-B", "10.9.1."];

    /// <summary>Ours behind a TUN device.</summary>
    public static Task<Server> OursAsync(RunOptions options, bool offload, int mtu, bool spin = false) => BuildAsync(options, new Server(), async server =>
    {
        string space = server.AddSpace().Name;
        Child child = server.Add(Child.StartSelf(StackCpu, "serve", space, offload ? "vnet" : "plain", Number(mtu), spin ? "spin" : "sleep"));
        await child.ExpectAsync("ready");
        server._tellsMore = true;
    });

    /// <summary>The kernel at both ends of its loopback device.</summary>
    public static Task<Server> LoopbackAsync(RunOptions options, bool spin = false) =>
        BuildAsync(options, new Server { Target = ["-a", "127.0.0.1", "-B", "127.0.1."] }, server =>
        {
            server.AddKernelServer(options, server.AddSpace(), "127.0.0.1", spin);
            return Task.CompletedTask;
        });

    /// <summary>The kernel at both ends of two TUN devices, between which a program copies packets.</summary>
    public static Task<Server> PumpAsync(RunOptions options, bool offload, int mtu) => BuildAsync(options, new Server(), async server =>
    {
        NetSpace near = server.AddSpace(), far = server.AddSpace();
        Child pump = server.Add(Child.Start([.. near.Inside("taskset", "-c", StackCpu, options.Programs["pump"]), Device, Device, offload ? "vnet" : "plain", far.Name]));
        await pump.ExpectAsync("ready");
        Configure(near, Device, mtu);
        far.Ip("link", "set", Device, "mtu", Number(mtu), "up");
        far.Ip("address", "add", Address + "/16", "dev", Device);
        server.AddKernelServer(options, far, Address, spin: false);
    });

    /// <summary>Another stack on a TUN device that exists already.</summary>
    public static Task<Server> PeerAsync(RunOptions options, string program, int mtu, string cpus = StackCpu, bool spin = false) =>
        BuildAsync(options, new Server(), server =>
        {
            NetSpace space = server.AddSpace();
            space.Ip("tuntap", "add", Device, "mode", "tun");
            Configure(space, Device, mtu);
            server.Add(Child.Start([.. space.Inside("env", spin ? "SPIN=1" : "SPIN=0", "taskset", "-c", cpus, options.Programs[program]), "tun", Device, Number(mtu)]));
            return Task.CompletedTask;
        });

    /// <summary>Another stack on a packet socket at the far end of a veth pair, whose offloads are on.</summary>
    public static Task<Server> VethAsync(RunOptions options, string program) => BuildAsync(options, new Server(), server =>
    {
        NetSpace near = server.AddSpace(), far = server.AddSpace();
        near.Ip("link", "add", Device, "type", "veth", "peer", "name", Device, "netns", far.Name);
        Configure(near, Device, 1500);
        far.Ip("link", "set", Device, "up");
        server.Add(Child.Start([.. far.Inside("taskset", "-c", StackCpu, options.Programs[program]), "veth", Device, "1500"]));
        return Task.CompletedTask;
    });

    public async Task<Meters> ReadMetersAsync()
    {
        var sum = new Meters();
        foreach (Child child in _children)
            sum = sum.And(_tellsMore ? Meters.Parse(await child.AskAsync("meters")) : child.Meters);
        return sum;
    }

    public void Freeze() => _children.ForEach(c => c.Freeze());

    public void Thaw() => _children.ForEach(c => c.Thaw());

    public async ValueTask DisposeAsync()
    {
        foreach (Child child in _children)
            await child.DisposeAsync();
        _spaces.ForEach(s => s.Dispose());
    }

    private static async Task<Server> BuildAsync(RunOptions options, Server server, Func<Server, Task> build)
    {
        try
        {
            await build(server);
            await using var wait = Child.Start([.. server.Space.Inside(options.Programs["kload"], "wait"), .. server.Target]);
            await wait.FinishAsync();
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    private static void Configure(NetSpace space, string device, int mtu)
    {
        space.Ip("link", "set", device, "mtu", Number(mtu), "up");
        space.Ip("address", "add", KernelAddress, "dev", device);
        foreach (string source in Sources)
            space.Ip("address", "add", source + "/32", "dev", device);
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private void AddKernelServer(RunOptions options, NetSpace space, string address, bool spin) =>
        Add(Child.Start([.. space.Inside(options.Programs["kload"], "server", "-a", address, "-c", StackCpu), .. spin ? ["-s"] : Array.Empty<string>()]));

    private NetSpace AddSpace()
    {
        var space = new NetSpace($"bench-{Environment.ProcessId}-{s_spaces++}");
        _spaces.Add(space);
        return space;
    }

    private Child Add(Child child)
    {
        _children.Add(child);
        return child;
    }

    private static int s_spaces;
}

/// <summary>The servers of one run: each is started when it is first asked for, and frozen while others are measured.</summary>
internal sealed class Servers : IAsyncDisposable
{
    private readonly Dictionary<string, Server> _servers = [];

    public async Task<Server> GetAsync(string name, Func<Task<Server>> start)
    {
        if (!_servers.TryGetValue(name, out Server? server))
        {
            _servers.Add(name, server = await start());
            server.Freeze();
        }
        return server;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Server server in _servers.Values)
            await server.DisposeAsync();
    }
}
