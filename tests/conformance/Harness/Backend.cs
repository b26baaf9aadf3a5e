using System;
using System.Net;
using Millrace.Inet;

namespace Millrace.Conformance;

/// <summary>The address family that a story runs over.</summary>
public enum Family
{
    V4,
    V6,
}

/// <summary>
/// The stack under test, as a story needs it: packets in and out, a clock, the system calls, settings and counters. One is this
/// project's stack in virtual time; another is the host's kernel over a TUN device.
/// </summary>
/// <remarks>System calls never block. Their results are Linux's: a number, or an error.</remarks>
internal abstract class Backend : IDisposable
{
    /// <summary>The stack's address, and the peer's.</summary>
    public abstract IPAddress Local { get; }

    public abstract IPAddress Remote { get; }

    /// <summary>The clock, in microseconds.</summary>
    public abstract long Now { get; }

    /// <summary>How far off an event of the stack may be that is due <paramref name="micros"/> after the last one.</summary>
    public abstract long Tolerance(long micros);

    /// <summary>A packet arrives now.</summary>
    public abstract void Inject(byte[] packet);

    /// <summary>The oldest packet that the stack has sent and nobody has taken yet, and when it was sent.</summary>
    public abstract bool TryTake(out byte[] packet, out long time);

    /// <summary>Lets time pass until <paramref name="time"/>, or until the stack has sent something.</summary>
    public abstract void RunUntil(long time, bool stopAtPacket);

    /// <summary>Lets the stack finish what it is doing now.</summary>
    public abstract void Settle();

    public abstract void SetSysctl(string name, string value);

    /// <summary>From now on a server may answer a SYN with AccECN.</summary>
    public virtual void AskForAccEcn() => SetSysctl("net.ipv4.tcp_ecn", "3");

    /// <summary>A counter as nstat names it, since the story began.</summary>
    public abstract long Counter(string name);

    /// <summary>What is remembered of connections with the peer, as <c>ip tcp_metrics</c> shows it; empty if nothing is.</summary>
    public abstract string TcpMetrics();

    /// <summary>Gives the way to the peer these metrics.</summary>
    public abstract void SetRoute(RouteMetrics metrics);

    /// <summary>An IPv4 or IPv6 stream socket that does not block.</summary>
    public abstract SysResult Socket(Family family);

    public abstract SysResult Bind(int fd, IPEndPoint address);

    public abstract SysResult Listen(int fd, int backlog);

    /// <summary>The accepted socket does not block either.</summary>
    public abstract SysResult Accept(int fd);

    public abstract SysResult Connect(int fd, IPEndPoint address);

    /// <summary>connect(2) with AF_UNSPEC: the socket is free to be used again.</summary>
    public abstract SysResult Disconnect(int fd);

    public abstract SysResult Send(int fd, ReadOnlySpan<byte> data, MessageFlags flags, IPEndPoint? to);

    public abstract SysResult Recv(int fd, Span<byte> buffer, MessageFlags flags);

    /// <summary>Receives with room for control data; the result counts bytes of <paramref name="buffer"/>.</summary>
    public abstract SysResult RecvMsg(int fd, Span<byte> buffer, MessageFlags flags, Span<byte> control, out int controlLength,
        out MessageFlags outFlags, Span<byte> name, out int nameLength);

    public SysResult RecvMsg(int fd, Span<byte> buffer, MessageFlags flags, Span<byte> control, out int controlLength,
        out MessageFlags outFlags) => RecvMsg(fd, buffer, flags, control, out controlLength, out outFlags, default, out _);

    /// <summary>Sends with control data.</summary>
    public abstract SysResult SendMsg(int fd, ReadOnlySpan<byte> data, MessageFlags flags, Span<byte> control);

    public abstract SysResult Shutdown(int fd, int how);

    public abstract SysResult Close(int fd);

    public abstract SysResult SetOption(int fd, int level, int option, ReadOnlySpan<byte> value);

    public abstract SysResult GetOption(int fd, int level, int option, Span<byte> value);

    public abstract SysResult Ioctl(int fd, uint request, ref int value);

    /// <summary>POLL* bits that hold of <paramref name="events"/>.</summary>
    public abstract int Poll(int fd, int events);

    /// <summary>What a story ends with that needs something which this stack does not have.</summary>
    public virtual Exception Missing(string what) => new StoryException($"The stack has no {what}.");

    protected abstract void Dispose(bool disposing);

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }
}
