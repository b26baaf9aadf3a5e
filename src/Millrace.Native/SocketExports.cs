using System.Runtime.InteropServices;
using Millrace.Native.Abi;

namespace Millrace.Native;

/// <summary>The part of millrace.h that mirrors the system calls: the same arguments behind the stack, the same results and errno.</summary>
internal static unsafe class SocketExports
{
    [UnmanagedCallersOnly(EntryPoint = "mr_socket")]
    internal static int Socket(nint stack, int domain, int type, int protocol) =>
        Result.Of(NativeStack.From(stack).Process.Socket(domain, type, protocol));

    [UnmanagedCallersOnly(EntryPoint = "mr_bind")]
    internal static int Bind(nint stack, int fd, byte* address, uint length) => Result.Of(Calls(stack).Bind(fd, address, length));

    [UnmanagedCallersOnly(EntryPoint = "mr_listen")]
    internal static int Listen(nint stack, int fd, int backlog) => Result.Of(NativeStack.From(stack).Process.Listen(fd, backlog));

    [UnmanagedCallersOnly(EntryPoint = "mr_accept")]
    internal static int Accept(nint stack, int fd, byte* address, uint* length) => Result.Of(Calls(stack).Accept(fd, address, length, 0));

    [UnmanagedCallersOnly(EntryPoint = "mr_accept4")]
    internal static int Accept4(nint stack, int fd, byte* address, uint* length, int flags) =>
        Result.Of(Calls(stack).Accept(fd, address, length, flags));

    [UnmanagedCallersOnly(EntryPoint = "mr_connect")]
    internal static int Connect(nint stack, int fd, byte* address, uint length) => Result.Of(Calls(stack).Connect(fd, address, length));

    [UnmanagedCallersOnly(EntryPoint = "mr_read")]
    internal static nint Read(nint stack, int fd, byte* buffer, nuint count) => Result.Of(Calls(stack).Read(fd, buffer, count));

    [UnmanagedCallersOnly(EntryPoint = "mr_readv")]
    internal static nint ReadV(nint stack, int fd, IoVec* pieces, int count) => Result.Of(Calls(stack).ReadV(fd, pieces, count));

    [UnmanagedCallersOnly(EntryPoint = "mr_recv")]
    internal static nint Recv(nint stack, int fd, byte* buffer, nuint count, int flags) =>
        Result.Of(Calls(stack).RecvFrom(fd, buffer, count, flags, null, null));

    [UnmanagedCallersOnly(EntryPoint = "mr_recvfrom")]
    internal static nint RecvFrom(nint stack, int fd, byte* buffer, nuint count, int flags, byte* address, uint* length) =>
        Result.Of(Calls(stack).RecvFrom(fd, buffer, count, flags, address, length));

    [UnmanagedCallersOnly(EntryPoint = "mr_recvmsg")]
    internal static nint RecvMsg(nint stack, int fd, CMsgHdr* message, int flags) => Result.Of(Calls(stack).RecvMsg(fd, message, flags));

    [UnmanagedCallersOnly(EntryPoint = "mr_write")]
    internal static nint Write(nint stack, int fd, byte* buffer, nuint count) => Result.Of(Calls(stack).Write(fd, buffer, count));

    [UnmanagedCallersOnly(EntryPoint = "mr_writev")]
    internal static nint WriteV(nint stack, int fd, IoVec* pieces, int count) => Result.Of(Calls(stack).WriteV(fd, pieces, count));

    [UnmanagedCallersOnly(EntryPoint = "mr_send")]
    internal static nint Send(nint stack, int fd, byte* buffer, nuint count, int flags) =>
        Result.Of(Calls(stack).SendTo(fd, buffer, count, flags, null, 0));

    [UnmanagedCallersOnly(EntryPoint = "mr_sendto")]
    internal static nint SendTo(nint stack, int fd, byte* buffer, nuint count, int flags, byte* address, uint length) =>
        Result.Of(Calls(stack).SendTo(fd, buffer, count, flags, address, length));

    [UnmanagedCallersOnly(EntryPoint = "mr_sendmsg")]
    internal static nint SendMsg(nint stack, int fd, CMsgHdr* message, int flags) => Result.Of(Calls(stack).SendMsg(fd, message, flags));

    [UnmanagedCallersOnly(EntryPoint = "mr_sendfile")]
    internal static nint SendFile(nint stack, int fd, int file, long* offset, nuint count) =>
        Result.Of(Calls(stack).SendFile(fd, file, offset, count));

    [UnmanagedCallersOnly(EntryPoint = "mr_splice")]
    internal static nint Splice(nint stack, int from, int to, nuint count, uint flags) =>
        Result.Of(Calls(stack).Splice(from, null, to, null, count, flags));

    [UnmanagedCallersOnly(EntryPoint = "mr_shutdown")]
    internal static int Shutdown(nint stack, int fd, int how) => Result.Of(NativeStack.From(stack).Process.Shutdown(fd, how));

    [UnmanagedCallersOnly(EntryPoint = "mr_close")]
    internal static int Close(nint stack, int fd) => Result.Of(NativeStack.From(stack).Process.Close(fd));

    [UnmanagedCallersOnly(EntryPoint = "mr_dup")]
    internal static int Dup(nint stack, int fd) => Result.Of(NativeStack.From(stack).Process.Dup(fd));

    [UnmanagedCallersOnly(EntryPoint = "mr_getsockopt")]
    internal static int GetSockOpt(nint stack, int fd, int level, int option, byte* value, uint* length) =>
        Result.Of(Calls(stack).GetSockOpt(fd, level, option, value, length));

    [UnmanagedCallersOnly(EntryPoint = "mr_setsockopt")]
    internal static int SetSockOpt(nint stack, int fd, int level, int option, byte* value, uint length) =>
        Result.Of(Calls(stack).SetSockOpt(fd, level, option, value, length));

    [UnmanagedCallersOnly(EntryPoint = "mr_getsockname")]
    internal static int GetSockName(nint stack, int fd, byte* address, uint* length) =>
        Result.Of(Calls(stack).GetName(fd, peer: false, address, length));

    [UnmanagedCallersOnly(EntryPoint = "mr_getpeername")]
    internal static int GetPeerName(nint stack, int fd, byte* address, uint* length) =>
        Result.Of(Calls(stack).GetName(fd, peer: true, address, length));

    [UnmanagedCallersOnly(EntryPoint = "mr_fcntl")]
    internal static int Fcntl(nint stack, int fd, int command, int argument) =>
        Result.Of(NativeStack.From(stack).Process.Fcntl(fd, command, argument));

    [UnmanagedCallersOnly(EntryPoint = "mr_ioctl")]
    internal static int Ioctl(nint stack, int fd, nuint request, int* value) => Result.Of(Calls(stack).Ioctl(fd, request, value));

    [UnmanagedCallersOnly(EntryPoint = "mr_poll")]
    internal static int Poll(nint stack, PollDescriptor* descriptors, nuint count, int timeout) =>
        Result.Of(Calls(stack).Poll(descriptors, count, timeout));

    [UnmanagedCallersOnly(EntryPoint = "mr_epoll_create1")]
    internal static int EpollCreate(nint stack, int flags) =>
        Result.Of(flags == 0 ? NativeStack.From(stack).Process.EpollCreate() : Errno.EINVAL);

    [UnmanagedCallersOnly(EntryPoint = "mr_epoll_ctl")]
    internal static int EpollCtl(nint stack, int epollFd, int operation, int fd, void* e) =>
        Result.Of(Calls(stack).EpollCtl(epollFd, operation, fd, e));

    [UnmanagedCallersOnly(EntryPoint = "mr_epoll_wait")]
    internal static int EpollWait(nint stack, int epollFd, void* events, int max, int timeout) =>
        Result.Of(Calls(stack).EpollWait(epollFd, events, max, timeout));

    [UnmanagedCallersOnly(EntryPoint = "mr_pipe")]
    internal static int Pipe(nint stack, int* fds) => Result.Of(Calls(stack).Pipe(fds));

    private static PosixCalls Calls(nint stack) => NativeStack.From(stack).Calls;
}
