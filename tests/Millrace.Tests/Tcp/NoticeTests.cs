#pragma warning disable xUnit1051 // no call here waits for anything
using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using static Millrace.Tests.Tcp.LoopbackPair;

namespace Millrace.Tests.Tcp;

/// <summary>What a sender is told of its bytes afterwards: zero-copy completions and transmit timestamps.</summary>
public sealed unsafe class NoticeTests : IDisposable
{
    private const int SoTimestamping = 37, SoZeroCopy = 60;
    private const byte OriginTimestamping = 4, OriginZeroCopy = 5;

    private readonly LoopbackPair _pair = new();
    private readonly int _client, _server;
    private readonly byte[] _memory = GC.AllocateArray<byte>(4096, pinned: true);

    public NoticeTests()
    {
        (_client, _server) = _pair.Connect();
        new Random(1).NextBytes(_memory);
    }

    public void Dispose() => _pair.Dispose();

    // The extended errors of all notices, oldest first.
    private List<(byte Origin, byte Code, uint Info, uint Data)> Notices()
    {
        var notices = new List<(byte, byte, uint, uint)>();
        Span<byte> control = stackalloc byte[256];
        while (true)
        {
            var header = new MessageHeader { Control = control };
            if (_pair.Process.RecvMsg(_client, ref header, MessageFlags.ErrorQueue | MessageFlags.DontWait).IsError)
                return notices;
            ReadOnlySpan<byte> rest = control[..header.ControlLength];
            while (MemoryMarshal.Read<int>(rest[12..]) != 11)
                rest = rest[((MemoryMarshal.Read<int>(rest) + 7) & ~7)..];
            notices.Add((rest[20], rest[22], MemoryMarshal.Read<uint>(rest[24..]), MemoryMarshal.Read<uint>(rest[28..])));
        }
    }

    private byte[] Received(int count)
    {
        byte[] got = new byte[count];
        Assert.Equal(count, Ok(_pair.Process.Recv(_server, got, MessageFlags.WaitAll)));
        return got;
    }

    [Fact]
    public void Zero_copy_sends_are_numbered_and_told_of_in_ranges_once_their_memory_is_free()
    {
        Ok(_pair.Process.SetSockOpt(_client, SolSocket, SoZeroCopy, 1));
        for (int i = 0; i < 3; i++)
            Ok(_pair.Process.Send(_client, _memory.AsSpan(i * 1000, 1000), MessageFlags.ZeroCopy));
        Assert.Equal(_memory[..3000], Received(3000));
        // Loopback hands packets to a reader in this host: there they are copied, and the sender learns it.
        Assert.Equal([(OriginZeroCopy, (byte)1, 0u, 2u)], Notices());
    }

    [Fact]
    public void Without_the_socket_option_the_flag_does_nothing()
    {
        Ok(_pair.Process.Send(_client, _memory.AsSpan(0, 1000), MessageFlags.ZeroCopy));
        Assert.Equal(_memory[..1000], Received(1000));
        Assert.Empty(Notices());
    }

    [Fact]
    public void A_send_that_fails_takes_no_number()
    {
        int closed = Ok(_pair.Process.Socket(2, 1, 0));
        Ok(_pair.Process.SetSockOpt(closed, SolSocket, SoZeroCopy, 1));
        Assert.Equal(Errno.EPIPE, _pair.Process.Send(closed, _memory, MessageFlags.ZeroCopy).Error);
        Ok(_pair.Process.Connect(closed, At));
        int server = Ok(_pair.Process.Accept(_pair.Listener));
        Ok(_pair.Process.Send(closed, _memory.AsSpan(0, 10), MessageFlags.ZeroCopy));
        Ok(_pair.Process.Recv(server, new byte[10]));
        Span<byte> control = stackalloc byte[64];
        var header = new MessageHeader { Control = control };
        Ok(_pair.Process.RecvMsg(closed, ref header, MessageFlags.ErrorQueue));
        Assert.Equal(0u, MemoryMarshal.Read<uint>(control[24..]));
    }

    [Fact]
    public void Notices_outstanding_are_bounded_by_optmem_max()
    {
        _pair.Stack.Sysctls.OptmemMax = 100;
        Ok(_pair.Process.SetSockOpt(_client, SolSocket, SoZeroCopy, 1));
        Assert.Equal(Errno.ENOBUFS, _pair.Process.Send(_client, _memory.AsSpan(0, 10), MessageFlags.ZeroCopy).Error);
    }

    [Fact]
    public void Times_are_told_when_the_last_byte_is_queued_sent_and_acknowledged()
    {
        const int queued = 1 << 8, sent = 1 << 1, acked = 1 << 9, report = 1 << 4, id = 1 << 7;
        Ok(_pair.Process.SetSockOpt(_client, SolSocket, SoTimestamping, queued | sent | acked | report | id));
        Ok(_pair.Process.Send(_client, _memory.AsSpan(0, 10)));
        Received(10);
        Assert.Equal(
            [(OriginTimestamping, (byte)0, 1u, 9u), (OriginTimestamping, (byte)0, 0u, 9u), (OriginTimestamping, (byte)0, 2u, 9u)], Notices());
    }
}
