using System;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;

namespace Millrace.Interop;

/// <summary>What `ethtool -K` does, in the namespace of the calling thread.</summary>
internal static unsafe partial class LinkSettings
{
    /// <summary>`tx off`. Linux: ETHTOOL_STXCSUM.</summary>
    public const uint SendChecksums = 0x17;

    private const nuint EthTool = 0x8946;

    public static bool TurnOff(string device, uint setting)
    {
        int fd = Socket(2, 2, 0);
        uint* value = stackalloc uint[2];
        value[0] = setting;
        value[1] = 0;
        byte* request = stackalloc byte[40];
        new Span<byte>(request, 40).Clear();
        Encoding.ASCII.GetBytes(device, new Span<byte>(request, 15));
        *(nint*)(request + 16) = (nint)value;
        int result = IoCtl(fd, EthTool, (nint)request), error = Marshal.GetLastPInvokeError();
        _ = Close(fd);
        return result >= 0 ? true : throw new IOException($"ethtool -K {device}: errno {error}");
    }

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int Socket(int family, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int IoCtl(int fd, nuint request, nint argument);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int fd);
}
