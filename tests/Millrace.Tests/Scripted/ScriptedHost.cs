using System;
using System.Collections.Generic;
using System.Net;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tests.Scripted;

/// <summary>
/// One stack whose only neighbour is the test: what the stack sends is seen segment by segment, what the test sends arrives as from
/// a wire. Everything in virtual time; the script is a task of the simulation.
/// </summary>
internal sealed class ScriptedHost : IDisposable
{
    private readonly PeerDevice _device = new("eth0", 1500);

    public ScriptedHost(Action<NetStack>? configure = null)
    {
        World = new SimulatedWorld(1, explore: false);
        Stack = new NetStack(new NetStackOptions { Name = "host", Seed = 1, Cpus = 1 }, World.AddHost(), false, null);
        configure?.Invoke(Stack);
        Stack.Devices.Add(_device);
        Stack.AddAddress("eth0", Address, 24);
        Process = Stack.CreateProcess();
    }

    public static IPAddress Address { get; } = IPAddress.Parse("10.9.0.1");

    public static IPAddress PeerAddress { get; } = IPAddress.Parse("10.9.0.2");

    public SimulatedWorld World { get; }

    public NetStack Stack { get; }

    public Process Process { get; }

    public NetDevice Device => _device;

    /// <summary>Microseconds.</summary>
    public long Now => World.Now.Value;

    /// <summary>Runs the script to its end, and every other task.</summary>
    public void Run(Action script)
    {
        World.Spawn("script", script);
        World.Run(Micros.Never);
    }

    /// <summary>Adds a task beside the script.</summary>
    public void Spawn(string name, Action body) => World.Spawn(name, body);

    public void Sleep(int milliseconds) => Process.Poll([], milliseconds);

    public void Send(Segment segment) => Send(segment.ToBytes());

    /// <param name="protocol">Null: as the packet's version says.</param>
    public void Send(byte[] packet, EtherType? protocol = null) => _device.Inject(packet, protocol);

    /// <summary>Called for each packet as it leaves, under whatever lock its sender holds.</summary>
    public Action<Segment?>? Leaving
    {
        get => _device.Leaving;
        set => _device.Leaving = value;
    }

    /// <summary>The next packet that the stack has sent and nobody has taken; null if there is none.</summary>
    public byte[]? TakePacket() => _device.Sent.TryDequeue(out (byte[] Packet, long Time) sent) ? sent.Packet : null;

    /// <summary>The next segment that the stack has sent; the test fails if there is none.</summary>
    public Segment Take() => TryTake() ?? throw new Xunit.Sdk.XunitException($"nothing was sent by {Now} us");

    public Segment? TryTake() =>
        _device.Sent.TryDequeue(out (byte[] Packet, long Time) sent) ? Segment.Parse(sent.Packet, sent.Time) : null;

    public void SentNothing() => Assert.Null(TryTake());

    /// <summary>Forgets what was sent.</summary>
    public void Forget() => _device.Sent.Clear();

    public int Socket(bool nonBlocking = false) => Process.Socket(2, nonBlocking ? 1 | 2048 : 1, 0).Value;

    /// <summary>Gives the stack a second device, on an Ethernet whose only other station is the test.</summary>
    public EthernetLink AddEthernet(string name = "eth1")
    {
        var device = new PeerDevice(name, 1500) { HardwareAddress = EthernetLink.StackMac };
        Stack.Devices.Add(device);
        Stack.AddAddress(name, EthernetLink.StackAddress, 24);
        Stack.AddAddress(name, EthernetLink.StackAddress6, 64);
        return new EthernetLink(this, frame => device.Inject(frame, null), () => device.Sent.TryDequeue(out (byte[] Packet, long Time) sent) ? sent.Packet : null);
    }

    public void Dispose() => World.Dispose();

    // The test's end of the wire.
    private sealed class PeerDevice : NetDevice
    {
        private readonly Queue<(byte[] Packet, EtherType? Protocol)> _ring = new();
        private Rx? _rx;

        public PeerDevice(string name, int mtu)
            : base(name, mtu) => Flags = DeviceFlags.PointToPoint;

        public Queue<(byte[] Packet, long Time)> Sent { get; } = new();

        public Action<Segment?>? Leaving { get; set; }

        public override void Attach(NetRx netRx, CpuSet cpus)
        {
            base.Attach(netRx, cpus);
            _rx = new Rx(this, netRx);
        }

        public override void StartXmit(Cpu cpu, SkBuff skb)
        {
            var packet = new byte[skb.Length];
            skb.CopyTo(0, packet);
            Sent.Enqueue((packet, cpu.Now.Value));
            Leaving?.Invoke(Segment.Parse(packet, cpu.Now.Value));
            cpu.FreeSkb(skb);
        }

        public void Inject(byte[] packet, EtherType? protocol)
        {
            _ring.Enqueue((packet, protocol));
            if (_rx!.TrySchedule())
                CpuSet.Interrupt(_rx);
        }

        private sealed class Rx(PeerDevice device, NetRx netRx) : Napi(netRx)
        {
            protected override int IfIndex => device.IfIndex;

            public override int Poll(Cpu cpu, int budget)
            {
                int work = 0;
                for (; work < budget && device._ring.TryDequeue(out (byte[] Packet, EtherType? Protocol) next); work++)
                {
                    SkBuff skb = RawPackets.Wrap(cpu, next.Packet);
                    skb.Protocol = next.Protocol ?? skb.Protocol;
                    device.Receive(cpu, skb);
                }
                return work;
            }
        }
    }
}

/// <summary>The scripted end of one connection: its addresses and sequence numbers, relative to the initial ones where it says so.</summary>
internal sealed class ScriptedPeer(ScriptedHost host, IPEndPoint mine, IPEndPoint theirs)
{
    /// <summary>The next sequence number that the peer sends, and the next that it expects.</summary>
    public uint Seq { get; set; } = 1_000_000;

    public uint Expected { get; set; }

    public ushort Window { get; set; } = 65535;

    /// <summary>Null: no timestamps. Else what the next segment carries.</summary>
    public uint? TsVal { get; set; }

    public uint TsEcr { get; set; }

    /// <summary>The descriptor of the stack's end.</summary>
    public int Fd { get; set; } = -1;

    public ScriptedHost Host => host;

    public ushort StackPort => (ushort)theirs.Port;

    public Segment Make(TcpFlags flags, int length = 0, byte[]? options = null) => new()
    {
        From = mine,
        To = theirs,
        Seq = Seq,
        Ack = (flags & TcpFlags.Ack) != 0 ? Expected : 0,
        Flags = flags,
        Window = Window,
        Options = options ?? (TsVal is { } ts ? Segment.TimestampOption(ts, TsEcr) : []),
        Data = new byte[length],
    };

    public void Send(Segment segment) => host.Send(segment);

    /// <summary>Sends data in order.</summary>
    public void Data(int length, TcpFlags more = TcpFlags.Psh)
    {
        Send(Make(TcpFlags.Ack | more, length));
        Seq += (uint)length;
    }

    /// <summary>Acknowledges what has been seen.</summary>
    public void Acknowledge() => Send(Make(TcpFlags.Ack));

    public void Fin()
    {
        Send(Make(TcpFlags.Fin | TcpFlags.Ack));
        Seq++;
    }

    /// <summary>Takes the stack's next segment and counts it as received.</summary>
    public Segment Take()
    {
        Segment s = host.Take();
        if (s.End - Expected < 1u << 31)
            Expected = s.End;
        if (TsVal is not null && s.ParsedOptions is { HasTimestamp: true } o)
            TsEcr = o.TsVal;
        return s;
    }

    /// <summary>A connection that the peer has opened to a listener of the stack, accepted.</summary>
    public static ScriptedPeer Opens(ScriptedHost host, byte[] options, ushort port = 7001, Action<int>? configureListener = null,
        int roundTrip = 0, uint? timestamp = null, ushort window = 65535)
    {
        var at = new IPEndPoint(ScriptedHost.Address, port);
        int listener = host.Socket();
        Assert.False(host.Process.Bind(listener, at).IsError);
        configureListener?.Invoke(listener);
        Assert.False(host.Process.Listen(listener, 10).IsError);
        var peer = new ScriptedPeer(host, new IPEndPoint(ScriptedHost.PeerAddress, 40000), at) { Window = window, TsVal = timestamp };
        byte[] syn = timestamp is { } ts ? [.. options, .. Segment.TimestampOption(ts, 0)] : options;
        peer.Send(peer.Make(TcpFlags.Syn, options: syn));
        peer.Seq++;
        Segment synAck = host.Take();
        Assert.Equal(TcpFlags.Syn | TcpFlags.Ack, synAck.Flags);
        peer.Expected = synAck.End;
        if (timestamp is not null)
            peer.TsEcr = synAck.ParsedOptions.TsVal;
        if (roundTrip > 0)
            host.Sleep(roundTrip);
        peer.Acknowledge();
        peer.Fd = host.Process.Accept(listener).Value;
        return peer;
    }

    /// <summary>A connection that the stack opens to the peer: it has sent its SYN, and waits for the answer.</summary>
    public static ScriptedPeer Awaits(ScriptedHost host, out Segment syn, ushort port = 9000)
    {
        var mine = new IPEndPoint(ScriptedHost.PeerAddress, port);
        int fd = host.Socket(nonBlocking: true);
        Assert.Equal(Errno.EINPROGRESS, host.Process.Connect(fd, mine).Error);
        syn = host.Take();
        Assert.Equal(TcpFlags.Syn, syn.Flags);
        return new ScriptedPeer(host, mine, syn.From) { Fd = fd, Expected = syn.End };
    }

    /// <summary>The same, answered.</summary>
    public static ScriptedPeer Answers(ScriptedHost host, byte[] options, int roundTrip = 0, ushort window = 65535)
    {
        ScriptedPeer peer = Awaits(host, out _);
        peer.Window = window;
        if (roundTrip > 0)
            host.Sleep(roundTrip);
        peer.Send(peer.Make(TcpFlags.Syn | TcpFlags.Ack, options: options));
        peer.Seq++;
        Assert.Equal(TcpFlags.Ack, host.Take().Flags);
        host.Process.Fcntl(peer.Fd, 4, 0);
        return peer;
    }
}
