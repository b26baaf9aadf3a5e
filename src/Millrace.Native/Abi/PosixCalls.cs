using System;
using System.Runtime.InteropServices;
using Millrace.Sockets;

namespace Millrace.Native.Abi;

/// <summary>
/// The system calls of a process with the arguments that C passes: pointers, lengths, value-result lengths, the structures of
/// <c>sys/socket.h</c>. Both native faces go through here.
/// </summary>
/// <remarks>
/// A pointer into the first page is EFAULT, as Linux answers it. Linux also catches every other pointer to nowhere; here such a
/// pointer ends the program, as in any library.
/// </remarks>
internal sealed unsafe class PosixCalls(Process process)
{
    private const int MaxAddress = SockAddr.StorageLength;
    private const int MaxPieces = 1024;
    private const int FirstPage = 4096;

    public Process Process => process;

    public SysResult Bind(int fd, byte* address, uint length) =>
        TryAddress(address, length, out ReadOnlySpan<byte> bytes) is var error && error != Errno.OK ? error : process.Bind(fd, bytes);

    public SysResult Connect(int fd, byte* address, uint length) =>
        TryAddress(address, length, out ReadOnlySpan<byte> bytes) is var error && error != Errno.OK ? error : process.Connect(fd, bytes);

    public SysResult Accept(int fd, byte* address, uint* length, int flags)
    {
        if (address is not null && IsBad(length, sizeof(uint)))
            return Errno.EFAULT;
        SysResult result = process.Accept(fd, flags, address is not null, out SockAddr peer, default);
        if (!result.IsError && address is not null)
            StoreAddress(peer, address, length);
        return result;
    }

    public SysResult GetName(int fd, bool peer, byte* address, uint* length)
    {
        if (IsBad(length, sizeof(uint)) || IsBad(address, *length))
            return Errno.EFAULT;
        SysResult result = process.GetName(fd, peer, out SockAddr name);
        if (!result.IsError)
            StoreAddress(name, address, length);
        return result;
    }

    public SysResult Read(int fd, byte* buffer, nuint count) =>
        IsBad(buffer, count) ? Bad(fd) : process.Read(fd, new Span<byte>(buffer, Clamp(count)));

    public SysResult Write(int fd, byte* buffer, nuint count) =>
        IsBad(buffer, count) ? Bad(fd) : process.Write(fd, new ReadOnlySpan<byte>(buffer, Clamp(count)));

    public SysResult ReadV(int fd, IoVec* pieces, int count) =>
        TryPieces(pieces, count, out ReadOnlySpan<IoVec> list) is var error && error != Errno.OK ? error : process.ReadV(fd, list);

    public SysResult WriteV(int fd, IoVec* pieces, int count) =>
        TryPieces(pieces, count, out ReadOnlySpan<IoVec> list) is var error && error != Errno.OK ? error : process.WriteV(fd, list);

    public SysResult RecvFrom(int fd, byte* buffer, nuint count, int flags, byte* address, uint* length)
    {
        if (IsBad(buffer, count) || (address is not null && IsBad(length, sizeof(uint))))
            return Bad(fd);
        var piece = new IoVec((nint)buffer, Clamp(count));
        byte* name = stackalloc byte[MaxAddress];
        var header = new MessageHeader { Pieces = new ReadOnlySpan<IoVec>(in piece), Name = new Span<byte>(name, MaxAddress) };
        SysResult result = process.RecvMsg(fd, ref header, (MessageFlags)flags);
        if (result.IsError || address is null)
            return result;
        int fits = (int)Math.Min(*length, (uint)header.NameLength);
        new ReadOnlySpan<byte>(name, fits).CopyTo(new Span<byte>(address, fits));
        *length = (uint)header.NameLength;
        return result;
    }

    public SysResult SendTo(int fd, byte* buffer, nuint count, int flags, byte* address, uint length)
    {
        if (IsBad(buffer, count))
            return Bad(fd);
        ReadOnlySpan<byte> name = default;
        if (address is not null && TryAddress(address, length, out name) is var error && error != Errno.OK)
            return error;
        var piece = new IoVec((nint)buffer, Clamp(count));
        var header = new MessageHeader
        {
            Pieces = new ReadOnlySpan<IoVec>(in piece),
            Name = MemoryMarshal.CreateSpan(ref MemoryMarshal.GetReference(name), name.Length),
            NameLength = name.Length,
        };
        return process.SendMsg(fd, header, (MessageFlags)flags);
    }

    public SysResult RecvMsg(int fd, CMsgHdr* message, int flags)
    {
        if (IsBad(message, (nuint)sizeof(CMsgHdr)))
            return Errno.EFAULT;
        if (TryPieces(message, out ReadOnlySpan<IoVec> pieces) is var error && error != Errno.OK)
            return error;
        MessageHeader header = HeaderOf(message, pieces);
        SysResult result = process.RecvMsg(fd, ref header, (MessageFlags)flags);
        if (result.IsError)
            return result;
        message->NameLength = (uint)header.NameLength;
        message->ControlLength = (nuint)header.ControlLength;
        message->Flags = (int)header.Flags;
        return result;
    }

    public SysResult SendMsg(int fd, CMsgHdr* message, int flags)
    {
        if (IsBad(message, (nuint)sizeof(CMsgHdr)))
            return Errno.EFAULT;
        if (TryPieces(message, out ReadOnlySpan<IoVec> pieces) is var error && error != Errno.OK)
            return error;
        MessageHeader header = HeaderOf(message, pieces);
        header.NameLength = header.Name.Length;
        return process.SendMsg(fd, header, (MessageFlags)flags);
    }

    private static MessageHeader HeaderOf(CMsgHdr* message, ReadOnlySpan<IoVec> pieces) => new()
    {
        Pieces = pieces,
        Name = message->Name is null ? default : new Span<byte>(message->Name, (int)Math.Min(message->NameLength, MaxAddress)),
        Control = message->Control is null ? default : new Span<byte>(message->Control, Clamp(message->ControlLength)),
    };

    public SysResult GetSockOpt(int fd, int level, int option, byte* value, uint* length)
    {
        if (IsBad(length, sizeof(uint)) || IsBad(value, *length))
            return Errno.EFAULT;
        if ((int)*length < 0)
            return Errno.EINVAL;
        SysResult result = process.GetSockOpt(fd, level, option, new Span<byte>(value, (int)*length));
        if (result.IsError)
            return result;
        *length = (uint)result.Value;
        return 0;
    }

    public SysResult SetSockOpt(int fd, int level, int option, byte* value, uint length)
    {
        if ((int)length < 0)
            return Errno.EINVAL;
        return IsBad(value, length) ? Errno.EFAULT : process.SetSockOpt(fd, level, option, new ReadOnlySpan<byte>(value, (int)length));
    }

    public SysResult Ioctl(int fd, nuint request, int* value)
    {
        if (IsBad(value, sizeof(int)))
            return Errno.EFAULT;
        return process.Ioctl(fd, (uint)request, ref *value);
    }

    public SysResult Poll(PollDescriptor* descriptors, nuint count, int timeout)
    {
        if (count > int.MaxValue)
            return Errno.EINVAL;
        return IsBad(descriptors, count * (nuint)sizeof(PollDescriptor))
            ? Errno.EFAULT
            : process.Poll(new Span<PollDescriptor>(descriptors, (int)count), timeout);
    }

    public SysResult EpollCtl(int epollFd, int operation, int fd, void* e)
    {
        const int delete = 2;
        if (operation == delete)
            return process.EpollCtl(epollFd, operation, fd, 0, 0);
        if (IsBad(e, EpollEventSize))
            return Errno.EFAULT;
        return IsPacked
            ? process.EpollCtl(epollFd, operation, fd, ((CEpollEventPacked*)e)->Events, ((CEpollEventPacked*)e)->Data)
            : process.EpollCtl(epollFd, operation, fd, *(uint*)e, *((ulong*)e + 1));
    }

    public SysResult EpollWait(int epollFd, void* events, int max, int timeout)
    {
        if (max <= 0 || max > int.MaxValue / 16)
            return Errno.EINVAL;
        if (IsBad(events, (nuint)max * EpollEventSize))
            return Errno.EFAULT;
        Span<EpollEvent> found = max <= 64 ? stackalloc EpollEvent[max] : new EpollEvent[max];
        SysResult result = process.EpollWait(epollFd, found, timeout);
        for (int i = 0; i < result.Value; i++)
        {
            byte* target = (byte*)events + i * (int)EpollEventSize;
            ((CEpollEventPacked*)target)->Events = found[i].Events;
            if (IsPacked)
                ((CEpollEventPacked*)target)->Data = found[i].Data;
            else
                *((ulong*)target + 1) = found[i].Data;
        }
        return result;
    }

    public SysResult Pipe(int* fds)
    {
        if (IsBad(fds, 2 * sizeof(int)))
            return Errno.EFAULT;
        return process.Pipe(out fds[0], out fds[1]);
    }

    /// <summary>Offsets make no sense for a pipe or a socket: ESPIPE unless they are null or zero.</summary>
    public SysResult Splice(int from, long* fromOffset, int to, long* toOffset, nuint count, uint flags)
    {
        if ((fromOffset is not null && *fromOffset != 0) || (toOffset is not null && *toOffset != 0))
            return Errno.ESPIPE;
        return process.Splice(from, to, Clamp(count), flags);
    }

    /// <summary>The file is the program's own, by its descriptor outside the stack.</summary>
    public SysResult SendFile(int to, int file, long* offset, nuint count)
    {
        if (offset is null)
            return Errno.EINVAL;
        using var handle = new Microsoft.Win32.SafeHandles.SafeFileHandle(file, ownsHandle: false);
        return process.SendFile(to, handle, ref *offset, Clamp(count));
    }

    private static bool IsPacked => RuntimeInformation.ProcessArchitecture == Architecture.X64;

    private static nuint EpollEventSize => IsPacked ? 12u : 16u;

    private static bool IsBad(void* pointer, nuint length) => length > 0 && (nuint)pointer < FirstPage;

    // Linux caps a transfer likewise. Linux: MAX_RW_COUNT.
    private static int Clamp(nuint count) => (int)Math.Min(count, int.MaxValue & ~(FirstPage - 1));

    // A bad descriptor is told before a bad pointer.
    private SysResult Bad(int fd)
    {
        SysResult flags = process.Fcntl(fd, 3);
        return flags.IsError ? flags : Errno.EFAULT;
    }

    private static Errno TryAddress(byte* address, uint length, out ReadOnlySpan<byte> bytes)
    {
        bytes = default;
        if (length > MaxAddress)
            return Errno.EINVAL;
        if (IsBad(address, length))
            return Errno.EFAULT;
        bytes = new ReadOnlySpan<byte>(address, (int)length);
        return Errno.OK;
    }

    private static Errno TryPieces(CMsgHdr* message, out ReadOnlySpan<IoVec> list)
    {
        list = default;
        return message->PieceCount > MaxPieces ? Errno.EMSGSIZE : TryPieces(message->Pieces, (int)message->PieceCount, out list);
    }

    // Linux: import_iovec.
    private static Errno TryPieces(IoVec* pieces, int count, out ReadOnlySpan<IoVec> list)
    {
        list = default;
        if ((uint)count > MaxPieces)
            return Errno.EINVAL;
        if (IsBad(pieces, (nuint)count * (nuint)sizeof(IoVec)))
            return Errno.EFAULT;
        for (int i = 0; i < count; i++)
        {
            if (pieces[i].Length < 0)
                return Errno.EINVAL;
            if (IsBad((void*)pieces[i].Address, (nuint)pieces[i].Length))
                return Errno.EFAULT;
        }
        list = new ReadOnlySpan<IoVec>(pieces, count);
        return Errno.OK;
    }

    private static void StoreAddress(in SockAddr name, byte* address, uint* length)
    {
        int room = (int)Math.Min(*length, MaxAddress);
        *length = (uint)name.Write(new Span<byte>(address, room));
    }
}
