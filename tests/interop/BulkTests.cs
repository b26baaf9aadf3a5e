using System.Net.Sockets;
using System.Threading.Tasks;

namespace Millrace.Interop;

public sealed class BulkTests
{
    private const int MiB = 1024 * 1024;

    [KernelTheory]
    [InlineData(Link.Plain, false, 1500, 256)]
    [InlineData(Link.Offload, false, 1500, 256)]
    [InlineData(Link.PlainTwoQueues, false, 1500, 64)]
    [InlineData(Link.OffloadTwoQueues, false, 1500, 256)]
    [InlineData(Link.Plain, true, 1500, 64)]
    [InlineData(Link.Offload, true, 1500, 256)]
    [InlineData(Link.Plain, false, 65535, 256)]
    [InlineData(Link.Offload, false, 65535, 256)]
    [InlineData(Link.Offload, true, 1280, 64)]
    [InlineData(Link.Tap, false, 1500, 256)]
    [InlineData(Link.TapTwoQueues, true, 9000, 64)]
    [InlineData(Link.Packet, false, 1500, 256)]
    [InlineData(Link.PacketTwoQueues, true, 9000, 64)]
    [InlineData(Link.Xdp, false, 1500, 256)]
    [InlineData(Link.XdpTwoQueues, true, 3000, 64)]
    [InlineData(Link.XdpGeneric, false, 1500, 64)]
    public async Task The_kernel_sends_and_every_byte_arrives(Link link, bool v6, int mtu, int mebibytes)
    {
        await using Lab lab = await Lab.OpenAsync(link, mtu: mtu);
        using Pair pair = await Pair.ByKernelAsync(lab, v6);
        long bytes = (long)mebibytes * MiB;
        Task<(long, string)> received = Traffic.OnThread(() => Traffic.Drain(b => pair.Ours.Receive(b)));
        string sent = await Traffic.OnThread(() => Traffic.Pump(d => pair.KernelSend(d), bytes, 1));
        pair.Kernel.Shutdown(SocketShutdown.Send);
        Assert.Equal((bytes, sent), await received);
    }

    [KernelTheory]
    [InlineData(Link.Plain, false, 1500, 256)]
    [InlineData(Link.Offload, false, 1500, 256)]
    [InlineData(Link.PlainTwoQueues, false, 1500, 64)]
    [InlineData(Link.OffloadTwoQueues, false, 1500, 256)]
    [InlineData(Link.Plain, true, 1500, 64)]
    [InlineData(Link.Offload, true, 1500, 256)]
    [InlineData(Link.Plain, false, 65535, 256)]
    [InlineData(Link.Offload, false, 65535, 256)]
    [InlineData(Link.Offload, true, 1280, 64)]
    [InlineData(Link.Tap, false, 1500, 256)]
    [InlineData(Link.TapTwoQueues, true, 9000, 64)]
    [InlineData(Link.Packet, false, 1500, 256)]
    [InlineData(Link.PacketTwoQueues, true, 9000, 64)]
    [InlineData(Link.Xdp, false, 1500, 256)]
    [InlineData(Link.XdpTwoQueues, true, 3000, 64)]
    [InlineData(Link.XdpGeneric, false, 1500, 64)]
    public async Task We_send_and_every_byte_arrives(Link link, bool v6, int mtu, int mebibytes)
    {
        await using Lab lab = await Lab.OpenAsync(link, mtu: mtu);
        using Pair pair = await Pair.ByUsAsync(lab, v6);
        long bytes = (long)mebibytes * MiB;
        Task<(long, string)> received = Traffic.OnThread(() => Traffic.Drain(b => pair.Kernel.Receive(b)));
        string sent = await Traffic.OnThread(() => Traffic.Pump(d => pair.Ours.Send(d), bytes, 2));
        pair.Ours.Shutdown(SocketShutdown.Send);
        Assert.Equal((bytes, sent), await received);
    }

    [KernelTheory]
    [InlineData(Link.Plain)]
    [InlineData(Link.Offload)]
    [InlineData(Link.OffloadTwoQueues)]
    [InlineData(Link.Tap)]
    [InlineData(Link.Packet)]
    [InlineData(Link.Xdp)]
    public async Task Both_send_at_once(Link link)
    {
        const long bytes = 64 * MiB;
        await using Lab lab = await Lab.OpenAsync(link);
        using Pair pair = await Pair.ByKernelAsync(lab);
        Task<(long, string)> here = Traffic.OnThread(() => Traffic.Drain(b => pair.Ours.Receive(b)));
        Task<(long, string)> there = Traffic.OnThread(() => Traffic.Drain(b => pair.Kernel.Receive(b)));
        Task<string> fromHere = Traffic.OnThread(() => Traffic.Pump(d => pair.Ours.Send(d), bytes, 3));
        Task<string> fromThere = Traffic.OnThread(() => Traffic.Pump(d => pair.KernelSend(d), bytes, 4));
        string sentHere = await fromHere;
        pair.Ours.Shutdown(SocketShutdown.Send);
        string sentThere = await fromThere;
        pair.Kernel.Shutdown(SocketShutdown.Send);
        Assert.Equal((bytes, sentThere), await here);
        Assert.Equal((bytes, sentHere), await there);
    }

    [KernelTheory]
    [InlineData(Link.Plain)]
    [InlineData(Link.Offload)]
    public async Task A_bad_link_loses_nothing(Link link)
    {
        const long bytes = 8 * MiB;
        await using Lab lab = await Lab.OpenAsync(link);
        ImpairmentOptions Bad(ulong seed) => new()
        {
            Loss = 0.02,
            Duplicate = 0.02,
            Reorder = 0.05,
            Delay = System.TimeSpan.FromMilliseconds(1),
            Jitter = System.TimeSpan.FromMilliseconds(0.5),
            Seed = seed,
        };
        lab.Stack.Impair(Lab.Device, Bad(1), Bad(2));
        using Pair pair = await Pair.ByUsAsync(lab);
        Task<(long, string)> here = Traffic.OnThread(() => Traffic.Drain(b => pair.Ours.Receive(b)));
        Task<(long, string)> there = Traffic.OnThread(() => Traffic.Drain(b => pair.Kernel.Receive(b)));
        string fromHere = await Traffic.OnThread(() => Traffic.Pump(d => pair.Ours.Send(d), bytes, 5));
        pair.Ours.Shutdown(SocketShutdown.Send);
        Assert.Equal((bytes, fromHere), await there);
        string fromThere = await Traffic.OnThread(() => Traffic.Pump(d => pair.KernelSend(d), bytes, 6));
        pair.Kernel.Shutdown(SocketShutdown.Send);
        Assert.Equal((bytes, fromThere), await here);
        Assert.True(pair.Ours.GetInfo().TotalRetransmits > 0, "the link was bad, so something was sent again");
    }
}
