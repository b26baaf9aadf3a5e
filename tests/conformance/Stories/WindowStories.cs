using System;
using System.Collections.Generic;
using System.Linq;

namespace Millrace.Conformance;

/// <summary>The window that the stack offers. RFC 9293 §3.8.6, RFC 1122 §4.2.3.3, RFC 7323 §2; autotuning is Linux's.</summary>
public sealed class WindowStories
{
    // Sends as much as the stack lets in. The next sequence number.
    private static long FillWindow(Story tcp)
    {
        long next = 1;
        int window = 1000;
        while (window > 0)
        {
            tcp.Gets($"{next}:{next + System.Math.Min(window, 1000)} ack 1");
            Segment ack = tcp.Peer.Next(500).Segment;
            Assert.NotEqual(next, ack.Ack);
            (next, window) = (ack.Ack ?? 0, ack.Window ?? 0);
        }
        return next;
    }

    [Fact]
    public void The_offered_window_shrinks_by_what_waits_to_be_read()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("1:1001 ack 1");
        int first = tcp.Peer.TakeOne().Window ?? 0;
        for (int i = 1; i < 40; i++)
            tcp.Gets($"{1 + i * 1000}:{1001 + i * 1000} ack 1");
        Assert.True(tcp.Drain()[^1].Window < first);
    }

    [Fact]
    public void The_right_edge_never_moves_left()
    {
        using var tcp = Story.Established(mss: 1000);
        long edge = 0;
        for (int i = 0; i < 100; i++)
        {
            tcp.Gets($"{1 + i * 1000}:{1001 + i * 1000} ack 1");
            foreach (Segment ack in tcp.Drain())
            {
                long right = (ack.Ack ?? 0) + ((ack.Window ?? 0) << 7);
                Assert.True(right >= edge, $"{right} after {edge}");
                edge = right;
            }
        }
    }

    [Fact]
    public void A_full_buffer_closes_the_window_and_reading_opens_it()
    {
        using var tcp = Story.Established(mss: 1000, prepare: static app => app.Set(Opt.Socket, Opt.RcvBuf, 8192));
        FillWindow(tcp);
        tcp.App.ReadAll();
        Assert.True(tcp.Drain()[^1].Window > 0);
    }

    [Fact]
    public void The_window_counts_the_memory_that_packets_take_and_not_their_bytes()
    {
        var settings = new StorySettings { Sysctls = { ["tcp_shrink_window"] = "1", ["tcp_rmem"] = "4096 32768 60000" } };
        using var tcp = Story.Established(mss: 1000, wscale: 0, settings: settings);
        var windows = new List<int>();
        long next = 1;
        foreach (int length in (ReadOnlySpan<int>)[10_000, 1000, 100, 100, 100, 1000, 300, 400])
        {
            tcp.Gets($"P. {next}:{next + length} ack 1");
            next += length;
            tcp.After(250);
            windows.AddRange(tcp.Drain().Select(static s => s.Window ?? 0));
        }
        Assert.Equal([125, 111, 111, 111, 111, 97, 97, 89], windows);
    }

    [Fact]
    public void A_probe_of_a_closed_window_is_answered_and_its_byte_is_not_taken()
    {
        using var tcp = Story.Established(mss: 1000, prepare: static app => app.Set(Opt.Socket, Opt.RcvBuf, 8192));
        long next = FillWindow(tcp);
        tcp.Gets($"{next}:{next + 1} ack 1");
        Segment answer = Assert.Single(tcp.Drain());
        Assert.Equal((next, 0), (answer.Ack, answer.Window));
    }

    [Fact]
    public void A_small_read_of_a_full_buffer_sends_no_update()
    {
        using var tcp = Story.Established(mss: 1000, prepare: static app => app.Set(Opt.Socket, Opt.RcvBuf, 8192));
        FillWindow(tcp);
        tcp.App.Read(10);
        tcp.SendsNothing();
    }

    [Fact]
    public void Reading_much_sends_an_update_when_the_window_has_opened_enough()
    {
        using var tcp = Story.Established(mss: 1000);
        for (int i = 0; i < 60; i++)
            tcp.Gets($"{1 + i * 1000}:{1001 + i * 1000} ack 1");
        tcp.Drain();
        tcp.App.ReadAll();
        Segment update = tcp.Peer.TakeOne();
        Assert.Equal(60_001, update.Ack);
        Assert.True(update.Window << 7 > 32_000);
    }

    [Fact]
    public void TCP_WINDOW_CLAMP_bounds_the_offered_window()
    {
        using var tcp = Story.Listening(prepare: static app => app.Set(Opt.Tcp, Opt.WindowClamp, 20_000));
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 win 18980 <mss 1460>");
    }

    [Fact]
    public void SO_RCVBUF_sets_the_window_of_the_syn_ack()
    {
        using var tcp = Story.Listening(prepare: static app => app.Set(Opt.Socket, Opt.RcvBuf, 16384));
        tcp.Gets("S 0:0 win 65535 <mss 1460, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 win 16060 <mss 1460, nop, wscale 0>");
    }

    [Fact]
    public void A_large_receive_buffer_makes_a_large_window_scale()
    {
        using var tcp = Story.Listening(new StorySettings { Sysctls = { ["tcp_rmem"] = "4096 540000 15728640" } });
        tcp.Gets("S 0:0 win 65535 <mss 1460, sackOK, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 win 65535 <mss 1460, nop, nop, sackOK, nop, wscale 8>");
        tcp.Gets("1:1001 ack 1");
        tcp.Sends("ack 1001 win 1046");
    }

    [Fact]
    public void The_receive_buffer_grows_with_what_is_read_in_a_round_trip()
    {
        using var tcp = Story.Established(mss: 1460, ts: true, rtt: 20);
        int before = tcp.App.Get(Opt.Socket, Opt.RcvBuf);
        long next = 1;
        for (int round = 0; round < 20; round++)
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
        TcpInfo info = tcp.Info;
        int after = tcp.App.Get(Opt.Socket, Opt.RcvBuf);
        Assert.True(after > before, $"{before} {after}, {info.ReceiveRtt} us, {info.ReceiveSpace} bytes");
    }

    [Fact]
    public void A_locked_receive_buffer_does_not_grow()
    {
        using var tcp = Story.Established(mss: 1460, ts: true, rtt: 20, prepare: static app => app.Set(Opt.Socket, Opt.RcvBuf, 100_000));
        int before = tcp.App.Get(Opt.Socket, Opt.RcvBuf);
        long next = 1;
        for (int round = 0; round < 6; round++)
        {
            for (int i = 0; i < 40; i++)
            {
                tcp.Gets($"{next}:{next + 1448} ack 1");
                next += 1448;
            }
            tcp.App.ReadAll();
            tcp.Drain();
            tcp.After(20);
        }
        Assert.Equal(before, tcp.App.Get(Opt.Socket, Opt.RcvBuf));
    }

    [Fact]
    public void The_send_buffer_grows_with_the_window()
    {
        using var tcp = Story.Established(mss: 1000, settings: new StorySettings { Sysctls = { ["tcp_wmem"] = "4096 16384 4194304" } });
        int before = tcp.App.Get(Opt.Socket, Opt.SndBuf);
        for (int round = 0; round < 6; round++)
        {
            tcp.App.TryWrite(200_000);
            tcp.Drain();
            tcp.After(50);
            tcp.Gets($"ack {tcp.Peer.LocalNext}");
        }
        Assert.True(tcp.App.Get(Opt.Socket, Opt.SndBuf) > before);
    }

    [Fact]
    public void A_segment_that_ends_beyond_the_window_is_dropped_while_data_waits_to_be_read()
    {
        using var tcp = Story.Established(mss: 1000, wscale: null);
        tcp.Gets("1:1001 ack 1");
        int window = tcp.Peer.TakeOne().Window ?? 0;
        tcp.Gets($"1001:{1001 + window + 100} ack 1");
        tcp.Sends("ack 1001");
        tcp.App.Read(1000);
    }

    [Fact]
    public void Many_tiny_segments_are_collapsed_rather_than_lost()
    {
        using var tcp = Story.Established(mss: 1000, prepare: static app => app.Set(Opt.Socket, Opt.RcvBuf, 16384));
        for (int i = 0; i < 400; i++)
            tcp.Gets($"{1 + i * 10}:{11 + i * 10} ack 1");
        tcp.After(50);
        tcp.Drain();
        Assert.Equal(4000, tcp.App.ReadAll());
    }

    [Fact]
    public void Early_segments_are_given_up_when_memory_is_short()
    {
        using var tcp = Story.Established(mss: 1000, prepare: static app => app.Set(Opt.Socket, Opt.RcvBuf, 4096));
        for (int i = 1; i < 200; i++)
            tcp.Gets($"{1 + i * 20}:{11 + i * 20} ack 1");
        tcp.Drain();
        Assert.True(tcp.Counter("TcpExtOfoPruned") + tcp.Counter("TcpExtTCPOFODrop") + tcp.Counter("TcpExtTCPRcvCollapsed") > 0);
    }
}
