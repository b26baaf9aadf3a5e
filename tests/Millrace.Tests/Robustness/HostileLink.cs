using System;
using System.Collections.Generic;
using System.Net;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tests.Robustness;

/// <summary>
/// A stack whose only neighbour is the test: every packet that it sends is seen, every packet that it receives is made up, and its clock
/// stands still unless it is turned.
/// </summary>
internal sealed class HostileLink : IDisposable
{
    public static readonly IPAddress Local4 = IPAddress.Parse("10.0.0.1"), Local6 = IPAddress.Parse("fd00::1");

    private const int Remembered = 64;

    private readonly Device _device;

    public HostileLink(Action<NetStackOptions>? configure = null)
    {
        var options = new NetStackOptions { Seed = 1, Cpus = 1 };
        configure?.Invoke(options);
        Stack = new NetStack(options, Clock, ownsHost: false, buffers: null);
        _device = new Device();
        Stack.Devices.Add(_device);
        Stack.AddAddress("hostile", Local4, 8);
        Stack.AddAddress("hostile", Local6, 16);
    }

    public ExternalClockHost Clock { get; } = new();

    public NetStack Stack { get; }

    /// <summary>Packets that the stack has sent.</summary>
    public long SentCount => _device.SentCount;

    /// <summary>One of the last packets that the stack sent; empty if there is none.</summary>
    public ReadOnlySpan<byte> Sent(int back) => _device.Sent(back);

    public static int SentRemembered => Remembered;

    /// <summary>Lets the stack receive a packet, the first <paramref name="linear"/> bytes in one piece and the rest in another.</summary>
    public void Inject(ReadOnlySpan<byte> packet, int linear = int.MaxValue)
    {
        CpuSet cpus = Stack.Cpus;
        Cpu cpu = cpus.Acquire();
        linear = Math.Min(linear, packet.Length);
        SkBuff skb = cpu.AllocLinear(linear);
        unsafe
        {
            packet[..linear].CopyTo(new Span<byte>(skb.Put(linear), linear));
        }
        cpu.AppendCopy(skb, packet[linear..]);
        skb.TrueSize += packet.Length - linear;
        skb.Protocol = packet.IsEmpty ? EtherType.None : (packet[0] >> 4) switch
        {
            4 => EtherType.Ipv4,
            6 => EtherType.Ipv6,
            _ => EtherType.None,
        };
        _device.Queue(skb);
        if (_device.Napi.TrySchedule())
            cpu.Interrupt(_device.Napi);
        cpus.Release(cpu);
    }

    public void Advance(Micros time) => Clock.AdvanceTo(Clock.Now + time);

    /// <summary>Buffers and pages that are in use, caches and free lists taken off.</summary>
    public (int Buffers, int Pages) InUse
    {
        get
        {
            (int buffers, int pages) = Stack.Buffers.InUse;
            foreach (Cpu cpu in Stack.Cpus.Cpus)
            {
                buffers -= cpu.Cached.Buffers;
                pages -= cpu.Cached.Pages;
            }
            return (buffers, pages);
        }
    }

    public void Dispose() => Stack.Dispose();

    private sealed class Device() : NetDevice("hostile", 1500)
    {
        private readonly Queue<SkBuff> _ring = new();
        private readonly byte[][] _sent = new byte[Remembered][];
        private readonly int[] _lengths = new int[Remembered];

        public long SentCount { get; private set; }

        public Napi Napi { get; private set; } = null!;

        public override void Attach(NetRx netRx, CpuSet cpus)
        {
            base.Attach(netRx, cpus);
            Napi = new Poller(this, netRx);
        }

        public void Queue(SkBuff skb) => _ring.Enqueue(skb);

        public ReadOnlySpan<byte> Sent(int back)
        {
            if (back >= SentCount)
                return default;
            int slot = (int)((SentCount - 1 - back) % Remembered);
            return _sent[slot].AsSpan(0, _lengths[slot]);
        }

        public override void StartXmit(Cpu cpu, SkBuff skb)
        {
            int slot = (int)(SentCount++ % Remembered);
            _sent[slot] ??= new byte[2048];
            _lengths[slot] = skb.Length;
            skb.CopyTo(0, _sent[slot].AsSpan(0, skb.Length));
            cpu.FreeSkb(skb);
        }

        private sealed class Poller(Device device, NetRx netRx) : Napi(netRx)
        {
            protected override int IfIndex => device.IfIndex;

            public override int Poll(Cpu cpu, int budget)
            {
                int work = 0;
                while (work < budget && device._ring.TryDequeue(out SkBuff? skb))
                {
                    device.Receive(cpu, skb);
                    work++;
                }
                return work;
            }
        }
    }
}
