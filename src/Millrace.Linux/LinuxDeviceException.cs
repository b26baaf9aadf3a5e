using System.IO;

namespace Millrace.Linux;

/// <summary>A device of the kernel could not be made or configured. The message is one line for people.</summary>
public sealed class LinuxDeviceException : IOException
{
    public LinuxDeviceException(string message, Errno errno)
        : base(message) => Errno = errno;

    /// <summary>What the kernel said.</summary>
    public Errno Errno { get; }
}
