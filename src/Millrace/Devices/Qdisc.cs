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

    /// <summary>Whether a packet waits here for the time that its sender has given it, so that senders need no timer of their own.</summary>
    public virtual bool KeepsTime => false;

    /// <summary>Whether packets wait for room in the device.</summary>
    public virtual bool IsStopped => false;

    /// <summary>Takes a packet over: sends it, keeps it, or drops it. False: it was dropped. Linux: __dev_xmit_skb.</summary>
    public abstract bool Transmit(Cpu cpu, SkBuff skb);

    /// <summary>Sends what waits and may go now: the device has room again, or a time has come. No lock is held. Linux: __qdisc_run.</summary>
    public virtual void Run(Cpu cpu)
    {
    }

    /// <summary>Another discipline has taken over: what waits is dropped. Linux: qdisc_reset.</summary>
    public virtual void Retire(Cpu cpu)
    {
    }

    /// <summary>Linux: what tc -s qdisc shows.</summary>
    public virtual QdiscStatistics Describe(Cpu cpu) => new() { Kind = Kind };

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
