using System;
using System.Diagnostics;
using System.Threading;
using System.Threading.Tasks;

namespace Millrace.Bench;

/// <summary>
/// One thread takes turns at both ends of a connection: it sends until there is no room, and receives until there is nothing. Each end is a
/// process with descriptors.
/// </summary>
internal sealed class WireBulk : InMemoryWork
{
    private const int ChunkBytes = 128 * 1024;
    private const int SolSocket = 1, SoZeroCopy = 60;

    private readonly Process _sender, _receiver;
    private readonly int _to, _from;
    private readonly byte[] _data = GC.AllocateArray<byte>(ChunkBytes, pinned: true), _buffer = GC.AllocateArray<byte>(ChunkBytes, pinned: true);
    private readonly byte[] _notices = new byte[256];
    private readonly bool _zeroCopy;
    private long _received;

    /// <param name="zeroCopy">
    /// Sends with MSG_ZEROCOPY, and takes the bytes off the receiving end with MSG_TRUNC, uncopied; otherwise they are copied in and out.
    /// </param>
    public WireBulk(WireOptions options, bool zeroCopy)
        : this(new WirePair(options, inline: false), zeroCopy)
    {
    }

    private WireBulk(WirePair pair, bool zeroCopy)
        : base(pair)
    {
        _zeroCopy = zeroCopy;
        _sender = pair.Client.CreateProcess();
        _receiver = pair.Server.CreateProcess();
        int listening = _receiver.Socket(2, 1, 0).Value;
        _receiver.Bind(listening, WirePair.ServerEndPoint);
        _receiver.Listen(listening, 1);
        _to = _sender.Socket(2, 1, 0).Value;
        _sender.SetSockOpt(_to, SolSocket, SoZeroCopy, zeroCopy ? 1 : 0);
        SysResult connected = _sender.Connect(_to, WirePair.ServerEndPoint);
        if (connected.IsError)
            throw new InvalidOperationException($"connect: {connected.Error}");
        _from = _receiver.Accept(listening).Value;
    }

    public override double Done => _received / 1e6;

    public override void RunUntil(long end)
    {
        do
        {
            for (int i = 0; i < 8; i++)
                Step();
        }
        while (Stopwatch.GetTimestamp() < end);
    }

    public override void Dispose()
    {
        _sender.Dispose();
        _receiver.Dispose();
        base.Dispose();
    }

    private void Step()
    {
        MessageFlags send = MessageFlags.DontWait | (_zeroCopy ? MessageFlags.ZeroCopy : MessageFlags.None);
        MessageFlags receive = MessageFlags.DontWait | (_zeroCopy ? MessageFlags.Truncate : MessageFlags.None);
        while (!_sender.Send(_to, _data, send).IsError)
        {
        }
        while (_receiver.Recv(_from, _buffer, receive) is { IsError: false } got)
            _received += got.Value;
        if (_zeroCopy)
            TakeNotices();
    }

    // Until its notice has come, a buffer that was sent belongs to the stack; here it never changes.
    private void TakeNotices()
    {
        MessageHeader header;
        do
        {
            header = new MessageHeader { Control = _notices };
        }
        while (!_sender.RecvMsg(_to, ref header, MessageFlags.ErrorQueue | MessageFlags.DontWait).IsError);
    }
}

/// <summary>One byte there and back by asynchronous calls whose continuations run inline: one thread does all.</summary>
internal sealed class WirePingPong : InMemoryWork
{
    private readonly TcpConnection _client;
    private readonly Task _echo;
    private readonly byte[] _one = new byte[1];
    private long _trips;

    public WirePingPong()
        : this(new WirePair(new WireOptions(), inline: true))
    {
    }

    private WirePingPong(WirePair pair)
        : base(pair)
    {
        (_client, TcpConnection server) = pair.Connect();
        _echo = EchoAsync(server);
    }

    public override double Done => _trips;

    public override void RunUntil(long end) => PingAsync(end).GetAwaiter().GetResult();

    public override void Dispose()
    {
        _client.Dispose();
        _echo.Wait();
        base.Dispose();
    }

    private async Task PingAsync(long end)
    {
        do
        {
            for (int i = 0; i < 64; i++)
            {
                await _client.SendAsync(_one).ConfigureAwait(false);
                await _client.ReceiveAsync(_one).ConfigureAwait(false);
                _trips++;
            }
        }
        while (Stopwatch.GetTimestamp() < end);
    }

    private static async Task EchoAsync(TcpConnection connection)
    {
        byte[] one = new byte[1];
        while (await connection.ReceiveAsync(one).ConfigureAwait(false) > 0)
            await connection.SendAsync(one).ConfigureAwait(false);
    }
}

/// <summary>One byte there and back by blocking calls of two threads, which spin before they sleep.</summary>
internal sealed class WireBlockingPingPong : InMemoryWork
{
    private readonly TcpConnection _client, _server;
    private readonly Thread _echo;
    private readonly byte[] _one = new byte[1];
    private long _trips;

    public WireBlockingPingPong()
        : this(new WirePair(new WireOptions(), inline: false))
    {
    }

    private WireBlockingPingPong(WirePair pair)
        : base(pair)
    {
        (_client, _server) = pair.Connect();
        _echo = new Thread(Echo);
        _echo.Start();
    }

    public override double Done => _trips;

    public override void RunUntil(long end)
    {
        do
        {
            for (int i = 0; i < 64; i++)
            {
                _client.Send(_one);
                _client.Receive(_one);
                _trips++;
            }
        }
        while (Stopwatch.GetTimestamp() < end);
    }

    public override void Dispose()
    {
        _client.Dispose();
        _echo.Join();
        base.Dispose();
    }

    private void Echo()
    {
        byte[] one = new byte[1];
        while (_server.Receive(one) > 0)
            _server.Send(one);
    }
}
