using System;
using System.IO;
using Millrace.Devices;
using Millrace.Sched;

namespace Millrace.Tests.Devices;

public sealed class PcapngCaptureTests
{
    /// <summary>The file is a chain of blocks, each of which tells its length at both ends, and holds what was captured.</summary>
    [Fact]
    public void Blocks_chain_and_hold_the_packets()
    {
        var file = new MemoryStream();
        var host = new ExternalClockHost();
        using (var capture = new PcapngCapture(file))
        {
            int a = capture.AddInterface("eth0", 1500);
            for (int n = 0; n < 50; n++)
            {
                host.AdvanceTo(Micros.FromMilliseconds(n));
                capture.Append(a, host, new byte[n], outbound: n % 2 == 0);
            }
        }
        byte[] bytes = file.ToArray();
        int packets = 0, interfaces = 0, at = 0;
        while (at < bytes.Length)
        {
            uint type = BitConverter.ToUInt32(bytes, at);
            int length = BitConverter.ToInt32(bytes, at + 4);
            Assert.Equal(0, length % 4);
            Assert.Equal(length, BitConverter.ToInt32(bytes, at + length - 4));
            if (type == 6)
            {
                Assert.Equal(packets, BitConverter.ToInt32(bytes, at + 20));
                long time = ((long)BitConverter.ToUInt32(bytes, at + 12) << 32) | BitConverter.ToUInt32(bytes, at + 16);
                Assert.Equal(packets * 1000, time);
                packets++;
            }
            interfaces += type == 1 ? 1 : 0;
            at += length;
        }
        Assert.Equal((50, 1), (packets, interfaces));
    }
}
