using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Devices;

/// <summary>The end of a packet that nobody wants: counted and traced under its reason.</summary>
internal static class Drops
{
    /// <summary>Linux: kfree_skb_reason, sk_skb_reason_drop.</summary>
    public static void Free(Cpu cpu, SkBuff skb, DropReason reason)
    {
        if (reason != DropReason.None)
        {
            cpu.Mib.Drop(reason);
            cpu.Trace(Tp.sk_skb_reason_drop, (long)reason);
            cpu.TracePacket(Tp.kfree_skb, skb, (long)reason, (long)skb.Protocol);
        }
        cpu.FreeSkb(skb);
    }
}
