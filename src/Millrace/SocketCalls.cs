using System;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace;

/// <summary>
/// A call on a socket that does not block: a value, which is tried where it is made, and goes into an operation only if it must wait.
/// </summary>
/// <typeparam name="T">What the call returns.</typeparam>
internal interface ISocketCall<T>
{
    /// <summary>What may let the call go on.</summary>
    static abstract PollEvents Interest { get; }

    /// <summary>Readers and acceptors are woken one at a time.</summary>
    static abstract bool IsExclusive { get; }

    /// <summary>Tries, by the owner of the socket, without waiting. EAGAIN: not yet.</summary>
    SysResult Attempt(ref TaskContext context, Socket socket, Sock sk);

    /// <summary>What the call returns once the object that it was made on is disposed of.</summary>
    SysResult WhenDisposed => Errno.ECANCELED;

    /// <summary>What the call returns once it is cancelled; EAGAIN is an <see cref="OperationCanceledException"/>.</summary>
    SysResult WhenCancelled => Errno.EAGAIN;

    /// <summary>
    /// Whether there is something to try again for, asked once the operation stands on the queue: a waker that does not own the socket may
    /// have come between the attempt and that.
    /// </summary>
    bool HasNews(Sock sk);

    /// <summary>Data that lies before this is no reason to try again; null: all is.</summary>
    SeqNumber? Seen { get; }

    /// <summary>What the caller gets; the call has not failed.</summary>
    T Convert(SysResult result);
}

/// <summary>What all calls have in common.</summary>
internal static class SocketCalls
{
    public static Exception Failure(SysResult result, bool forStream, CancellationToken cancel)
    {
        if (result.Error == Errno.EAGAIN)
            return new OperationCanceledException(cancel);
        return forStream ? result.Error.ToStreamException() : result.Error.ToException();
    }
}

/// <summary>Calls of one kind on a stack's sockets, and the operations of those that wait.</summary>
internal sealed class SocketCalls<TCall, T>(SocketFace face)
    where TCall : struct, ISocketCall<T>
{
    private readonly OperationPool<SocketOperation<TCall, T>> _operations = new(static (pool, index) => new SocketOperation<TCall, T>(pool, index));

    /// <summary>Makes a call on a socket that the caller has taken a reference to, which is given back here or by the operation.</summary>
    public ValueTask<T> Run(ref TaskContext context, Socket socket, ref TCall call, bool forStream, CancellationToken cancel)
    {
        if (!TryRun(ref context, socket, ref call, forStream, cancel, out SysResult result, out SocketOperation<TCall, T>? waiting))
            return new ValueTask<T>(waiting!, waiting!.Version);
        return result.IsError
            ? ValueTask.FromException<T>(SocketCalls.Failure(result, forStream, cancel))
            : new ValueTask<T>(call.Convert(result));
    }

    /// <summary>As <see cref="Run"/>, for a stream that wants no result.</summary>
    public ValueTask RunForStream(ref TaskContext context, Socket socket, ref TCall call, CancellationToken cancel)
    {
        if (!TryRun(ref context, socket, ref call, forStream: true, cancel, out SysResult result, out SocketOperation<TCall, T>? waiting))
            return new ValueTask(waiting!, waiting!.Version);
        return result.IsError ? ValueTask.FromException(SocketCalls.Failure(result, forStream: true, cancel)) : default;
    }

    // True: the call is over. False: it waits, in an operation.
    private bool TryRun(ref TaskContext context, Socket socket, ref TCall call, bool forStream, CancellationToken cancel, out SysResult result,
        out SocketOperation<TCall, T>? waiting)
    {
        Sock sk = socket.Sk!;
        waiting = null;
        bool owned = sk.TryLockSock(context.Cpu, null);
        result = !owned ? Errno.EAGAIN : socket.IsAbandoned ? call.WhenDisposed : call.Attempt(ref context, socket, sk);
        if (result.Error == Errno.EAGAIN)
        {
            SocketOperation<TCall, T> operation = _operations.Rent();
            operation.Begin(ref context, face, socket, call, forStream, cancel);
            if (!(owned ? operation.Conclude(ref context, result) : operation.TryFinish(ref context)))
            {
                waiting = operation;
                return false;
            }
            call = operation.Call;
            result = operation.TakeResult();
        }
        else
        {
            sk.ReleaseSock(context.Cpu);
        }
        socket.Release(ref context);
        return true;
    }
}

/// <summary>What the .NET face of a stack works with: its CPUs, and the calls that can be made.</summary>
internal sealed class SocketFace
{
    public SocketFace(CpuSet cpus, bool inlineCompletions)
    {
        Cpus = cpus;
        InlineCompletions = inlineCompletions;
        Receives = new SocketCalls<ReceiveCall, int>(this);
        Sends = new SocketCalls<SendCall, int>(this);
        Connects = new SocketCalls<ConnectCall, int>(this);
        Accepts = new SocketCalls<AcceptCall, TcpConnection>(this);
        HangUps = new SocketCalls<HangUpCall, bool>(this);
    }

    public CpuSet Cpus { get; }

    /// <summary>Continuations run on the thread that completes.</summary>
    public bool InlineCompletions { get; }

    public SocketCalls<ReceiveCall, int> Receives { get; }

    public SocketCalls<SendCall, int> Sends { get; }

    public SocketCalls<ConnectCall, int> Connects { get; }

    public SocketCalls<AcceptCall, TcpConnection> Accepts { get; }

    public SocketCalls<HangUpCall, bool> HangUps { get; }
}
