using System.Collections.Generic;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Inet;

/// <summary>
/// A sock of a connection-oriented protocol: its port, its listener's queue, its network layer, and the one timer that holds all of
/// its deadlines.
/// </summary>
/// <remarks>Linux: inet_connection_sock.</remarks>
internal abstract class InetConnectionSock(Proto proto) : InetSock(proto)
{
    /// <summary>The port that it owns. Linux: icsk_bind_hash.</summary>
    public BindBucket? BindBucket;

    public BindKind BindKind;

    public override bool HasPort => BindBucket is not null;

    /// <summary>The port was given by connect, not chosen by bind: others may have it with other peers.</summary>
    public bool BoundByConnect;

    /// <summary>A listener's queues; null unless it listens, or has listened. Linux: icsk_accept_queue.</summary>
    public AcceptQueue? AcceptQueue;

    /// <summary>Linux: sk_ack_backlog.</summary>
    public int AcceptBacklog => AcceptQueue?.Count ?? 0;

    /// <summary>Becomes a listener. The caller owns the socket. Linux: inet_csk_listen_start.</summary>
    public abstract Errno StartListening(Cpu cpu);
}

/// <summary>
/// What a listener has beyond a sock: the connections that are complete and wait for accept, and the count of those that are not.
/// Guarded by its own lock, because children are added by softirqs of other connections.
/// </summary>
/// <remarks>Linux: request_sock_queue.</remarks>
internal class AcceptQueue
{
    private SpinLock32 _lock;
    private readonly Queue<InetConnectionSock> _complete = new();
    private int _count;
    private int _pending;
    private int _young;

    /// <summary>Request socks in the established table. Linux: qlen.</summary>
    public int Pending => System.Threading.Volatile.Read(ref _pending);

    /// <summary>Those whose SYN-ACK has not been repeated yet. Linux: young.</summary>
    public int Young => System.Threading.Volatile.Read(ref _young);

    /// <summary>Whether any connection waits for accept. Linux: reqsk_queue_empty.</summary>
    public bool IsEmpty => Count == 0;

    /// <summary>Connections that wait for accept.</summary>
    public int Count => System.Threading.Volatile.Read(ref _count);

    /// <summary>The listener is closing and takes no more. Guarded by the lock.</summary>
    public bool IsClosed { get; private set; }

    /// <summary>TCP_DEFER_ACCEPT as a number of SYN-ACK retransmissions. Linux: rskq_defer_accept.</summary>
    public byte DeferAccept { get; set; }

    /// <summary>When a SYN flood was last warned of. Linux: synflood_warned.</summary>
    public Micros LastSynOverflow { get; set; }

    /// <summary>Linux: inet_csk_reqsk_queue_added.</summary>
    public void AddPending()
    {
        System.Threading.Interlocked.Increment(ref _young);
        System.Threading.Interlocked.Increment(ref _pending);
    }

    /// <summary>Linux: reqsk_queue_removed.</summary>
    public void RemovePending(bool wasYoung)
    {
        if (wasYoung)
            System.Threading.Interlocked.Decrement(ref _young);
        System.Threading.Interlocked.Decrement(ref _pending);
    }

    /// <summary>A SYN-ACK was repeated for the first time.</summary>
    public void Aged() => System.Threading.Interlocked.Decrement(ref _young);

    /// <summary>Adds a connection, and takes over the reference to it. False: the listener has closed. Linux: inet_csk_reqsk_queue_add.</summary>
    public bool TryAdd(Cpu cpu, InetConnectionSock child)
    {
        _lock.Lock(cpu);
        bool open = !IsClosed;
        if (open)
        {
            _complete.Enqueue(child);
            System.Threading.Volatile.Write(ref _count, _complete.Count);
        }
        _lock.Unlock(cpu);
        return open;
    }

    /// <summary>Takes the connection that has waited longest, with its reference; null if there is none. Linux: reqsk_queue_remove.</summary>
    public InetConnectionSock? Take(Cpu cpu)
    {
        _lock.Lock(cpu);
        if (_complete.TryDequeue(out InetConnectionSock? child))
            System.Threading.Volatile.Write(ref _count, _complete.Count);
        _lock.Unlock(cpu);
        return child;
    }

    /// <summary>From now on nothing is added.</summary>
    public void Close(Cpu cpu)
    {
        _lock.Lock(cpu);
        IsClosed = true;
        _lock.Unlock(cpu);
    }

    public void Reopen() => IsClosed = false;
}
