using System;
using System.Runtime.InteropServices;
using Millrace.Native.Abi;
using Millrace.Sched;

namespace Millrace.Packetdrill;

/// <summary>
/// The table of functions that packetdrill calls instead of the kernel's, and the names of the C library that it calls besides. The
/// order of the table is packetdrill's <c>struct packetdrill_interface</c>.
/// </summary>
internal static unsafe class Interface
{
    // The one world of the process: packetdrill plays one script.
    private static World? s_world;

    internal static World? World => s_world;

    [UnmanagedCallersOnly(EntryPoint = "packetdrill_interface_init")]
    private static void Init(byte* flags, nint* table)
    {
        // The programs that a script runs are not to be judged.
        _ = Libc.UnsetEnv("LD_PRELOAD");
        s_world = new World(Settings.Parse(Marshal.PtrToStringUTF8((nint)flags)));
        int i = 0;
        table[i++] = 0;
        table[i++] = (nint)(delegate* unmanaged<nint, void>)&Free;
        table[i++] = (nint)(delegate* unmanaged<nint, int, int, int, int>)&Socket;
        table[i++] = (nint)(delegate* unmanaged<nint, int, byte*, uint, int>)&Bind;
        table[i++] = (nint)(delegate* unmanaged<nint, int, int, int>)&Listen;
        table[i++] = (nint)(delegate* unmanaged<nint, int, byte*, uint*, int>)&Accept;
        table[i++] = (nint)(delegate* unmanaged<nint, int, byte*, uint, int>)&Connect;
        table[i++] = (nint)(delegate* unmanaged<nint, int, byte*, nuint, nint>)&Read;
        table[i++] = (nint)(delegate* unmanaged<nint, int, IoVec*, int, nint>)&ReadV;
        table[i++] = (nint)(delegate* unmanaged<nint, int, byte*, nuint, int, nint>)&Recv;
        table[i++] = (nint)(delegate* unmanaged<nint, int, byte*, nuint, int, byte*, uint*, nint>)&RecvFrom;
        table[i++] = (nint)(delegate* unmanaged<nint, int, CMsgHdr*, int, nint>)&RecvMsg;
        table[i++] = (nint)(delegate* unmanaged<nint, int, byte*, nuint, nint>)&Write;
        table[i++] = (nint)(delegate* unmanaged<nint, int, IoVec*, int, nint>)&WriteV;
        table[i++] = (nint)(delegate* unmanaged<nint, int, byte*, nuint, int, nint>)&Send;
        table[i++] = (nint)(delegate* unmanaged<nint, int, byte*, nuint, int, byte*, uint, nint>)&SendTo;
        table[i++] = (nint)(delegate* unmanaged<nint, int, CMsgHdr*, int, nint>)&SendMsg;
        table[i++] = (nint)(delegate* unmanaged<nint, int, int, int, int>)&Fcntl;
        table[i++] = (nint)(delegate* unmanaged<nint, int, nuint, int*, int>)&Ioctl;
        table[i++] = (nint)(delegate* unmanaged<nint, int, int>)&Close;
        table[i++] = (nint)(delegate* unmanaged<nint, int, int, int>)&Shutdown;
        table[i++] = (nint)(delegate* unmanaged<nint, int, int, int, byte*, uint*, int>)&GetSockOpt;
        table[i++] = (nint)(delegate* unmanaged<nint, int, int, int, byte*, uint, int>)&SetSockOpt;
        table[i++] = (nint)(delegate* unmanaged<nint, PollDescriptor*, nuint, int, int>)&Poll;
        table[i++] = (nint)(delegate* unmanaged<nint, byte*, nuint, int>)&NetdevSend;
        table[i++] = (nint)(delegate* unmanaged<nint, byte*, nuint*, long*, int>)&NetdevReceive;
        table[i++] = (nint)(delegate* unmanaged<nint, uint, int>)&USleep;
        table[i++] = (nint)(delegate* unmanaged<nint, nint*, void*, int>)&GetTimeOfDay;
        table[i++] = (nint)(delegate* unmanaged<nint, int, int>)&EpollCreate;
        table[i++] = (nint)(delegate* unmanaged<nint, int, int, int, void*, int>)&EpollCtl;
        table[i++] = (nint)(delegate* unmanaged<nint, int, void*, int, int, int>)&EpollWait;
        table[i++] = (nint)(delegate* unmanaged<nint, int*, int>)&Pipe;
        table[i] = (nint)(delegate* unmanaged<nint, int, long*, int, long*, nuint, uint, nint>)&Splice;
    }

    // ---- what packetdrill calls in the C library ----

    [UnmanagedCallersOnly(EntryPoint = "getsockopt")]
    private static int LibcGetSockOpt(int fd, int level, int option, byte* value, uint* length)
    {
        if (s_world is { } world && world.Inner(fd) is var inner and >= 0)
            return Return(world.Calls.GetSockOpt(inner, level, option, value, length));
        return Libc.GetSockOpt(fd, level, option, value, length);
    }

    [UnmanagedCallersOnly(EntryPoint = "close")]
    private static int LibcClose(int fd) => CloseAny(fd);

    [UnmanagedCallersOnly(EntryPoint = "sendfile")]
    private static nint LibcSendFile(int to, int from, long* offset, nuint count) =>
        s_world is { } world && world.Inner(to) is var inner and >= 0
            ? ReturnLong(world.Calls.SendFile(inner, from, offset, count))
            : Libc.SendFile(to, from, offset, count);

    [UnmanagedCallersOnly(EntryPoint = "system")]
    private static int LibcSystem(byte* command)
    {
        if (command is null)
            return 1;
        string text = Marshal.PtrToStringUTF8((nint)command) ?? "";
        return s_world is { } world ? new Shell(world).Run(text) << 8 : Libc.System(text);
    }

    // ---- the table ----

    [UnmanagedCallersOnly]
    private static void Free(nint user) => s_world = null;

    [UnmanagedCallersOnly]
    private static int Socket(nint user, int domain, int type, int protocol) =>
        Publish(s_world!.Calls.Process.Socket(domain, type, protocol));

    [UnmanagedCallersOnly]
    private static int Bind(nint user, int fd, byte* address, uint length) => Return(s_world!.Calls.Bind(Inner(fd), address, length));

    [UnmanagedCallersOnly]
    private static int Listen(nint user, int fd, int backlog) => Return(s_world!.Calls.Process.Listen(Inner(fd), backlog));

    [UnmanagedCallersOnly]
    private static int Accept(nint user, int fd, byte* address, uint* length) =>
        Publish(s_world!.Calls.Accept(Inner(fd), address, length, 0));

    [UnmanagedCallersOnly]
    private static int Connect(nint user, int fd, byte* address, uint length) =>
        Return(s_world!.Calls.Connect(Inner(fd), address, length));

    [UnmanagedCallersOnly]
    private static nint Read(nint user, int fd, byte* buffer, nuint count) => ReturnLong(s_world!.Calls.Read(Inner(fd), buffer, count));

    [UnmanagedCallersOnly]
    private static nint ReadV(nint user, int fd, IoVec* pieces, int count) => ReturnLong(s_world!.Calls.ReadV(Inner(fd), pieces, count));

    [UnmanagedCallersOnly]
    private static nint Recv(nint user, int fd, byte* buffer, nuint count, int flags) =>
        ReturnLong(s_world!.Calls.RecvFrom(Inner(fd), buffer, count, flags, null, null));

    [UnmanagedCallersOnly]
    private static nint RecvFrom(nint user, int fd, byte* buffer, nuint count, int flags, byte* address, uint* length) =>
        ReturnLong(s_world!.Calls.RecvFrom(Inner(fd), buffer, count, flags, address, length));

    [UnmanagedCallersOnly]
    private static nint RecvMsg(nint user, int fd, CMsgHdr* message, int flags) =>
        ReturnLong(s_world!.Calls.RecvMsg(Inner(fd), message, flags));

    [UnmanagedCallersOnly]
    private static nint Write(nint user, int fd, byte* buffer, nuint count) => ReturnLong(s_world!.Calls.Write(Inner(fd), buffer, count));

    [UnmanagedCallersOnly]
    private static nint WriteV(nint user, int fd, IoVec* pieces, int count) =>
        ReturnLong(s_world!.Calls.WriteV(Inner(fd), pieces, count));

    [UnmanagedCallersOnly]
    private static nint Send(nint user, int fd, byte* buffer, nuint count, int flags) =>
        ReturnLong(s_world!.Calls.SendTo(Inner(fd), buffer, count, flags, null, 0));

    [UnmanagedCallersOnly]
    private static nint SendTo(nint user, int fd, byte* buffer, nuint count, int flags, byte* address, uint length) =>
        ReturnLong(s_world!.Calls.SendTo(Inner(fd), buffer, count, flags, address, length));

    [UnmanagedCallersOnly]
    private static nint SendMsg(nint user, int fd, CMsgHdr* message, int flags) =>
        ReturnLong(s_world!.Calls.SendMsg(Inner(fd), message, flags));

    [UnmanagedCallersOnly]
    private static int Fcntl(nint user, int fd, int command, int argument) =>
        Return(s_world!.Calls.Process.Fcntl(Inner(fd), command, argument));

    [UnmanagedCallersOnly]
    private static int Ioctl(nint user, int fd, nuint request, int* value) => Return(s_world!.Calls.Ioctl(Inner(fd), request, value));

    [UnmanagedCallersOnly]
    private static int Close(nint user, int fd) => CloseAny(fd);

    [UnmanagedCallersOnly]
    private static int Shutdown(nint user, int fd, int how) => Return(s_world!.Calls.Process.Shutdown(Inner(fd), how));

    [UnmanagedCallersOnly]
    private static int GetSockOpt(nint user, int fd, int level, int option, byte* value, uint* length) =>
        Return(s_world!.Calls.GetSockOpt(Inner(fd), level, option, value, length));

    [UnmanagedCallersOnly]
    private static int SetSockOpt(nint user, int fd, int level, int option, byte* value, uint length) =>
        Return(s_world!.Calls.SetSockOpt(Inner(fd), level, option, value, length));

    [UnmanagedCallersOnly]
    private static int Poll(nint user, PollDescriptor* descriptors, nuint count, int timeout)
    {
        var inner = new PollDescriptor[(int)count];
        for (int i = 0; i < inner.Length; i++)
        {
            inner[i] = descriptors[i];
            inner[i].Fd = descriptors[i].Fd < 0 ? -1 : Inner(descriptors[i].Fd);
        }
        SysResult result = s_world!.Calls.Process.Poll(inner, timeout);
        for (int i = 0; i < inner.Length; i++)
            descriptors[i].Returned = inner[i].Returned;
        return Return(result);
    }

    [UnmanagedCallersOnly]
    private static int NetdevSend(nint user, byte* packet, nuint length)
    {
        s_world!.Inject(new ReadOnlySpan<byte>(packet, (int)length));
        return 0;
    }

    // No packet is told as an empty one, which ends the script: a failure would make packetdrill ask again for ever.
    [UnmanagedCallersOnly]
    private static int NetdevReceive(nint user, byte* buffer, nuint* length, long* time)
    {
        bool any = s_world!.TryReceive(out byte[] packet, out Micros at);
        int take = any ? Math.Min(packet.Length, (int)*length) : 0;
        packet.AsSpan(0, take).CopyTo(new Span<byte>(buffer, take));
        *length = (nuint)take;
        *time = at.Value;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int USleep(nint user, uint microseconds)
    {
        s_world!.SleepUnlocked(new Micros(microseconds));
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int GetTimeOfDay(nint user, nint* time, void* zone)
    {
        long now = s_world!.ReadClock().Value;
        time[0] = (nint)(now / 1_000_000);
        time[1] = (nint)(now % 1_000_000);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int EpollCreate(nint user, int size) => Publish(s_world!.Calls.Process.EpollCreate());

    [UnmanagedCallersOnly]
    private static int EpollCtl(nint user, int epollFd, int operation, int fd, void* e) =>
        Return(s_world!.Calls.EpollCtl(Inner(epollFd), operation, Inner(fd), e));

    [UnmanagedCallersOnly]
    private static int EpollWait(nint user, int epollFd, void* events, int max, int timeout) =>
        Return(s_world!.Calls.EpollWait(Inner(epollFd), events, max, timeout));

    [UnmanagedCallersOnly]
    private static int Pipe(nint user, int* fds)
    {
        SysResult result = s_world!.Calls.Pipe(fds);
        if (!result.IsError)
            (fds[0], fds[1]) = (s_world.Publish(fds[0]), s_world.Publish(fds[1]));
        return Return(result);
    }

    [UnmanagedCallersOnly]
    private static nint Splice(nint user, int from, long* fromOffset, int to, long* toOffset, nuint count, uint flags) =>
        ReturnLong(s_world!.Calls.Splice(Inner(from), fromOffset, Inner(to), toOffset, count, flags));

    private static int CloseAny(int fd)
    {
        if (s_world is not { } world || world.Inner(fd) is not (var inner and >= 0))
            return Libc.Close(fd);
        world.Forget(fd);
        _ = Libc.Close(fd);
        return Return(world.Calls.Process.Close(inner));
    }

    private static int Inner(int fd) => s_world!.Inner(fd);

    private static int Publish(SysResult result) => result.IsError ? Return(result) : s_world!.Publish(result.Value);

    private static int Return(SysResult result)
    {
        if (result.IsError)
            Marshal.SetLastSystemError((int)result.Error);
        return result.Value;
    }

    private static nint ReturnLong(SysResult result) => Return(result);
}
