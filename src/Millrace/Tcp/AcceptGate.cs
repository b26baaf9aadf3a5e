using System.Collections.Generic;
using System.Threading;
using Millrace.Inet;
using Millrace.Sched;

namespace Millrace.Tcp;

/// <summary>
/// Stands before a listener whose user decides about each SYN: every request is parked, without an answer to the peer, until it is
/// decided, has waited too long, or the peer or the listener is gone.
/// </summary>
/// <remarks>Deviates: Linux answers each SYN at once, and has nothing of the kind. concurrency.md 12.</remarks>
/// <param name="patience">How long a request may wait for its decision.</param>
internal abstract class AcceptGate(Micros patience)
{
    private readonly HashSet<PendingAccept> _pending = [];
    private SpinLock32 _lock;
    private bool _closed;

    public Micros Patience => patience;

    /// <summary>What stands for a new request.</summary>
    public abstract PendingAccept Make(TcpRequestSock request);

    /// <summary>False: the listener has closed.</summary>
    public bool TryAdd(Cpu cpu, PendingAccept pending)
    {
        _lock.Lock(cpu);
        bool open = !_closed;
        if (open)
            _pending.Add(pending);
        _lock.Unlock(cpu);
        return open;
    }

    public void Remove(Cpu cpu, PendingAccept pending)
    {
        _lock.Lock(cpu);
        _pending.Remove(pending);
        _lock.Unlock(cpu);
    }

    /// <summary>From now on nothing is added. What is there still is the caller's to end, each with a reference to its request.</summary>
    public List<TcpRequestSock> Close(Cpu cpu)
    {
        var left = new List<TcpRequestSock>();
        _lock.Lock(cpu);
        _closed = true;
        foreach (PendingAccept pending in _pending)
        {
            if (pending.Request.TryHold())
                left.Add(pending.Request);
        }
        _lock.Unlock(cpu);
        return left;
    }
}

/// <summary>The queue of a listener that a gate stands before.</summary>
internal sealed class GatedAcceptQueue(AcceptGate gate) : AcceptQueue
{
    public AcceptGate Gate => gate;
}

/// <summary>A request that is parked, and what becomes of it. Exactly one of those who decide, end or time it out wins.</summary>
internal abstract class PendingAccept(AcceptGate gate, TcpRequestSock request)
{
    private const int Parked = 0, Decided = 1, Claimed = 2;

    private int _state;

    public AcceptGate Gate => gate;

    public TcpRequestSock Request => request;

    public bool IsParked => Volatile.Read(ref _state) == Parked;

    /// <summary>Somebody waits for this very connection.</summary>
    protected bool IsClaimed => Volatile.Read(ref _state) == Claimed;

    /// <summary>True for the one caller who may say what becomes of it.</summary>
    /// <param name="claim">The caller takes the connection, and the listener's accept does not get it.</param>
    public bool TryDecide(bool claim = false) => Interlocked.CompareExchange(ref _state, claim ? Claimed : Decided, Parked) == Parked;

    /// <summary>Asks the user. Any context: user code runs later, under no lock.</summary>
    public abstract void Ask(Cpu cpu);

    /// <summary>The connection is made. True: its reference was taken over, because it is claimed.</summary>
    public abstract bool TryTake(Cpu cpu, TcpSock child);

    /// <summary>It will never be a connection. Any context.</summary>
    public abstract void OnGone(Cpu cpu, Errno why);
}

/// <summary>What becomes of a connection request.</summary>
internal enum AcceptVerdict
{
    SynAck,

    /// <summary>A SYN-ACK, and who says so takes the connection.</summary>
    SynAckAndClaim,
    Reset,
    Silence,
}
