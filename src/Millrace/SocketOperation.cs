using System;
using System.Threading;
using System.Threading.Tasks;
using System.Threading.Tasks.Sources;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace;

/// <summary>
/// One asynchronous call on a socket. Like a blocking one it tries, waits on the socket's queue, and tries again when woken, by the same
/// code of the protocol; but its entry's wake function makes no thread run: it queues the operation for the end of the bottom half.
/// </summary>
/// <remarks>
/// Phases: Running, while somebody tries; Waiting, with the entry on the queue; Ended, with a result that is to be delivered. Whoever
/// moves it from Waiting to Running, a waker or a cancellation, is the one who queues it. Bytes are copied before the result is
/// delivered, so an operation that nobody awaits swallows no wake-up.
/// </remarks>
internal abstract class SocketOperation : HostWork, IPooledOperation
{
    private const int Running = 0, Waiting = 1, Ended = 2;

    private readonly Entry _entry;
    private ManualResetValueTaskSourceCore<bool> _delivery;
    private CancellationTokenRegistration _registration;
    private CancellationToken _cancel;
    private CpuSet _cpus = null!;
    private SysResult _result;
    private int _phase;
    private int _cancelled;
    private int _holders;
    private bool _inline;
    private bool _forStream;

    protected SocketOperation(int index, PollEvents interest, bool exclusive)
    {
        Index = index;
        IsExclusive = exclusive;
        _entry = new Entry(this) { Interest = interest };
    }

    public int Index { get; }

    int IPooledOperation.NextFree { get; set; }

    /// <summary>The socket, held until the result is delivered.</summary>
    protected Socket Socket { get; private set; } = null!;

    /// <summary>Readers and acceptors are woken one at a time.</summary>
    private bool IsExclusive { get; }

    /// <summary>Tries, by the owner of the socket, without waiting. EAGAIN: not yet.</summary>
    protected abstract SysResult Attempt(ref TaskContext context, Sock sk);

    /// <summary>What the call returns once the object that it was made on is disposed of.</summary>
    protected virtual SysResult WhenDisposed => Errno.ECANCELED;

    /// <summary>What the call returns once it is cancelled; EAGAIN is an <see cref="OperationCanceledException"/>.</summary>
    protected virtual SysResult WhenCancelled => Errno.EAGAIN;

    /// <summary>From now on data that lies before <paramref name="seen"/> is no reason to try again; null: all is.</summary>
    protected void WaitForMoreThan(SeqNumber? seen)
    {
        _entry.HasSeen = seen.HasValue;
        _entry.Seen = seen.GetValueOrDefault();
    }

    /// <summary>
    /// Whether there is something to try again for, asked once the entry stands on the queue: a waker that does not own the socket may
    /// have come between the attempt and that.
    /// </summary>
    protected virtual bool HasNews(Sock sk) => false;

    /// <summary>
    /// Begins the call on a socket that the caller has taken a reference to, which the operation gives back. True: it has finished, and
    /// its result can be taken. False: the result will be delivered.
    /// </summary>
    protected bool Start(ref TaskContext context, SocketFace face, Socket socket, bool forStream, CancellationToken cancel)
    {
        Socket = socket;
        Owner = context.Task;
        _cpus = face.Cpus;
        _inline = face.InlineCompletions;
        _forStream = forStream;
        _cancel = cancel;
        _cancelled = 0;
        _holders = 1;
        _phase = Running;
        if (!socket.Sk!.TryLockSock(context.Cpu, this) || !TryFinish(ref context))
            return false;
        socket.Release(ref context);
        return true;
    }

    /// <summary>Takes the result of a call that has finished; what it threw, if it failed.</summary>
    protected Exception? TakeResult(out SysResult result)
    {
        result = _result;
        CancellationToken cancel = _cancel;
        if (!result.IsError)
            return null;
        if (result.Error == Errno.EAGAIN)
            return new OperationCanceledException(cancel);
        return _forStream ? result.Error.ToStreamException() : result.Error.ToException();
    }

    /// <summary>The call is over; but a cancellation that came too late may still be looking at the operation.</summary>
    protected void Finish()
    {
        if (_registration.Unregister())
            Interlocked.Decrement(ref _holders);
        LetGo();
    }

    /// <summary>Forgets what belongs to the call, and goes back to the pool.</summary>
    protected abstract void Recycle();

    private void LetGo()
    {
        if (Interlocked.Decrement(ref _holders) != 0)
            return;
        _registration = default;
        Socket = null!;
        _cancel = default;
        Recycle();
    }

    protected short Version => _delivery.Version;

    /// <summary>Takes the next step, or, once finished, delivers the result to whoever awaits it.</summary>
    public sealed override void Execute()
    {
        if (_phase == Ended)
        {
            Deliver();
            return;
        }
        TaskContext context = _cpus.Enter();
        context.Cpu.ActFor(Owner!);
        if (Socket.Sk!.TryLockSock(context.Cpu, this) && TryFinish(ref context))
        {
            _phase = Ended;
            if (_inline)
                context.Cpu.QueueInline(this);
            else
                context.Cpu.Kick(this);
        }
        _cpus.Leave(ref context);
    }

    // Tries, and lets go of the socket. False: the operation waits, and may already be in other hands.
    private bool TryFinish(ref TaskContext context)
    {
        Cpu cpu = context.Cpu;
        Socket socket = Socket;
        Sock sk = socket.Sk!;
        bool waits;
        do
        {
            socket.Wait.Remove(cpu, _entry);
            _result = socket.IsAbandoned ? WhenDisposed : Attempt(ref context, sk);
            waits = _result.Error == Errno.EAGAIN && TryWait();
            if (!waits)
            {
                if (_result.Error == Errno.EAGAIN)
                    _result = WhenCancelled;
                break;
            }
            socket.Wait.Add(cpu, _entry, IsExclusive);
            Interlocked.MemoryBarrier();
        }
        while (HasNews(sk) && TryClaim());
        sk.ReleaseSock(cpu);
        return !waits;
    }

    // False: the call was cancelled. A cancellation that comes later finds the phase and acts itself.
    private bool TryWait()
    {
        if (_cancel.CanBeCanceled && _registration == default)
        {
            Interlocked.Increment(ref _holders);
            _registration = _cancel.UnsafeRegister(static op => ((SocketOperation)op!).Cancel(), this);
        }
        if (Volatile.Read(ref _cancelled) != 0)
            return false;
        Interlocked.Exchange(ref _phase, Waiting);
        return Volatile.Read(ref _cancelled) == 0 || !TryClaim();
    }

    private bool TryClaim() => Interlocked.CompareExchange(ref _phase, Running, Waiting) == Waiting;

    // Any thread. The operation tries once more, so that a wake-up that it took is used or passed on.
    private void Cancel()
    {
        Interlocked.Exchange(ref _cancelled, 1);
        if (TryClaim())
        {
            TaskContext context = _cpus.Enter();
            context.Cpu.QueueCompletion(this);
            _cpus.Leave(ref context);
        }
        LetGo();
    }

    private void Deliver()
    {
        if (Socket.DropReference())
        {
            TaskContext context = _cpus.Enter();
            Socket.Close(ref context);
            _cpus.Leave(ref context);
        }
        _delivery.SetResult(true);
    }

    protected void FinishDelivery(short token)
    {
        _delivery.GetResult(token);
        _delivery.Reset();
    }

    public ValueTaskSourceStatus GetStatus(short token) => _delivery.GetStatus(token);

    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _delivery.OnCompleted(continuation, state, token, flags);

    private sealed class Entry(SocketOperation operation) : WaitQueueEntry
    {
        internal override bool Wake(Cpu cpu, in WakeKey key, out bool remove)
        {
            remove = operation.TryClaim();
            if (remove)
            {
                cpu.Mib.Inc(Tracing.Mib.MillraceAsyncWakeups);
                cpu.QueueCompletion(operation);
            }
            return remove;
        }
    }
}

/// <summary>An asynchronous call whose result is a <typeparamref name="T"/>.</summary>
internal abstract class SocketOperation<T>(int index, PollEvents interest, bool exclusive)
    : SocketOperation(index, interest, exclusive), IValueTaskSource<T>
{
    /// <summary>What the call returns; it has not failed.</summary>
    protected abstract T Convert(SysResult result);

    /// <summary>The outcome of a call that finished at once.</summary>
    protected ValueTask<T> Finished()
    {
        Exception? failure = Take(out T value);
        return failure is null ? new ValueTask<T>(value) : ValueTask.FromException<T>(failure);
    }

    public T GetResult(short token)
    {
        FinishDelivery(token);
        Exception? failure = Take(out T value);
        return failure is null ? value : throw failure;
    }

    private Exception? Take(out T value)
    {
        Exception? failure = TakeResult(out SysResult result);
        value = failure is null ? Convert(result) : default!;
        Finish();
        return failure;
    }
}

/// <summary>What the .NET face of a stack works with: its CPUs, and pools of operations.</summary>
internal sealed class SocketFace(CpuSet cpus, bool inlineCompletions)
{
    public CpuSet Cpus { get; } = cpus;

    /// <summary>Continuations run on the thread that completes.</summary>
    public bool InlineCompletions { get; } = inlineCompletions;

    public OperationPool<ReceiveOperation> Receives { get; } = new(static (pool, index) => new ReceiveOperation(pool, index));

    public OperationPool<SendOperation> Sends { get; } = new(static (pool, index) => new SendOperation(pool, index));

    public OperationPool<ConnectOperation> Connects { get; } = new(static (pool, index) => new ConnectOperation(pool, index));

    public OperationPool<AcceptOperation> Accepts { get; } = new(static (pool, index) => new AcceptOperation(pool, index));

    public OperationPool<HangUpOperation> HangUps { get; } = new(static (pool, index) => new HangUpOperation(pool, index));
}
