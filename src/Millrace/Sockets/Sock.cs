using System;
using System.Diagnostics;
using System.Threading;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Sockets;

/// <summary>Switches of a sock. Linux: SOCK_* of enum sock_flags.</summary>
[Flags]
internal enum SockFlags
{
    None = 0,

    /// <summary>No user has it any more. Linux: SOCK_DEAD.</summary>
    Dead = 1 << 0,

    /// <summary>The peer has said that nothing more comes. Linux: SOCK_DONE.</summary>
    Done = 1 << 1,
    UrgInline = 1 << 2,
    KeepOpen = 1 << 3,
    Linger = 1 << 4,
    Broadcast = 1 << 5,
    ZeroCopy = 1 << 6,
    SendBufLocked = 1 << 9,
    RcvBufLocked = 1 << 10,

    /// <summary>A writer waits for room. Linux: SOCK_NOSPACE.</summary>
    NoSpace = 1 << 11,

    /// <summary>SO_DONTROUTE. Linux: SOCK_LOCALROUTE.</summary>
    LocalRoute = 1 << 12,

    /// <summary>SO_TIMESTAMP or SO_TIMESTAMPNS; the latter. Linux: SOCK_RCVTSTAMP, SOCK_RCVTSTAMPNS.</summary>
    ReceiveStamp = 1 << 13,
    ReceiveStampNs = 1 << 14,

    /// <summary>Times are told in the messages of 64 bits on all machines. Linux: SOCK_TSTAMP_NEW.</summary>
    NewStamps = 1 << 15,

    /// <summary>Why the sock has packets stamped. Linux: SOCK_TIMESTAMP, SOCK_TIMESTAMPING_RX_SOFTWARE.</summary>
    DemandsStamps = 1 << 16,
    DemandsSoftwareStamps = 1 << 17,
    AnyStampDemand = DemandsStamps | DemandsSoftwareStamps,

    /// <summary>Options that a stream has no use for, and keeps.</summary>
    Debug = 1 << 18,
    NoCheck = 1 << 19,
    RxqOvfl = 1 << 20,
    WifiStatus = 1 << 21,
    NoFcs = 1 << 22,
    SelectErrQueue = 1 << 23,
    ReceiveMark = 1 << 24,
    ReceivePriority = 1 << 25,

    /// <summary>The flow keeps its label when it times out. Linux: SOCK_TXREHASH_DISABLED.</summary>
    KeepsLabel = 1 << 26,
}

/// <summary>
/// The network's end of a socket, of any family and protocol: queues, accounts, options, the lock, and how sleepers are woken.
/// </summary>
/// <remarks>
/// Linux: struct sock. Lock order: a listener's socket, then a child's; a socket's spinlock, then a hash bucket's, then a wait queue's,
/// then the timers'. A member is touched by the owner of the socket, or under the spinlock while nobody owns it, unless it says else.
/// </remarks>
internal abstract class Sock(Proto proto) : SockCommon
{
    /// <summary>The smallest buffers that a sock can be set to, bytes. Linux: SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF.</summary>
    public const int MinSendBuffer = 4608, MinReceiveBuffer = 2304;

    public SockLock Lock;

    /// <summary>In order, to be read. Linux: sk_receive_queue.</summary>
    public readonly SkBuffHead ReceiveQueue = new();

    /// <summary>Linux: sk_prot.</summary>
    public Proto Proto { get; } = proto;

    /// <summary>The user's end; null while not accepted, and after close. Linux: sk_socket.</summary>
    public Socket? Socket;

    private RareSockState? _rare;

    // Notices come in softirqs that hold no lock, so two may attach it.
    private RareSockState Rare => _rare ?? Interlocked.CompareExchange(ref _rare, new RareSockState(), null) ?? _rare;

    /// <summary>The part of the stack's ports that the socket may be given; a side that is 0, or not within them, is theirs.</summary>
    /// <remarks>Linux: local_port_range, inet_sk_get_local_port_range.</remarks>
    public (ushort Low, ushort High) PortRange
    {
        get => _rare?.PortRange ?? default;
        set
        {
            if (value != PortRange)
                Rare.PortRange = value;
        }
    }

    /// <summary>Notices for MSG_ERRQUEUE; made when first needed. Linux: sk_error_queue.</summary>
    public ErrorQueue? ErrorQueue => _rare?.ErrorQueue;

    /// <summary>Bytes that may be queued to be read, and to be sent. Linux: sk_rcvbuf, sk_sndbuf.</summary>
    public int ReceiveBuffer, SendBuffer;

    /// <summary>Bytes of memory in the receive queues. Linux: sk_rmem_alloc.</summary>
    public int ReceiveAllocated;

    /// <summary>Bytes of memory in the send queues. Linux: sk_wmem_queued.</summary>
    public int WriteQueued;

    /// <summary>Granted by the protocol's memory and not used yet. Linux: sk_forward_alloc.</summary>
    public int ForwardAllocated;

    private int _transmitAllocated;
    private int _error;

    /// <summary>An error that is reported only if the connection then fails for it. Linux: sk_err_soft.</summary>
    public Errno SoftError;

    public SockFlags Flags;

    /// <summary>Linux: sk_shutdown.</summary>
    public ShutdownMask Shutdown;

    /// <summary>SO_REUSEADDR. Linux: sk_reuse.</summary>
    public AddressReuse ReuseAddr;

    /// <summary>SO_REUSEPORT.</summary>
    public bool ReusePort;

    /// <summary>How long a receive, a send may sleep; Never for ever. Linux: sk_rcvtimeo, sk_sndtimeo.</summary>
    public Micros ReceiveTimeout
    {
        get => _rare is { } rare ? rare.ReceiveTimeout : Micros.Never;
        set
        {
            if (value != ReceiveTimeout)
                Rare.ReceiveTimeout = value;
        }
    }

    public Micros SendTimeout
    {
        get => _rare is { } rare ? rare.SendTimeout : Micros.Never;
        set
        {
            if (value != SendTimeout)
                Rare.SendTimeout = value;
        }
    }

    /// <summary>Linux: sk_rcvlowat.</summary>
    public int ReceiveLowWater = 1;

    /// <summary>Linux: sk_lingertime.</summary>
    public Micros LingerTime
    {
        get => _rare is { } rare ? rare.LingerTime : Micros.Zero;
        set
        {
            if (value != LingerTime)
                Rare.LingerTime = value;
        }
    }

    public int Priority;

    /// <summary>Who made the socket, and what he may. Linux: sk_uid, ns_capable.</summary>
    public Credentials Credentials = Credentials.Root;

    /// <summary>A connect returns at once, because the first send will carry the SYN. Linux: DEFER_CONNECT.</summary>
    public bool DefersConnect;

    /// <summary>Bytes per second; Linux: sk_pacing_rate.</summary>
    public ulong PacingRate = ulong.MaxValue;

    /// <summary>Bytes per second at most. Linux: sk_max_pacing_rate.</summary>
    public ulong MaxPacingRate
    {
        get => _rare is { } rare ? rare.MaxPacingRate : ulong.MaxValue;
        set
        {
            if (value != MaxPacingRate)
                Rare.MaxPacingRate = value;
        }
    }

    /// <summary>How many connections may wait to be accepted. Linux: sk_max_ack_backlog.</summary>
    public int MaxAcceptBacklog
    {
        get => _rare?.MaxAcceptBacklog ?? 0;
        set
        {
            if (value != MaxAcceptBacklog)
                Rare.MaxAcceptBacklog = value;
        }
    }

    /// <summary>The CPU that handled the last packet. Linux: sk_incoming_cpu.</summary>
    public int IncomingCpu = -1;

    /// <summary>How many bytes from the next one to be read a peek begins; negative: peeks begin there and move nothing. Linux: sk_peek_off.</summary>
    public int PeekOffset
    {
        get => _rare is { } rare ? rare.PeekOffset : -1;
        set
        {
            if (value != PeekOffset)
                Rare.PeekOffset = value;
        }
    }

    /// <summary>Bytes were peeked at, or read if negative: the next peek goes on where this one ended. Linux: sk_peek_offset_fwd, sk_peek_offset_bwd.</summary>
    public void MovePeekOffset(int bytes)
    {
        if (PeekOffset >= 0)
            PeekOffset = Math.Max(PeekOffset + bytes, 0);
    }

    public bool Has(SockFlags flag) => (Flags & flag) != 0;

    public void Set(SockFlags flag, bool on) => Flags = on ? Flags | flag : Flags & ~flag;

    /// <summary>Bytes handed to the layers below and not yet gone. Atomic. Linux: sk_wmem_alloc.</summary>
    public int TransmitAllocated => Volatile.Read(ref _transmitAllocated);

    public int AddTransmitAllocated(int bytes) => Atomic.Add(ref _transmitAllocated, bytes);

    /// <summary>The pending error. Read by pollers without the lock. Linux: sk_err.</summary>
    public Errno Error
    {
        get => (Errno)Volatile.Read(ref _error);
        set => Volatile.Write(ref _error, (int)value);
    }

    /// <summary>Takes the pending error. Linux: sock_error.</summary>
    public Errno TakeError() => _error == 0 ? Errno.OK : (Errno)Atomic.Exchange(ref _error, 0);

    /// <summary>Sets up a new sock for its socket. Linux: sock_init_data.</summary>
    public void InitData(Cpu cpu, Socket? socket, int receiveBuffer, int sendBuffer)
    {
        cpu.Trace(Tp.sock_init_data);
        ReceiveBuffer = receiveBuffer;
        SendBuffer = sendBuffer;
        Socket = socket;
        if (socket is not null)
            socket.Sk = this;
    }

    /// <summary>The user's end is gone: nobody is woken any more. Linux: sock_orphan.</summary>
    public void Orphan()
    {
        Flags |= SockFlags.Dead;
        Socket = null;
    }

    /// <summary>Gives an accepted connection its user's end. Linux: sock_graft.</summary>
    public void Graft(Socket socket)
    {
        Socket = socket;
        socket.Sk = this;
    }

    // ---- The lock ----

    /// <summary>Becomes the owner, sleeping while another is. Linux: lock_sock.</summary>
    public void LockSock(ref TaskContext context)
    {
        Cpu cpu = context.Cpu;
        cpu.AssertTaskContext();
        cpu.Trace(Tp.lock_sock, this);
        cpu.BhDisable();
        Lock.Lock(cpu);
        if (Lock.IsOwned)
            cpu = WaitForOwner(ref context);
        Lock.TakeOwnership();
        Lock.Unlock(cpu);
        cpu.BhEnable();
    }

    /// <summary>Becomes the owner if nobody is; else the operation, if there is one, is queued for the owner's release.</summary>
    public bool TryLockSock(Cpu cpu, Completion? operation)
    {
        cpu.BhDisable();
        Lock.Lock(cpu);
        bool free = !Lock.IsOwned;
        if (free)
            Lock.TakeOwnership();
        else if (operation is not null)
            Lock.AddOperation(operation);
        Lock.Unlock(cpu);
        cpu.BhEnable();
        return free;
    }

    // Linux: __lock_sock.
    private Cpu WaitForOwner(ref TaskContext context)
    {
        Cpu cpu = context.Cpu;
        do
        {
            Lock.Waiters.PrepareForLock(cpu, context.Task);
            Lock.Unlock(cpu);
            cpu.BhEnable();
            Scheduler.ScheduleTimeout(ref context, Micros.Never, "lock_sock");
            cpu = context.Cpu;
            cpu.BhDisable();
            Lock.Lock(cpu);
        }
        while (Lock.IsOwned);
        Lock.Waiters.Remove(cpu, context.Task.LockWait);
        context.Task.SetState(TaskState.Running);
        return cpu;
    }

    /// <summary>Works off the backlog and lets go. Linux: release_sock.</summary>
    public void ReleaseSock(Cpu cpu)
    {
        cpu.Trace(Tp.release_sock, this);
        cpu.BhDisable();
        Lock.Lock(cpu);
        if (Lock.HasBacklog)
            DrainBacklog(cpu);
        Proto.ReleaseCallback(cpu, this);
        Lock.DropOwnership(cpu);
        Lock.Unlock(cpu);
        cpu.BhEnable();
    }

    /// <summary>Works off the backlog and stays the owner. Linux: sk_flush_backlog.</summary>
    public void FlushBacklog(Cpu cpu)
    {
        cpu.BhDisable();
        Lock.Lock(cpu);
        if (Lock.HasBacklog)
        {
            DrainBacklog(cpu);
            Proto.ReleaseCallback(cpu, this);
        }
        Lock.Unlock(cpu);
        cpu.BhEnable();
    }

    /// <summary>
    /// Works off the backlog, by the owner, under the spinlock. What arrives meanwhile is still charged to it, so a flood finds it full.
    /// Linux: __release_sock.
    /// </summary>
    public void DrainBacklog(Cpu cpu)
    {
        cpu.Trace(Tp.__release_sock, this);
        while (Lock.TakeBacklog() is { } skb)
        {
            Lock.Unlock(cpu);
            for (SkBuff? next = skb; next is not null;)
            {
                SkBuff now = next;
                next = (SkBuff?)now.Next;
                now.Next = null;
                Proto.BacklogReceive(cpu, this, now);
            }
            Lock.Lock(cpu);
        }
        Lock.ClearBacklogBytes();
    }

    [Conditional("DEBUG")]
    public void AssertOwnedOrLocked() => Debug.Assert(Lock.IsOwned || Lock.Spin.IsHeld, "the socket is owned, or its spinlock held");

    // ---- Waking ----

    /// <summary>
    /// Something can be read: one reader is woken. <paramref name="upTo"/>: the receive sequence that data is complete up to.
    /// Linux: sk_data_ready, sock_def_readable.
    /// </summary>
    public void DataReady(Cpu cpu, SeqNumber upTo)
    {
        cpu.Trace(Tp.sock_def_readable, this);
        cpu.Trace(Tp.sk_data_ready, this);
        if (Socket is { } socket && socket.Wait.HasSleepers)
        {
            cpu.Trace(Tp.wake_up_interruptible_sync_poll);
            socket.Wait.Wake(cpu, new WakeKey(PollEvents.In | PollEvents.Pri | PollEvents.RdNorm | PollEvents.RdBand)
            {
                UpTo = upTo,
                HasUpTo = true,
            });
        }
    }

    /// <summary>
    /// Data that an earlier event announced is left over by a reader who leaves: the next exclusive sleeper may have it.
    /// </summary>
    public void HandOver(Cpu cpu, SeqNumber upTo)
    {
        if (Socket is { } socket && socket.Wait.HasSleepers
            && socket.Wait.Wake(cpu, new WakeKey(PollEvents.Readable) { UpTo = upTo, HasUpTo = true, IsHandover = true }) > 0)
            cpu.Mib.Inc(Mib.MillraceHandovers);
    }

    /// <summary>The connection has changed its state: everybody is woken. Linux: sk_state_change, sock_def_wakeup.</summary>
    public void StateChange(Cpu cpu)
    {
        cpu.Trace(Tp.sock_def_wakeup, this);
        if (Socket is { } socket && socket.Wait.HasSleepers)
            socket.Wait.Wake(cpu, new WakeKey(PollEvents.Readable | PollEvents.Writable | PollEvents.Terminal | PollEvents.Pri), exclusive: 0);
    }

    /// <summary>The sock has an error: everybody is woken. Linux: sk_error_report, sock_def_error_report.</summary>
    public void ErrorReport(Cpu cpu)
    {
        cpu.Trace(Tp.sk_error_report, this);
        if (Socket is { } socket && socket.Wait.HasSleepers)
            socket.Wait.Wake(cpu, new WakeKey(PollEvents.Err | PollEvents.Readable | PollEvents.Writable), exclusive: 0);
        cpu.Trace(Tp.inet_sk_error_report, this, (long)Error);
    }

    /// <summary>There is room to write: writers and pollers are woken. Linux: sk_write_space.</summary>
    public void WakeWriters(Cpu cpu)
    {
        cpu.Trace(Tp.sock_def_write_space, this);
        if (Socket is { } socket && socket.Wait.HasSleepers)
            socket.Wait.Wake(cpu, new WakeKey(PollEvents.Writable), exclusive: 0);
    }

    // ---- Waiting ----

    /// <summary>Linux: sock_rcvtimeo.</summary>
    public Micros ReceiveDeadline(Cpu cpu, bool nonBlocking) => Deadline(cpu, nonBlocking, ReceiveTimeout);

    /// <summary>Linux: sock_sndtimeo.</summary>
    public Micros SendDeadline(Cpu cpu, bool nonBlocking) => Deadline(cpu, nonBlocking, SendTimeout);

    private static Micros Deadline(Cpu cpu, bool nonBlocking, Micros timeout) =>
        nonBlocking ? Micros.Zero : timeout == Micros.Never ? Micros.Never : cpu.Now.SaturatingAdd(timeout);

    /// <summary>EINTR, which is what an interrupted call returns. Linux: sock_intr_errno.</summary>
    public static Errno InterruptedErrno(Micros deadline) => Errno.EINTR;

    /// <summary>
    /// Waits until the receive queue's tail is not <paramref name="tail"/>: queues itself while it owns the socket, lets go, sleeps,
    /// and owns it again. Linux: sk_wait_data.
    /// </summary>
    /// <param name="seen">A reader that peeks has looked at everything up to here, and wants only what is newer.</param>
    public void WaitForData(ref TaskContext context, Micros deadline, SkBuff? tail, SeqNumber? seen)
    {
        Cpu cpu = context.Cpu;
        Socket socket = Socket!;
        cpu.Trace(Tp.sk_wait_data, this);
        cpu.Trace(Tp.sk_sleep, this);
        TaskWaitEntry entry = context.Task.Wait;
        entry.HasSeen = seen.HasValue;
        entry.Seen = seen.GetValueOrDefault();
        socket.Wait.Prepare(cpu, context.Task, PollEvents.Readable | PollEvents.Terminal, exclusive: true);
        cpu.Trace(Tp.sk_wait_event, this);
        ReleaseSock(cpu);
        if (ReceiveQueue.Last == tail)
            Scheduler.ScheduleTimeout(ref context, deadline, "sk_wait_data");
        LockSock(ref context);
        socket.Wait.Finish(context.Cpu, context.Task);
    }

    // ---- Memory ----

    /// <summary>Whether <paramref name="bytes"/> more may be charged as received. Linux: sk_rmem_schedule.</summary>
    public bool ScheduleReceive(Cpu cpu, int bytes) => bytes <= ForwardAllocated || Schedule(cpu, bytes - ForwardAllocated, receive: true);

    /// <summary>Whether <paramref name="bytes"/> more may be charged as queued to send. Linux: sk_wmem_schedule.</summary>
    public bool ScheduleSend(Cpu cpu, int bytes) => bytes <= ForwardAllocated || Schedule(cpu, bytes - ForwardAllocated, receive: false);

    /// <summary>Takes bytes from the account. They have been scheduled. Linux: sk_mem_charge.</summary>
    public void Charge(int bytes) => ForwardAllocated -= bytes;

    /// <summary>Gives bytes back to the account, and whole pages to the protocol. Linux: sk_mem_uncharge.</summary>
    public void Uncharge(int bytes)
    {
        ForwardAllocated += bytes;
        Reclaim();
    }

    /// <summary>Takes a received buffer into the account. Linux: skb_set_owner_r.</summary>
    public void ChargeReceived(SkBuff skb)
    {
        ReceiveAllocated += skb.TrueSize;
        Charge(skb.TrueSize);
    }

    /// <summary>Linux: sock_rfree.</summary>
    public void UnchargeReceived(int trueSize)
    {
        ReceiveAllocated -= trueSize;
        Uncharge(trueSize);
    }

    /// <summary>Gives whole pages that are not in use back to the protocol. Linux: sk_mem_reclaim.</summary>
    public void Reclaim()
    {
        if (ForwardAllocated < ProtoMemory.Quantum)
            return;
        int pages = ForwardAllocated / ProtoMemory.Quantum;
        Proto.Memory.Remove(pages);
        ForwardAllocated -= ProtoMemory.Bytes(pages);
        if (Proto.Memory.UnderPressure && Proto.Memory.Allocated < Proto.Memory.Limits[0])
            Proto.Memory.LeavePressure();
    }

    /// <summary>Takes memory whatever the limits say: a FIN must be sent. Linux: sk_forced_mem_schedule.</summary>
    public void ForceSchedule(int bytes)
    {
        if (bytes <= ForwardAllocated)
            return;
        int pages = ProtoMemory.Pages(bytes - ForwardAllocated);
        ForwardAllocated += ProtoMemory.Bytes(pages);
        Proto.Memory.Add(pages);
    }

    // Linux: __sk_mem_raise_allocated. Under pressure a sock may still have its fair share.
    private bool Schedule(Cpu cpu, int bytes, bool receive)
    {
        ProtoMemory memory = Proto.Memory;
        int pages = ProtoMemory.Pages(bytes);
        long allocated = memory.Add(pages);
        long[] limits = memory.Limits;
        bool granted = allocated <= limits[0];
        if (granted)
        {
            memory.LeavePressure();
        }
        else
        {
            if (allocated > limits[1])
                memory.EnterPressure(cpu);
            granted = allocated <= limits[2] && MayGrowUnderPressure(memory, receive);
        }
        if (!granted)
        {
            memory.Remove(pages);
            return false;
        }
        ForwardAllocated += ProtoMemory.Bytes(pages);
        return true;
    }

    private bool MayGrowUnderPressure(ProtoMemory memory, bool receive)
    {
        int used = receive ? ReceiveAllocated : WriteQueued;
        return !memory.UnderPressure || used < MinimumBuffer(receive);
    }

    /// <summary>What a sock may have even under pressure: the first number of tcp_rmem, tcp_wmem.</summary>
    protected abstract int MinimumBuffer(bool receive);

    // ---- What options ask of the protocol ----

    /// <summary>Whether the sock is a byte stream.</summary>
    public abstract bool IsStream { get; }

    /// <summary>SO_KEEPALIVE changes. Linux: keepalive.</summary>
    public virtual void SetKeepAlive(Cpu cpu, bool on)
    {
    }

    /// <summary>SO_RCVLOWAT. Linux: set_rcvlowat.</summary>
    public virtual Errno SetReceiveLowWater(Cpu cpu, int bytes)
    {
        ReceiveLowWater = Math.Max(bytes, 1);
        return Errno.OK;
    }

    /// <summary>SO_TIMESTAMPING: the bits that are set. Linux: sk_tsflags.</summary>
    public uint Timestamping
    {
        get => _rare?.Timestamping ?? 0;
        protected set
        {
            if (value != Timestamping)
                Rare.Timestamping = value;
        }
    }

    /// <summary>What notices' keys count from. Linux: sk_tskey.</summary>
    protected uint TimestampBase
    {
        get => _rare?.TimestampBase ?? 0;
        set
        {
            if (value != TimestampBase)
                Rare.TimestampBase = value;
        }
    }

    /// <summary>Sets <see cref="Timestamping"/>.</summary>
    public virtual Errno SetTimestamping(Cpu cpu, uint flags) => flags == 0 ? Errno.OK : Errno.EOPNOTSUPP;

    /// <summary>Sets a reason to have packets stamped, or takes it back. Linux: sock_enable_timestamp, sock_disable_timestamp.</summary>
    public void DemandStamps(SockFlags reason, bool on)
    {
        bool before = Has(SockFlags.AnyStampDemand);
        Set(reason, on);
        if (Has(SockFlags.AnyStampDemand) != before)
            Proto.Stamps.Demand(before ? -1 : 1);
    }

    /// <summary>The numbers that go with a transmit timestamp instead of the packet. Linux: SOF_TIMESTAMPING_OPT_STATS.</summary>
    protected virtual byte[] TransmitStatsOf(Cpu cpu, SkBuff skb) => [];

    // Linux: __skb_tstamp_tx, __skb_complete_tx_timestamp.
    internal override void OnTransmitStamp(SkBuff skb, TransmitStamps place, BufferCache cache)
    {
        var cpu = (Cpu)cache;
        uint flags = Timestamping;
        byte[] payload = [];
        if ((flags & TimestampFlags.Stats) != 0)
        {
            payload = TransmitStatsOf(cpu, skb);
        }
        else if ((flags & TimestampFlags.TimeOnly) == 0)
        {
            payload = new byte[skb.Length];
            skb.CopyTo(0, payload);
        }
        AddNotice(cpu, new ErrorNotice
        {
            Error = Errno.ENOMSG,
            Origin = ErrorOrigin.Timestamping,
            Info = place switch { TransmitStamps.Queued => 1, TransmitStamps.Acked => 2, _ => 0 },
            Data = (flags & TimestampFlags.Id) != 0 ? skb.StampKey - TimestampBase : 0,
            Time = cpu.Now.Value,
            Payload = payload,
            IsStats = (flags & TimestampFlags.Stats) != 0,
        });
    }

    /// <summary>Puts a notice on the error queue, and tells whoever waits. Linux: sock_queue_err_skb.</summary>
    public void AddNotice(Cpu cpu, ErrorNotice notice)
    {
        RareSockState rare = Rare;
        ErrorQueue queue = rare.ErrorQueue ?? Interlocked.CompareExchange(ref rare.ErrorQueue, new ErrorQueue(), null) ?? rare.ErrorQueue;
        if (queue.TryAdd(notice, ReceiveBuffer))
            ErrorReport(cpu);
    }

    /// <summary>
    /// Whether a peek that saw so many bytes, from <see cref="PeekOffset"/> on, may see more when more comes.
    /// <paramref name="seen"/>: what has come so far.
    /// </summary>
    public virtual bool MayPeekMore(int peeked, out SeqNumber seen)
    {
        seen = default;
        return false;
    }

    /// <summary>SO_MAX_PACING_RATE was set: packets are paced from now on.</summary>
    public virtual void OnPacingRequested()
    {
    }

    public virtual bool SupportsZeroCopy => false;

    /// <summary>There may be room to write now. Linux: sk_write_space.</summary>
    public virtual void WriteSpace(Cpu cpu) => WakeWriters(cpu);

    /// <summary>SO_COOKIE; 0 until somebody asks. Linux: sk_cookie.</summary>
    public long Cookie
    {
        get => _rare?.Cookie ?? 0;
        set => Rare.Cookie = value;
    }

    protected override void OnLastPut(Cpu cpu)
    {
        DemandStamps(SockFlags.AnyStampDemand, on: false);
        Proto.Free(cpu, this);
    }
}
