using System;
using System.IO;
using System.Runtime.ExceptionServices;
using System.Threading;

namespace Millrace.Linux;

/// <summary>Work inside another network namespace. What is opened there stays there.</summary>
internal static class NetworkNamespace
{
    private const string Directory = "/run/netns";

    /// <summary>Runs <paramref name="body"/> in the namespace; null: where the caller is.</summary>
    /// <remarks>On a thread of its own, which ends: a thread that has changed its namespace must not serve anybody else.</remarks>
    public static T Run<T>(string? name, Func<T> body)
    {
        if (name is null)
            return body();
        T result = default!;
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                Enter(name);
                result = body();
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
        });
        thread.Start();
        thread.Join();
        failure?.Throw();
        return result;
    }

    private static void Enter(string name)
    {
        int fd = Libc.Open(name.Contains('/', StringComparison.Ordinal) ? name : Path.Combine(Directory, name), Libc.CloseOnExec);
        if (fd < 0)
            throw new LinuxDeviceException($"There is no network namespace {name}: {Libc.LastError}.", Libc.LastError);
        int result = Libc.SetNs(fd, Libc.CloneNewNet);
        Errno error = Libc.LastError;
        _ = Libc.Close(fd);
        if (result < 0)
            throw new LinuxDeviceException($"Cannot enter the network namespace {name}: {error}.", error);
    }
}
