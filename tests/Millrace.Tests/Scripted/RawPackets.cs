using System;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tests.Scripted;

/// <summary>Puts packets on a stack's device as they are, past its own protocols. Called by a task of the simulation.</summary>
internal static class RawPackets
{
    /// <param name="packets">Handed over at once, before a softirq runs.</param>
    public static unsafe void Send(NetStack stack, string device, params byte[][] packets)
    {
        TaskContext context = stack.Cpus.Enter();
        Cpu cpu = context.Cpu;
        cpu.BhDisable();
        foreach (byte[] packet in packets)
            DevQueue.Transmit(cpu, stack.Devices.ByName(device)!, Wrap(cpu, packet));
        cpu.BhEnable();
        stack.Cpus.Leave(ref context);
    }

    public static unsafe SkBuff Wrap(Cpu cpu, byte[] packet)
    {
        SkBuff skb = cpu.AllocLinear(packet.Length);
        packet.CopyTo(new Span<byte>(skb.Put(packet.Length), packet.Length));
        skb.Protocol = (packet[0] >> 4) == 6 ? EtherType.Ipv6 : EtherType.Ipv4;
        return skb;
    }
}

/// <summary>A layer around a device that loses what the test says.</summary>
internal sealed class LosingLayer : DeviceLayer
{
    public bool LosesSent { get; set; }

    public override void Transmit(Cpu cpu, SkBuff skb)
    {
        if (LosesSent)
            Drop(cpu, skb, Millrace.Tracing.DropReason.WireLoss);
        else
            PassDown(cpu, skb);
    }
}
