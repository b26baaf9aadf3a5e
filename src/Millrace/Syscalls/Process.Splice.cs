using System;
using System.IO;
using System.Threading;
using Microsoft.Win32.SafeHandles;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Syscalls;

namespace Millrace;

/// <summary>Bytes moved between a socket and a pipe, or from a file of the machine to a socket.</summary>
public sealed partial class Process
{
    private const uint SpliceNonBlock = 2, SpliceMore = 4;

    /// <summary>
    /// Moves up to <paramref name="count"/> bytes from a socket into a pipe, where they stay in their pages, or from a pipe into a
    /// socket; one of the two must be a pipe. <paramref name="flags"/>: SPLICE_F_NONBLOCK, SPLICE_F_MORE. Linux: splice(2).
    /// </summary>
    public SysResult Splice(int from, int to, int count, uint flags = 0, CancellationToken cancel = default)
    {
        using var call = new FileCall(_cpus, _files.Get(from), cancel);
        if (call.Error != Errno.OK)
            return call.Error;
        if (_files.Get(to) is not { } target)
            return Errno.EBADF;
        SysResult result = (call.File, target) switch
        {
            _ when count < 0 => Errno.EINVAL,
            (Socket socket, PipeFile { IsReader: false } pipe) => SpliceIn(ref call.Context, socket, pipe, count, flags),
            (PipeFile { IsReader: true } pipe, Socket socket) => SpliceOut(ref call.Context, pipe, socket, count, flags),
            (PipeFile, Sockets.Socket) or (Sockets.Socket, PipeFile) => Errno.EBADF,
            _ => Errno.EINVAL,
        };
        target.Release(ref call.Context);
        return result;
    }

    private static SysResult SpliceIn(ref TaskContext context, Socket socket, PipeFile pipe, int count, uint flags)
    {
        if (count == 0)
            return 0;
        Errno error = pipe.Await(ref context, (flags & SpliceNonBlock) != 0 || pipe.NonBlocking);
        if (error != Errno.OK)
            return error;
        var buffers = new SkBuffHead();
        int room = Math.Max(1, Syscalls.Pipe.Capacity - pipe.Pipe.Bytes);
        SysResult moved = socket.Sk!.Proto.SpliceRead(ref context, socket.Sk, buffers, Math.Min(count, room),
            (flags & SpliceNonBlock) != 0 || socket.NonBlocking);
        if (!buffers.IsEmpty)
            pipe.Put(context.Cpu, buffers);
        return moved;
    }

    private static SysResult SpliceOut(ref TaskContext context, PipeFile pipe, Socket socket, int count, uint flags)
    {
        if (count == 0)
            return 0;
        Errno error = pipe.Await(ref context, (flags & SpliceNonBlock) != 0 || pipe.NonBlocking);
        if (error != Errno.OK)
            return error;
        int done = 0;
        while (done < count && pipe.TakeFirst(context.Cpu) is { } skb)
        {
            bool more = (flags & SpliceMore) != 0 || (done + skb.Length < count && pipe.Pipe.Bytes > 0);
            SysResult sent = SendBuffer(ref context, socket, skb, Math.Min(count - done, skb.Length),
                (more ? MessageFlags.More : MessageFlags.None) | ((flags & SpliceNonBlock) != 0 ? MessageFlags.DontWait : MessageFlags.None));
            int used = Math.Max(0, sent.Value);
            done += used;
            bool whole = used == skb.Length;
            if (whole)
            {
                context.Cpu.FreeSkb(skb);
                continue;
            }
            skb.DropFront(used, context.Cpu);
            pipe.PutBack(context.Cpu, skb);
            return done > 0 ? done : sent;
        }
        return done;
    }

    private static unsafe SysResult SendBuffer(ref TaskContext context, Socket socket, SkBuff skb, int count, MessageFlags flags)
    {
        var pieces = new IoVec[skb.FragmentCount];
        int n = 0;
        foreach (ref readonly SkbFragment f in skb.Fragments)
        {
            int take = Math.Min(f.Length, count);
            count -= take;
            if (take > 0)
                pieces[n++] = new IoVec((nint)f.Data, take);
        }
        var message = new MsgHdr { Iter = new IoIter(pieces.AsSpan(0, n)), Flags = flags };
        return socket.SendMessage(ref context, ref message);
    }

    /// <summary>
    /// Sends up to <paramref name="count"/> bytes of a file of the machine, from <paramref name="offset"/> on, which moves behind
    /// what was sent. Linux: sendfile(2).
    /// </summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public SysResult SendFile(int fd, SafeFileHandle file, ref long offset, int count, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(file);
        byte[] chunk = new byte[Math.Min(Math.Max(count, 0), Syscalls.Pipe.Capacity)];
        int done = 0;
        while (done < count)
        {
            int read = RandomAccess.Read(file, chunk.AsSpan(0, Math.Min(chunk.Length, count - done)), offset);
            if (read == 0)
                break;
            SysResult sent = Send(fd, chunk.AsSpan(0, read), done + read < count ? MessageFlags.More : MessageFlags.None, cancel);
            if (sent.IsError)
                return done > 0 ? done : sent;
            offset += sent.Value;
            done += sent.Value;
            if (sent.Value < read)
                break;
        }
        return done;
    }
}
