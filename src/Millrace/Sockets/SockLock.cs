using System.Diagnostics;
using System.Runtime.CompilerServices;
using Millrace.Buffers;
using Millrace.Sched;

namespace Millrace.Sockets;

/// <summary>
/// The socket lock: an owner, who may sleep while owning, over a spinlock that bottom halves take. A bottom half that finds an owner
/// puts its packet on the backlog, which the owner works off before it lets go.
/// </summary>
/// <remarks>Linux: socket_lock_t, sk_backlog.</remarks>
internal struct SockLock
{
    /// <summary>Linux: slock.</summary>
    public SpinLock32 Spin;

    private Micros _time;
    private bool _owned;
    private SkBuff? _backlogFirst, _backlogLast;
    private Completion? _operations, _lastOperation;

    /// <summary>Tasks that wait to be the owner. Queued and woken under the spinlock. Linux: socket_lock_t.wq.</summary>
    public WaitQueueHead Waiters;

    /// <summary>Bytes charged to the backlog. Zeroed only after it is worked off, so that a flood cannot keep the owner for ever.</summary>
    public int BacklogBytes { get; private set; }

    /// <summary>Linux: sock_owned_by_user. Asked under the spinlock.</summary>
    public readonly bool IsOwned => _owned;

    public readonly bool HasBacklog => _backlogFirst is not null;

    /// <summary>The last packet on the backlog, which a new one may be merged into.</summary>
    public readonly SkBuff? BacklogTail => _backlogLast;

    /// <summary>Takes the spinlock, and with it the time that the socket has seen. Linux: bh_lock_sock.</summary>
    public void Lock(Cpu cpu)
    {
        Spin.Lock(cpu);
        cpu.NotBefore(_time);
    }

    /// <summary>Linux: bh_unlock_sock.</summary>
    public void Unlock(Cpu cpu)
    {
        if (_time < cpu.LastRead)
            _time = cpu.LastRead;
        Spin.Unlock(cpu);
    }

    /// <summary>Becomes the owner. The spinlock is held, and nobody owns.</summary>
    public void TakeOwnership()
    {
        Debug.Assert(!_owned, "a socket has one owner");
        _owned = true;
    }

    /// <summary>Lets go, under the spinlock, with the backlog empty; the first who waits may try.</summary>
    public void DropOwnership(Cpu cpu)
    {
        Debug.Assert(_owned && _backlogFirst is null, "the owner works off the backlog before it lets go");
        _owned = false;
        if (!Waiters.IsEmpty)
            Waiters.Wake(cpu, new WakeKey(PollEvents.In));
        while (_operations is { } operation)
        {
            _operations = Unsafe.As<Completion>(operation.NextWork);
            cpu.QueueCompletion(operation);
        }
        _lastOperation = null;
    }

    /// <summary>Queues an asynchronous operation that found an owner, under the spinlock.</summary>
    public void AddOperation(Completion operation)
    {
        operation.NextWork = null;
        if (_lastOperation is null)
            _operations = operation;
        else
            _lastOperation.NextWork = operation;
        _lastOperation = operation;
    }

    /// <summary>Queues a packet, under the spinlock. Linux: __sk_add_backlog.</summary>
    public void AddBacklog(SkBuff skb)
    {
        Debug.Assert(_owned, "only an owned socket has a backlog");
        skb.Next = null;
        if (_backlogLast is null)
            _backlogFirst = skb;
        else
            _backlogLast.Next = skb;
        _backlogLast = skb;
        BacklogBytes += skb.TrueSize;
    }

    /// <summary>Takes the whole backlog, a chain by <see cref="SkBuffLink.Next"/>, under the spinlock.</summary>
    public SkBuff? TakeBacklog()
    {
        SkBuff? first = _backlogFirst;
        _backlogFirst = _backlogLast = null;
        return first;
    }

    public void ClearBacklogBytes() => BacklogBytes = 0;

    /// <summary>Charges the growth of a packet that already waits.</summary>
    public void ChargeBacklog(int bytes) => BacklogBytes += bytes;
}
