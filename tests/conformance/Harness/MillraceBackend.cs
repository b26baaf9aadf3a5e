using System;
using System.Net;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Conformance;

/// <summary>This project's stack, one thread, virtual time.</summary>
internal sealed class MillraceBackend : Backend
{
    private const int NonBlock = 2048;

    private readonly ExternalClockHost _host = new();
    private readonly NetStack _stack;
    private readonly ScriptedDevice _device;
    private readonly Process _process;

    public MillraceBackend(Family family, StorySettings settings)
    {
        bool v4 = family == Family.V4;
        Local = IPAddress.Parse(v4 ? "192.168.0.1" : "fd3d:fa7b:d17d::1");
        Remote = IPAddress.Parse(v4 ? "192.0.2.1" : "fd3d:fa7b:d17d:1::1");
        // Some time has passed since the stack began, as everywhere.
        _host.AdvanceTo(Micros.FromSeconds(1000));
        _stack = new NetStack(new NetStackOptions { Name = "story", Seed = settings.Seed, Cpus = 1 }, _host, ownsHost: true, buffers: null);
        _device = new ScriptedDevice("tun0", v4 ? settings.Mtu : settings.Mtu + 20, settings.Offload);
        _stack.Devices.Add(_device);
        _stack.AddAddress("tun0", Local, v4 ? 24 : 64);
        _stack.AddRoute(v4 ? IPAddress.Any : IPAddress.IPv6Any, 0, "tun0");
        _process = _stack.CreateProcess();
    }

    public override IPAddress Local { get; }

    public override IPAddress Remote { get; }

    public override long Now => _host.Now.Value;

    /// <summary>The stack itself, for a story about something that the kernel has no counterpart of.</summary>
    public NetStack Stack => _stack;

    // Virtual time is exact: what is left is the stack's own rounding to its millisecond ticks.
    public override long Tolerance(long micros) => 1000;

    public override void Inject(byte[] packet)
    {
        _device.Inject(packet);
        Settle();
    }

    public override bool TryTake(out byte[] packet, out long time)
    {
        bool any = _device.TryTake(out (byte[] Packet, long Time) sent);
        (packet, time) = any ? sent : ([], 0);
        return any;
    }

    public override void RunUntil(long time, bool stopAtPacket)
    {
        _host.RunDue();
        while (!(stopAtPacket && _device.HasSent))
        {
            Micros next = Micros.Min(_host.NextEvent, new Micros(time));
            _host.AdvanceTo(next);
            if (next.Value >= time)
                return;
        }
    }

    public override void Settle() => _host.RunDue();

    public override void SetSysctl(string name, string value) => _stack.Sysctls[name] = value;

    public override long Counter(string name) => _stack.Cpus.Read(Enum.Parse<Mib>(name));

    public override string TcpMetrics() => string.Join('\n', _stack.ListTcpMetrics());

    public override void SetRoute(RouteMetrics metrics) =>
        _stack.Routes.Replace(new RouteEntry(Remote.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork ? IpAddr.Any4 : IpAddr.Any6, 0,
            _stack.Devices.ByName("tun0")!)
        { Metrics = metrics });

    public override SysResult Socket(Family family) => _process.Socket(family == Family.V4 ? 2 : 10, 1 | NonBlock, 0);

    public override SysResult Bind(int fd, IPEndPoint address) => _process.Bind(fd, address);

    public override SysResult Listen(int fd, int backlog) => _process.Listen(fd, backlog);

    public override SysResult Accept(int fd) => _process.Accept(fd, NonBlock);

    public override SysResult Connect(int fd, IPEndPoint address) => _process.Connect(fd, address);

    public override SysResult Disconnect(int fd) => _process.Connect(fd, new byte[SockAddr.InetLength]);

    public override SysResult Send(int fd, ReadOnlySpan<byte> data, MessageFlags flags, IPEndPoint? to) =>
        _process.SendTo(fd, data, flags, to);

    public override SysResult Recv(int fd, Span<byte> buffer, MessageFlags flags) => _process.Recv(fd, buffer, flags);

    public override unsafe SysResult RecvMsg(int fd, Span<byte> buffer, MessageFlags flags, Span<byte> control, out int controlLength,
        out MessageFlags outFlags, Span<byte> name, out int nameLength)
    {
        fixed (byte* p = buffer)
        {
            ReadOnlySpan<IoVec> pieces = [new IoVec((nint)p, buffer.Length)];
            var header = new MessageHeader { Pieces = pieces, Control = control, Name = name };
            SysResult result = _process.RecvMsg(fd, ref header, flags);
            nameLength = header.NameLength;
            controlLength = header.ControlLength;
            outFlags = header.Flags;
            return result;
        }
    }

    public override unsafe SysResult SendMsg(int fd, ReadOnlySpan<byte> data, MessageFlags flags, Span<byte> control)
    {
        fixed (byte* p = data)
        {
            ReadOnlySpan<IoVec> pieces = [new IoVec((nint)p, data.Length)];
            return _process.SendMsg(fd, new MessageHeader { Pieces = pieces, Control = control }, flags);
        }
    }

    public override SysResult Shutdown(int fd, int how) => _process.Shutdown(fd, how);

    public override SysResult Close(int fd) => _process.Close(fd);

    public override SysResult SetOption(int fd, int level, int option, ReadOnlySpan<byte> value) =>
        _process.SetSockOpt(fd, level, option, value);

    public override SysResult GetOption(int fd, int level, int option, Span<byte> value) => _process.GetSockOpt(fd, level, option, value);

    public override SysResult Ioctl(int fd, uint request, ref int value) => _process.Ioctl(fd, request, ref value);

    public override int Poll(int fd, int events)
    {
        Span<PollDescriptor> one = [new PollDescriptor { Fd = fd, Events = (short)events }];
        _process.Poll(one, 0);
        return (ushort)one[0].Returned;
    }

    protected override void Dispose(bool disposing)
    {
        _process.Dispose();
        _stack.Dispose();
    }
}
