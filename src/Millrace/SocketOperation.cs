using System;
using System.Threading;
using System.Threading.Tasks.Sources;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace;

/// <summary>
/// An asynchronous call on a socket that could not be done at once. Like a blocking one it tries, waits on the socket's queue, and tries
/// again when woken, by the same code of the protocol; but its entry's wake function makes no thread run: it queues the operation for the
/// end of the bottom half.
/// </summary>
/// <remarks>
/// Phases: Running, while somebody tries; Waiting, with the entry on the queue; Ended, with a result that is to be delivered. Whoever
/// moves it from Waiting to Running, a waker or a cancellation, is the one who queues it. Bytes are copied before the result is
/// delivered, so an operation that nobody awaits swallows no wake-up.
/// </remarks>
internal abstract class SocketOperation : Completion
{
    private const int Running = 0, Waiting = 1, Ended = 2;

    private readonly Entry _entry;
    private ManualResetValueTaskSourceCore<bool> _delivery;
    private CancellationTokenRegistration _registration;
    private CancellationToken _cancel;
    private SocketFace _face = null!;
    private Socket _socket = null!;
    private SysResult _result;
    private int _phase;
    private int _cancelled;
    private int _holders;
    private bool _isRegistered;

    protected SocketOperation(PollEvents interest) => _entry = new Entry(this) { Interest = interest };

    /// <summary>Whether the result is for a stream, whose errors are other exceptions.</summary>
    protected bool IsForStream { get; private set; }

    /// <summary>Readers and acceptors are woken one at a time.</summary>
    protected abstract bool IsExclusive { get; }

    /// <inheritdoc cref="ISocketCall{T}.Attempt"/>
    protected abstract SysResult Attempt(ref TaskContext context, Socket socket, Sock sk);

    /// <inheritdoc cref="ISocketCall{T}.WhenCancelled"/>
    protected abstract SysResult WhenCancelled { get; }

    /// <inheritdoc cref="ISocketCall{T}.HasNews"/>
    protected abstract bool HasNews(Sock sk);

    /// <inheritdoc cref="ISocketCall{T}.Seen"/>
    protected abstract SeqNumber? Seen { get; }

    protected void Begin(ref TaskContext context, SocketFace face, Socket socket, bool forStream, CancellationToken cancel)
    {
        Owner = context.Task;
        _face = face;
        _socket = socket;
        IsForStream = forStream;
        _cancel = cancel;
        _cancelled = 0;
        _holders = 1;
        _phase = Running;
    }

    /// <summary>
    /// Tries, and waits; or is queued for whoever owns the socket. True: it has finished. False: the result will be delivered.
    /// </summary>
    public bool TryFinish(ref TaskContext context)
    {
        Socket socket = _socket;
        Sock sk = socket.Sk!;
        if (!sk.TryLockSock(context.Cpu, this))
            return false;
        // A cancellation has left it there; a waker has not.
        socket.Wait.Remove(context.Cpu, _entry);
        return Conclude(ref context, Attempt(ref context, socket, sk));
    }

    /// <summary>
    /// What has been tried came to <paramref name="result"/>, and the socket is owned: lets go of it. True: the call is over. False: the
    /// operation waits, and may already be in other hands.
    /// </summary>
    public bool Conclude(ref TaskContext context, SysResult result)
    {
        Cpu cpu = context.Cpu;
        Socket socket = _socket;
        Sock sk = socket.Sk!;
        while (result.Error == Errno.EAGAIN)
        {
            if (!TryWait())
            {
                result = WhenCancelled;
                break;
            }
            SeqNumber? seen = Seen;
            _entry.HasSeen = seen.HasValue;
            _entry.Seen = seen.GetValueOrDefault();
            socket.Wait.Add(cpu, _entry, IsExclusive);
            if (!HasNews(sk) || !TryClaim())
            {
                sk.ReleaseSock(cpu);
                return false;
            }
            socket.Wait.Remove(cpu, _entry);
            result = Attempt(ref context, socket, sk);
        }
        _result = result;
        sk.ReleaseSock(cpu);
        return true;
    }

    /// <summary>Takes the result of a call that has finished at the first look. The socket stays held.</summary>
    public SysResult TakeResult()
    {
        SysResult result = _result;
        LetGoOfRegistration();
        return result;
    }

    /// <summary>Forgets what belongs to the call, and goes back to the pool.</summary>
    protected abstract void Recycle();

    /// <summary>The result that was delivered; the operation's part in the call is over.</summary>
    protected SysResult TakeDelivered(short token, out CancellationToken cancel)
    {
        _delivery.GetResult(token);
        _delivery.Reset();
        cancel = _cancel;
        return TakeResult();
    }

    // A cancellation that came too late may still be looking at the operation.
    private void LetGoOfRegistration()
    {
        if (!_isRegistered)
        {
            End();
            return;
        }
        if (_registration.Unregister())
            Atomic.Decrement(ref _holders);
        LetGo();
    }

    private void LetGo()
    {
        if (Atomic.Decrement(ref _holders) == 0)
            End();
    }

    private void End()
    {
        if (_isRegistered)
        {
            _isRegistered = false;
            _registration = default;
        }
        _socket = null!;
        _cancel = default;
        Recycle();
    }

    public short Version => _delivery.Version;

    /// <summary>Takes the next step: task context, no lock.</summary>
    public sealed override void Step(Cpu cpu)
    {
        var context = new TaskContext(cpu, cpu.Thread.Task);
        cpu.ActFor(Owner!);
        if (!TryFinish(ref context))
            return;
        _phase = Ended;
        if (_face.InlineCompletions)
            cpu.Thread.QueueInline(this);
        else
            cpu.Kick(this);
    }

    /// <summary>Delivers the result to whoever awaits it.</summary>
    public sealed override void Execute()
    {
        if (_socket.DropReference())
        {
            TaskContext context = _face.Cpus.Enter();
            _socket.Close(ref context);
            _face.Cpus.Leave(ref context);
        }
        _delivery.SetResult(true);
    }

    // False: the call was cancelled. A cancellation that comes later finds the phase and acts itself.
    private bool TryWait()
    {
        if (!_cancel.CanBeCanceled)
        {
            // The queue's lock shows the phase to wakers, and there is nobody else.
            _phase = Waiting;
            return true;
        }
        if (!_isRegistered)
        {
            _isRegistered = true;
            _holders = 2;
            _registration = _cancel.UnsafeRegister(static op => ((SocketOperation)op!).Cancel(), this);
        }
        if (Volatile.Read(ref _cancelled) != 0)
            return false;
        Atomic.Exchange(ref _phase, Waiting);
        return Volatile.Read(ref _cancelled) == 0 || !TryClaim();
    }

    private bool TryClaim() => Atomic.CompareExchange(ref _phase, Running, Waiting) == Waiting;

    // Any thread. The operation tries once more, so that a wake-up that it took is used or passed on.
    private void Cancel()
    {
        Atomic.Exchange(ref _cancelled, 1);
        if (TryClaim())
        {
            TaskContext context = _face.Cpus.Enter();
            context.Cpu.QueueCompletion(this);
            _face.Cpus.Leave(ref context);
        }
        LetGo();
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

/// <summary>An asynchronous <typeparamref name="TCall"/> that waits, and whose result will be a <typeparamref name="T"/>.</summary>
internal sealed class SocketOperation<TCall, T>(OperationPool<SocketOperation<TCall, T>> pool, int index)
    : SocketOperation(TCall.Interest), IValueTaskSource<T>, IValueTaskSource, IPooledOperation
    where TCall : struct, ISocketCall<T>
{
    private TCall _call;

    /// <summary>The call as it stands; what is to be done with its result is up to it.</summary>
    public ref readonly TCall Call => ref _call;

    public int Index => index;

    int IPooledOperation.NextFree { get; set; }

    protected override bool IsExclusive => TCall.IsExclusive;

    public void Begin(ref TaskContext context, SocketFace face, Socket socket, in TCall call, bool forStream, CancellationToken cancel)
    {
        _call = call;
        Begin(ref context, face, socket, forStream, cancel);
    }

    protected override SysResult Attempt(ref TaskContext context, Socket socket, Sock sk) =>
        socket.IsAbandoned ? _call.WhenDisposed : _call.Attempt(ref context, socket, sk);

    protected override SysResult WhenCancelled => _call.WhenCancelled;

    protected override bool HasNews(Sock sk) => _call.HasNews(sk);

    protected override SeqNumber? Seen => _call.Seen;

    protected override void Recycle()
    {
        _call = default;
        pool.Return(this);
    }

    public T GetResult(short token)
    {
        TCall call = _call;
        bool forStream = IsForStream;
        SysResult result = TakeDelivered(token, out CancellationToken cancel);
        return result.IsError ? throw SocketCalls.Failure(result, forStream, cancel) : call.Convert(result);
    }

    void IValueTaskSource.GetResult(short token) => GetResult(token);
}
