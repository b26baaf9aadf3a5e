using System;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Millrace.Sched;
using Millrace.Tcp;
using Socket = Millrace.Sockets.Socket;

namespace Millrace;

/// <summary>What a listener's user says to a SYN.</summary>
public enum AcceptDecision
{
    /// <summary>It is answered, and the connection can be accepted once the handshake is done.</summary>
    Allow,

    /// <summary>It is refused with a RST.</summary>
    Deny,

    /// <summary>It is not answered: to the peer nobody is there.</summary>
    Drop,

    /// <summary>One of the <see cref="TcpConnectionRequest"/>'s methods will say so.</summary>
    Later,
}

/// <summary>
/// A SYN that has come to a listener and waits for its answer, so that what the connection is for can be prepared first: a gateway
/// connects to the other side before it lets the peer believe that it is connected. Thread-safe; of several decisions the first counts.
/// </summary>
/// <remarks>See <see cref="TcpListenOptions.OnRequest"/>. SYNs that the peer repeats meanwhile are ignored.</remarks>
public sealed class TcpConnectionRequest
{
    private readonly SocketFace _face;
    private readonly Pending _pending;
    private readonly Lock _lock = new();
    private CancellationTokenSource? _ended;
    private TaskCompletionSource<TcpConnection>? _connection;
    private bool _isOver;

    private TcpConnectionRequest(SocketFace face, Gate gate, TcpRequestSock request)
    {
        _face = face;
        _pending = new Pending(this, gate, request);
        LocalEndPoint = new IPEndPoint(request.LocalAddr.ToIPAddress(), request.LocalPort);
        RemoteEndPoint = new IPEndPoint(request.RemoteAddr.ToIPAddress(), request.RemotePort);
    }

    /// <summary>What the peer wants to connect to.</summary>
    public IPEndPoint LocalEndPoint { get; }

    public IPEndPoint RemoteEndPoint { get; }

    /// <summary>Nobody has decided yet, and it is not too late.</summary>
    public bool IsPending => _pending.IsParked;

    /// <summary>
    /// Cancelled when the request comes to nothing: it was not decided in time, it was denied, the peer gave up, the handshake was not
    /// finished, or the listener is gone.
    /// </summary>
    public CancellationToken Ended
    {
        get
        {
            lock (_lock)
            {
                _ended ??= new CancellationTokenSource();
                if (_isOver)
                    _ended.Cancel();
                return _ended.Token;
            }
        }
    }

    /// <summary>Answers the SYN; the connection comes to the listener's accept.</summary>
    /// <returns>False: it is too late, or decided already.</returns>
    public bool Allow() => Decide(AcceptVerdict.SynAck);

    /// <summary>Refuses the SYN with a RST.</summary>
    /// <inheritdoc cref="Allow"/>
    public bool Deny() => Decide(AcceptVerdict.Reset);

    /// <summary>Forgets the SYN without an answer.</summary>
    /// <inheritdoc cref="Allow"/>
    public bool Drop() => Decide(AcceptVerdict.Silence);

    /// <summary>Answers the SYN and waits for this very connection, which the listener's accept does not get.</summary>
    /// <exception cref="SocketException">
    /// TimedOut: the peer did not finish the handshake; ConnectionReset: it gave up; OperationAborted: the listener is gone;
    /// ConnectionAborted: it was too late, or decided already.
    /// </exception>
    /// <exception cref="OperationCanceledException">The connection, if it comes yet, is reset.</exception>
    public async ValueTask<TcpConnection> AcceptAsync(CancellationToken cancel = default)
    {
        var connection = new TaskCompletionSource<TcpConnection>();
        if (Interlocked.CompareExchange(ref _connection, connection, null) is not null)
            throw Errno.ECONNABORTED.ToException();
        if (!Decide(AcceptVerdict.SynAckAndClaim))
        {
            connection.TrySetCanceled(CancellationToken.None);
            throw Errno.ECONNABORTED.ToException();
        }
        await using CancellationTokenRegistration registration = cancel.UnsafeRegister(
            static (source, token) => ((TaskCompletionSource<TcpConnection>)source!).TrySetCanceled(token), connection);
        return await connection.Task;
    }

    private bool Decide(AcceptVerdict verdict)
    {
        TaskContext context = _face.Cpus.Enter();
        bool done = _pending.Request.Listener.Tcp.Decide(context.Cpu, _pending, verdict);
        _face.Cpus.Leave(ref context);
        return done;
    }

    // User code: the listener's user is asked.
    private void Ask(Func<TcpConnectionRequest, AcceptDecision> ask)
    {
        AcceptDecision decision;
        try
        {
            decision = ask(this);
        }
        catch
        {
            Deny();
            throw;
        }
        _ = decision switch
        {
            AcceptDecision.Allow => Allow(),
            AcceptDecision.Deny => Deny(),
            AcceptDecision.Drop => Drop(),
            AcceptDecision.Later => true,
            _ => Deny(),
        };
    }

    // User code: whoever waits is told.
    private void End(Errno why)
    {
        CancellationTokenSource? ended;
        lock (_lock)
        {
            _isOver = true;
            ended = _ended;
        }
        ended?.Cancel();
        _connection?.TrySetException(why.ToException());
    }

    // User code: the connection is there, if somebody still wants it.
    private void Deliver(Socket socket)
    {
        var connection = new TcpConnection(_face, socket);
        if (!_connection!.TrySetResult(connection))
            connection.Abort();
    }

    // Takes the user's end of the connection into hands that nobody else has.
    private Socket Graft(TcpSock child)
    {
        var socket = new Socket(Sockets.SocketType.Stream, _pending.Gate.Security) { Ops = _pending.Gate.Ops };
        TaskContext context = _face.Cpus.Enter();
        child.LockSock(ref context);
        child.Graft(socket);
        socket.State = Sockets.SocketState.Connected;
        child.ReleaseSock(context.Cpu);
        _face.Cpus.Leave(ref context);
        return socket;
    }

    /// <summary>The listener's side of it.</summary>
    internal sealed class Gate(SocketFace face, Socket listener, TcpListenOptions options) : AcceptGate(Micros.From(options.DecisionTimeout))
    {
        public Sockets.ProtoOps Ops => listener.Ops;

        public SecurityPolicy Security => listener.Security;

        public Func<TcpConnectionRequest, AcceptDecision> Question { get; } = options.OnRequest!;

        public override PendingAccept Make(TcpRequestSock request) => new TcpConnectionRequest(face, this, request)._pending;
    }

    private sealed class Pending(TcpConnectionRequest owner, Gate gate, TcpRequestSock request) : PendingAccept(gate, request)
    {
        public new Gate Gate => gate;

        public override void Ask(Cpu cpu) => Call(cpu, () => owner.Ask(gate.Question));

        public override void OnGone(Cpu cpu, Errno why) => Call(cpu, () => owner.End(why));

        public override bool TryTake(Cpu cpu, TcpSock child)
        {
            if (!IsClaimed)
                return false;
            Call(cpu, () => owner.Deliver(owner.Graft(child)));
            return true;
        }

        private void Call(Cpu cpu, Action action) => cpu.QueueCompletion(new UserCall(owner._face, action));
    }

    /// <summary>Leaves the bottom half, and then runs user code where the stack's user wants it.</summary>
    private sealed class UserCall(SocketFace face, Action action) : Completion
    {
        public override void Step(Cpu cpu)
        {
            if (face.InlineCompletions)
                cpu.Thread.QueueInline(this);
            else
                face.Cpus.Host.Kick(null, this);
        }

        public override void Execute() => action();
    }
}
