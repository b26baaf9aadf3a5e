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

    // The backlog is a ring, named by its end: the first packet follows the last.
    private SkBuff? _backlog;
    private Contention? _contention;

    /// <summary>
    /// Tasks that wait to be the owner. Queued and woken under the spinlock; once there was one, there stays room for them. Linux:
    /// socket_lock_t.wq.
    /// </summary>
    public ref WaitQueueHead Waiters => ref (_contention ??= new Contention()).Waiters;

    /// <summary>Bytes charged to the backlog. Zeroed only after it is worked off, so that a flood cannot keep the owner for ever.</summary>
    public int BacklogBytes { get; private set; }

    /// <summary>Linux: sock_owned_by_user. Asked under the spinlock.</summary>
    public readonly bool IsOwned => _owned;

    public readonly bool HasBacklog => _backlog is not null;

    /// <summary>The last packet on the backlog, which a new one may be merged into.</summary>
    public readonly SkBuff? BacklogTail => _backlog;

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
        Debug.Assert(_owned && _backlog is null, "the owner works off the backlog before it lets go");
        _owned = false;
        _contention?.OnFree(cpu);
    }

    /// <summary>Queues an asynchronous operation that found an owner, under the spinlock.</summary>
    public void AddOperation(Completion operation) => (_contention ??= new Contention()).Add(operation);

    /// <summary>Queues a packet, under the spinlock. Linux: __sk_add_backlog.</summary>
    public void AddBacklog(SkBuff skb)
    {
        Debug.Assert(_owned, "only an owned socket has a backlog");
        skb.Next = skb;
        if (_backlog is { } last)
        {
            skb.Next = last.Next;
            last.Next = skb;
        }
        _backlog = skb;
        BacklogBytes += skb.TrueSize;
    }

    /// <summary>Takes the whole backlog, a chain by <see cref="SkBuffLink.Next"/>, under the spinlock.</summary>
    public SkBuff? TakeBacklog()
    {
        if (_backlog is not { } last)
            return null;
        var first = (SkBuff?)last.Next;
        last.Next = null;
        _backlog = null;
        return first;
    }

    public void ClearBacklogBytes() => BacklogBytes = 0;

    /// <summary>Charges the growth of a packet that already waits.</summary>
    public void ChargeBacklog(int bytes) => BacklogBytes += bytes;

    /// <summary>Who waits for the owner to let go: for most sockets nobody ever. Guarded by the spinlock.</summary>
    private sealed class Contention
    {
        private Completion? _first, _last;

        public WaitQueueHead Waiters;

        public void Add(Completion operation)
        {
            operation.NextWork = null;
            if (_last is null)
                _first = operation;
            else
                _last.NextWork = operation;
            _last = operation;
        }

        public void OnFree(Cpu cpu)
        {
            if (!Waiters.IsEmpty)
                Waiters.Wake(cpu, new WakeKey(PollEvents.In));
            while (_first is { } operation)
            {
                _first = Unsafe.As<Completion>(operation.NextWork);
                cpu.QueueCompletion(operation);
            }
            _last = null;
        }
    }
}
