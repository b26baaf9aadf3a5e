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

    /// <summary>What the stack has sent.</summary>
    public SentPackets Sent => _device.Sent;

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

        public SentPackets Sent { get; } = new();

        public Napi Napi { get; private set; } = null!;

        public override void Attach(NetRx netRx, CpuSet cpus)
        {
            base.Attach(netRx, cpus);
            Napi = new Poller(this, netRx);
        }

        public void Queue(SkBuff skb) => _ring.Enqueue(skb);

        public override void StartXmit(Cpu cpu, SkBuff skb)
        {
            skb.CopyTo(0, Sent.Add(skb.Length));
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
