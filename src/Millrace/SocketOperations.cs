using System;
using System.Threading;
using System.Threading.Tasks;
using System.Threading.Tasks.Sources;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace;

/// <summary>Receives at least one byte, or the end of the stream. An empty buffer waits until there is something to receive.</summary>
internal sealed class ReceiveOperation(OperationPool<ReceiveOperation> pool, int index)
    : SocketOperation<int>(index, PollEvents.Readable | PollEvents.Terminal, exclusive: true)
{
    private Memory<byte> _buffer;
    private MessageFlags _flags;
    private int _received;

    public ValueTask<int> Run(ref TaskContext context, SocketFace face, Socket socket, Memory<byte> buffer, MessageFlags flags,
        bool forStream, CancellationToken cancel)
    {
        _buffer = buffer;
        _flags = flags | MessageFlags.DontWait;
        _received = 0;
        WaitForMoreThan(null);
        short version = Version;
        return Start(ref context, face, socket, forStream, cancel) ? Finished() : new ValueTask<int>(this, version);
    }

    protected override SysResult Attempt(ref TaskContext context, Sock sk) => (_flags & (MessageFlags.WaitAll | MessageFlags.Peek)) switch
    {
        MessageFlags.WaitAll => ReceiveAll(ref context, sk),
        MessageFlags.WaitAll | MessageFlags.Peek => PeekAll(ref context, sk),
        _ => Receive(ref context, sk, _buffer.Span),
    };

    // A peek takes nothing: each attempt begins anew, and only what it has not seen yet is a reason for the next.
    private SysResult PeekAll(ref TaskContext context, Sock sk)
    {
        int offset = sk.PeekOffset;
        SysResult result = Receive(ref context, sk, _buffer.Span);
        _received = result.IsError ? 0 : result.Value;
        if (result.IsError || _received == _buffer.Length)
            return result;
        sk.PeekOffset = offset;
        if (!sk.MayPeekMore(_received, out SeqNumber seen))
        {
            sk.MovePeekOffset(_received);
            return result;
        }
        WaitForMoreThan(seen);
        return Errno.EAGAIN;
    }

    // What is received stays received: an end or an error that comes later is the next call's. A wake-up brings a part of the whole.
    private SysResult ReceiveAll(ref TaskContext context, Sock sk)
    {
        while (_received < _buffer.Length && (_received == 0 || sk.Error == Errno.OK))
        {
            SysResult result = Receive(ref context, sk, _buffer.Span[_received..]);
            if (result.Error == Errno.EAGAIN || (result.IsError && _received == 0))
                return result;
            if (result.IsError || result.Value == 0)
                break;
            _received += result.Value;
        }
        return _received;
    }

    private SysResult Receive(ref TaskContext context, Sock sk, Span<byte> space)
    {
        var message = new MsgHdr { Iter = new IoIter(space), Flags = _flags };
        return sk.Proto.ReceiveOwned(ref context, sk, ref message);
    }

    protected override SysResult WhenCancelled => _received > 0 ? _received : Errno.EAGAIN;

    protected override int Convert(SysResult result) => result.Value;

    protected override void Recycle()
    {
        _buffer = default;
        pool.Return(this);
    }
}

/// <summary>Sends all of its bytes.</summary>
internal sealed class SendOperation(OperationPool<SendOperation> pool, int index)
    : SocketOperation<int>(index, PollEvents.Writable | PollEvents.Terminal, exclusive: false), IValueTaskSource
{
    private ReadOnlyMemory<byte> _data;
    private MessageFlags _flags;
    private int _sent;

    public ValueTask<int> Run(ref TaskContext context, SocketFace face, Socket socket, ReadOnlyMemory<byte> data, MessageFlags flags,
        CancellationToken cancel)
    {
        short version = Version;
        return Begin(ref context, face, socket, data, flags, forStream: false, cancel) ? Finished() : new ValueTask<int>(this, version);
    }

    public ValueTask RunForStream(ref TaskContext context, SocketFace face, Socket socket, ReadOnlyMemory<byte> data, CancellationToken cancel)
    {
        short version = Version;
        if (!Begin(ref context, face, socket, data, MessageFlags.None, forStream: true, cancel))
            return new ValueTask(this, version);
        ValueTask<int> finished = Finished();
        return finished.IsCompletedSuccessfully ? default : new ValueTask(finished.AsTask());
    }

    void IValueTaskSource.GetResult(short token) => GetResult(token);

    private bool Begin(ref TaskContext context, SocketFace face, Socket socket, ReadOnlyMemory<byte> data, MessageFlags flags, bool forStream,
        CancellationToken cancel)
    {
        _data = data;
        _flags = flags | MessageFlags.DontWait;
        _sent = 0;
        return Start(ref context, face, socket, forStream, cancel);
    }

    protected override SysResult Attempt(ref TaskContext context, Sock sk)
    {
        do
        {
            var message = new MsgHdr { Iter = IoIter.ForReading(_data.Span[_sent..]), Flags = _flags };
            SysResult result = sk.Proto.SendOwned(ref context, sk, ref message);
            if (result.IsError)
                return result;
            _sent += result.Value;
        }
        while (_sent < _data.Length);
        return _sent;
    }

    protected override int Convert(SysResult result) => result.Value;

    protected override void Recycle()
    {
        _data = default;
        pool.Return(this);
    }
}

/// <summary>Connects, and waits until the connection is established or has failed.</summary>
internal sealed class ConnectOperation(OperationPool<ConnectOperation> pool, int index)
    : SocketOperation<int>(index, PollEvents.Writable | PollEvents.Terminal, exclusive: false)
{
    private SockAddr _address;

    public ValueTask<int> Run(ref TaskContext context, SocketFace face, Socket socket, in SockAddr address, CancellationToken cancel)
    {
        _address = address;
        short version = Version;
        return Start(ref context, face, socket, forStream: false, cancel) ? Finished() : new ValueTask<int>(this, version);
    }

    protected override SysResult Attempt(ref TaskContext context, Sock sk)
    {
        Span<byte> bytes = stackalloc byte[SockAddr.Inet6Length];
        Errno error = Socket.Ops.ConnectOwned(ref context, Socket, bytes[.._address.Write(bytes)], nonBlocking: true);
        return error is Errno.EINPROGRESS or Errno.EALREADY ? Errno.EAGAIN : error;
    }

    protected override int Convert(SysResult result) => result.Value;

    protected override void Recycle() => pool.Return(this);
}

/// <summary>Takes a connection from a listener.</summary>
internal sealed class AcceptOperation(OperationPool<AcceptOperation> pool, int index)
    : SocketOperation<TcpConnection>(index, PollEvents.Readable | PollEvents.Terminal, exclusive: true)
{
    private SocketFace _face = null!;
    private Socket? _accepted;

    public ValueTask<TcpConnection> Run(ref TaskContext context, SocketFace face, Socket listener, CancellationToken cancel)
    {
        _face = face;
        _accepted = listener.NewForAccept();
        short version = Version;
        return Start(ref context, face, listener, forStream: false, cancel) ? Finished() : new ValueTask<TcpConnection>(this, version);
    }

    protected override SysResult Attempt(ref TaskContext context, Sock sk) => Socket.Ops.AcceptOwned(context.Cpu, Socket, _accepted!);

    // Softirqs of other connections add to the queue, and own only those.
    protected override bool HasNews(Sock sk) => sk is InetConnectionSock { AcceptQueue.IsEmpty: false };

    protected override TcpConnection Convert(SysResult result) => new(_face, _accepted!);

    protected override void Recycle()
    {
        _accepted = null;
        pool.Return(this);
    }
}

/// <summary>Waits for the end of a connection, of one direction or both. It consumes neither data nor error. Linux: POLLRDHUP, POLLHUP.</summary>
internal sealed class HangUpOperation(OperationPool<HangUpOperation> pool, int index)
    : SocketOperation<bool>(index, PollEvents.Terminal, exclusive: false)
{
    private PollEvents _ends;

    public ValueTask<bool> Run(ref TaskContext context, SocketFace face, Socket socket, bool bothDirections, CancellationToken cancel)
    {
        _ends = bothDirections ? PollEvents.Hup : PollEvents.Hup | PollEvents.RdHup;
        short version = Version;
        return Start(ref context, face, socket, forStream: false, cancel) ? Finished() : new ValueTask<bool>(this, version);
    }

    protected override SysResult WhenDisposed => 0;

    protected override SysResult Attempt(ref TaskContext context, Sock sk) =>
        (sk.Proto.Poll(context.Cpu, sk) & _ends) != 0 ? 1 : Errno.EAGAIN;

    protected override bool Convert(SysResult result) => result.Value != 0;

    protected override void Recycle() => pool.Return(this);
}
