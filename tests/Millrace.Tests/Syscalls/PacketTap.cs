using System.Collections.Generic;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Tests.Syscalls;

/// <summary>One packet that a device was given to send, as far as tests of socket options ask.</summary>
internal readonly record struct TappedPacket(
    bool IsV6, byte Tos, byte Ttl, bool DontFragment, uint FlowLabel, int Priority, uint Mark, int Payload, TcpFlags Flags, byte[] Bytes);

/// <summary>Notes every TCP packet that a device sends.</summary>
internal sealed class PacketTap : DeviceLayer
{
    public List<TappedPacket> Sent { get; } = [];

    /// <summary>Taps the device of that name.</summary>
    public static PacketTap On(NetStack stack, string device)
    {
        var tap = new PacketTap();
        stack.Devices.ByName(device)!.Wrap(tap);
        return tap;
    }

    public override void Transmit(Cpu cpu, SkBuff skb)
    {
        byte[] b = new byte[skb.Length];
        skb.CopyTo(0, b);
        bool v6 = b[0] >> 4 == 6;
        int at = v6 ? 40 : (b[0] & 15) * 4;
        if (b[v6 ? 6 : 9] == IpProtocol.Tcp)
        {
            Sent.Add(new TappedPacket(v6, v6 ? (byte)((b[0] << 8 | b[1]) >> 4) : b[1], v6 ? b[7] : b[8], !v6 && (b[6] & 0x40) != 0,
                v6 ? (uint)((b[1] & 15) << 16 | b[2] << 8 | b[3]) : 0, skb.Priority, skb.Mark, b.Length - at - (b[at + 12] >> 4) * 4,
                (TcpFlags)b[at + 13], b));
        }
        PassDown(cpu, skb);
    }
}
