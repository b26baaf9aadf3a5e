using System;
using System.Threading;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Syscalls;
using Millrace.Tracing;

namespace Millrace;

/// <summary>Calls on descriptors of any kind.</summary>
public sealed partial class Process
{
    private const int FDupFd = 0, FGetFd = 1, FSetFd = 2, FGetFl = 3, FSetFl = 4, FDupFdCloExec = 1030;
    private const int ReadWrite = 2, NonBlock = 2048, CloseOnExec = 1;
    private const uint FioNbio = 0x5421;

    /// <summary>Closes a descriptor. Calls that are blocked on it go on. Linux: close(2).</summary>
    public SysResult Close(int fd)
    {
        TaskContext context = _cpus.Enter();
        try
        {
            context.Cpu.Trace(Tp.__sys_close, fd);
            File? file = _files.Remove(fd);
            if (file is null)
                return Errno.EBADF;
            file.Release(ref context);
            return 0;
        }
        finally
        {
            _cpus.Leave(ref context);
        }
    }

    /// <summary>Reads. Linux: read(2).</summary>
    public SysResult Read(int fd, Span<byte> buffer, CancellationToken cancel = default)
    {
        using var call = new FileCall(_cpus, _files.Get(fd), cancel);
        if (call.Error != Errno.OK)
            return call.Error;
        var message = new MsgHdr { Iter = new IoIter(buffer) };
        return buffer.IsEmpty ? 0 : call.File.Read(ref call.Context, ref message);
    }

    /// <summary>Writes. Linux: write(2).</summary>
    public SysResult Write(int fd, ReadOnlySpan<byte> data, CancellationToken cancel = default)
    {
        using var call = new FileCall(_cpus, _files.Get(fd), cancel);
        if (call.Error != Errno.OK)
            return call.Error;
        var message = new MsgHdr { Iter = IoIter.ForReading(data) };
        return call.File.Write(ref call.Context, ref message);
    }

    /// <summary>Reads into several pieces. Linux: readv(2).</summary>
    public SysResult ReadV(int fd, ReadOnlySpan<IoVec> pieces, CancellationToken cancel = default)
    {
        using var call = new FileCall(_cpus, _files.Get(fd), cancel);
        if (call.Error != Errno.OK)
            return call.Error;
        var message = new MsgHdr { Iter = new IoIter(pieces) };
        return message.Iter.Count == 0 ? 0 : call.File.Read(ref call.Context, ref message);
    }

    /// <summary>Writes several pieces. Linux: writev(2).</summary>
    public SysResult WriteV(int fd, ReadOnlySpan<IoVec> pieces, CancellationToken cancel = default)
    {
        using var call = new FileCall(_cpus, _files.Get(fd), cancel);
        if (call.Error != Errno.OK)
            return call.Error;
        var message = new MsgHdr { Iter = new IoIter(pieces) };
        return call.File.Write(ref call.Context, ref message);
    }

    /// <summary>No file here has a position. Linux: lseek(2).</summary>
    public SysResult LSeek(int fd, long offset, int whence) => RefusePosition(fd);

    /// <inheritdoc cref="LSeek"/>
    /// <remarks>Linux: pread(2).</remarks>
    public SysResult PRead(int fd, Span<byte> buffer, long offset) => RefusePosition(fd);

    private SysResult RefusePosition(int fd)
    {
        using var call = new FileCall(_cpus, _files.Get(fd), default);
        return call.Error != Errno.OK ? call.Error : Errno.ESPIPE;
    }

    /// <summary>File status and descriptor flags, and duplicates. Linux: fcntl(2).</summary>
    public SysResult Fcntl(int fd, int command, int argument = 0)
    {
        using var call = new FileCall(_cpus, _files.Get(fd), default);
        if (call.Error != Errno.OK)
            return call.Error;
        switch (command)
        {
            case FGetFl:
                return ReadWrite | (call.File.NonBlocking ? NonBlock : 0);
            case FSetFl:
                call.File.NonBlocking = (argument & NonBlock) != 0;
                return 0;
            case FGetFd:
                return _files.TryCloseOnExec(fd, null, out bool set) ? set ? CloseOnExec : 0 : Errno.EBADF;
            case FSetFd:
                return _files.TryCloseOnExec(fd, (argument & CloseOnExec) != 0, out _) ? 0 : Errno.EBADF;
            case FDupFd or FDupFdCloExec:
                return Duplicate(ref call.Context, call.File, argument, command == FDupFdCloExec);
            default:
                return Errno.EINVAL;
        }
    }

    private SysResult Duplicate(ref TaskContext context, File file, int from, bool closeOnExec)
    {
        if (from < 0)
            return Errno.EINVAL;
        if (!file.TryHold())
            return Errno.EBADF;
        SysResult fd = _files.Install(file, closeOnExec, from);
        if (fd.IsError)
            file.Release(ref context);
        return fd;
    }

    /// <summary>A second descriptor of the same file. Linux: dup(2).</summary>
    public SysResult Dup(int fd) => Fcntl(fd, FDupFd);

    /// <summary>Device controls whose argument is a number, in and out. Linux: ioctl(2).</summary>
    public SysResult Ioctl(int fd, uint request, ref int value)
    {
        using var call = new FileCall(_cpus, _files.Get(fd), default);
        if (call.Error != Errno.OK)
            return call.Error;
        if (request == FioNbio)
        {
            call.File.NonBlocking = value != 0;
            return 0;
        }
        return call.File.Ioctl(ref call.Context, request, ref value);
    }

    /// <summary>Waits for events on several descriptors; a negative timeout waits for ever. Linux: poll(2).</summary>
    public SysResult Poll(Span<PollDescriptor> descriptors, int timeoutMilliseconds, CancellationToken cancel = default)
    {
        TaskStruct task = ThreadContext.Current.Task;
        var interruption = new Interruption(_cpus.Host, cancel);
        TaskContext context = _cpus.Enter();
        try
        {
            return new Poller(task).Run(ref context, _files, descriptors, Deadline(context.Cpu, timeoutMilliseconds));
        }
        finally
        {
            _cpus.Leave(ref context);
            interruption.End();
        }
    }

    /// <summary>Makes an epoll instance. Linux: epoll_create1(2).</summary>
    public SysResult EpollCreate()
    {
        TaskContext context = _cpus.Enter();
        SysResult fd = Install(ref context, new EpollFile(), closeOnExec: false);
        _cpus.Leave(ref context);
        return fd;
    }

    /// <summary>Adds, changes or removes a descriptor of interest. Linux: epoll_ctl(2).</summary>
    public SysResult EpollCtl(int epollFd, int operation, int fd, uint events, ulong data)
    {
        using var call = new FileCall(_cpus, _files.Get(epollFd), default);
        if (call.Error != Errno.OK)
            return call.Error;
        if (_files.Get(fd) is not { } file)
            return Errno.EBADF;
        SysResult result = call.File is EpollFile epoll
            ? epoll.Control(ref call.Context, operation, fd, file, events, data)
            : Errno.EINVAL;
        file.Release(ref call.Context);
        return result;
    }

    /// <summary>Waits for events of an epoll instance. Linux: epoll_wait(2).</summary>
    public SysResult EpollWait(int epollFd, Span<EpollEvent> events, int timeoutMilliseconds, CancellationToken cancel = default)
    {
        using var call = new FileCall(_cpus, _files.Get(epollFd), cancel);
        if (call.Error != Errno.OK)
            return call.Error;
        if (events.IsEmpty || call.File is not EpollFile epoll)
            return Errno.EINVAL;
        return epoll.Wait(ref call.Context, events, Deadline(call.Context.Cpu, timeoutMilliseconds));
    }

    /// <summary>Makes a pipe. Linux: pipe(2).</summary>
    public SysResult Pipe(out int readFd, out int writeFd)
    {
        readFd = writeFd = -1;
        TaskContext context = _cpus.Enter();
        try
        {
            var pipe = new Pipe();
            SysResult read = Install(ref context, new PipeFile(pipe, isReader: true), closeOnExec: false);
            if (read.IsError)
                return read;
            SysResult write = Install(ref context, new PipeFile(pipe, isReader: false), closeOnExec: false);
            if (write.IsError)
            {
                _files.Remove(read.Value)?.Release(ref context);
                return write;
            }
            (readFd, writeFd) = (read.Value, write.Value);
            return 0;
        }
        finally
        {
            _cpus.Leave(ref context);
        }
    }

    private static Micros Deadline(Cpu cpu, int timeoutMilliseconds) =>
        timeoutMilliseconds < 0 ? Micros.Never
        : timeoutMilliseconds == 0 ? Micros.Zero
        : cpu.Now + Micros.FromMilliseconds(timeoutMilliseconds);
}
