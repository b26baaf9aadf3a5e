using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Threading.Tasks;

namespace Millrace.Bench;

/// <summary>Every workload, who takes part in it, and the bars that ours has to reach.</summary>
internal sealed class Catalogue(RunOptions options, Servers servers)
{
    private const string Pump = "kernel pump", Loopback = "kernel loopback", GVisor = "gVisor", GVisorLoose = "gVisor, 2 CPUs", GVisorVeth = "gVisor veth",
        GVisorLoopback = "gVisor loopback", LwIp = "lwIP", Smoltcp = "smoltcp", OursPlain = "Millrace, plain";

    private const int WireMtu = 1500, LargeMtu = 65535, LwIpLargeMtu = 65000;

    private readonly List<Workload> _all = [];

    public IReadOnlyList<Workload> All()
    {
        foreach (bool inward in (bool[])[true, false])
        {
            foreach (int flows in (int[])[1, 8])
                AddTunBulk(inward, flows);
        }
        AddPingPong(1, "split", "0", [new(LwIp, 1, 12_100)]);
        AddPingPong(1, "same CPU", "1", [new(LwIp, 1, 63_200)]);
        AddPingPong(1, "spinning", "0", [new(LwIp, 1, 118_000)], spin: true);
        AddPingPong(64, "split", "0", [new(LwIp, 1, 163_000), new(GVisor, 3, 38_000), new(GVisorLoose, 3, 50_100)]);
        AddPingPong(64, "same CPU", "1", []);
        AddConnects(1, [new(LwIp, 1, 7_500), new(Loopback, 1.5, 8_000)]);
        AddConnects(16, [new(LwIp, 1, 31_100), new(Loopback, 1.5, 20_300)]);
        AddInMemory();
        foreach (int connections in options.Quick ? (int[])[10_000, 100_000] : [10_000, 100_000, 1_000_000])
            AddIdle(connections);
        for (int size = 100; size <= 1_000_000; size *= 10)
            AddLookUp(size);
        return _all;
    }

    private void AddTunBulk(bool inward, int flows)
    {
        string[] load = [inward ? "send" : "recv", "-n", Number(flows), "-c", "0"];
        string name = $"tun bulk {(inward ? "in" : "out")}, {(flows == 1 ? "1 flow" : $"{flows} flows")}, ";
        bool one = flows == 1;
        double pump = one ? inward ? 2774 : 2509 : double.NaN;
        double veth = inward ? one ? 1949 : 1767 : one ? 892 : 1371;
        Add(name + "vnet_hdr", "MB/s", [
            Ours(load, "MB/s"), Served(Pump, "pump-vnet", () => Server.PumpAsync(options, true, WireMtu), load, "MB/s"),
            .. Peer("gvisor", GVisorVeth, "veth", () => Server.VethAsync(options, "gvisor"), load, "MB/s"),
        ], [new(Pump, 1.2, pump), new(GVisorVeth, 1.5, veth)]);
        double smoltcp = inward ? one ? 712 : 645 : one ? 305 : 271;
        Add(name + "plain", "MB/s", [
            Ours(load, "MB/s", offload: false), Served(Pump, "pump-plain", () => Server.PumpAsync(options, false, WireMtu), load, "MB/s"), .. TunPeers(load, "MB/s", WireMtu),
        ], [new(Smoltcp, 1.2, smoltcp)]);
        double large = inward ? one ? 4223 : 1428 : one ? 2489 : 2670;
        Add(name + "MTU 65535", "MB/s", [
            Ours(load, "MB/s", offload: false, mtu: LargeMtu), Served(Pump, "pump-large", () => Server.PumpAsync(options, false, LargeMtu), load, "MB/s"),
            .. TunPeers(load, "MB/s", LargeMtu),
        ], [new(Smoltcp, 1, large)]);
    }

    private void AddPingPong(int connections, string placement, string loadCpu, IReadOnlyList<Bar> bars, bool spin = false)
    {
        string[] load = ["pp", "-n", Number(connections), "-c", loadCpu, .. spin ? ["-s"] : Array.Empty<string>()];
        string name = $"tun ping-pong, {(connections == 1 ? "1 connection" : $"{connections} connections")}, {placement}";
        Add(name, "1/s", [
            Ours(load, "rt/s", spin: spin), Ours(load, "rt/s", offload: false, spin: spin) with { Name = OursPlain },
            Served(Loopback, "loopback" + (spin ? "-spin" : ""), () => Server.LoopbackAsync(options, spin), load, "rt/s"), .. TunPeers(load, "rt/s", WireMtu, spin),
        ], bars);
    }

    private void AddConnects(int atOnce, IReadOnlyList<Bar> bars)
    {
        string[] load = ["crr", "-n", Number(atOnce), "-S", "32", "-c", "0"];
        Add($"tun connect and close, {atOnce} at a time", "1/s", [
            Ours(load, "conn/s"), Ours(load, "conn/s", offload: false) with { Name = OursPlain },
            Served(Loopback, "loopback", () => Server.LoopbackAsync(options), load, "conn/s"), .. TunPeers(load, "conn/s", WireMtu),
        ], bars);
    }

    private void AddInMemory()
    {
        foreach ((string title, string work, int mtu, IReadOnlyList<Bar> bars) in new (string, string, int, IReadOnlyList<Bar>)[]
        {
            ("MTU 1500 with checksums", "1500", WireMtu, [new(Smoltcp, 1.2, 3030)]), ("64 KiB", "64k", LargeMtu, []),
            ("super-packets", "super", 0, [new(GVisorLoopback, 2, 3216)]),
        })
        {
            Add($"in-memory bulk, {title}, copied", "MB/s", [Mine("bulk-" + work), .. InMemoryPeers("bulk", mtu, "MB/s")], bars, perCore: true);
            Add($"in-memory bulk, {title}, zero-copy", "MB/s", [Mine($"bulk-{work}-zero-copy")], [], perCore: true);
        }
        Add("in-memory ping-pong, async inline, one thread", "1/s", [Mine("ping-pong-async"), .. InMemoryPeers("pp", WireMtu, "rt/s")], [new(Smoltcp, 1, 1_220_000)], perCore: true);
        Add("in-memory ping-pong, blocking, two threads spinning", "1/s", [
            Mine("ping-pong-blocking", "0,1"), .. InMemoryPeer("gvisor", GVisor, "pp", WireMtu, "rt/s"),
        ], [new(GVisor, 10, 34_200)]);

        static Entry Mine(string work, string cpus = Server.StackCpu) =>
            new(Entry.Ours, () => Task.FromResult<IContender>(new InMemoryContender(work, cpus)));
    }

    private void AddIdle(int connections)
    {
        string many = connections.ToString("N0", CultureInfo.InvariantCulture) + " connections";
        var run = new Lazy<Task<IdleFigures>>(() => OneShots.IdleAsync(connections));
        AddOnce($"idle memory, {many}", "B/end", [
            Once(Entry.Ours, async () => (await run.Value).BytesPerEnd),
            .. connections > 10_000 ? Array.Empty<Entry>() : [
                Once(Loopback, () => OneShots.KernelIdleAsync(options, connections)), .. IdlePeer("gvisor", GVisor, connections), .. IdlePeer("lwip", LwIp, connections),
                .. IdlePeer("smoltcp", Smoltcp, connections),
            ],
        ], [Bar.AtMost(1024)]);
        AddOnce($"idle set-up, {many}", "s", [Once(Entry.Ours, async () => (await run.Value).SetUpSeconds)], []);
        AddOnce($"idle collector pause, {many}", "ms", [Once(Entry.Ours, async () => (await run.Value).PauseMilliseconds)], [Bar.AtMost(2)]);
        AddOnce($"idle round trip beside, {many}", "× of 1,000's", [Once(Entry.Ours, async () => (await run.Value).TripCost)], [Bar.AtMost(1.5)]);
    }

    private void AddLookUp(int size) => AddOnce($"look-up among {size.ToString("N0", CultureInfo.InvariantCulture)}", "ns",
        [Once(Entry.Ours, () => OneShots.LookUpAsync(size, options.Seconds))], []);

    private Entry Ours(string[] load, string unit, bool offload = true, int mtu = WireMtu, bool spin = false) =>
        Served(Entry.Ours, $"ours-{offload}-{mtu}-{spin}", () => Server.OursAsync(options, offload, mtu, spin), load, unit, settles: true);

    private Entry Served(string name, string server, Func<Task<Server>> start, string[] load, string unit, bool settles = false) =>
        new(name, async () => new LoadContender(options, await servers.GetAsync(server, start), load, unit, settles));

    private IEnumerable<Entry> TunPeers(string[] load, string unit, int mtu, bool spin = false) =>
    [
        .. spin ? [] : Peer("gvisor", GVisor, $"gvisor-{mtu}", () => Server.PeerAsync(options, "gvisor", mtu), load, unit),
        .. spin ? [] : Peer("gvisor", GVisorLoose, $"gvisor-{mtu}-loose", () => Server.PeerAsync(options, "gvisor", mtu, "0,1"), load, unit),
        .. Peer("lwip", LwIp, $"lwip-{mtu}-{spin}", () => Server.PeerAsync(options, "lwip", Math.Min(mtu, LwIpLargeMtu), spin: spin), load, unit),
        .. Peer("smoltcp", Smoltcp, $"smoltcp-{mtu}-{spin}", () => Server.PeerAsync(options, "smoltcp", mtu, spin: spin), load, unit),
    ];

    private IEnumerable<Entry> Peer(string program, string name, string server, Func<Task<Server>> start, string[] load, string unit) =>
        Has(program) ? [Served(name, server, start, load, unit)] : [];

    private IEnumerable<Entry> InMemoryPeers(string what, int mtu, string unit) => mtu == 0
        ? InMemoryPeer("gvisor", GVisorLoopback, what, mtu, unit)
        :
        [
            .. InMemoryPeer("gvisor", GVisor, what, mtu, unit), .. InMemoryPeer("lwip", LwIp, what, Math.Min(mtu, LwIpLargeMtu), unit),
            .. InMemoryPeer("smoltcp", Smoltcp, what, mtu, unit),
        ];

    private IEnumerable<Entry> InMemoryPeer(string program, string name, string what, int mtu, string unit) =>
        Has(program) ? [new(name, () => Task.FromResult<IContender>(new ProgramContender(InMemoryCommand(program, what, 1, mtu), unit)))] : [];

    private IEnumerable<Entry> IdlePeer(string program, string name, int connections) => Has(program)
        ? [Once(name, () => OneShots.ProgramIdleAsync([.. InMemoryCommand(program, "conns", connections, WireMtu), "1"]))]
        : [];

    private string[] InMemoryCommand(string program, string what, int connections, int mtu) =>
        ["taskset", "-c", Server.StackCpu, options.Programs[program], "mem", what, Number(connections), Number(mtu)];

    private static Entry Once(string name, Func<Task<double>> find) => new(name, () => Task.FromResult<IContender>(new OnceContender(find)));

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private bool Has(string program) => options.Peers && options.Programs.TryGetValue(program, out string? path) && File.Exists(path);

    private void Add(string name, string unit, IReadOnlyList<Entry> entries, IReadOnlyList<Bar> bars, bool perCore = false) =>
        _all.Add(new Workload(name, unit, entries, bars) { PerCore = perCore });

    private void AddOnce(string name, string unit, IReadOnlyList<Entry> entries, IReadOnlyList<Bar> bars) =>
        _all.Add(new Workload(name, unit, entries, bars) { LessIsBetter = true, Once = true });
}
