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
    private readonly int _ringSize;
    private readonly SkBuffHead _outgoing = new();
    private readonly SkBuffHead _ring = new();
    private readonly Handoff _handoff;
    private WireDevice? _peer;
    private RxPoll? _poll;
    private SpinLock32 _outgoingLock, _ringLock;

    /// <param name="hardwareAddress">The end's Ethernet address; none for a wire of IP packets.</param>
    /// <param name="ringSize">Packets that may wait at the receiving end; more are dropped and counted.</param>
    public WireDevice(string name, int mtu, int ringSize, MacAddr hardwareAddress = default)
        : base(name, mtu)
    {
        _ringSize = ringSize;
        _handoff = new Handoff(this);
        HardwareAddress = hardwareAddress;
        Flags = IsEthernet ? DeviceFlags.Broadcast : DeviceFlags.PointToPoint;
    }

    public override void Attach(NetRx netRx, CpuSet cpus)
    {
        base.Attach(netRx, cpus);
        _poll = new RxPoll(this, netRx);
    }

    /// <summary>Makes two ends one wire.</summary>
    public static void Connect(WireDevice a, WireDevice b)
    {
        Debug.Assert(a._peer is null && b._peer is null, "an end belongs to one wire");
        a._peer = b;
        b._peer = a;
    }

    public override void StartXmit(Cpu cpu, SkBuff skb)
    {
        cpu.Orphan(skb);
        skb.CopyForeignFragments(cpu);
        cpu.Mib.Add(Mib.MillraceWireBytes, skb.Length);
        _outgoingLock.Lock(cpu);
        bool first = _outgoing.IsEmpty;
        _outgoing.PushLast(skb);
        _outgoingLock.Unlock(cpu);
        if (first)
            cpu.Thread.Defer(_handoff);
    }

    public override void Dispose()
    {
        base.Dispose();
        _peer?.OnPeerGone();
    }

    private void OnPeerGone() => Flags &= ~DeviceFlags.Up;

    // Runs on the sender's thread once it holds no lock: the packets change sides, and the receiver's interrupt is raised.
    private void HandOff()
    {
        WireDevice? peer = _peer;
        if (peer?._poll is null || (peer.Flags & DeviceFlags.Up) == 0)
        {
            DropOutgoing();
            return;
        }
        Cpu? free = peer.CpuSet.AcquireUnlessHolding();
        bool scheduled = peer.TakeBatch(free ?? ThreadContext.Current.Held!, this) && peer._poll.TrySchedule();
        if (free is null)
        {
            if (scheduled)
                peer.NetRx.ScheduleRemote(peer.CpuSet, peer._poll);
            return;
        }
        if (scheduled)
            free.Interrupt(peer._poll);
        peer.CpuSet.Release(free);
    }

    private bool TakeBatch(Cpu cpu, WireDevice sender)
    {
        sender._outgoingLock.Lock(cpu);
        _ringLock.Lock(cpu);
        bool any = !sender._outgoing.IsEmpty;
        if (_ring.Count + sender._outgoing.Count <= _ringSize)
        {
            _ring.TakeAll(sender._outgoing);
        }
        else
        {
            while (sender._outgoing.PopFirst() is { } skb)
            {
                if (_ring.Count < _ringSize)
                {
                    _ring.PushLast(skb);
                    continue;
                }
                Statistics.RxDropped++;
                Drops.Free(cpu, skb, DropReason.FullRing);
            }
        }
        _ringLock.Unlock(cpu);
        sender._outgoingLock.Unlock(cpu);
        return any;
    }

    private void DropOutgoing()
    {
        Cpu? free = CpuSet.AcquireUnlessHolding();
        Cpu cpu = free ?? ThreadContext.Current.Held!;
        _outgoingLock.Lock(cpu);
        while (_outgoing.PopFirst() is { } skb)
        {
            Statistics.TxDropped++;
            Drops.Free(cpu, skb, DropReason.DevReady);
        }
        _outgoingLock.Unlock(cpu);
        if (free is not null)
            CpuSet.Release(free);
    }

    private sealed class Handoff(WireDevice device) : DeferredWork
    {
        private readonly HandoffLater _later = new(device);

        internal override void Run() => device.HandOff();

        internal override void HandOver() => device.CpuSet.Host.Kick(device.CpuSet, _later);
    }

    private sealed class HandoffLater(WireDevice device) : HostWork
    {
        public override void Execute() => device.HandOff();
    }

    private sealed class RxPoll(WireDevice device, NetRx netRx) : Napi(netRx)
    {
        private readonly SkBuffHead _batch = new();

        protected override int IfIndex => device.IfIndex;

        public override int Poll(Cpu cpu, int budget)
        {
            int work = 0;
            device._ringLock.Lock(cpu);
            while (work < budget && device._ring.PopFirst() is { } skb)
            {
                _batch.PushLast(skb);
                work++;
            }
            device._ringLock.Unlock(cpu);
            while (_batch.PopFirst() is { } skb)
                device.Receive(cpu, skb);
            return work;
        }
    }
}
