using System;
using System.Net;
using System.Threading;
using Millrace.Wire;

namespace Millrace.Tests.Syscalls;

/// <summary>Calls on descriptors of any kind: fcntl, ioctl, poll, epoll, pipes.</summary>
public sealed class FileTests
{
    private const uint FioNbio = 0x5421, SiocInq = 0x541b, SiocOutq = 0x5411, SiocAtMark = 0x8905, SiocOutqNsd = 0x894b;
    private const int FDupFd = 0, FGetFd = 1, FSetFd = 2, FGetFl = 3, FSetFl = 4, FDupFdCloExec = 1030;
    private const uint In = 1, Out = 4, RdHup = 0x2000, Hup = 0x10, Edge = 1u << 31, OneShot = 1u << 30, Exclusive = 1u << 28;
    private const int Add = 1, Delete = 2, Modify = 3;

    private static int Ioctl(CallBench k, int fd, uint request, int value = 0)
    {
        CallBench.Ok(k.P.Ioctl(fd, request, ref value));
        return value;
    }

    // ---- fcntl, dup, ioctl ----

    [Fact]
    public void Fcntl_reads_and_sets_the_flags() => CallBench.Run(k =>
    {
        int fd = k.Tcp();
        Assert.Equal(2, k.P.Fcntl(fd, FGetFl).Value);
        CallBench.Ok(k.P.Fcntl(fd, FSetFl, CallBench.NonBlock));
        Assert.Equal(2 | 2048, k.P.Fcntl(fd, FGetFl).Value);
        Assert.Equal(0, k.P.Fcntl(fd, FGetFd).Value);
        CallBench.Ok(k.P.Fcntl(fd, FSetFd, 1));
        Assert.Equal(1, k.P.Fcntl(fd, FGetFd).Value);
        CallBench.Fails(Errno.EINVAL, k.P.Fcntl(fd, 77));
        CallBench.Fails(Errno.EBADF, k.P.Fcntl(99, FGetFl));
        Assert.Equal(1, k.P.Fcntl(k.Tcp(flags: 524288), FGetFd).Value);
    });

    [Fact]
    public void A_duplicate_is_the_same_file_which_closes_with_its_last_descriptor() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        int second = CallBench.Ok(k.P.Dup(client));
        int high = CallBench.Ok(k.P.Fcntl(client, FDupFdCloExec, 40));
        Assert.Equal((40, 1, 0), (high, k.P.Fcntl(high, FGetFd).Value, k.P.Fcntl(second, FGetFd).Value));
        CallBench.Ok(k.P.Fcntl(second, FSetFl, CallBench.NonBlock));
        Assert.Equal(2 | 2048, k.P.Fcntl(client, FGetFl).Value);
        CallBench.Ok(k.P.Close(client));
        CallBench.Ok(k.P.Close(high));
        CallBench.Ok(k.Send(second, "x"));
        Assert.Equal(1, k.Recv(server, 10).Value);
        CallBench.Ok(k.P.Close(second));
        Assert.Equal(0, k.Recv(server, 10).Value);
        CallBench.Fails(Errno.EBADF, k.P.Close(second));
        CallBench.Fails(Errno.EINVAL, k.P.Fcntl(server, FDupFd, -1));
    });

    [Fact]
    public void The_lowest_free_descriptor_is_given_and_there_is_an_end_of_them()
    {
        using var stack = new NetStack(new NetStackOptions { FileLimit = 5 });
        Process p = stack.CreateProcess();
        for (int i = 0; i < 5; i++)
            Assert.Equal(i, p.Socket(2, 1, 0).Value);
        CallBench.Fails(Errno.EMFILE, p.Socket(2, 1, 0));
        CallBench.Fails(Errno.EMFILE, p.EpollCreate());
        CallBench.Fails(Errno.EMFILE, p.Pipe(out _, out _));
        CallBench.Ok(p.Close(3));
        CallBench.Ok(p.Close(1));
        CallBench.Fails(Errno.EBADF, p.Dup(99));
        Assert.Equal(1, p.Socket(2, 1, 0).Value);
        // A pipe needs two.
        CallBench.Fails(Errno.EMFILE, p.Pipe(out _, out _));
        Assert.Equal(3, p.Socket(2, 1, 0).Value);
    }

    [Fact]
    public void Ioctl_tells_what_is_queued_on_both_sides() => CallBench.Run(k =>
    {
        (int client, int server, int listener) = k.Pair();
        CallBench.Ok(k.Send(server, "0123456789"));
        Assert.Equal(10, Ioctl(k, client, SiocInq));
        CallBench.Ok(k.Recv(client, 4));
        Assert.Equal(6, Ioctl(k, client, SiocInq));
        k.Stack.Impair("lo", new ImpairmentOptions { Loss = 1 });
        CallBench.Ok(k.Send(client, "abc"));
        CallBench.Ok(k.Send(client, "de", MessageFlags.More));
        Assert.Equal((5, 2), (Ioctl(k, client, SiocOutq), Ioctl(k, client, SiocOutqNsd)));
        foreach (uint request in new[] { SiocInq, SiocOutq, SiocOutqNsd })
        {
            int value = 0;
            CallBench.Fails(Errno.EINVAL, k.P.Ioctl(listener, request, ref value));
        }
        int none = 0;
        CallBench.Fails(Errno.ENOTTY, k.P.Ioctl(client, 0x1234, ref none));
    });

    [Fact]
    public void Fionbio_and_the_mark() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        Ioctl(k, client, FioNbio, 1);
        CallBench.Fails(Errno.EAGAIN, k.Recv(client, 1));
        CallBench.Ok(k.Send(server, "a"));
        CallBench.Ok(k.Send(server, "!", MessageFlags.OutOfBand));
        Assert.Equal(0, Ioctl(k, client, SiocAtMark));
        Assert.Equal(1, k.Recv(client, 10).Value);
        Assert.Equal(1, Ioctl(k, client, SiocAtMark));
        Ioctl(k, client, FioNbio, 0);
        Assert.Equal(2, k.P.Fcntl(client, FGetFl).Value);
    });

    // ---- poll ----

    [Fact]
    public void Poll_waits_for_the_first_of_several_and_tells_all_that_hold() => CallBench.Run(k =>
    {
        (int client, int server, int listener) = k.Pair();
        PollDescriptor[] watched =
        [
            new() { Fd = client, Events = (short)In },
            new() { Fd = -1, Events = (short)In },
            new() { Fd = listener, Events = (short)In },
            new() { Fd = 77, Events = (short)In },
        ];
        Assert.Equal(1, k.P.Poll(watched, -1).Value);
        Assert.Equal((0, 0, 0, 0x20), (watched[0].Returned, watched[1].Returned, watched[2].Returned, watched[3].Returned));
        k.After(30, () => CallBench.Ok(k.Send(server, "x")));
        long start = k.NowMilliseconds;
        Assert.Equal(1, k.P.Poll(watched.AsSpan(0, 3), -1).Value);
        Assert.Equal(((short)In, (short)0), (watched[0].Returned, watched[2].Returned));
        Assert.InRange(k.NowMilliseconds - start, 30, 32);
        CallBench.Ok(k.P.Connect(k.Tcp(), k.NameOf(listener)));
        Assert.Equal(2, k.P.Poll(watched.AsSpan(0, 3), -1).Value);
    });

    [Fact]
    public void Poll_ends_with_its_time_its_signal_and_the_connection() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        PollDescriptor[] one = [new() { Fd = client, Events = (short)(In | RdHup) }];
        long start = k.NowMilliseconds;
        Assert.Equal(0, k.P.Poll(one, 40).Value);
        Assert.InRange(k.NowMilliseconds - start, 40, 41);
        CallBench.Fails(Errno.EINTR, k.P.Poll(one, -1, k.SignalAfter(10)));
        k.After(10, () => k.Abort(server));
        Assert.Equal(1, k.P.Poll(one, -1).Value);
        Assert.Equal((short)(In | RdHup | 8 | Hup), one[0].Returned);
    });

    // ---- epoll ----

    private static (uint Events, ulong Data)[] Wait(CallBench k, int epoll, int timeout = 0, int most = 8)
    {
        var events = new EpollEvent[most];
        int n = CallBench.Ok(k.P.EpollWait(epoll, events, timeout));
        var result = new (uint, ulong)[n];
        for (int i = 0; i < n; i++)
            result[i] = (events[i].Events, events[i].Data);
        return result;
    }

    [Fact]
    public void Level_triggered_reports_as_long_as_it_holds_and_edge_triggered_once_for_each_arrival() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        int level = CallBench.Ok(k.P.EpollCreate()), edge = CallBench.Ok(k.P.EpollCreate());
        CallBench.Ok(k.P.EpollCtl(level, Add, client, In, 7));
        CallBench.Ok(k.P.EpollCtl(edge, Add, client, In | Edge, 8));
        Assert.Empty(Wait(k, level));
        Assert.Empty(Wait(k, edge));
        CallBench.Ok(k.Send(server, "abc"));
        Assert.Equal([(In, 7ul)], Wait(k, level));
        Assert.Equal([(In, 7ul)], Wait(k, level));
        Assert.Equal([(In, 8ul)], Wait(k, edge));
        Assert.Empty(Wait(k, edge));
        CallBench.Ok(k.Recv(client, 1));
        Assert.Equal([(In, 7ul)], Wait(k, level));
        Assert.Empty(Wait(k, edge));
        CallBench.Ok(k.Send(server, "d"));
        Assert.Equal([(In, 8ul)], Wait(k, edge));
        CallBench.Ok(k.Recv(client, 10));
        Assert.Empty(Wait(k, level));
        CallBench.Ok(k.P.EpollCtl(edge, Modify, client, In | Out | Edge, 9));
        Assert.Equal([(Out, 9ul)], Wait(k, edge));
    });

    [Fact]
    public void Oneshot_reports_once_until_it_is_armed_again() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        int epoll = CallBench.Ok(k.P.EpollCreate());
        CallBench.Ok(k.P.EpollCtl(epoll, Add, client, In | OneShot, 1));
        CallBench.Ok(k.Send(server, "a"));
        Assert.Single(Wait(k, epoll));
        CallBench.Ok(k.Send(server, "b"));
        CallBench.Ok(k.P.Close(server));
        Assert.Empty(Wait(k, epoll));
        CallBench.Ok(k.P.EpollCtl(epoll, Modify, client, In | RdHup | OneShot, 2));
        Assert.Equal([(In | RdHup, 2ul)], Wait(k, epoll));
    });

    [Fact]
    public void Exclusive_wakes_one_of_several_instances_and_without_it_all() => CallBench.Run(k =>
    {
        foreach (bool exclusive in new[] { true, false })
        {
            (int client, int server, _) = k.Pair();
            int woken = 0;
            for (int i = 0; i < 4; i++)
            {
                int epoll = CallBench.Ok(k.P.EpollCreate());
                CallBench.Ok(k.P.EpollCtl(epoll, Add, client, In | (exclusive ? Exclusive : 0), 1));
                k.After(0, () => Interlocked.Add(ref woken, Wait(k, epoll, 100).Length));
            }
            k.Sleep(10);
            CallBench.Ok(k.Send(server, "x"));
            k.Sleep(10);
            Assert.Equal(exclusive ? 1 : 4, woken);
            k.Sleep(200);
        }
    });

    [Fact]
    public void Epoll_waits_and_is_woken_or_times_out_or_is_interrupted() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        int epoll = CallBench.Ok(k.P.EpollCreate());
        CallBench.Ok(k.P.EpollCtl(epoll, Add, client, In, 1));
        long start = k.NowMilliseconds;
        Assert.Empty(Wait(k, epoll, 50));
        Assert.InRange(k.NowMilliseconds - start, 50, 51);
        CallBench.Fails(Errno.EINTR, k.P.EpollWait(epoll, new EpollEvent[1], -1, k.SignalAfter(10)));
        k.After(20, () => CallBench.Ok(k.P.Close(server)));
        Assert.Equal([(In, 1ul)], Wait(k, epoll, -1));
    });

    [Fact]
    public void A_set_forgets_what_is_deleted_and_what_is_closed() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        CallBench.Ok(k.Send(server, "x"));
        int epoll = CallBench.Ok(k.P.EpollCreate());
        CallBench.Ok(k.P.EpollCtl(epoll, Add, client, In, 1));
        CallBench.Ok(k.P.EpollCtl(epoll, Delete, client, 0, 0));
        Assert.Empty(Wait(k, epoll));
        CallBench.Ok(k.P.EpollCtl(epoll, Add, client, In, 1));
        int second = CallBench.Ok(k.P.Dup(client));
        CallBench.Ok(k.P.Close(client));
        Assert.Single(Wait(k, epoll)); // The file is open still.
        CallBench.Ok(k.P.Close(second));
        Assert.Empty(Wait(k, epoll));
    });

    [Fact]
    public void Wrong_uses_of_epoll_are_refused() => CallBench.Run(k =>
    {
        int client = k.Pair().Client, epoll = CallBench.Ok(k.P.EpollCreate());
        CallBench.Fails(Errno.ENOENT, k.P.EpollCtl(epoll, Modify, client, In, 0));
        CallBench.Fails(Errno.ENOENT, k.P.EpollCtl(epoll, Delete, client, In, 0));
        CallBench.Ok(k.P.EpollCtl(epoll, Add, client, In, 0));
        CallBench.Fails(Errno.EEXIST, k.P.EpollCtl(epoll, Add, client, In, 0));
        CallBench.Fails(Errno.EINVAL, k.P.EpollCtl(epoll, 9, client, In, 0));
        CallBench.Fails(Errno.EINVAL, k.P.EpollCtl(epoll, Modify, client, In | Exclusive, 0));
        CallBench.Fails(Errno.EINVAL, k.P.EpollCtl(epoll, Add, k.Tcp(), In | Exclusive | OneShot, 0));
        CallBench.Fails(Errno.EINVAL, k.P.EpollCtl(epoll, Add, epoll, In, 0));
        CallBench.Fails(Errno.EINVAL, k.P.EpollCtl(client, Add, client, In, 0));
        CallBench.Fails(Errno.EBADF, k.P.EpollCtl(epoll, Add, 99, In, 0));
        CallBench.Fails(Errno.EBADF, k.P.EpollCtl(99, Add, client, In, 0));
        CallBench.Fails(Errno.EINVAL, k.P.EpollWait(epoll, [], 0));
        CallBench.Fails(Errno.EINVAL, k.P.EpollWait(client, new EpollEvent[1], 0));
        CallBench.Fails(Errno.EINVAL, k.P.Read(epoll, new byte[8]));
    });

    [Fact]
    public void Poll_on_an_epoll_instance_tells_when_it_has_something() => CallBench.Run(k =>
    {
        (int client, int server, _) = k.Pair();
        int epoll = CallBench.Ok(k.P.EpollCreate());
        CallBench.Ok(k.P.EpollCtl(epoll, Add, client, In, 1));
        PollDescriptor[] one = [new() { Fd = epoll, Events = (short)In }];
        Assert.Equal(0, k.P.Poll(one, 0).Value);
        k.After(10, () => CallBench.Ok(k.Send(server, "x")));
        Assert.Equal(1, k.P.Poll(one, 1000).Value);
    });

    // ---- pipes ----

    [Fact]
    public void A_pipe_carries_bytes_blocks_at_both_ends_and_breaks() => CallBench.Run(k =>
    {
        CallBench.Ok(k.P.Pipe(out int read, out int write));
        var much = new byte[200_000];
        new Prng(1).Fill(much);
        k.After(5, () =>
        {
            Assert.Equal(much.Length, k.P.Write(write, much).Value);
            CallBench.Ok(k.P.Close(write));
        });
        var got = new byte[much.Length];
        int at = 0;
        while (k.P.Read(read, got.AsSpan(at)) is { Value: > 0 } n)
            at += n.Value;
        Assert.Equal(much, got);
        Assert.Equal(0, k.P.Read(read, new byte[1]).Value);
        CallBench.Fails(Errno.EBADF, k.P.Write(read, new byte[1]));
        CallBench.Ok(k.P.Pipe(out int read2, out int write2));
        CallBench.Fails(Errno.EBADF, k.P.Read(write2, new byte[1]));
        CallBench.Ok(k.P.Fcntl(read2, FSetFl, CallBench.NonBlock));
        CallBench.Fails(Errno.EAGAIN, k.P.Read(read2, new byte[1]));
        Assert.Equal(("OUT", "none"), (k.Poll(write2), k.Poll(read2)));
        CallBench.Ok(k.P.Fcntl(write2, FSetFl, CallBench.NonBlock));
        Assert.Equal(65536, k.P.Write(write2, new byte[100_000]).Value);
        CallBench.Fails(Errno.EAGAIN, k.P.Write(write2, new byte[1]));
        Assert.Equal(("none", "IN"), (k.Poll(write2), k.Poll(read2)));
        CallBench.Ok(k.P.Close(read2));
        CallBench.Fails(Errno.EPIPE, k.P.Write(write2, new byte[1]));
        Assert.Contains("ERR", k.Poll(write2));
    });

    [Fact]
    public void The_end_of_a_process_closes_all_it_had_open() => CallBench.Run(k =>
    {
        int listener = k.Listening(out IPEndPoint at);
        Process other = k.Stack.CreateProcess();
        CallBench.Ok(other.Connect(CallBench.Ok(other.Socket(CallBench.Inet, CallBench.Stream, 0)), at));
        int server = CallBench.Ok(k.P.Accept(listener));
        other.Dispose();
        Assert.Equal(0, k.Recv(server, 1).Value);
        CallBench.Fails(Errno.EBADF, other.Close(0));
    });
}
