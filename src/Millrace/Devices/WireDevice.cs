using System.Diagnostics;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Devices;

/// <summary>
/// One end of the in-memory wire: what one stack sends, the other receives, the very same buffer, not a byte touched. Delay and
/// loss are layers around it (<see cref="ImpairmentLayer"/>).
/// </summary>
/// <remarks>Linux: veth.</remarks>
internal sealed class WireDevice : NetDevice
{
    private readonly PacketRing _ring;
    private readonly Arrival _arrival;
    private WireDevice? _peer;
    private RxPoll? _poll;

    /// <param name="hardwareAddress">The end's Ethernet address; none for a wire of IP packets.</param>
    /// <param name="ringSize">Packets that may wait at the receiving end; more are dropped and counted.</param>
    public WireDevice(string name, int mtu, int ringSize, MacAddr hardwareAddress = default)
        : base(name, mtu)
    {
        _ring = new PacketRing(ringSize);
        _arrival = new Arrival(this);
        HardwareAddress = hardwareAddress;
        Flags = IsEthernet ? DeviceFlags.Broadcast : DeviceFlags.PointToPoint;
    }

    public override void Attach(NetRx netRx, CpuSet cpus)
    {
        _poll = new RxPoll(this, netRx);
        base.Attach(netRx, cpus);
    }

    /// <summary>Makes two ends one wire.</summary>
    public static void Connect(WireDevice a, WireDevice b)
    {
        Debug.Assert(a._peer is null && b._peer is null, "an end belongs to one wire");
        a._peer = b;
        b._peer = a;
    }

    // A frame may wait for its neighbour's address.
    protected override bool KeepsTransmitted => IsEthernet;

    public override void StartXmit(Cpu cpu, SkBuff skb)
    {
        cpu.Orphan(skb);
        skb.CopyForeignFragments(cpu);
        cpu.Mib.Add(Mib.MillraceWireBytes, skb.Length);
        if (_peer is not { } peer || (peer.Flags & DeviceFlags.Up) == 0)
            Drop(cpu, skb, DropReason.DevReady);
        else if (!peer._ring.TryPut(cpu, skb, out bool schedule))
            Drop(cpu, skb, DropReason.FullRing);
        else if (schedule)
            cpu.Thread.Defer(peer._arrival);
    }

    public override void Dispose()
    {
        base.Dispose();
        _peer?.OnPeerGone();
    }

    private void OnPeerGone() => Flags &= ~DeviceFlags.Up;

    private void Drop(Cpu cpu, SkBuff skb, DropReason reason)
    {
        Statistics.TxDropped++;
        Drops.Free(cpu, skb, reason);
    }

    // Runs on the sender's thread once it holds no lock, and has become the poll's owner: the receiver's interrupt.
    private void RaiseInterrupt()
    {
        if (CpuSet.AcquireUnlessHolding() is { } cpu)
        {
            cpu.Interrupt(_poll!);
            CpuSet.Release(cpu);
        }
        else
        {
            NetRx.ScheduleRemote(CpuSet, _poll!);
        }
    }

    private sealed class Arrival(WireDevice device) : DeferredWork
    {
        private readonly ArrivalLater _later = new(device);

        internal override void Run() => device.RaiseInterrupt();

        internal override void HandOver() => device.CpuSet.Host.Kick(device.CpuSet, _later);
    }

    private sealed class ArrivalLater(WireDevice device) : HostWork
    {
        public override void Execute() => device.RaiseInterrupt();
    }

    private sealed class RxPoll(WireDevice device, NetRx netRx) : Napi(netRx)
    {
        protected override int IfIndex => device.IfIndex;

        public override int Poll(Cpu cpu, int budget)
        {
            int work = 0;
            while (work < budget && device._ring.Take() is { } skb)
            {
                work++;
                // What still comes for a device that is gone.
                if ((device.Flags & DeviceFlags.Up) == 0)
                    Drops.Free(cpu, skb, DropReason.DevReady);
                else
                    device.Receive(cpu, skb);
            }
            return work;
        }

        protected override bool TryEnd(Cpu cpu) => device._ring.TryEndPoll(cpu);
    }
}
