namespace Millrace.Conformance;

/// <summary>What happens where memory is short: for one socket, and for all of them. Linux: tcp_prune_queue, tcp_mem, sk_stream_moderate_sndbuf.</summary>
public sealed class MemoryStories
{
    private static StorySettings With(params (string Name, string Value)[] sysctls)
    {
        var settings = new StorySettings();
        foreach ((string name, string value) in sysctls)
            settings.Sysctls[name] = value;
        return settings;
    }

    private static Story Small(int buffer) =>
        Story.Established(mss: 1000, prepare: app => app.Set(Opt.Socket, Opt.RcvBuf, buffer));

    // Those that come backwards are not merged as they come.
    [Fact]
    public void Tiny_segments_are_copied_together_when_the_buffer_is_full()
    {
        using Story tcp = Small(8192);
        for (int i = 60; i > 0; i--)
            tcp.Gets($"{1 + i * 10}:{11 + i * 10} ack 1");
        Assert.True(tcp.Counter("TcpExtPruneCalled") > 0);
        Assert.True(tcp.Counter("TcpExtTCPRcvCollapsed") > 0);
        Assert.Equal(0, tcp.Counter("TcpExtOfoPruned"));
        tcp.Gets("1:11 ack 1");
        Assert.Equal(611, tcp.Drain()[^1].Ack);
        tcp.App.Read(610);
    }

    [Fact]
    public void Early_segments_are_given_up_from_the_far_end_so_that_the_hole_can_be_filled()
    {
        using Story tcp = Small(8192);
        for (int i = 1; i < 200; i++)
            tcp.Gets($"{1 + i * 20}:{11 + i * 20} ack 1");
        tcp.Drain();
        tcp.Gets("1:21 ack 1");
        Segment ack = tcp.Drain()[^1];
        Assert.Equal(31, ack.Ack);
        Assert.True(tcp.Counter("TcpExtPruneCalled") > 0);
        Assert.True(tcp.Counter("TcpExtOfoPruned") > 0);
        tcp.App.Read(30);
    }

    [Fact]
    public void A_buffer_does_not_grow_if_tcp_moderate_rcvbuf_is_off()
    {
        using var tcp = Story.Established(mss: 1460, ts: true, rtt: 20, settings: With(("tcp_moderate_rcvbuf", "0")));
        int before = tcp.App.Get(Opt.Socket, Opt.RcvBuf);
        ReadRounds(tcp, 10);
        Assert.Equal(before, tcp.App.Get(Opt.Socket, Opt.RcvBuf));
    }

    [Fact]
    public void A_buffer_grows_up_to_the_last_number_of_tcp_rmem()
    {
        using var tcp = Story.Established(mss: 1460, ts: true, rtt: 20, settings: With(("tcp_rmem", "4096 131072 150000")));
        ReadRounds(tcp, 20);
        Assert.Equal(150_000, tcp.App.Get(Opt.Socket, Opt.RcvBuf));
    }

    private static void ReadRounds(Story tcp, int rounds)
    {
        long next = 1;
        for (int round = 0; round < rounds; round++)
        {
            for (int i = 0; i < 40; i++)
            {
                tcp.Gets($"{next}:{next + 1448} ack 1");
                tcp.App.Read(1448);
                next += 1448;
            }
            tcp.Drain();
            tcp.After(20);
        }
    }

    [Fact]
    public void A_send_buffer_grows_up_to_the_last_number_of_tcp_wmem()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_wmem", "4096 16384 60000")));
        SendRounds(tcp);
        Assert.Equal(60_000, tcp.App.Get(Opt.Socket, Opt.SndBuf));
    }

    [Fact]
    public void A_send_buffer_that_the_application_has_set_does_not_grow()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_wmem", "4096 16384 4194304")));
        tcp.App.Set(Opt.Socket, Opt.SndBuf, 20_000);
        SendRounds(tcp);
        Assert.Equal(40_000, tcp.App.Get(Opt.Socket, Opt.SndBuf));
    }

    private static void SendRounds(Story tcp)
    {
        for (int round = 0; round < 6; round++)
        {
            tcp.App.TryWrite(200_000);
            tcp.Drain();
            tcp.After(50);
            tcp.Gets($"ack {tcp.Peer.LocalNext}");
        }
    }

    [Fact]
    public void A_write_that_does_not_fit_takes_what_fits_and_the_next_must_wait()
    {
        using var tcp = Story.Established(mss: 1000, wscale: null, win: 1000);
        tcp.App.Set(Opt.Socket, Opt.SndBuf, 20_000);
        SysResult taken = tcp.App.TryWrite(100_000);
        Assert.InRange(taken.Value, 10_000, 40_000);
        tcp.App.WriteFails(Errno.EAGAIN);
        Assert.False(tcp.App.IsWritable);
        Assert.Equal(taken.Value, tcp.App.Ioctl(Opt.SiocOutq));
    }

    [Fact]
    public void Under_pressure_the_window_stays_at_four_segments()
    {
        using var tcp = Story.Established(mss: 1000, settings: With(("tcp_mem", "0 0 100000")));
        GetsAndReads(tcp);
        Assert.Equal(1, tcp.Counter("TcpExtTCPMemoryPressures"));
        Assert.True(tcp.Info.ReceiveSsthresh <= 4 * 1460, $"{tcp.Info.ReceiveSsthresh}");
    }

    [Fact]
    public void Without_pressure_the_same_data_opens_it()
    {
        using var tcp = Story.Established(mss: 1000);
        GetsAndReads(tcp);
        Assert.Equal(0, tcp.Counter("TcpExtTCPMemoryPressures"));
        Assert.True(tcp.Info.ReceiveSsthresh > 60_000, $"{tcp.Info.ReceiveSsthresh}");
    }

    private static void GetsAndReads(Story tcp)
    {
        long next = 1;
        for (int round = 0; round < 20; round++)
        {
            for (int i = 0; i < 5; i++, next += 1000)
                tcp.Gets($"{next}:{next + 1000} ack 1");
            tcp.Drain();
            tcp.App.ReadAll();
        }
    }

    [Fact]
    public void Above_the_last_limit_of_tcp_mem_an_orphan_with_a_full_buffer_is_reset()
    {
        using var tcp = Story.Established(mss: 1000, wscale: null, win: 1000);
        tcp.App.Set(Opt.Socket, Opt.SndBuf, 20_000);
        tcp.App.TryWrite(100_000);
        tcp.Drain();
        tcp.Sysctl("tcp_mem", "1 2 3");
        tcp.App.Close();
        Assert.Contains(tcp.Drain(), static s => s.Has('R'));
        Assert.Equal(1, tcp.Counter("TcpExtTCPAbortOnMemory"));
    }
}
