using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Wire;

namespace Millrace.Devices;

/// <summary>A layer that copies every packet, both ways, to a capture.</summary>
/// <remarks>Linux: dev_queue_xmit_nit, packet_rcv.</remarks>
internal sealed class CaptureLayer(PcapngCapture capture) : DeviceLayer
{
    private int _interface;

    protected override void OnInstalled() => _interface = capture.AddInterface(Device.Name, Device.Mtu, Device.IsEthernet);

    public override void Transmit(Cpu cpu, SkBuff skb)
    {
        Record(cpu, skb, outbound: true);
        PassDown(cpu, skb);
    }

    public override void Receive(Cpu cpu, SkBuff skb)
    {
        Record(cpu, skb, outbound: false);
        PassUp(cpu, skb);
    }

    private void Record(Cpu cpu, SkBuff skb, bool outbound)
    {
        byte[] bytes = new byte[skb.Length];
        skb.CopyTo(0, bytes);
        // A checksum that a device would finish is finished in the copy: what is captured is what a wire would carry.
        if (skb.IpSummed == ChecksumState.Partial)
            FinishChecksum(bytes, skb);
        capture.Append(_interface, cpu.Host, bytes, outbound);
    }

    private static unsafe void FinishChecksum(byte[] bytes, SkBuff skb)
    {
        int start = (int)(skb.Head + skb.ChecksumStart - skb.Data);
        if (start < 0 || start + skb.ChecksumOffset + 2 > bytes.Length)
            return;
        fixed (byte* p = bytes)
            Be.PutRaw16(p + start + skb.ChecksumOffset, Checksum.Finish(Checksum.Partial(p + start, bytes.Length - start)));
    }
}
