using System;
using System.Threading;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Devices;

/// <summary>
/// A network interface over a <see cref="NetDriver"/>. Each queue has a thread of the host's that waits in the driver, polls, and turns
/// the stack's timers; the packets that a call or a softirq sends are written once its thread holds no lock.
/// </summary>
internal sealed class DriverDevice : NetDevice
{
    /// <summary>Bytes left free before a received packet.</summary>
    private const int RxHeadroom = 64;

    private readonly NetDriver _driver;
    private readonly bool _offload;
    private readonly Toeplitz? _flowHash;
    private Queue[] _queues = [];
    private volatile bool _stopping;

    public DriverDevice(NetDriver driver)
        : base(driver.Name, driver.Mtu)
    {
        _driver = driver;
        _offload = (driver.Flags & DriverFlags.Offload) != 0;
        HardwareAddress = MacAddr.From(driver.HardwareAddress);
        Flags = IsEthernet ? DeviceFlags.Broadcast : DeviceFlags.PointToPoint;
        _flowHash = driver.Queues > 1 ? new Toeplitz(NewKey()) : null;
        // A PacketOffload can only say that CWR is on the first segment.
        Features = DeviceFeatures.Gro | (_offload ? DeviceFeatures.AllOffloads & ~DeviceFeatures.TsoAccEcn : DeviceFeatures.None);
    }

    public override void Attach(NetRx netRx, CpuSet cpus)
    {
        base.Attach(netRx, cpus);
        _queues = new Queue[_driver.Queues];
        for (int i = 0; i < _queues.Length; i++)
            _queues[i] = new Queue(this, netRx, i);
        cpus.Poller ??= _queues[0];
        foreach (Queue q in _queues)
            cpus.Host.StartThread($"{Name}/{q.Index}", q.Serve);
    }

    public override bool HasRoom => !Array.Exists(_queues, static q => q.Ring.IsFull);

    /// <summary>
    /// A flow leaves by one queue, whoever sends, so that it is not reordered, and a device that learns from what it is sent answers on
    /// the same queue. Linux: netdev_pick_tx, skb_tx_hash.
    /// </summary>
    public override void StartXmit(Cpu cpu, SkBuff skb)
    {
        bool hasFlow = _flowHash is not null && skb.Protocol is EtherType.Ipv4 or EtherType.Ipv6;
        int queue = hasFlow ? Toeplitz.Scale(_flowHash!.Hash(IpHeaders.FlowTuple(skb)), _queues.Length) : 0;
        _queues[queue].Ring.Post(cpu, skb);
    }

    private static byte[] NewKey()
    {
        byte[] key = new byte[Toeplitz.KeyLength];
        new SecretSource(seed: null).Fill(key);
        return key;
    }

    public override void Dispose()
    {
        base.Dispose();
        _stopping = true;
        foreach (Queue q in _queues)
            q.Stop();
        _driver.Dispose();
    }

    private void OnFailure() => Fail(_driver.FailureReason);

    private sealed class Queue : Napi, IPoller
    {
        private readonly DriverDevice _device;
        private readonly ManualResetEventSlim _stopped = new();
        private volatile ThreadContext? _server;
        private int _small = BufferPool.NoPage, _large = BufferPool.NoPage;
        private bool _failed;

        // Sleeps in the driver that are not counted yet: a sleeper has no CPU.
        private int _waits;

        public Queue(DriverDevice device, NetRx netRx, int index)
            : base(netRx)
        {
            _device = device;
            Index = index;
            Ring = new TxRing(device, device._driver, index);
        }

        public int Index { get; }

        public TxRing Ring { get; }

        protected override int IfIndex => _device.IfIndex;

        public void Kick() => _device._driver.Wake(Index);

        /// <summary>
        /// Ends the queue's thread and its ring; afterwards nobody calls the driver. Called on that very thread, by a completion that runs
        /// inline, it cannot wait: the thread then ends without another look at the driver.
        /// </summary>
        public void Stop()
        {
            if (_server != ThreadContext.Current)
            {
                Kick();
                _stopped.Wait();
            }
            Ring.Close();
        }

        /// <summary>The queue's thread, which takes the queue's own CPU if it is free: a flow that stays on its queue stays on its CPU.</summary>
        public void Serve()
        {
            CpuSet cpus = _device.CpuSet;
            bool turnsTimers = cpus.Poller == this;
            _server = ThreadContext.Current;
            _server.IsHostThread = true;
            while (IsAlive)
            {
                _server.LastCpu = Index % cpus.Cpus.Length;
                if (TrySchedule())
                    cpus.Interrupt(this);
                if (turnsTimers)
                    cpus.RunSoftirqd(runTimers: true);
                if (IsAlive)
                    Sleep(turnsTimers ? cpus.Timers.PublishDeadline() : Micros.Never, cpus.Host.Now);
            }
            if (turnsTimers)
                cpus.Poller = null;
            cpus.Host.Kick(cpus, null);
            // The owner may dispose of the device, or of the stack, when it hears of the failure.
            _stopped.Set();
            if (_failed)
                _device.OnFailure();
        }

        private bool IsAlive => !_device._stopping && !_failed;

        private void Sleep(Micros until, Micros now)
        {
            if (until <= now)
                return;
            Interlocked.Increment(ref _waits);
            _device._driver.Wait(Index, until == Micros.Never ? Timeout.InfiniteTimeSpan : (until - now).ToTimeSpan());
        }

        public override int Poll(Cpu cpu, int budget)
        {
            if (_waits != 0)
                cpu.Mib.Add(Mib.MillraceDeviceWaits, Interlocked.Exchange(ref _waits, 0));
            int work = 0;
            while (work < budget && IsAlive && ReceiveOne(cpu))
                work++;
            return work;
        }

        // The ring's next descriptor: a small page, and for super-packets a large one behind it. The driver fills them, and they
        // become the buffer's memory.
        private unsafe bool ReceiveOne(Cpu cpu)
        {
            BufferPool pool = cpu.Pool;
            if (_small == BufferPool.NoPage)
                _small = cpu.AllocPage(PageSize.Small);
            byte* head = pool.PageAddress(_small);
            const int headBytes = BufferPool.SmallPageBytes - RxHeadroom;
            bool mayBeLarge = _device._offload || _device.Mtu + EthernetHeader.Length + EthernetHeader.TagLength > headBytes;
            if (mayBeLarge && _large == BufferPool.NoPage)
                _large = cpu.AllocPage(PageSize.Large);
            byte* tail = mayBeLarge ? pool.PageAddress(_large) : null;
            ReadOnlySpan<IoVec> pieces =
            [
                new IoVec((nint)(head + RxHeadroom), headBytes),
                new IoVec((nint)tail, mayBeLarge ? BufferPool.LargePageBytes : 0),
            ];
            PacketOffload offload = default;
            cpu.Mib.Inc(Mib.MillraceDeviceReads);
            int length = _device._driver.Receive(Index, mayBeLarge ? pieces : pieces[..1], ref offload);
            if (length <= 0)
            {
                _failed |= length < 0;
                return false;
            }
            SkBuff skb = cpu.AllocSkb();
            int linear = Math.Min(length, headBytes);
            skb.UsePage(_small, head, BufferPool.SmallPageBytes, RxHeadroom, linear);
            _small = BufferPool.NoPage;
            if (length > linear)
            {
                skb.AddFragment(tail, length - linear, _large);
                skb.TrueSize += length - linear;
                _large = BufferPool.NoPage;
            }
            Accept(cpu, skb, offload);
            return true;
        }

        private unsafe void Accept(Cpu cpu, SkBuff skb, in PacketOffload offload)
        {
            skb.Protocol = _device.IsEthernet ? Ethernet.TypeOf(skb) : (skb.Data[0] >> 4) switch
            {
                4 => EtherType.Ipv4,
                6 => EtherType.Ipv6,
                _ => EtherType.None,
            };
            if (OffloadHeader.TryApply(skb, offload))
            {
                _device.Receive(cpu, skb);
                return;
            }
            cpu.Mib.Inc(Mib.MillraceBadOffload);
            Drops.Free(cpu, skb, DropReason.BadOffload);
        }
    }

    /// <summary>Packets on their way to the driver: posted under locks, written without.</summary>
    private sealed class TxRing(DriverDevice device, NetDriver driver, int queue) : DeferredWork
    {
        /// <summary>Packets that may wait; more are dropped, as a full device queue drops them.</summary>
        private const int Size = 4096;

        private readonly SkBuffHead _posted = new();
        private readonly SkBuffHead _batch = new();
        private SpinLock32 _lock;
        private int _count;
        private bool _scheduled, _writing, _closed;
        private Later? _later;

        public void Post(Cpu cpu, SkBuff skb)
        {
            _lock.Lock(cpu);
            if (_closed || _posted.Count >= Size)
            {
                DropReason reason = _closed ? DropReason.DevReady : DropReason.FullRing;
                _lock.Unlock(cpu);
                device.Statistics.TxDropped++;
                Drops.Free(cpu, skb, reason);
                return;
            }
            bool first = !_scheduled;
            _posted.PushLast(skb);
            _count++;
            _scheduled = true;
            _lock.Unlock(cpu);
            if (first)
                cpu.Thread.Defer(this);
        }

        /// <summary>Takes no more packets, drops those that wait, and returns when nobody is in the driver.</summary>
        public void Close()
        {
            Cpu cpu = device.CpuSet.Acquire();
            var spin = new SpinWait();
            var dropped = new SkBuffHead();
            _lock.Lock(cpu);
            _closed = true;
            dropped.TakeAll(_posted);
            while (_writing)
            {
                _lock.Unlock(cpu);
                device.CpuSet.Host.OnContended(ref spin);
                _lock.Lock(cpu);
            }
            _lock.Unlock(cpu);
            while (dropped.PopFirst() is { } skb)
                Drops.Free(cpu, skb, DropReason.DevReady);
            device.CpuSet.Release(cpu);
        }

        internal override void Run()
        {
            if (device.CpuSet.AcquireUnlessHolding() is { } cpu)
                WriteAll(cpu);
            else
                HandOver();
        }

        private void WriteAll(Cpu cpu)
        {
            cpu.AssertNoLock();
            while (TakeBatch(cpu))
            {
                while (_batch.PopFirst() is { } skb)
                    Write(cpu, skb);
                driver.Flush(queue);
            }
            device.CpuSet.Release(cpu);
        }

        public bool IsFull => Volatile.Read(ref _count) >= Size;

        // One thread at a time is the ring's writer, from its first batch until it finds nothing.
        private bool TakeBatch(Cpu cpu)
        {
            _lock.Lock(cpu);
            _batch.TakeAll(_posted);
            _count = 0;
            _writing = _scheduled = !_batch.IsEmpty;
            _lock.Unlock(cpu);
            // Who finds the ring full says so and looks again: one of the two sees the other.
            Interlocked.MemoryBarrier();
            if (device.Qdisc.IsStopped)
                device.Qdisc.Run(cpu);
            return !_batch.IsEmpty;
        }

        internal override void HandOver() => device.CpuSet.Host.Kick(device.CpuSet, _later ??= new Later(this));

        private unsafe void Write(Cpu cpu, SkBuff skb)
        {
            Span<IoVec> pieces = stackalloc IoVec[SkBuff.MaxFragments + 1];
            int n = 0;
            if (skb.LinearLength > 0)
                pieces[n++] = new IoVec((nint)skb.Data, skb.LinearLength);
            foreach (ref readonly SkbFragment f in skb.Fragments)
                pieces[n++] = new IoVec((nint)f.Data, f.Length);
            PacketOffload offload = OffloadHeader.Describe(skb);
            cpu.Mib.Inc(Mib.MillraceDeviceWrites);
            int result = driver.Transmit(queue, pieces[..n], offload);
            if (result > 0)
            {
                cpu.FreeSkb(skb);
                return;
            }
            device.Statistics.TxErrors++;
            cpu.Mib.Inc(Mib.MillraceDeviceErrors);
            Drops.Free(cpu, skb, DropReason.DevReady);
        }

        private sealed class Later(TxRing ring) : HostWork
        {
            public override void Execute() => ring.Run();
        }
    }
}
