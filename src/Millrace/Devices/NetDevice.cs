using System;
using System.Threading;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Devices;

/// <summary>What a device is. Linux: IFF_*.</summary>
[Flags]
internal enum DeviceFlags
{
    None = 0,
    Up = 1,
    Broadcast = 2,
    Loopback = 8,
    PointToPoint = 0x10,
}

/// <summary>What a device takes off the stack's hands. Linux: NETIF_F_*.</summary>
[Flags]
internal enum DeviceFeatures
{
    None = 0,

    /// <summary>Partial checksums may be handed down. Linux: NETIF_F_HW_CSUM.</summary>
    TxChecksum = 1,

    /// <summary>TCP super-packets may be handed down. Linux: NETIF_F_TSO, NETIF_F_TSO6.</summary>
    Tso4 = 2,
    Tso6 = 4,

    /// <summary>UDP super-packets may be handed down. Linux: NETIF_F_GSO_UDP_L4.</summary>
    UdpSegmentation = 8,

    /// <summary>Received segments are merged in software. Linux: NETIF_F_GRO.</summary>
    Gro = 16,

    /// <summary>TCP super-packets may be handed down whose every segment bears CWR. Linux: NETIF_F_GSO_ACCECN.</summary>
    TsoAccEcn = 32,

    /// <summary>Super-packets of AccECN may be handed down that do not bear CWR, as plain ones. Linux: none, a device takes all or none.</summary>
    TsoAccEcnWithoutCwr = 64,

    Tso = Tso4 | Tso6,
    AllOffloads = TxChecksum | Tso | TsoAccEcn | TsoAccEcnWithoutCwr | UdpSegmentation,
}

/// <summary>A device's own counters; written under the locks that its paths hold, read by anybody.</summary>
internal struct DeviceStatistics
{
    public long RxPackets, RxBytes, RxDropped, TxPackets, TxBytes, TxDropped, TxErrors;
}

/// <summary>
/// A network interface. Packets go down through its layers to <see cref="StartXmit"/> and come up through its layers to
/// <see cref="Receive"/>.
/// </summary>
/// <remarks>Linux: net_device, with net_device_ops.</remarks>
internal abstract class NetDevice : IDisposable
{
    private DeviceLayer? _txLayer, _rxLayer;
    private int _failed;

    protected NetDevice(string name, int mtu)
    {
        Name = name;
        Mtu = mtu;
    }

    public string Name { get; }

    /// <summary>Assigned when the device is added to a stack; from 1.</summary>
    public int IfIndex { get; internal set; }

    /// <summary>The largest IP packet that goes on the wire, in bytes.</summary>
    public int Mtu { get; set; }

    /// <summary>The device's address on an Ethernet, whose frames it then carries; none: it carries IP packets. Linux: dev_addr.</summary>
    public MacAddr HardwareAddress { get; init; }

    /// <summary>Linux: ARPHRD_ETHER.</summary>
    public bool IsEthernet => !HardwareAddress.IsNone;

    /// <summary>Bytes of its largest frame. Linux: psched_mtu.</summary>
    public int FrameSize => Mtu + (IsEthernet ? EthernetHeader.Length : 0);

    public DeviceFlags Flags { get; protected set; }

    public DeviceFeatures Features { get; set; }

    /// <summary>Packets that its queueing discipline holds at most. Linux: txqueuelen.</summary>
    public int TxQueueLength { get; init; } = 1000;

    public DeviceStatistics Statistics;

    /// <summary>Whether <see cref="StartXmit"/> would take a packet; a device that says no runs its discipline when it has room. Linux: netif_xmit_stopped.</summary>
    public virtual bool HasRoom => true;

    /// <summary>What orders its outgoing packets.</summary>
    public Qdisc Qdisc
    {
        get;
        internal set
        {
            field = value;
            NoteWhoKeeps();
        }
    } = null!;

    /// <summary>
    /// Whether a packet that is handed down may still be on this host, in a queue, when the call returns. If not, its sender need not be
    /// charged for it.
    /// </summary>
    public bool KeepsPackets { get; private set; } = true;

    /// <summary>Whether the device itself keeps packets.</summary>
    protected virtual bool KeepsTransmitted => true;

    private void NoteWhoKeeps() => KeepsPackets = KeepsTransmitted || _txLayer is not null || Qdisc.KeepsPackets;

    /// <summary>Another discipline takes over. Linux: dev_graft_qdisc.</summary>
    public void SetQdisc(Cpu cpu, Qdisc next)
    {
        Qdisc before = Qdisc;
        Qdisc = next;
        before.Retire(cpu);
    }

    /// <summary>The receive side of the stack that the device belongs to.</summary>
    protected NetRx NetRx { get; private set; } = null!;

    /// <summary>The CPUs of the stack that the device belongs to.</summary>
    public CpuSet CpuSet { get; private set; } = null!;

    /// <summary>Called once, when the device is added to a stack. Linux: register_netdevice, ndo_open.</summary>
    public virtual void Attach(NetRx netRx, CpuSet cpus)
    {
        NetRx = netRx;
        CpuSet = cpus;
        Flags |= DeviceFlags.Up;
    }

    /// <summary>
    /// Sends a packet that fits the device: takes the buffer over and only enqueues. What is dear follows when all locks are
    /// dropped. Linux: ndo_start_xmit.
    /// </summary>
    public abstract void StartXmit(Cpu cpu, SkBuff skb);

    /// <summary>Sends a packet through the layers that wrap the device.</summary>
    public void Transmit(Cpu cpu, SkBuff skb)
    {
        if (_txLayer is { } layer)
            layer.Transmit(cpu, skb);
        else
            StartXmit(cpu, skb);
    }

    /// <summary>Hands a received packet through the layers that wrap the device, up to the stack. Softirq.</summary>
    public void Receive(Cpu cpu, SkBuff skb)
    {
        Statistics.RxPackets++;
        Statistics.RxBytes += skb.Length;
        skb.IfIndex = IfIndex;
        if (_rxLayer is { } layer)
            layer.Receive(cpu, skb);
        else
            DeliverUp(cpu, skb);
    }

    /// <summary>
    /// Wraps the device in one more layer: outgoing packets meet the newest layer first, incoming ones the oldest, as if each layer
    /// were a device around the last.
    /// </summary>
    public void Wrap(DeviceLayer layer)
    {
        layer.Install(this, _txLayer);
        _txLayer = layer;
        KeepsPackets = true;
        if (_rxLayer is null)
            _rxLayer = layer;
        else
            _rxLayer.AppendUpper(layer);
    }

    /// <summary>The device has failed for good: it is down, and says so once. Linux: NETDEV_UNREGISTER.</summary>
    protected void Fail(string reason)
    {
        if (Interlocked.Exchange(ref _failed, 1) != 0)
            return;
        Flags &= ~DeviceFlags.Up;
        Lost?.Invoke(this, reason);
    }

    /// <summary>Raised once, outside all locks, when the device is gone under the stack.</summary>
    public event Action<NetDevice, string>? Lost;

    public virtual void Dispose() => Flags &= ~DeviceFlags.Up;

    /// <summary>A packet, or the packet in a frame, leaves the device and its layers for the stack.</summary>
    internal void DeliverUp(Cpu cpu, SkBuff skb)
    {
        DropReason reason = IsEthernet ? Ethernet.Strip(cpu, this, skb) : DropReason.None;
        if (reason != DropReason.None)
            Drops.Free(cpu, skb, reason);
        else if ((Features & DeviceFeatures.Gro) != 0 && skb.LinkTarget == LinkTarget.Host)
            NetRx.ReceiveMerging(cpu, skb);
        else
            NetRx.Receive(cpu, skb);
    }
}

/// <summary>
/// Something around a device that sees every packet and may hold, change, multiply or drop it: capture, impairment. Runs in the
/// context of the packet, under whatever lock its sender holds; it must not call user code.
/// </summary>
internal abstract class DeviceLayer
{
    private DeviceLayer? _lower, _upper;

    protected NetDevice Device { get; private set; } = null!;

    internal void Install(NetDevice device, DeviceLayer? lower)
    {
        Device = device;
        _lower = lower;
        OnInstalled();
    }

    internal void AppendUpper(DeviceLayer layer)
    {
        DeviceLayer top = this;
        while (top._upper is { } next)
            top = next;
        top._upper = layer;
    }

    protected virtual void OnInstalled()
    {
    }

    public virtual void Transmit(Cpu cpu, SkBuff skb) => PassDown(cpu, skb);

    public virtual void Receive(Cpu cpu, SkBuff skb) => PassUp(cpu, skb);

    protected void PassDown(Cpu cpu, SkBuff skb)
    {
        if (_lower is { } lower)
            lower.Transmit(cpu, skb);
        else
            Device.StartXmit(cpu, skb);
    }

    protected void PassUp(Cpu cpu, SkBuff skb)
    {
        if (_upper is { } upper)
            upper.Receive(cpu, skb);
        else
            Device.DeliverUp(cpu, skb);
    }

    protected static void Drop(Cpu cpu, SkBuff skb, DropReason reason) => Drops.Free(cpu, skb, reason);
}
