using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Devices;

/// <summary>A queueing discipline: decides which packet a device sends next, and when. Linux: Qdisc.</summary>
internal abstract class Qdisc
{
    protected Qdisc(NetDevice device) => Device = device;

    protected NetDevice Device { get; }

    /// <summary>As `tc qdisc` names it.</summary>
    public abstract string Kind { get; }

    /// <summary>Whether packets wait in it.</summary>
    public virtual bool KeepsPackets => false;

    /// <summary>Takes a packet over: sends it, keeps it, or drops it. False: it was dropped. Linux: __dev_xmit_skb.</summary>
    public abstract bool Transmit(Cpu cpu, SkBuff skb);

    /// <summary>Sends a packet that it is time for: cuts and sums what the device cannot. Linux: sch_direct_xmit, dev_hard_start_xmit.</summary>
    protected void Send(Cpu cpu, SkBuff skb)
    {
        skb.Stamp(TransmitStamps.Sent, cpu);
        if (skb.IsGso && !SoftwareGso.DeviceCuts(Device, skb))
        {
            SkBuffHead segments = cpu.Segments;
            SoftwareGso.Segment(cpu, skb, segments, checksum: (Device.Features & DeviceFeatures.TxChecksum) == 0);
            while (segments.PopFirst() is { } segment)
                HardStart(cpu, segment);
            return;
        }
        if (skb.IpSummed == ChecksumState.Partial && (Device.Features & DeviceFeatures.TxChecksum) == 0)
            SoftwareGso.FinishChecksum(skb);
        HardStart(cpu, skb);
    }

    private void HardStart(Cpu cpu, SkBuff skb)
    {
        cpu.Trace(Tp.dev_hard_start_xmit);
        cpu.TracePacket(Tp.net_dev_xmit, skb, Device.IfIndex, skb.Length);
        Device.Statistics.TxPackets++;
        Device.Statistics.TxBytes += skb.Length;
        Device.Transmit(cpu, skb);
    }
}

/// <summary>No queue: what comes is sent. The rings below are bounded on their own. Linux: noqueue.</summary>
internal sealed class NoQueueQdisc(NetDevice device) : Qdisc(device)
{
    public override string Kind => "noqueue";

    public override bool Transmit(Cpu cpu, SkBuff skb)
    {
        Send(cpu, skb);
        return true;
    }
}

/// <summary>
/// First in, first out. The devices here never stop their queue, so what is let in goes on at once; a limit of none lets nothing in.
/// </summary>
/// <remarks>Linux: pfifo.</remarks>
internal sealed class FifoQdisc(NetDevice device, int limit) : Qdisc(device)
{
    public override string Kind => "pfifo";

    public override bool Transmit(Cpu cpu, SkBuff skb)
    {
        if (limit <= 0)
        {
            Device.Statistics.TxDropped++;
            Drops.Free(cpu, skb, DropReason.QdiscDrop);
            return false;
        }
        Send(cpu, skb);
        return true;
    }
}

/// <summary>The way out: from the network layer to the device's queueing discipline.</summary>
internal static class DevQueue
{
    /// <summary>Sends a packet whose network header is written. False: dropped on this host. Linux: __dev_queue_xmit.</summary>
    public static bool Transmit(Cpu cpu, NetDevice device, SkBuff skb)
    {
        cpu.Trace(Tp.__dev_queue_xmit, skb.Length);
        skb.Stamp(TransmitStamps.Queued, cpu);
        if ((device.Flags & DeviceFlags.Up) == 0)
        {
            Drops.Free(cpu, skb, DropReason.DevReady);
            return false;
        }
        return device.Qdisc.Transmit(cpu, skb);
    }
}
