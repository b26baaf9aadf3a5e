using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.NetworkInformation;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Icmp;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tcp;
using Millrace.Tcp.Congestion;
using Millrace.Tracing;
using Millrace.Udp;
using Millrace.Wire;

namespace Millrace;

/// <summary>
/// A TCP/IP stack: devices, addresses, routes, tables, settings and counters of its own. A process can have any number.
/// </summary>
/// <remarks>Linux: struct net. It makes everything and is handed to nobody: a part receives what it uses.</remarks>
public sealed partial class NetStack : IDisposable
{
    private readonly Host _host;
    private readonly bool _ownsHost;
    private readonly CpuSet _cpus;
    private readonly NetRx _netRx;
    private readonly DeviceTable _devices;
    private readonly RoutingTable _routes;
    private readonly Prng _linkRandom;
    private readonly ArpTable _arp;
    private readonly NeighbourDiscovery _discovery;
    private readonly InetProtocols _protocols = new();
    private readonly NetFamilies _families = new();
    private readonly TcpProto _tcp;
    private readonly Tracer _tracer;
    private readonly SecurityPolicy _security;
    private readonly NetStackOptions _options;
    private readonly SocketFace _face;
    private int _disposed;

    /// <summary>A stack on real threads and real time, with a loopback device.</summary>
    public NetStack(NetStackOptions? options = null)
        : this(options ?? new NetStackOptions(), new ThreadHost(), ownsHost: true, buffers: null)
    {
    }

    internal NetStack(NetStackOptions options, Host host, bool ownsHost, BufferPool? buffers)
    {
        _options = options;
        _host = host;
        _ownsHost = ownsHost;
        _security = options.Security;
        var secrets = new SecretSource(options.Seed);
        Buffers = buffers ?? new BufferPool(secrets.NextSeed());
        int cpus = options.Cpus > 0 ? options.Cpus : 2 * Environment.ProcessorCount;
        _tracer = new Tracer(options.Name);
        _cpus = new CpuSet(host, cpus, Buffers, _tracer);
        TimeProvider = new StackTimeProvider(_cpus);
        _netRx = new NetRx(cpus, Sysctls.Receiving);
        _cpus.Actions[(int)Softirq.NetRx] = _netRx;
        _devices = new DeviceTable(_netRx, _cpus);
        _tracer.DeviceName = index => _devices.ByIndex(index)?.Name ?? $"if{index}";
        _routes = new RoutingTable(host);
        if (options.MemoryBudget > 0)
        {
            long pages = options.MemoryBudget / ProtoMemory.Quantum;
            Sysctls.TcpMem = (pages / 2, pages * 2 / 3, pages);
        }
        _linkRandom = new Prng(new SecretSource(~options.Seed).NextSeed());
        _arp = new ArpTable(Sysctls.Neigh4, _routes, _cpus.Timers, new Prng(_linkRandom.NextUInt64()));
        _discovery = new NeighbourDiscovery(Sysctls.Neigh6, _routes, _devices, _cpus.Timers, new Prng(_linkRandom.NextUInt64()));
        _tcp = BuildInternet(secrets);
        Sysctls.AvailableCongestionControl = () => _tcp.Congestions.Available;
        _face = new SocketFace(_cpus, options.InlineCompletions);
        host.Attach(_cpus);
        AddLoopback();
    }

    /// <summary>The stack's name.</summary>
    public string Name => _options.Name;

    /// <summary>The stack's clock; virtual in a simulation. Its timers keep the stack's own resolution.</summary>
    public TimeProvider TimeProvider { get; }

    /// <summary>The stack's settings; they count from their next use.</summary>
    public Sysctls Sysctls { get; } = new();

    internal BufferPool Buffers { get; }

    internal CpuSet Cpus => _cpus;

    internal Host Host => _host;

    internal DeviceTable Devices => _devices;

    internal RoutingTable Routes => _routes;

    internal NetFamilies Families => _families;

    internal TcpProto Tcp => _tcp;

    internal SecurityPolicy Security => _security;

    /// <summary>Gives a device an address, and the route to its subnet.</summary>
    /// <param name="device">The device's name.</param>
    /// <param name="prefixLength">Bits of the subnet.</param>
    /// <exception cref="ArgumentException">There is no such device, or the prefix is longer than the address.</exception>
    public void AddAddress(string device, IPAddress address, int prefixLength)
    {
        IpAddr ip = IpAddr.From(address);
        if (prefixLength < 0 || prefixLength > (ip.IsV4 ? 32 : 128))
            throw new ArgumentException($"A prefix of {prefixLength} bits does not fit {address}.", nameof(prefixLength));
        NetDevice owner = DeviceByName(device);
        _routes.AddAddress(owner, ip, prefixLength);
        if (owner.IsEthernet && ip.IsV4 && Sysctls.ArpNotify)
            OnCpu(cpu => ArpTable.Announce(cpu, owner, ip));
    }

    /// <summary>Adds a route.</summary>
    /// <param name="gateway">The next hop; null if the destination is on the device's link.</param>
    /// <exception cref="ArgumentException">There is no such device.</exception>
    public void AddRoute(IPAddress prefix, int prefixLength, string device, IPAddress? gateway = null, int metric = 0) =>
        _routes.Add(new RouteEntry(IpAddr.From(prefix), prefixLength, DeviceByName(device))
        {
            Gateway = gateway is null ? null : IpAddr.From(gateway),
            Metric = metric,
        });

    /// <summary>Adds a device that a driver stands behind. The stack owns the driver from now on.</summary>
    /// <param name="onLost">Told once, on a thread of the stack, if the device fails for good.</param>
    /// <exception cref="NotSupportedException">The stack's time is not real.</exception>
    public void AddDevice(NetDriver driver, Action<string>? onLost = null)
    {
        var device = new DriverDevice(driver);
        device.Lost += (lost, reason) =>
        {
            OnDeviceLost(lost);
            onLost?.Invoke(reason);
        };
        _devices.Add(device);
    }

    /// <summary>Takes a device out, with its addresses and routes; connections over it time out or fail.</summary>
    public void RemoveDevice(string name)
    {
        NetDevice device = DeviceByName(name);
        Forget(device);
        _devices.Remove(device);
    }

    /// <summary>
    /// Chooses what orders a device's outgoing packets; at first nothing does. What waits in the discipline before is dropped.
    /// Linux: tc qdisc replace dev … root.
    /// </summary>
    /// <exception cref="ArgumentException">There is no such device.</exception>
    /// <exception cref="ArgumentOutOfRangeException">One of the discipline's numbers makes no sense.</exception>
    public void SetQueueDiscipline(string device, QueueDiscipline discipline)
    {
        ArgumentNullException.ThrowIfNull(discipline);
        NetDevice found = DeviceByName(device);
        Qdisc made = discipline.Make(found);
        TaskContext context = _cpus.Enter();
        found.SetQdisc(context.Cpu, made);
        _cpus.Leave(ref context);
    }

    /// <summary>What a device's discipline is and has done. Linux: tc -s qdisc show.</summary>
    /// <exception cref="ArgumentException">There is no such device.</exception>
    public QdiscStatistics GetQueueStatistics(string device)
    {
        NetDevice found = DeviceByName(device);
        TaskContext context = _cpus.Enter();
        QdiscStatistics statistics = found.Qdisc.Describe(context.Cpu);
        _cpus.Leave(ref context);
        return statistics;
    }

    /// <summary>Makes a device a bad link.</summary>
    /// <param name="transmit">What happens to packets that this stack sends; null: nothing.</param>
    /// <param name="receive">What happens to packets that it receives; null: nothing.</param>
    public void Impair(string device, ImpairmentOptions? transmit, ImpairmentOptions? receive = null)
    {
        transmit?.Validate();
        receive?.Validate();
        DeviceByName(device).Wrap(new ImpairmentLayer(transmit, receive));
    }

    /// <summary>
    /// Whether TCP segments that a device receives one behind the other are merged before TCP sees them: fewer steps and one ACK for all
    /// of them. On for drivers; for wires see <see cref="WireOptions.Gro"/>. Linux: ethtool -K DEVICE gro on|off.
    /// </summary>
    public void SetGro(string device, bool on)
    {
        NetDevice found = DeviceByName(device);
        found.Features = on ? found.Features | DeviceFeatures.Gro : found.Features & ~DeviceFeatures.Gro;
    }

    /// <summary>
    /// Writes every packet that crosses a device to <paramref name="stream"/> as pcapng, until the returned object is disposed.
    /// </summary>
    public IDisposable Capture(string device, Stream stream)
    {
        var capture = new PcapngCapture(stream);
        DeviceByName(device).Wrap(new CaptureLayer(capture));
        return capture;
    }

    /// <summary>Writes every packet that crosses any of these devices, of any stack, to one pcapng stream.</summary>
    public static IDisposable Capture(Stream stream, params (NetStack Stack, string Device)[] devices)
    {
        var capture = new PcapngCapture(stream);
        foreach ((NetStack stack, string device) in devices)
            stack.DeviceByName(device).Wrap(new CaptureLayer(capture));
        return capture;
    }

    /// <summary>Names of the devices.</summary>
    public IReadOnlyList<string> DeviceNames
    {
        get
        {
            var names = new List<string>();
            foreach (NetDevice device in _devices.All)
                names.Add(device.Name);
            return names;
        }
    }

    /// <summary>Makes a process: a table of descriptors, and system calls on them.</summary>
    /// <param name="uid">0 may do everything; others may not bind the ports below net.ipv4.ip_unprivileged_port_start.</param>
    public Process CreateProcess(int uid = 0) => new(_cpus, _families, _security, Sysctls,
        uid == 0 ? Credentials.Root : Credentials.User(uid), _options.FileLimit);

    /// <summary>Listens for TCP connections.</summary>
    /// <param name="local">An address of the stack, or any; port 0 lets the stack choose.</param>
    /// <exception cref="System.Net.Sockets.SocketException">The address is not the stack's, or the port is taken.</exception>
    public TcpListener Listen(IPEndPoint local, TcpListenOptions? options = null) =>
        new(_face, NewTcpSocket(local), local, options ?? new TcpListenOptions(), Sysctls.SoMaxConn);

    /// <summary>Connects, blocking until the connection is established.</summary>
    /// <exception cref="System.Net.Sockets.SocketException">It was refused, nothing answered, or there is no way to the peer.</exception>
    public TcpConnection Connect(IPEndPoint remote, TcpConnectOptions? options = null, CancellationToken cancel = default) =>
        TcpConnection.Connect(_face, NewTcpSocket(remote), remote, options, cancel);

    /// <summary>Connects, without blocking a thread.</summary>
    /// <inheritdoc cref="Connect"/>
    public ValueTask<TcpConnection> ConnectAsync(IPEndPoint remote, TcpConnectOptions? options = null, CancellationToken cancel = default) =>
        TcpConnection.ConnectAsync(_face, NewTcpSocket(remote), remote, options, cancel);

    /// <summary>
    /// The TCP sockets as they are now: listeners, and connections from their SYN to the end of TIME_WAIT. What is neither bound to
    /// listen nor connected is not listed. Linux: inet_diag; what ss -ta shows.
    /// </summary>
    public IReadOnlyList<TcpSocketEntry> ListTcpSockets()
    {
        TaskContext context = _cpus.Enter();
        List<TcpSocketEntry> entries = TcpDiag.List(ref context, _tcp.Listeners, _tcp.Established);
        _cpus.Leave(ref context);
        return entries;
    }

    /// <summary>The neighbours that the stack knows on its Ethernets, of both address families. Linux: `ip neigh`.</summary>
    public IReadOnlyList<NeighbourEntry> ListNeighbours()
    {
        var entries = new List<NeighbourEntry>();
        OnCpu(cpu =>
        {
            _arp.List(cpu, entries);
            _discovery.List(cpu, entries);
        });
        return entries;
    }

    /// <summary>The address of a device on its Ethernet; null if it has none.</summary>
    /// <exception cref="ArgumentException">There is no such device.</exception>
    public PhysicalAddress? HardwareAddressOf(string device) =>
        DeviceByName(device) is { IsEthernet: true } ethernet ? ethernet.HardwareAddress.ToPhysicalAddress() : null;

    /// <summary>
    /// What the stack remembers of connections that have ended, for the next ones between the same addresses: the last used first.
    /// Linux: ip tcp_metrics.
    /// </summary>
    public IReadOnlyList<TcpMetricsEntry> ListTcpMetrics()
    {
        TaskContext context = _cpus.Enter();
        List<TcpMetricsEntry> entries = _tcp.Metrics.List(context.Cpu);
        _cpus.Leave(ref context);
        return entries;
    }

    /// <summary>Forgets what <see cref="ListTcpMetrics"/> shows.</summary>
    /// <param name="remote">Null: of all peers.</param>
    /// <returns>How many entries are gone.</returns>
    public int FlushTcpMetrics(IPAddress? remote = null)
    {
        TaskContext context = _cpus.Enter();
        int removed = _tcp.Metrics.Flush(context.Cpu, remote is null ? null : IpAddr.From(remote));
        _cpus.Leave(ref context);
        return removed;
    }

    /// <summary>Wires two stacks together: what one sends on its device, the other receives.</summary>
    /// <returns>Nothing; each stack has a new device of the given name.</returns>
    public static void Wire(NetStack a, string deviceA, NetStack b, string deviceB, WireOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(a);
        ArgumentNullException.ThrowIfNull(b);
        options ??= new WireOptions();
        WireDevice endA = a.NewWireEnd(deviceA, options), endB = b.NewWireEnd(deviceB, options);
        WireDevice.Connect(endA, endB);
        endA.Features = endB.Features = (options.Offload ? DeviceFeatures.AllOffloads : DeviceFeatures.None)
            | (options.Gro ? DeviceFeatures.Gro : DeviceFeatures.None);
        a._devices.Add(endA);
        b._devices.Add(endB);
    }

    /// <summary>
    /// Ends the stack: its connections are reset, and whoever waits on them, or on a listener, is let go as if they had been disposed
    /// of. Its devices are disposed of.
    /// </summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        if (!_host.IsOver)
            _tcp.Stop(_cpus, Errno.ECANCELED);
        foreach (NetDevice device in _devices.All)
            device.Dispose();
        _host.Detach(_cpus);
        if (_ownsHost)
            _host.Dispose();
    }

    private Socket NewTcpSocket(IPEndPoint address)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        TaskContext context = _cpus.Enter();
        int family = address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork ? Af.Inet : Af.Inet6;
        Errno error = _families.Create(ref context, family, (int)SocketType.Stream, (int)IpProtocol.Tcp, Credentials.Root, _security,
            out Socket? socket);
        _cpus.Leave(ref context);
        return error == Errno.OK ? socket! : throw error.ToException();
    }

    private WireDevice NewWireEnd(string name, WireOptions options) =>
        new(name, options.Mtu, options.RingSize, options.Ethernet ? MacAddr.Local(_linkRandom.NextUInt64()) : default);

    private void Forget(NetDevice device)
    {
        _routes.Remove(device);
        OnCpu(cpu =>
        {
            _arp.Remove(cpu, device);
            _discovery.Remove(cpu, device);
        });
    }

    // What a call does in the network layers, with bottom halves off.
    private void OnCpu(Action<Cpu> body)
    {
        TaskContext context = _cpus.Enter();
        context.Cpu.BhDisable();
        body(context.Cpu);
        context.Cpu.BhEnable();
        _cpus.Leave(ref context);
    }

    private NetDevice DeviceByName(string name) =>
        _devices.ByName(name) ?? throw new ArgumentException($"{Name} has no device named {name}.", nameof(name));

    private TcpProto BuildInternet(SecretSource secrets)
    {
        var random = new SharedPrng(secrets.NextSeed());
        var ids = new IpIdGenerator(secrets.NextKey(), _host, random);
        var output4 = new Ip4Output(_routes, _arp, Sysctls, ids);
        var output6 = new Ip6Output(_routes, _discovery, Sysctls, secrets.NextKey());
        var limiter = new IcmpRateLimiter(Sysctls, _host);
        var icmp4 = new Icmp4(_protocols, _routes, output4, Sysctls, limiter);
        var icmp6 = new Icmp6(_protocols, _routes, output6, limiter, _discovery);
        _arp.Errors = icmp4;
        _discovery.Errors = icmp6;
        var reassembly = new Ip4Reassembly(_cpus.Timers);
        var binds = new BindHash(Sysctls, random);
        var tcp = new TcpProto(new TcpCollaborators
        {
            Sysctls = Sysctls,
            Routes = _routes,
            Established = new EstablishedHash(secrets.NextKey()),
            Listeners = new ListenHash(secrets.NextKey()),
            Binds = binds,
            Timers = _cpus.Timers,
            Sequences = new SecureSequence(secrets.NextKey(), secrets.NextKey(), secrets.NextKey(), _host),
            Congestions = Algorithms(),
            Ipv4 = output4,
            Ipv6 = output6,
            Random = random,
            Stamps = _netRx.Stamps,
            Cookies = new SynCookies(secrets.NextKey(), _host),
        });
        _cpus.Actions[(int)Softirq.NetTx] = tcp.SmallQueues;
        _protocols.Add(tcp.Input);
        _protocols.Add(icmp4);
        _protocols.Add(icmp6);
        _protocols.Add(new UdpInput(icmp4, icmp6));
        _netRx.Ipv4 = new Ip4Input(_protocols, _routes, reassembly, icmp4);
        _netRx.Ipv6 = new Ip6Input(_protocols, _routes, icmp6);
        _netRx.Arp = new ArpInput(_arp, _devices);
        RegisterFamilies(tcp, binds, ids, secrets);
        return tcp;
    }

    private void RegisterFamilies(TcpProto tcp, BindHash binds, IpIdGenerator ids, SecretSource secrets)
    {
        var binder = new InetBinder(_routes, Sysctls);
        long cookieBase = (long)(secrets.NextSeed() >> 2);
        var options = new SocketOptions(Sysctls, binds, _devices, new IpOptions(_routes, Sysctls), cookieBase);
        var kinds = new InetSwitch();
        kinds.Register(new InetProtoSwitch(SocketType.Stream, IpProtocol.Tcp, tcp, new InetStreamOps(Af.Inet, binder, options),
            new InetStreamOps(Af.Inet6, binder, options)));
        _families.Register(new InetFamily(Af.Inet, kinds, Sysctls, ids));
        _families.Register(new InetFamily(Af.Inet6, kinds, Sysctls, ids));
    }

    private static CongestionRegistry Algorithms()
    {
        var registry = new CongestionRegistry();
        registry.Register("reno", static () => new Reno());
        registry.Register("cubic", static () => new Cubic());
        registry.Register("bbr", static () => new Bbr(), startEarly: true);
        registry.Register("dctcp", static () => new Dctcp(), startEarly: true, needsEcn: true);
        return registry;
    }

    private void AddLoopback()
    {
        var loopback = new LoopbackDevice();
        _devices.Add(loopback);
        _routes.AddAddress(loopback, IpAddr.Loopback4, 8);
        _routes.AddAddress(loopback, IpAddr.Loopback6, 128);
    }

    // Whoever talks over a device that is gone learns it at once. Linux: NETDEV_UNREGISTER, and tcp_nuke_addr on Android.
    private void OnDeviceLost(NetDevice device)
    {
        var lost = new List<IpAddr>();
        foreach (InterfaceAddress a in _routes.Addresses)
        {
            if (a.Device == device)
                lost.Add(a.Address);
        }
        Forget(device);
        _tcp.AbortConnections(_cpus, lost, Errno.ENETDOWN);
    }
}
