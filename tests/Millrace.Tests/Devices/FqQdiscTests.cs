using System;
using System.Collections.Generic;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;

namespace Millrace.Tests.Devices;

public sealed class FqQdiscTests : IDisposable
{
    private readonly ExternalClockHost _host = new();
    private readonly NetStack _stack;
    private readonly Recorder _device = new();

    public FqQdiscTests()
    {
        _stack = new NetStack(new NetStackOptions { Seed = 1, Cpus = 1 }, _host, ownsHost: true, buffers: null);
        _stack.Devices.Add(_device);
        _device.Qdisc = new FqQdisc(_device, FqLimits.Default(_device) with { Limit = 3 });
    }

    public void Dispose() => _stack.Dispose();

    private bool Send(uint mark, long time)
    {
        Cpu cpu = _stack.Cpus.Acquire();
        cpu.BhDisable();
        SkBuff skb = cpu.AllocSkb();
        skb.Mark = mark;
        skb.Time = time;
        skb.Owner = new Sender();
        bool taken = _device.Qdisc.Transmit(cpu, skb);
        cpu.BhEnable();
        _stack.Cpus.Release(cpu);
        return taken;
    }

    [Fact]
    public void A_packet_leaves_at_its_own_time_whoever_came_first()
    {
        Assert.True(Send(1, time: 3000));
        Assert.True(Send(2, time: 1000));
        Assert.True(Send(3, time: 0));
        _host.AdvanceTo(new Micros(10_000));
        Assert.Equal([(3u, 0L), (2u, 1000L), (1u, 3000L)], _device.Sent);
    }

    [Fact]
    public void Packets_of_one_time_keep_their_order()
    {
        Send(1, time: 1000);
        Send(2, time: 1000);
        _host.AdvanceTo(new Micros(1000));
        Assert.Equal([(1u, 1000L), (2u, 1000L)], _device.Sent);
    }

    [Fact]
    public void What_is_too_much_to_keep_is_dropped_and_counted()
    {
        Send(1, time: 1000);
        Send(2, time: 1000);
        Send(3, time: 1000);
        Assert.False(Send(4, time: 0));
        Assert.Equal(1, _device.Statistics.TxDropped);
        _host.AdvanceTo(new Micros(1000));
        Assert.Equal(3, _device.Sent.Count);
    }

    private sealed class Sender : BufferOwner
    {
    }

    private sealed class Recorder() : NetDevice("rec0", 1500)
    {
        public List<(uint Mark, long Time)> Sent { get; } = [];

        public override void StartXmit(Cpu cpu, SkBuff skb)
        {
            Sent.Add((skb.Mark, cpu.Now.Value));
            skb.Owner = null;
            cpu.FreeSkb(skb);
        }
    }
}
