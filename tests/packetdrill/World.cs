using System;
using System.Collections.Generic;
using System.Net;
using System.Threading;
using Millrace.Native.Abi;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Packetdrill;

/// <summary>
/// What one script runs against: a stack in virtual time with one device, a process on it, and the descriptors that stand for the
/// process's own in the program that drives it.
/// </summary>
internal sealed class World
{
    /// <summary>Virtual time at the start. Not zero: no clock that a peer sees is.</summary>
    private static readonly Micros Start = Micros.FromSeconds(1_000_000);

    /// <summary>How long the stack is given to send what the script waits for.</summary>
    private static readonly Micros Patience = Micros.FromSeconds(7200);

    private const int MaxYields = 10_000;

    private readonly ExternalClockHost _host = new();
    private readonly Lock _clockLock = new();
    private readonly Lock _fdLock = new();
    private readonly Dictionary<int, int> _inner = [];
    private int _returning;

    public World(Settings settings)
    {
        _host.AdvanceTo(Start);
        Stack = new NetStack(new NetStackOptions { Seed = 1, Cpus = 2 }, _host, ownsHost: false, buffers: null);
        Device = new ScriptDevice("tun0", settings.Mtu, settings.SegmentSize);
        Stack.Devices.Add(Device);
        foreach ((IPAddress address, int prefixLength) in settings.Local)
            Stack.AddAddress(Device.Name, address, prefixLength);
        Stack.AddRoute(IPAddress.Any, 0, Device.Name);
        Stack.AddRoute(IPAddress.IPv6Any, 0, Device.Name);
        foreach (string setting in settings.Sysctls)
        {
            string[] pair = setting.Split('=', 2);
            if (Stack.Sysctls.Write(pair[0], pair[^1]) != Errno.OK)
                throw new FormatException($"{setting} cannot be set.");
        }
        Calls = new PosixCalls(Stack.CreateProcess());
    }

    public NetStack Stack { get; }

    public ScriptDevice Device { get; }

    public PosixCalls Calls { get; }

    /// <summary>What the counters were when they were last shown.</summary>
    public Dictionary<Mib, long> CountersSeen { get; } = [];

    public Micros Now => _host.Now;

    /// <summary>
    /// The time for the program. It creeps, because the program spins until a time has come; but a thread whose call has slept reads
    /// the time at which it was woken, for which the clock has been held.
    /// </summary>
    public Micros ReadClock()
    {
        Micros now = _host.Now;
        if (_host.OnTaskSettled())
        {
            Volatile.Write(ref _returning, Libc.ThreadId());
            return now;
        }
        Sleep(new Micros(1));
        return _host.Now;
    }

    /// <summary>
    /// Moves time on. In real time a thread whose call is over has long done with the result before the program's clock has moved:
    /// here it is given the chance, which it needs the program's lock for; so nobody may hold that now.
    /// </summary>
    public void SleepUnlocked(Micros time)
    {
        int thread = Interlocked.Exchange(ref _returning, 0);
        for (int i = 0; thread != 0 && i < MaxYields && !Libc.IsThreadAsleep(thread); i++)
            Thread.Sleep(0);
        Sleep(time);
    }

    private void Sleep(Micros time)
    {
        lock (_clockLock)
            _host.AdvanceTo(_host.Now + time);
    }

    public void Inject(ReadOnlySpan<byte> packet)
    {
        Device.Inject(packet);
        _host.RunDue();
    }

    /// <summary>The next packet that the stack sends, for which time moves on if need be. False: none comes.</summary>
    public bool TryReceive(out byte[] packet, out Micros time)
    {
        Micros limit = _host.Now + Patience;
        _host.RunDue();
        while (!Device.TryTake(out packet, out time))
        {
            Micros next = _host.NextEvent;
            if (next > limit)
                return false;
            _host.AdvanceTo(Micros.Max(next, _host.Now));
        }
        return true;
    }

    /// <summary>The process's descriptor behind one of the program's; −1: it is not ours.</summary>
    public int Inner(int fd)
    {
        lock (_fdLock)
            return _inner.GetValueOrDefault(fd, -1);
    }

    /// <summary>Gives a descriptor of the process one in the program.</summary>
    public int Publish(int inner)
    {
        int fd = Libc.OpenPlaceholder();
        lock (_fdLock)
            _inner[fd] = inner;
        return fd;
    }

    public void Forget(int fd)
    {
        lock (_fdLock)
            _inner.Remove(fd);
    }
}
