using System;

namespace Millrace.Linux;

/// <summary>Memory that the kernel reads and writes too: a socket's rings, or pages that a socket is given.</summary>
/// <remarks>Linux: mmap(2).</remarks>
internal sealed unsafe class SharedMemory : IDisposable
{
    private const int ReadWrite = 3, Shared = 1, Private = 2, Anonymous = 0x20, Populate = 0x8000;

    private readonly nuint _length;

    private SharedMemory(byte* start, nuint length)
    {
        Start = start;
        _length = length;
    }

    public byte* Start { get; }

    /// <summary>Maps what a descriptor has at an offset.</summary>
    public static SharedMemory Of(int fd, long length, long offset = 0) => Map(fd, length, offset, Shared | Populate);

    /// <summary>Fresh pages, all zeros, which begin at a page's boundary.</summary>
    public static SharedMemory Allocate(long length) => Map(-1, length, 0, Private | Anonymous | Populate);

    public void Dispose() => _ = Libc.MUnmap(Start, _length);

    private static SharedMemory Map(int fd, long length, long offset, int flags)
    {
        void* start = Libc.MMap(null, (nuint)length, ReadWrite, flags, fd, (nint)offset);
        return (nint)start != -1
            ? new SharedMemory((byte*)start, (nuint)length)
            : throw new LinuxDeviceException($"Cannot map {length} bytes of memory shared with the kernel: {Libc.LastError}.", Libc.LastError);
    }
}
