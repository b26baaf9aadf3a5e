using System;
using System.Collections.Generic;
using System.Net;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using Millrace.Inet;
using Millrace.Tracing;

namespace Millrace.Tests.Syscalls;

/// <summary>Blocking reads and writes beyond what errno.tsv records.</summary>
public sealed class ReceiveTests
{
    private static string Text(CallBench k, int fd, int length, MessageFlags flags = 0)
    {
        var buffer = new byte[length];
        return Encoding.ASCII.GetString(buffer, 0, CallBench.Ok(k.P.Recv(fd, buffer, flags)));
    }

    private static int PeekOffset(CallBench k, int fd)
    {
        CallBench.Ok(k.P.GetSockOpt(fd, CallBench.SolSocket, So.PeekOff, out int offset));
        return offset;
    }

    private static IoVec[] Pieces(out byte[] memory, params int[] lengths)
    {
        int total = 0;
        foreach (int length in lengths)
            total += length;
        memory = GC.AllocateArray<byte>(total, pinned: true);
        var pieces = new List<IoVec>();
        int at = 0;
        foreach (int length in lengths)
        {
            pieces.Add(new IoVec(Marshal.UnsafeAddrOfPinnedArrayElement(memory, at), length));
            at += length;
        }
        return [.. pieces];
    }

    [Fact]
    public void Peek_leaves_everything_and_reads_take_segments_apart_as_they_like() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        foreach (string part in new[] { "abc", "de", "fghij" })
            CallBench.Ok(k.Send(server, part));
        Assert.Equal("abcdefghij", Text(k, client, 100, MessageFlags.Peek));
        Assert.Equal("abcd", Text(k, client, 4, MessageFlags.Peek));
        Assert.Equal("abcd", Text(k, client, 4));
        Assert.Equal("efg", Text(k, client, 3));
        Assert.Equal("hij", Text(k, client, 100));
        CallBench.Fails(Errno.EAGAIN, k.Recv(client, 1, MessageFlags.Peek | CallBench.DontWait));
    });

    /// <summary>The values are those that a run of the same calls on 6.18 gave.</summary>
    [Fact]
    public void With_a_peek_offset_each_peek_goes_on_where_the_last_ended_and_reading_moves_it_back() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        void Offset(int expected) => Assert.Equal(expected, PeekOffset(k, client));
        void Peeks(string expected, int offset, int most = 100)
        {
            Assert.Equal(expected, Text(k, client, most, MessageFlags.Peek));
            Offset(offset);
        }
        CallBench.Ok(k.P.SetSockOpt(client, CallBench.SolSocket, So.PeekOff, 0));
        foreach (string part in new[] { "abcde", "fghij" })
            CallBench.Ok(k.Send(server, part));
        Peeks("abc", 3, most: 3);
        Peeks("def", 6, most: 3);
        Assert.Equal("abcd", Text(k, client, 4));
        Offset(2);
        Peeks("gh", 4, most: 2);
        Assert.Equal("ef", Text(k, client, 2));
        Offset(2);
        Peeks("ij", 4);
        CallBench.Fails(Errno.EAGAIN, k.Recv(client, 1, MessageFlags.Peek | CallBench.DontWait));
        Offset(4);
        CallBench.Ok(k.P.SetSockOpt(client, CallBench.SolSocket, So.PeekOff, -7));
        Peeks("gh", -7, most: 2);
        CallBench.Ok(k.P.SetSockOpt(client, CallBench.SolSocket, So.PeekOff, 2));
        Assert.Equal("ghi", Text(k, client, 3));
        Offset(0);
    });

    [Fact]
    public void A_peek_waits_for_the_byte_at_its_offset() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.P.SetSockOpt(client, CallBench.SolSocket, So.PeekOff, 3));
        CallBench.Ok(k.Send(server, "abc"));
        k.After(100, () => CallBench.Ok(k.Send(server, "de")));
        Assert.Equal("de", Text(k, client, 9, MessageFlags.Peek));
        Assert.Equal("abcde", Text(k, client, 9));
        CallBench.Ok(k.P.SetSockOpt(client, CallBench.SolSocket, So.PeekOff, 50));
        CallBench.Ok(k.P.Close(server));
        Assert.Equal("", Text(k, client, 9, MessageFlags.Peek));
    });

    /// <summary>The urgent byte has its place in the stream, but the offset counts what was copied. So does 6.18.</summary>
    [Fact]
    public void A_peek_offset_does_not_count_the_urgent_byte_that_a_peek_steps_over() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.P.SetSockOpt(client, CallBench.SolSocket, So.PeekOff, 0));
        CallBench.Ok(k.Send(server, "ab"));
        CallBench.Ok(k.Send(server, "U", MessageFlags.OutOfBand));
        CallBench.Ok(k.Send(server, "cd"));
        foreach (string expected in new[] { "ab", "cd", "d" })
            Assert.Equal(expected, Text(k, client, 9, MessageFlags.Peek));
    });

    [Fact]
    public void A_peek_offset_is_inherited_and_a_disconnect_unsets_it() => CallBench.Run(k =>
    {
        int listener = k.Listening(out IPEndPoint at);
        CallBench.Ok(k.P.SetSockOpt(listener, CallBench.SolSocket, So.PeekOff, 3));
        int client = k.Tcp();
        CallBench.Ok(k.P.Connect(client, at));
        int server = CallBench.Ok(k.P.Accept(listener));
        Assert.Equal(3, PeekOffset(k, server));
        CallBench.Ok(k.P.Connect(server, new byte[16]));
        Assert.Equal(-1, PeekOffset(k, server));
    });

    [Fact]
    public void Truncate_throws_bytes_away_without_touching_the_buffer() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.Send(server, "abcdef"));
        var buffer = new byte[4];
        Assert.Equal(4, k.P.Recv(client, buffer, MessageFlags.Truncate).Value);
        Assert.All(buffer, static b => Assert.Equal(0, b));
        Assert.Equal("ef", Text(k, client, 10));
    });

    [Fact]
    public void Waitall_waits_for_all_of_several_segments_but_not_beyond_the_end() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        for (int i = 1; i <= 4; i++)
        {
            int n = i;
            k.After(10 * i, () => CallBench.Ok(k.Send(server, new string((char)('a' + n), 5))));
        }
        k.After(100, () => CallBench.Ok(k.P.Close(server)));
        Assert.Equal("bbbbbccccc", Text(k, client, 10, MessageFlags.WaitAll));
        Assert.Equal("dddddeeeee", Text(k, client, 50, MessageFlags.WaitAll));
        Assert.Equal("", Text(k, client, 50, MessageFlags.WaitAll));
    });

    [Fact]
    public void Dontwait_beats_waitall() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.Send(server, "abc"));
        Assert.Equal("abc", Text(k, client, 10, MessageFlags.WaitAll | CallBench.DontWait));
        CallBench.Fails(Errno.EAGAIN, k.Recv(client, 10, MessageFlags.WaitAll | CallBench.DontWait));
    });

    [Fact]
    public void Scattered_reads_and_gathered_writes_fill_and_empty_the_pieces_in_order() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        IoVec[] from = Pieces(out byte[] source, 3, 0, 4, 5);
        "abcdefghijkl"u8.CopyTo(source);
        Assert.Equal(12, k.P.WriteV(server, from).Value);
        IoVec[] to = Pieces(out byte[] target, 1, 6, 0, 2);
        Assert.Equal(9, k.P.ReadV(client, to).Value);
        Assert.Equal("abcdefghi", Encoding.ASCII.GetString(target));
        ReadOnlySpan<IoVec> rest = Pieces(out byte[] last, 1, 9);
        var header = new MessageHeader { Pieces = rest };
        Assert.Equal(3, k.P.RecvMsg(client, ref header, 0).Value);
        Assert.Equal("jkl", Encoding.ASCII.GetString(last, 0, 3));
        Assert.Equal((0, 0, MessageFlags.None), (header.NameLength, header.ControlLength, header.Flags));
        Assert.Equal(12, k.P.SendMsg(server, new MessageHeader { Pieces = from }, 0).Value);
        Assert.Equal("abcdefghijkl", Text(k, client, 100));
    });

    [Fact]
    public void Reading_nothing_and_writing_nothing_is_nothing() => CallBench.Run(k =>
    {
        (int client, _, _) = k.Pair();
        Assert.Equal(0, k.P.Read(client, []).Value);
        Assert.Equal(0, k.P.ReadV(client, []).Value);
        Assert.Equal(0, k.P.Write(client, []).Value);
        Assert.Equal(0, k.P.Send(client, [], CallBench.DontWait).Value);
    });

    [Fact]
    public void A_cancelled_send_returns_what_it_has_sent_and_then_EINTR() => CallBench.Run(k =>
    {
        (int client, _, _) = k.Pair();
        var much = new byte[20_000_000];
        SysResult sent = k.P.Send(client, much, 0, k.SignalAfter(60));
        Assert.InRange(sent.Value, 1, much.Length - 1);
        CallBench.Fails(Errno.EINTR, k.P.Send(client, much, 0, k.SignalAfter(60)));
    });

    [Fact]
    public void A_token_that_is_cancelled_already_lets_a_call_that_need_not_wait_succeed() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.Send(server, "x"));
        var cancelled = new CancellationToken(canceled: true);
        Assert.Equal(1, k.Recv(client, 10, 0, cancelled).Value);
        CallBench.Fails(Errno.EINTR, k.Recv(client, 10, 0, cancelled));
        Assert.Equal(1, k.P.Send(client, "y"u8, 0, cancelled).Value);
    });

    [Fact]
    public void A_timeout_of_accept_is_the_receive_timeout() => CallBench.Run(k =>
    {
        int listener = k.Listening(out _);
        k.SetTimeout(listener, So.RcvTimeo, 250);
        long start = k.NowMilliseconds;
        CallBench.Fails(Errno.EAGAIN, k.P.Accept(listener));
        Assert.InRange(k.NowMilliseconds - start, 250, 252);
        CallBench.Fails(Errno.EINTR, k.P.Accept(listener, cancel: k.SignalAfter(10)));
    });

    [Fact]
    public void One_data_ready_wakes_one_of_many_readers_and_what_is_left_is_handed_over() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        int read = 0;
        for (int i = 0; i < 8; i++)
            k.After(0, () => Interlocked.Add(ref read, CallBench.Ok(k.Recv(client, 10))));
        k.Sleep(10);
        long before = k.Stack.Cpus.Read(Mib.MillraceWakeups);
        CallBench.Ok(k.P.Send(server, new byte[10]));
        k.Sleep(1);
        Assert.Equal((10, 1), (read, k.Stack.Cpus.Read(Mib.MillraceWakeups) - before));
        before = k.Stack.Cpus.Read(Mib.MillraceWakeups);
        CallBench.Ok(k.P.Send(server, new byte[50]));
        k.Sleep(1);
        Assert.Equal(60, read);
        Assert.Equal(5, k.Stack.Cpus.Read(Mib.MillraceWakeups) - before);
        k.After(0, () => CallBench.Ok(k.P.Close(server)));
        k.Sleep(5);
    });

    [Fact]
    public void Two_readers_that_peek_for_more_do_not_wake_each_other_for_ever() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        int done = 0;
        for (int i = 0; i < 2; i++)
        {
            k.After(0, () =>
            {
                Assert.Equal(20, k.Recv(client, 20, MessageFlags.Peek | MessageFlags.WaitAll).Value);
                done++;
            });
        }
        k.Sleep(5);
        CallBench.Ok(k.P.Send(server, new byte[10]));
        k.Sleep(5);
        long quiet = k.Stack.Cpus.Read(Mib.MillraceWakeups);
        k.Sleep(50);
        Assert.Equal((0, quiet), (done, k.Stack.Cpus.Read(Mib.MillraceWakeups)));
        CallBench.Ok(k.P.Send(server, new byte[10]));
        k.Sleep(5);
        Assert.Equal(2, done);
    });

    [Fact]
    public void Writers_that_wait_for_room_are_woken_when_there_is() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        const int each = 3_000_000;
        for (int i = 0; i < 2; i++)
            k.After(0, () => Assert.Equal(each, k.P.Send(client, new byte[each]).Value));
        Assert.Equal(2 * each, k.Recv(server, 2 * each, MessageFlags.WaitAll).Value);
    });
}
