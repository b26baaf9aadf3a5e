using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using Millrace.Inet;

namespace Millrace.Conformance;

/// <summary>
/// The host's own kernel over a TUN device, in a network namespace that belongs to the calling thread and goes with it. Needs root.
/// Time is real, so expectations have some room.
/// </summary>
[SupportedOSPlatform("linux")]
internal sealed partial class KernelBackend : Backend
{
    private const int NewNet = 0x4000_0000, TunSetIff = 0x4004_54ca, ReadWrite = 2, Stream = 1;

    // Stories play side by side: a program that one starts must not keep another's socket open.
    private const int NonBlock = 0x800 | CloseOnExec, CloseOnExec = 0x80000;
    private const short Tun = 1, NoPacketInfo = 0x1000;

    private readonly Queue<(byte[] Packet, long Time)> _sent = new();
    private readonly HashSet<int> _sockets = [];
    private readonly byte[] _buffer = new byte[65536];
    private readonly int _tun;
    private readonly long _budget;
    private long _slept;
    private string _congestion = "cubic";

    /// <param name="budget">Milliseconds that a story may take; one that wants more is given up.</param>
    public KernelBackend(Family family, StorySettings settings, double budget)
    {
        _budget = (long)(budget * 1000);
        if (settings.NeedsExactTime)
            throw new StoryNotForKernelException("it counts milliseconds");
        if (settings.Offload)
            throw new StoryNotForKernelException("super-packets are not seen on a plain TUN device");
        bool v4 = family == Family.V4;
        Local = IPAddress.Parse(v4 ? "192.168.0.1" : "fd3d:fa7b:d17d::1");
        Remote = IPAddress.Parse(v4 ? "192.0.2.1" : "fd3d:fa7b:d17d:1::1");
        Check(Native.unshare(NewNet));
        _tun = Check(Native.open("/dev/net/tun", ReadWrite | NonBlock));
        Span<byte> request = stackalloc byte[40];
        request.Clear();
        "tun0"u8.CopyTo(request);
        MemoryMarshal.Write(request[16..], (short)(Tun | NoPacketInfo));
        Check(Native.ioctl(_tun, TunSetIff, ref MemoryMarshal.GetReference(request)));
        string configure = v4
            ? $"sysctl -q net.ipv6.conf.all.disable_ipv6=1; ip link set tun0 mtu {settings.Mtu} up; ip addr add {Local}/24 dev tun0; ip route add default dev tun0"
            : $"ip link set tun0 addrgenmode none; ip link set tun0 mtu {settings.Mtu + 20} up;"
                + $" ip -6 addr add {Local}/64 dev tun0 nodad; ip -6 route add default dev tun0";
        Check(Native.system($"sysctl -q net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0; ip link set lo up; {configure}"));
    }

    public override IPAddress Local { get; }

    public override IPAddress Remote { get; }

    public override long Now => Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1_000_000);

    // Ticks of 4 ms, an eighth of what was waited for, and a machine that has other things to do.
    public override long Tolerance(long micros) => 25_000 + micros / 8;

    public override void Inject(byte[] packet) => Native.write(_tun, packet, packet.Length);

    public override bool TryTake(out byte[] packet, out long time)
    {
        ReadTun();
        bool any = _sent.TryDequeue(out (byte[] Packet, long Time) sent);
        (packet, time) = any ? sent : ([], 0);
        return any;
    }

    public override void RunUntil(long time, bool stopAtPacket)
    {
        long start = Now;
        if (_slept + time - start > _budget)
            throw new StoryNotForKernelException("it takes too long in real time");
        ReadTun();
        while (Now is var now && now < time && !(stopAtPacket && _sent.Count > 0))
        {
            Native.PollFd one = new() { Fd = _tun, Events = 1 };
            _ = Native.poll(ref one, 1, (int)((time - now + 999) / 1000));
            ReadTun();
        }
        _slept += Now - start;
    }

    public override void Settle() => ReadTun();

    public override void SetSysctl(string name, string value)
    {
        // Of the algorithms a namespace may choose few for all its sockets, but root any for each.
        if (name == "net.ipv4.tcp_congestion_control")
            _congestion = value;
        else if (!TrySetSysctl(name, value))
            throw new StoryNotForKernelException($"this kernel knows no {name} = {value}");
    }

    private static bool TrySetSysctl(string name, string value)
    {
        try
        {
            File.WriteAllText("/proc/sys/" + name.Replace('.', '/'), value);
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }

    // 6.18 has all of AccECN but the setting; it takes a server's word for it, though, when it has asked for RFC 3168's ECN.
    public override void AskForAccEcn()
    {
        if (!TrySetSysctl("net.ipv4.tcp_ecn", "3"))
            SetSysctl("net.ipv4.tcp_ecn", "1");
    }

    public override long Counter(string name)
    {
        foreach (string file in new[] { "snmp", "netstat", "snmp6" })
        {
            if (TryReadCounter(file, name, out long value))
                return value;
        }
        throw new StoryNotForKernelException($"the kernel has no counter {name}");
    }

    public override string TcpMetrics()
    {
        string file = Path.GetTempFileName();
        Check(Native.system($"ip tcp_metrics show > {file}"));
        string text = File.ReadAllText(file);
        File.Delete(file);
        return text;
    }

    public override void SetRoute(RouteMetrics metrics)
    {
        string text = "";
        void Add(string name, long value, LearnedMetrics which, string unit = "")
        {
            if (value != 0)
                text += $" {name} {((metrics.Locked & which) != 0 ? "lock " : "")}{value}{unit}";
        }
        Add("rtt", metrics.Srtt8.Milliseconds / 8, LearnedMetrics.Rtt, "ms");
        Add("rttvar", metrics.Rttvar4.Milliseconds / 4, LearnedMetrics.Rttvar, "ms");
        Add("ssthresh", metrics.Ssthresh, LearnedMetrics.Ssthresh);
        Add("cwnd", metrics.Cwnd, LearnedMetrics.Cwnd);
        Add("reordering", metrics.Reordering, LearnedMetrics.Reordering);
        Check(Native.system($"ip route change default dev tun0{text}"));
    }

    public override SysResult Socket(Family family)
    {
        SysResult fd = Result(Native.socket(family == Family.V4 ? 2 : 10, Stream | NonBlock, 0));
        _sockets.Add(fd.Value);
        Check(SetOption(fd.Value, Opt.Tcp, Opt.Congestion, System.Text.Encoding.ASCII.GetBytes(_congestion)).Value);
        return fd;
    }

    public override SysResult Bind(int fd, IPEndPoint address)
    {
        SocketAddress a = address.Serialize();
        return Result(Native.bind(fd, ref MemoryMarshal.GetReference(a.Buffer.Span), a.Size));
    }

    public override SysResult Listen(int fd, int backlog) => Result(Native.listen(fd, backlog));

    public override SysResult Accept(int fd)
    {
        SysResult accepted = Result(Native.accept4(fd, 0, 0, NonBlock));
        if (!accepted.IsError)
            _sockets.Add(accepted.Value);
        return accepted;
    }

    public override SysResult Connect(int fd, IPEndPoint address)
    {
        SocketAddress a = address.Serialize();
        return Result(Native.connect(fd, ref MemoryMarshal.GetReference(a.Buffer.Span), a.Size));
    }

    public override SysResult Disconnect(int fd)
    {
        Span<byte> unspecified = stackalloc byte[16];
        unspecified.Clear();
        return Result(Native.connect(fd, ref MemoryMarshal.GetReference(unspecified), unspecified.Length));
    }

    public override SysResult Send(int fd, ReadOnlySpan<byte> data, MessageFlags flags, IPEndPoint? to)
    {
        SocketAddress? a = to?.Serialize();
        Span<byte> name = a is null ? default : a.Buffer.Span;
        return Result((int)Native.sendto(fd, ref MemoryMarshal.GetReference(data), data.Length, (int)flags,
            ref MemoryMarshal.GetReference(name), a?.Size ?? 0));
    }

    public override SysResult Recv(int fd, Span<byte> buffer, MessageFlags flags) =>
        Result((int)Native.recv(fd, ref MemoryMarshal.GetReference(buffer), buffer.Length, (int)flags));

    public override unsafe SysResult RecvMsg(int fd, Span<byte> buffer, MessageFlags flags, Span<byte> control, out int controlLength,
        out MessageFlags outFlags, Span<byte> name, out int nameLength)
    {
        fixed (byte* b = buffer, c = control, n = name)
        {
            nint* piece = stackalloc nint[2];
            (piece[0], piece[1]) = ((nint)b, buffer.Length);
            Native.MsgHdr header = new()
            {
                Pieces = (nint)piece,
                PieceCount = 1,
                Control = (nint)c,
                ControlLength = control.Length,
                Name = (nint)n,
                NameLength = name.Length
            };
            SysResult result = Result((int)Native.recvmsg(fd, ref header, (int)flags));
            nameLength = (int)header.NameLength;
            controlLength = (int)header.ControlLength;
            outFlags = (MessageFlags)header.Flags;
            return result;
        }
    }

    public override unsafe SysResult SendMsg(int fd, ReadOnlySpan<byte> data, MessageFlags flags, Span<byte> control)
    {
        fixed (byte* b = data, c = control)
        {
            nint* piece = stackalloc nint[2];
            (piece[0], piece[1]) = ((nint)b, data.Length);
            Native.MsgHdr header = new() { Pieces = (nint)piece, PieceCount = 1, Control = (nint)c, ControlLength = control.Length };
            return Result((int)Native.sendmsg(fd, ref header, (int)flags));
        }
    }

    public override SysResult Shutdown(int fd, int how) => Result(Native.shutdown(fd, how));

    public override SysResult Close(int fd)
    {
        _sockets.Remove(fd);
        return Result(Native.close(fd));
    }

    public override SysResult SetOption(int fd, int level, int option, ReadOnlySpan<byte> value) =>
        Result(Native.setsockopt(fd, level, option, ref MemoryMarshal.GetReference(value), value.Length));

    public override SysResult GetOption(int fd, int level, int option, Span<byte> value)
    {
        int length = value.Length;
        SysResult result = Result(Native.getsockopt(fd, level, option, ref MemoryMarshal.GetReference(value), ref length));
        return result.IsError ? result : length;
    }

    public override SysResult Ioctl(int fd, uint request, ref int value) =>
        Result(Native.ioctl(fd, (int)request, ref MemoryMarshal.AsBytes(new Span<int>(ref value))[0]));

    public override int Poll(int fd, int events)
    {
        Native.PollFd one = new() { Fd = fd, Events = (short)events };
        _ = Native.poll(ref one, 1, 0);
        return (ushort)one.Returned;
    }

    public override Exception Missing(string what) => new StoryNotForKernelException($"this kernel has no {what}");

    protected override void Dispose(bool disposing)
    {
        foreach (int fd in _sockets)
            _ = Native.close(fd);
        _ = Native.close(_tun);
    }

    private void ReadTun()
    {
        while (Native.read(_tun, ref _buffer[0], _buffer.Length) is > 0 and var length)
            _sent.Enqueue((_buffer[..(int)length], Now));
    }

    // Two lines a group: the names, then the values; or, in snmp6, a name and a value a line.
    private static bool TryReadCounter(string file, string name, out long value)
    {
        value = 0;
        string[] lines = File.ReadAllLines($"/proc/thread-self/net/{file}");
        if (file == "snmp6")
            return lines.Select(static l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).FirstOrDefault(l => l[0] == name) is { } found
                && long.TryParse(found[1], CultureInfo.InvariantCulture, out value);
        for (int i = 0; i + 1 < lines.Length; i += 2)
        {
            string[] names = lines[i].Split(' '), values = lines[i + 1].Split(' ');
            int at = Array.FindIndex(names, n => names[0].TrimEnd(':') + n == name);
            if (at > 0)
                return long.TryParse(values[at], CultureInfo.InvariantCulture, out value);
        }
        return false;
    }

    private static SysResult Result(int value) => value < 0 ? (Errno)Marshal.GetLastPInvokeError() : value;

    private static int Check(int value) =>
        value >= 0 ? value : throw new IOException($"a system call failed: {(Errno)Marshal.GetLastPInvokeError()}");

#pragma warning disable IDE1006 // the names are the C library's
    private static partial class Native
    {
        private const string C = "libc";

        internal struct PollFd
        {
            public int Fd;
            public short Events, Returned;
        }

        internal struct MsgHdr
        {
            public nint Name;
            public long NameLength;
            public nint Pieces;
            public long PieceCount;
            public nint Control;
            public long ControlLength;
            public int Flags;
        }

        [LibraryImport(C, SetLastError = true)]
        internal static partial int unshare(int flags);

        [LibraryImport(C, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
        internal static partial int open(string path, int flags);

        [LibraryImport(C, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
        internal static partial int system(string command);

        [LibraryImport(C, SetLastError = true)]
        internal static partial int ioctl(int fd, nint request, ref byte argument);

        [LibraryImport(C, SetLastError = true)]
        internal static partial nint read(int fd, ref byte buffer, nint length);

        [LibraryImport(C, SetLastError = true)]
        internal static partial nint write(int fd, byte[] buffer, nint length);

        [LibraryImport(C, SetLastError = true)]
        internal static partial int poll(ref PollFd descriptors, nint count, int timeout);

        [LibraryImport(C, SetLastError = true)]
        internal static partial int socket(int family, int type, int protocol);

        [LibraryImport(C, SetLastError = true)]
        internal static partial int bind(int fd, ref byte address, int length);

        [LibraryImport(C, SetLastError = true)]
        internal static partial int connect(int fd, ref byte address, int length);

        [LibraryImport(C, SetLastError = true)]
        internal static partial int listen(int fd, int backlog);

        [LibraryImport(C, SetLastError = true)]
        internal static partial int accept4(int fd, nint address, nint length, int flags);

        [LibraryImport(C, SetLastError = true)]
        internal static partial nint sendto(int fd, ref readonly byte data, nint length, int flags, ref byte address, int addressLength);

        [LibraryImport(C, SetLastError = true)]
        internal static partial nint recv(int fd, ref byte buffer, nint length, int flags);

        [LibraryImport(C, SetLastError = true)]
        internal static partial nint recvmsg(int fd, ref MsgHdr header, int flags);

        [LibraryImport(C, SetLastError = true)]
        internal static partial nint sendmsg(int fd, ref MsgHdr header, int flags);

        [LibraryImport(C, SetLastError = true)]
        internal static partial int shutdown(int fd, int how);

        [LibraryImport(C, SetLastError = true)]
        internal static partial int close(int fd);

        [LibraryImport(C, SetLastError = true)]
        internal static partial int setsockopt(int fd, int level, int option, ref readonly byte value, int length);

        [LibraryImport(C, SetLastError = true)]
        internal static partial int getsockopt(int fd, int level, int option, ref byte value, ref int length);
    }
#pragma warning restore IDE1006
}

/// <summary>The story cannot be played on the host's kernel.</summary>
internal sealed class StoryNotForKernelException(string reason) : Exception(reason);
