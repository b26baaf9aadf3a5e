using System;
using System.Runtime.InteropServices;

namespace Millrace.Linux;

/// <summary>The system calls that devices need, as blittable calls.</summary>
/// <remarks>
/// Reading and writing a device must not suppress the collector's transition: it gains nothing beside the cost of the system call, and a
/// reader that sleeps would hold every collection up.
/// </remarks>
internal static unsafe partial class Libc
{
    public const int ReadWrite = 2, NonBlock = 0x800, CloseOnExec = 0x80000;
    public const short PollIn = 1, PollError = 8;
    public const int AddressFamilyNetlink = 16, AddressFamilyPacket = 17, AddressFamilyXdp = 44, LevelSocket = 1, LevelPacket = 263, LevelXdp = 283;
    public const int SocketRaw = 3, CloneNewNet = 0x4000_0000;
    public const int EventFdFlags = NonBlock | CloseOnExec;

    private const string Library = "libc";

    [LibraryImport(Library, EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int Open(string path, int flags);

    [LibraryImport(Library, EntryPoint = "close", SetLastError = true)]
    public static partial int Close(int fd);

    [LibraryImport(Library, EntryPoint = "read", SetLastError = true)]
    public static partial nint Read(int fd, void* buffer, nint length);

    [LibraryImport(Library, EntryPoint = "write", SetLastError = true)]
    public static partial nint Write(int fd, void* buffer, nint length);

    [LibraryImport(Library, EntryPoint = "readv", SetLastError = true)]
    public static partial nint ReadV(int fd, IoVec* pieces, int count);

    [LibraryImport(Library, EntryPoint = "writev", SetLastError = true)]
    public static partial nint WriteV(int fd, IoVec* pieces, int count);

    // The third argument is variadic in C, which on the platforms that .NET runs on takes the same registers.
    [LibraryImport(Library, EntryPoint = "ioctl", SetLastError = true)]
    public static partial int IoCtl(int fd, nuint request, nint argument);

    [LibraryImport(Library, EntryPoint = "ppoll", SetLastError = true)]
    public static partial int PPoll(PollFd* fds, nuint count, TimeSpec* timeout, void* signalMask);

    [LibraryImport(Library, EntryPoint = "eventfd", SetLastError = true)]
    public static partial int EventFd(uint initial, int flags);

    [LibraryImport(Library, EntryPoint = "setns", SetLastError = true)]
    public static partial int SetNs(int fd, int kind);

    [LibraryImport(Library, EntryPoint = "socket", SetLastError = true)]
    public static partial int Socket(int family, int type, int protocol);

    [LibraryImport(Library, EntryPoint = "send", SetLastError = true)]
    public static partial nint Send(int fd, void* buffer, nint length, int flags);

    [LibraryImport(Library, EntryPoint = "recv", SetLastError = true)]
    public static partial nint Receive(int fd, void* buffer, nint length, int flags);

    [LibraryImport(Library, EntryPoint = "bind", SetLastError = true)]
    public static partial int Bind(int fd, void* address, uint length);

    [LibraryImport(Library, EntryPoint = "getsockname", SetLastError = true)]
    public static partial int GetSockName(int fd, void* address, uint* length);

    [LibraryImport(Library, EntryPoint = "setsockopt", SetLastError = true)]
    public static partial int SetSockOpt(int fd, int level, int option, void* value, uint length);

    [LibraryImport(Library, EntryPoint = "getsockopt", SetLastError = true)]
    public static partial int GetSockOpt(int fd, int level, int option, void* value, uint* length);

    [LibraryImport(Library, EntryPoint = "mmap", SetLastError = true)]
    public static partial void* MMap(void* address, nuint length, int protection, int flags, int fd, nint offset);

    [LibraryImport(Library, EntryPoint = "munmap", SetLastError = true)]
    public static partial int MUnmap(void* address, nuint length);

    /// <summary>bpf(2), which the C library does not wrap.</summary>
    public static nint Bpf(int command, void* attribute, int size) =>
        SysCall(RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 321 : 280, command, attribute, size);

    [LibraryImport(Library, EntryPoint = "syscall", SetLastError = true)]
    private static partial nint SysCall(nint number, nint a, void* b, nint c);

    public static Errno LastError => (Errno)Marshal.GetLastPInvokeError();

    public struct PollFd(int fd, short events)
    {
        public int Fd = fd;
        public short Events = events;
        public short Results = 0;
    }

    public struct TimeSpec(TimeSpan time)
    {
        public nint Seconds = (nint)(time.Ticks / TimeSpan.TicksPerSecond);
        public nint Nanoseconds = (nint)(time.Ticks % TimeSpan.TicksPerSecond * TimeSpan.NanosecondsPerTick);
    }
}
