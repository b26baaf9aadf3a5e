using System;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Threading.Tasks;

namespace Millrace.Interop;

/// <summary>What tshark thinks of our packets, and of how we write them down.</summary>
public sealed class CaptureTests
{
    private const string Faults = "_ws.malformed || tcp.checksum.status == Bad || ip.checksum.status == Bad || udp.checksum.status == Bad"
        + " || icmp.checksum.status == Bad || icmpv6.checksum.status == Bad || ip.bogus_header_length || tcp.bogus_header_length";

    [KernelTheory]
    [InlineData(Link.Plain)]
    [InlineData(Link.Offload)]
    [InlineData(Link.OffloadTwoQueues)]
    public async Task Tshark_finds_no_fault(Link link)
    {
        string file = Path.Combine(Path.GetTempPath(), $"millrace-interop-{Environment.ProcessId}-{link}.pcapng");
        try
        {
            await using (Lab lab = await Lab.OpenAsync(link))
            {
                using IDisposable capture = lab.Stack.Capture(Lab.Device, File.Create(file));
                await TalkAsync(lab);
            }
            Assert.Equal("", await TsharkAsync(file, Faults));
            Assert.NotEqual("", await TsharkAsync(file, "tcp.checksum.status == Good && ip.src == 10.77.0.2 && tcp.len > 0"));
            Assert.NotEqual("", await TsharkAsync(file, "tcp.checksum.status == Good && ipv6.src == fd77::2 && tcp.len > 0"));
            Assert.NotEqual("", await TsharkAsync(file, "icmp.type == 0 && icmp.checksum.status == Good"));
            Assert.NotEqual("", await TsharkAsync(file, "tcp.flags.reset == 1 && ip.src == 10.77.0.2"));
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static async Task TalkAsync(Lab lab)
    {
        foreach (bool v6 in new[] { false, true })
        {
            using Pair byKernel = await Pair.ByKernelAsync(lab, v6), byUs = await Pair.ByUsAsync(lab, v6);
            await EchoAsync(byKernel);
            await EchoAsync(byUs);
        }
        await Assert.ThrowsAsync<SocketException>(() => lab.KernelConnectAsync(new IPEndPoint(Lab.OurAddress, 9)));
        (await lab.RunAsync("ping", "-c", "2", "-i", "0.01", "-s", "1000", "10.77.0.2")).Succeeded("ping");
    }

    // Small pieces and large ones, each way, and both ends closed.
    private static async Task EchoAsync(Pair pair)
    {
        const int bytes = 300_001;
        Task<(long, string)> there = Traffic.OnThread(() => Traffic.Drain(b => pair.Kernel.Receive(b)));
        Task<(long, string)> here = Traffic.OnThread(() => Traffic.Drain(b => pair.Ours.Receive(b)));
        string fromHere = await Traffic.OnThread(() => Traffic.Pump(d => pair.Ours.Send(d), bytes, 8));
        string fromThere = await Traffic.OnThread(() => Traffic.Pump(d => pair.KernelSend(d), bytes, 9));
        pair.Ours.Shutdown(SocketShutdown.Send);
        pair.Kernel.Shutdown(SocketShutdown.Send);
        Assert.Equal((bytes, fromHere), await there);
        Assert.Equal((bytes, fromThere), await here);
    }

    // The payload is noise: tshark shall not guess at its protocol.
    private static async Task<string> TsharkAsync(string file, string filter) => (await Shell.RunAsync("tshark", "-n", "-r", file,
        "-d", "tcp.port==1-65535,data", "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-Y", filter)).Succeeded("tshark").Output;
}
