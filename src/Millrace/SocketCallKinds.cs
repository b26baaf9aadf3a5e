using System;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace;

/// <summary>Receives at least one byte, or the end of the stream. An empty buffer waits until there is something to receive.</summary>
internal struct ReceiveCall(Memory<byte> buffer, MessageFlags flags) : ISocketCall<int>
{
    private readonly MessageFlags _flags = flags | MessageFlags.DontWait;
    private int _received;

    public SeqNumber? Seen { get; private set; }

    public static PollEvents Interest => PollEvents.Readable | PollEvents.Terminal;

    public static bool IsExclusive => true;

    public SysResult Attempt(ref TaskContext context, Socket socket, Sock sk) => (_flags & (MessageFlags.WaitAll | MessageFlags.Peek)) switch
    {
        MessageFlags.WaitAll => ReceiveAll(ref context, sk),
        MessageFlags.WaitAll | MessageFlags.Peek => PeekAll(ref context, sk),
        _ => Receive(ref context, sk, buffer.Span),
    };

    // A peek takes nothing: each attempt begins anew, and only what it has not seen yet is a reason for the next.
    private SysResult PeekAll(ref TaskContext context, Sock sk)
    {
        int offset = sk.PeekOffset;
        SysResult result = Receive(ref context, sk, buffer.Span);
        _received = result.IsError ? 0 : result.Value;
        if (result.IsError || _received == buffer.Length)
            return result;
        sk.PeekOffset = offset;
        if (!sk.MayPeekMore(_received, out SeqNumber seen))
        {
            sk.MovePeekOffset(_received);
            return result;
        }
        Seen = seen;
        return Errno.EAGAIN;
    }

    // What is received stays received: an end or an error that comes later is the next call's. A wake-up brings a part of the whole.
    private SysResult ReceiveAll(ref TaskContext context, Sock sk)
    {
        while (_received < buffer.Length && (_received == 0 || sk.Error == Errno.OK))
        {
            SysResult result = Receive(ref context, sk, buffer.Span[_received..]);
            if (result.Error == Errno.EAGAIN || (result.IsError && _received == 0))
                return result;
            if (result.IsError || result.Value == 0)
                break;
            _received += result.Value;
        }
        return _received;
    }

    private readonly SysResult Receive(ref TaskContext context, Sock sk, Span<byte> space)
    {
        var message = new MsgHdr { Iter = new IoIter(space), Flags = _flags };
        return sk.Proto.ReceiveOwned(ref context, sk, ref message);
    }

    public readonly SysResult WhenCancelled => _received > 0 ? _received : Errno.EAGAIN;

    public readonly bool HasNews(Sock sk) => false;

    public readonly int Convert(SysResult result) => result.Value;
}

/// <summary>Sends all of its bytes.</summary>
internal struct SendCall(ReadOnlyMemory<byte> data, MessageFlags flags) : ISocketCall<int>
{
    private readonly MessageFlags _flags = flags | MessageFlags.DontWait;
    private int _sent;

    public static PollEvents Interest => PollEvents.Writable | PollEvents.Terminal;

    public static bool IsExclusive => false;

    public SysResult Attempt(ref TaskContext context, Socket socket, Sock sk)
    {
        do
        {
            var message = new MsgHdr { Iter = IoIter.ForReading(data.Span[_sent..]), Flags = _flags };
            SysResult result = sk.Proto.SendOwned(ref context, sk, ref message);
            if (result.IsError)
                return result;
            _sent += result.Value;
        }
        while (_sent < data.Length);
        return _sent;
    }

    public readonly bool HasNews(Sock sk) => false;

    public readonly SeqNumber? Seen => null;

    public readonly int Convert(SysResult result) => result.Value;
}

/// <summary>Connects, and waits until the connection is established or has failed.</summary>
internal readonly struct ConnectCall(SockAddr address) : ISocketCall<int>
{
    public static PollEvents Interest => PollEvents.Writable | PollEvents.Terminal;

    public static bool IsExclusive => false;

    public SysResult Attempt(ref TaskContext context, Socket socket, Sock sk)
    {
        Span<byte> bytes = stackalloc byte[SockAddr.Inet6Length];
        Errno error = socket.Ops.ConnectOwned(ref context, socket, bytes[..address.Write(bytes)], nonBlocking: true);
        return error is Errno.EINPROGRESS or Errno.EALREADY ? Errno.EAGAIN : error;
    }

    public bool HasNews(Sock sk) => false;

    public SeqNumber? Seen => null;

    public int Convert(SysResult result) => result.Value;
}

/// <summary>Takes a connection from a listener.</summary>
/// <param name="accepted">The user's end of the connection that will be.</param>
internal readonly struct AcceptCall(SocketFace face, Socket accepted) : ISocketCall<TcpConnection>
{
    public static PollEvents Interest => PollEvents.Readable | PollEvents.Terminal;

    public static bool IsExclusive => true;

    public SysResult Attempt(ref TaskContext context, Socket socket, Sock sk) => socket.Ops.AcceptOwned(context.Cpu, socket, accepted);

    // Softirqs of other connections add to the queue, and own only those.
    public bool HasNews(Sock sk)
    {
        Atomic.Fence();
        return sk is InetConnectionSock { AcceptQueue.IsEmpty: false };
    }

    public SeqNumber? Seen => null;

    public TcpConnection Convert(SysResult result) => new(face, accepted);
}

/// <summary>Waits for the end of a connection, of one direction or both. It consumes neither data nor error. Linux: POLLRDHUP, POLLHUP.</summary>
internal readonly struct HangUpCall(bool bothDirections) : ISocketCall<bool>
{
    private readonly PollEvents _ends = bothDirections ? PollEvents.Hup : PollEvents.Hup | PollEvents.RdHup;

    public static PollEvents Interest => PollEvents.Terminal;

    public static bool IsExclusive => false;

    public SysResult WhenDisposed => 0;

    public SysResult Attempt(ref TaskContext context, Socket socket, Sock sk) =>
        (sk.Proto.Poll(context.Cpu, sk) & _ends) != 0 ? 1 : Errno.EAGAIN;

    public bool HasNews(Sock sk) => false;

    public SeqNumber? Seen => null;

    public bool Convert(SysResult result) => result.Value != 0;
}
