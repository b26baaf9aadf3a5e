using System;
using System.Collections.Generic;
using System.Text;

namespace Millrace.Conformance;

/// <summary>BBR version 1. draft-cardwell-iccrg-bbr-congestion-control-00.</summary>
public sealed class BbrStories
{
    private static Story Established(bool exactTime = false) => Story.Established(mss: 1000,
        settings: new StorySettings { NeedsExactTime = exactTime }, prepare: static app => app.UseCongestion("bbr"));

    // Sends over a path that delivers a segment each millisecond and is 50 ms long, there and back.
    private static void Run(Story tcp, int milliseconds)
    {
        const int roundTrip = 50, perSegment = 1;
        var path = new Queue<(long End, int Delivered)>();
        int last = 0;
        for (int now = 0; now < milliseconds; now++)
        {
            tcp.App.TryWrite(50_000);
            foreach (Segment sent in tcp.Drain())
            {
                last = Math.Max(last + perSegment, now + roundTrip);
                path.Enqueue(((sent.Seq ?? 0) + sent.Length, last));
            }
            while (path.TryPeek(out (long End, int Delivered) first) && first.Delivered <= now)
            {
                path.Dequeue();
                tcp.Gets($"ack {first.End}");
            }
            tcp.After(1);
        }
        tcp.Drain();
    }

    [Fact]
    public void It_is_there_by_name()
    {
        using Story tcp = Established();
        var name = new byte[16];
        tcp.Backend.GetOption(tcp.App.Fd, Opt.Tcp, Opt.Congestion, name);
        Assert.Equal("bbr", Encoding.ASCII.GetString(name).TrimEnd('\0'));
    }

    [Fact]
    public void A_loss_does_not_reduce_the_window()
    {
        using Story tcp = Established();
        tcp.App.Write(10_000);
        tcp.After(40);
        tcp.Drain();
        tcp.After(20);
        tcp.Gets("ack 1 <sack 1001:10001>");
        tcp.Drain();
        tcp.After(50);
        tcp.Gets("ack 10001");
        Assert.True(tcp.Info.SendCwnd >= 10);
        Assert.True(tcp.Info.SendSsthresh > 1000);
    }

    [Fact]
    public void Startup_doubles_what_is_in_flight_each_round_trip()
    {
        using Story tcp = Established();
        tcp.App.TryWrite(100_000);
        tcp.After(40);
        int first = tcp.Drain().Count;
        tcp.After(20);
        tcp.Gets($"ack {tcp.Peer.LocalNext}");
        tcp.After(40);
        int second = tcp.Drain().Count;
        Assert.InRange(first, 10, 10);
        Assert.InRange(second, 18, 22);
    }

    [Fact]
    public void It_finds_the_bandwidth_and_keeps_the_queue_short()
    {
        using Story tcp = Established(exactTime: true);
        Run(tcp, 1500);
        TcpInfo info = tcp.Info;
        // A thousand segments of a thousand bytes a second; twice the product of that and 50 ms is about 100 segments.
        Assert.InRange(info.DeliveryRate, 900_000u, 1_300_000u);
        Assert.InRange(info.SendCwnd, 60u, 180u);
    }

    [Fact]
    public void TCP_CC_INFO_tells_bandwidth_and_round_trip()
    {
        using Story tcp = Established(exactTime: true);
        Run(tcp, 600);
        var info = new byte[20];
        const int ccInfo = 26;
        Assert.Equal(20, tcp.Backend.GetOption(tcp.App.Fd, Opt.Tcp, ccInfo, info).Value);
        Assert.InRange(BitConverter.ToUInt64(info), 500_000u, 1_500_000u);
        Assert.InRange(BitConverter.ToUInt32(info, 8), 45_000u, 80_000u);
    }
}
