using System;
using System.Collections.Generic;
using System.Linq;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Sched;

namespace Millrace.Tests.Devices;

/// <summary>What the layer does to many packets is what its numbers say, and the same for the same seed.</summary>
public sealed class ImpairmentLayerTests
{
    private const int Packets = 20_000;

    private static List<(int Id, long At, byte[] Bytes)> Run(ImpairmentOptions options, int spacing = 10)
    {
        using var test = new TestCpu();
        var netRx = new NetRx(1);
        var sink = new Sink(test);
        sink.Attach(netRx, test.Set);
        sink.Wrap(new ImpairmentLayer(options, null));
        for (int i = 0; i < Packets; i++)
        {
            SkBuff skb = test.Payload([.. BitConverter.GetBytes(i), 0, 0, 0, 0, 0, 0, 0, 0]);
            test.Cpu.BhDisable();
            sink.Transmit(test.Cpu, skb);
            test.Cpu.BhEnable();
            test.AdvanceTo(test.Host.Now + new Micros(spacing));
        }
        test.AdvanceTo(test.Host.Now + Micros.FromSeconds(10));
        return sink.Out;
    }

    [Theory]
    [InlineData(0.02)]
    [InlineData(0.3)]
    public void Loss_is_as_frequent_as_asked(double loss)
    {
        int got = Run(new ImpairmentOptions { Loss = loss, Seed = 5 }).Count;
        AssertNear(Packets * (1 - loss), got);
    }

    [Fact]
    public void Duplicates_come_twice_and_as_often_as_asked()
    {
        List<(int Id, long, byte[])> got = Run(new ImpairmentOptions { Duplicate = 0.1, Seed = 5 });
        AssertNear(Packets * 1.1, got.Count);
        Assert.Equal(Packets, got.Select(p => p.Id).Distinct().Count());
    }

    [Fact]
    public void Corruption_flips_one_bit()
    {
        List<(int Id, long, byte[] Bytes)> got = Run(new ImpairmentOptions { Corrupt = 0.1, Seed = 5 });
        int changed = 0;
        for (int i = 0; i < Packets; i++)
        {
            byte[] sent = [.. BitConverter.GetBytes(i), 0, 0, 0, 0, 0, 0, 0, 0];
            int bits = 0;
            for (int b = 0; b < sent.Length; b++)
                bits += System.Numerics.BitOperations.PopCount((uint)(sent[b] ^ got[i].Bytes[b]));
            Assert.InRange(bits, 0, 1);
            changed += bits;
        }
        AssertNear(Packets * 0.1, changed);
    }

    [Fact]
    public void Reordered_packets_overtake_the_delayed_ones()
    {
        List<(int Id, long, byte[])> got = Run(new ImpairmentOptions { Delay = TimeSpan.FromMilliseconds(1), Reorder = 0.1, Seed = 5 });
        int overtakers = 0, highest = -1;
        foreach ((int id, long _, byte[] _) in got)
        {
            overtakers += id < highest ? 1 : 0;
            highest = Math.Max(highest, id);
        }
        Assert.Equal(Packets, got.Count);
        Assert.InRange(overtakers, Packets / 2, Packets);
    }

    [Fact]
    public void Delay_and_jitter_stay_in_their_bounds()
    {
        List<(int Id, long At, byte[])> got = Run(new ImpairmentOptions { Delay = TimeSpan.FromMilliseconds(5), Jitter = TimeSpan.FromMilliseconds(2), Seed = 5 });
        double sum = 0;
        foreach ((int id, long at, byte[] _) in got)
        {
            long delay = at - (10L * id);
            Assert.InRange(delay, 3000, 7010);
            sum += delay;
        }
        Assert.InRange(sum / Packets, 4900, 5110);
    }

    [Fact]
    public void A_rate_spaces_packets_and_a_full_queue_drops()
    {
        // 12 bytes at 96 kbit/s take a millisecond; they come a hundred times as fast, and the queue holds ten.
        List<(int Id, long At, byte[])> got = Run(new ImpairmentOptions { Rate = 96_000, QueueBytes = 120, Seed = 5 });
        for (int i = 1; i < got.Count; i++)
            Assert.True(got[i].At - got[i - 1].At >= 1000);
        Assert.InRange(got.Count, Packets / 100, (Packets / 100) + 20);
    }

    [Fact]
    public void The_same_seed_does_the_same()
    {
        var options = new ImpairmentOptions { Loss = 0.1, Duplicate = 0.1, Jitter = TimeSpan.FromMilliseconds(1), Seed = 9 };
        Assert.Equal(Run(options).Select(p => (p.Id, p.At)), Run(options).Select(p => (p.Id, p.At)));
        options.Seed++;
        Assert.NotEqual(Run(options).Select(p => p.Id), Run(new ImpairmentOptions { Loss = 0.1, Seed = 9 }).Select(p => p.Id));
    }

    // Five standard deviations of a binomial: with a fixed seed it holds once for all.
    private static void AssertNear(double expected, int actual) =>
        Assert.InRange(actual, expected - (5 * Math.Sqrt(Packets * 0.25)), expected + (5 * Math.Sqrt(Packets * 0.25)));

    private sealed class Sink(TestCpu test) : NetDevice("sink", 1500)
    {
        public List<(int Id, long At, byte[] Bytes)> Out { get; } = [];

        public override void StartXmit(Cpu cpu, SkBuff skb)
        {
            var bytes = new byte[skb.Length];
            skb.CopyTo(0, bytes);
            Out.Add((BitConverter.ToInt32(bytes), test.Host.Now.Value, bytes));
            cpu.FreeSkb(skb);
        }
    }
}
