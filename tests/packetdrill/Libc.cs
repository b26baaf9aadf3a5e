using System.IO;
using System.Runtime.InteropServices;

namespace Millrace.Packetdrill;

/// <summary>
/// The C library's own calls, past the names that this library exports: by number, or by the library's handle, never by name.
/// </summary>
internal static unsafe partial class Libc
{
    private const int ReadWrite = 2, CloseOnExec = 0x80000, AtFdCwd = -100;

    private static bool IsX64 => RuntimeInformation.ProcessArchitecture == Architecture.X64;

    public static int OpenPlaceholder()
    {
        fixed (byte* path = "/dev/null\0"u8)
            return (int)Syscall(IsX64 ? 257 : 56, AtFdCwd, (nint)path, ReadWrite | CloseOnExec, 0, 0);
    }

    public static int ThreadId() => (int)Syscall(IsX64 ? 186 : 178, 0, 0, 0, 0, 0);

    /// <summary>Whether a thread of this process sleeps, or is gone.</summary>
    public static bool IsThreadAsleep(int thread)
    {
        try
        {
            string stat = File.ReadAllText($"/proc/self/task/{thread}/stat");
            return stat[stat.LastIndexOf(')') + 2] == 'S';
        }
        catch (IOException)
        {
            return true;
        }
    }

    public static int Close(int fd) => (int)Syscall(IsX64 ? 3 : 57, fd, 0, 0, 0, 0);

    public static int GetSockOpt(int fd, int level, int option, byte* value, uint* length) =>
        (int)Syscall(IsX64 ? 55 : 209, fd, level, option, (nint)value, (nint)length);

    public static nint SendFile(int to, int from, long* offset, nuint count) =>
        Syscall(IsX64 ? 40 : 71, to, from, (nint)offset, (nint)count, 0);

    [LibraryImport("libc.so.6", EntryPoint = "syscall", SetLastError = false)]
    private static partial nint Syscall(nint number, nint a, nint b, nint c, nint d, nint e);

    [LibraryImport("libc.so.6", EntryPoint = "system", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int System(string command);

    [LibraryImport("libc.so.6", EntryPoint = "unsetenv", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int UnsetEnv(string name);
}
