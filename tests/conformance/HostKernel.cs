using System;
using System.IO;

namespace Millrace.Conformance;

/// <summary>
/// When the tests run that play on the host's kernel: as root, on the version that the lists of differences were made for, and only if
/// <c>MILLRACE_HOST_KERNEL</c> is set, because real time on a busy machine is no ground to fail a build on.
/// </summary>
internal static class HostKernel
{
    private const string Version = "6.18.";

    public static void SkipUnlessAskedFor()
    {
        Assert.SkipWhen(string.IsNullOrEmpty(Environment.GetEnvironmentVariable("MILLRACE_HOST_KERNEL")), "MILLRACE_HOST_KERNEL is not set");
        Assert.SkipUnless(OperatingSystem.IsLinux() && Environment.IsPrivilegedProcess && File.Exists("/dev/net/tun"), "needs root and TUN");
        string release = File.ReadAllText("/proc/sys/kernel/osrelease").Trim();
        Assert.SkipUnless(release.StartsWith(Version, StringComparison.Ordinal), $"the lists are for {Version}*, this is {release}");
    }
}
