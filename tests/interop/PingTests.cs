using System.Threading.Tasks;

namespace Millrace.Interop;

public sealed class PingTests
{
    [KernelTheory]
    [InlineData(Link.Plain, "10.77.0.2", 56)]
    [InlineData(Link.Offload, "10.77.0.2", 1400)]
    [InlineData(Link.Offload, "10.77.0.2", 4000)]
    [InlineData(Link.OffloadTwoQueues, "10.77.0.2", 56)]
    [InlineData(Link.Plain, "fd77::2", 56)]
    [InlineData(Link.Offload, "fd77::2", 1400)]
    [InlineData(Link.Tap, "10.77.0.2", 56)]
    [InlineData(Link.Packet, "10.77.0.2", 4000)]
    [InlineData(Link.Xdp, "10.77.0.2", 56)]
    [InlineData(Link.Tap, "fd77::2", 1400)]
    [InlineData(Link.Packet, "fd77::2", 56)]
    [InlineData(Link.Xdp, "fd77::2", 1400)]
    public async Task The_kernel_pings_us(Link link, string address, int size)
    {
        await using Lab lab = await Lab.OpenAsync(link);
        Outcome ping = (await lab.RunAsync("ping", "-c", "5", "-i", "0.01", "-W", "5", "-s", $"{size}", address)).Succeeded("ping");
        Assert.Contains("5 received", ping.Output);
    }
}
