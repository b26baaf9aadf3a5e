using System;
using System.Collections.Generic;
using System.Net;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tests.Robustness;

/// <summary>
/// A stack with listeners and connections in every state gets a million packets that are sound, nearly sound, or noise. It throws
/// nothing, holds what it holds within bounds, and holds nothing once all is closed and every timer has run out.
/// </summary>
public sealed class HostileTrafficTests
{
#if DEBUG
    private const int Packets = 50_000;
#else
    private const int Packets = 250_000;
#endif
    private const int MaxConnections = 150;

    private readonly List<int> _open = [];
    private readonly byte[] _data = new byte[4096];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void A_million_hostile_packets_leave_no_trace(ulong seed)
    {
        using var link = new HostileLink();
        var forge = new PacketForge(seed);
        Process p = link.Stack.CreateProcess();
        int[] listeners = [Listen(p, HostileLink.Local4), Listen(p, HostileLink.Local6)];
        long memoryEarly = 0;
        for (int n = 0; n < Packets; n++)
        {
            try
            {
                ReadOnlySpan<byte> packet = forge.Next(link.Sent);
                link.Inject(packet, forge.Random.Below(4) == 0 ? forge.Random.Below(100) : int.MaxValue);
                if (n % 16 == 0)
                    UseSockets(link, p, listeners, forge.Random);
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"packet {n} of seed {seed}: {e.Message}", e);
            }
            // By then as many sockets are open as ever will be.
            if (n == Packets * 3 / 5)
                memoryEarly = link.Stack.Buffers.AllocatedBytes;
        }
        long accepted = link.Stack.Cpus.Read(Tracing.Mib.TcpPassiveOpens), connected = link.Stack.Cpus.Read(Tracing.Mib.TcpInSegs);
        Assert.True(accepted > Packets / 200 && connected > Packets / 3, $"the traffic reaches the sockets: {accepted}, {connected}");
        Assert.InRange(link.Stack.Buffers.AllocatedBytes, memoryEarly, memoryEarly + (memoryEarly / 2));
        foreach (int fd in listeners)
            p.Close(fd).ToString();
        foreach (int fd in _open)
            p.Close(fd).ToString();
        // Every retransmission, every TIME_WAIT and every reassembly runs out.
        for (int minute = 0; minute < 120; minute++)
            link.Advance(Micros.FromSeconds(60));
        AssertNothingIsHeld(link);
    }

    private static void AssertNothingIsHeld(HostileLink link)
    {
        Assert.Equal(0, link.Stack.Tcp.Established.Count);
        Assert.Equal(0, link.Stack.Tcp.Orphans);
        Assert.Equal(0, link.Stack.Tcp.Memory.Allocated);
        Assert.Equal((0, 0), link.InUse);
        Assert.Equal(Micros.Never, link.Stack.Cpus.Timers.NextDeadline);
    }

    private static int Listen(Process p, IPAddress address)
    {
        int fd = p.Socket(address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork ? 2 : 10, 1 | 0x800, 0).Value;
        Assert.False(p.Bind(fd, new IPEndPoint(address, 80)).IsError);
        Assert.False(p.Listen(fd, 64).IsError);
        return fd;
    }

    private void UseSockets(HostileLink link, Process p, int[] listeners, Prng random)
    {
        link.Advance(new Micros(random.Below(random.Below(50) == 0 ? 2_000_000 : 5000)));
        foreach (int listener in listeners)
        {
            SysResult accepted = p.Accept(listener, 0x800);
            if (!accepted.IsError)
                _open.Add(accepted.Value);
        }
        if (random.Below(4) == 0)
            Connect(p, random);
        for (int i = 0; i < 4 && _open.Count > 0; i++)
        {
            int index = random.Below(_open.Count), fd = _open[index];
            _ = random.Below(6) switch
            {
                0 or 1 => p.Recv(fd, _data.AsSpan(0, random.Below(_data.Length)), random.Below(8) == 0 ? MessageFlags.Peek : MessageFlags.None),
                2 or 3 => p.Send(fd, _data.AsSpan(0, random.Below(_data.Length)), MessageFlags.NoSignal),
                4 => random.Below(4) == 0 ? p.Shutdown(fd, random.Below(3)) : p.Recv(fd, _data, MessageFlags.OutOfBand),
                _ => SetSomething(p, fd, random),
            };
            if (random.Below(30) == 0 || _open.Count > MaxConnections)
            {
                p.Close(fd);
                _open.RemoveAt(index);
            }
        }
    }

    private void Connect(Process p, Prng random)
    {
        bool v6 = random.Below(2) == 0;
        int fd = p.Socket(v6 ? 10 : 2, 1 | 0x800, 0).Value;
        byte[] address = (v6 ? HostileLink.Local6 : HostileLink.Local4).GetAddressBytes();
        address[^1] = (byte)(2 + random.Below(30));
        p.Connect(fd, new IPEndPoint(new IPAddress(address), 1 + random.Below(100)));
        _open.Add(fd);
    }

    private static SysResult SetSomething(Process p, int fd, Prng random)
    {
        const int socket = 1, tcp = 6, keepAlive = 9, linger = 13, noDelay = 1, cork = 3;
        return random.Below(4) switch
        {
            0 => p.SetSockOpt(fd, socket, keepAlive, 1),
            1 => p.SetSockOpt(fd, socket, linger, [1, 0, 0, 0, 0, 0, 0, 0]),
            2 => p.SetSockOpt(fd, tcp, noDelay, random.Below(2)),
            _ => p.SetSockOpt(fd, tcp, cork, random.Below(2)),
        };
    }
}
