namespace Millrace.Conformance;

/// <summary>Slow start that ends before it overshoots. Ha and Rhee, "Taming the elephants"; Linux: hystart_update.</summary>
public sealed class HystartStories
{
    // Rounds of slow start, the ACK of each segment of a round at once; the window is 20 after the first.
    private static void Round(Story tcp, int rtt)
    {
        long from = tcp.Peer.LocalNext - tcp.Info.Unacked * 1000, to = tcp.Peer.LocalNext;
        tcp.After(rtt);
        for (long ack = from + 1000; ack <= to; ack += 1000)
            tcp.Gets($"ack {ack}");
        tcp.Drain();
    }

    private static Story Sending()
    {
        Story tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.SndBuf, 1_000_000);
        tcp.App.Write(400_000);
        tcp.Drain();
        Round(tcp, 50);
        Round(tcp, 50);
        return tcp;
    }

    [Fact]
    public void A_round_trip_that_grows_by_an_eighth_ends_slow_start()
    {
        using Story tcp = Sending();
        Assert.Equal(40u, tcp.Info.SendCwnd);
        Round(tcp, 70);
        Assert.Equal(1, tcp.Counter("TcpExtTCPHystartDelayDetect"));
        // The first eight samples of the round let the window grow, and the ninth is the judge.
        Assert.Equal(tcp.Info.SendSsthresh, (uint)tcp.Counter("TcpExtTCPHystartDelayCwnd"));
        Assert.InRange(tcp.Info.SendSsthresh, 48u, 49u);
        Assert.Equal(0, tcp.Counter("TcpExtTCPHystartTrainDetect"));
    }

    [Fact]
    public void One_that_stays_does_not()
    {
        using Story tcp = Sending();
        Round(tcp, 50);
        Assert.Equal(80u, tcp.Info.SendCwnd);
        Assert.Equal(0, tcp.Counter("TcpExtTCPHystartDelayDetect"));
        Assert.True(tcp.Info.SendSsthresh > 1_000_000);
    }

    [Fact]
    public void A_train_of_ACKs_as_long_as_half_the_round_trip_ends_slow_start()
    {
        using var tcp = Story.Established(mss: 1000, settings: new StorySettings { NeedsExactTime = true });
        tcp.App.Set(Opt.Socket, Opt.SndBuf, 1_000_000);
        tcp.App.Write(400_000);
        tcp.Drain();
        Round(tcp, 50);
        Round(tcp, 50);
        tcp.After(50);
        long ack = tcp.Peer.LocalNext - tcp.Info.Unacked * 1000;
        int acks = 0;
        while (tcp.Counter("TcpExtTCPHystartTrainDetect") == 0 && acks < 60)
        {
            ack += 1000;
            acks++;
            tcp.Gets($"ack {ack}");
            tcp.After(1);
        }
        // 25 ms, and the millisecond for super-packets at most.
        Assert.InRange(acks, 26, 29);
        Assert.Equal(tcp.Info.SendSsthresh, (uint)tcp.Counter("TcpExtTCPHystartTrainCwnd"));
        Assert.Equal(0, tcp.Counter("TcpExtTCPHystartDelayDetect"));
    }
}
