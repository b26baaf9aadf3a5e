using Millrace.Buffers;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class LossRecoveryTests
{
    [Fact]
    public void RACK_takes_for_lost_what_was_sent_before_something_that_was_delivered()
    {
        using var f = new SentFlight();
        SkBuff first = f.Send(1000, at: 0);
        f.Send(1000, at: 10);
        f.Send(1000, at: 20);
        f.Sack(1020, (2001, 3001));
        Assert.Equal(1000u, f.Recovery.Rack.RttUs);
        // RFC 8985 §6.2 step 5: RACK.rtt + reordering window after its sending. The first has 250 − 20 left.
        Assert.Equal(240, f.Recovery.DetectLosses(f.Cpu, window: 250, now: 1020, ref f.Packets));
        Assert.Equal("1:1001 1001:2001 2001:3001S", f.Board);
        Assert.Equal(10, f.Recovery.DetectLosses(f.Cpu, window: 250, now: 1250, ref f.Packets));
        Assert.Equal("1:1001L 1001:2001 2001:3001S", f.Board);
        Assert.False(f.Recovery.Sent.Contains(first));
        Assert.Equal(0, f.Recovery.DetectLosses(f.Cpu, window: 250, now: 1260, ref f.Packets));
        Assert.Equal("1:1001L 1001:2001L 2001:3001S", f.Board);
        Assert.Equal((2u, 0u), (f.Packets.Lost, f.Packets.InFlight));
    }

    [Fact]
    public void What_was_sent_after_the_latest_delivery_is_not_looked_at()
    {
        using var f = new SentFlight();
        f.Send(1000, at: 0);
        f.Send(1000, at: 10);
        f.Send(1000, at: 20);
        f.Sack(1000, (1001, 2001));
        Assert.Equal(0, f.Recovery.DetectLosses(f.Cpu, window: 0, now: 100_000, ref f.Packets));
        Assert.Equal("1:1001L 1001:2001S 2001:3001", f.Board);
    }

    [Fact]
    public void A_retransmission_is_lost_like_any_packet()
    {
        using var f = new SentFlight();
        SkBuff first = f.Send(1000, at: 0);
        f.Send(1000, at: 10);
        f.Lose(first);
        f.Retransmit(first, at: 500);
        f.Send(1000, at: 600);
        f.Sack(1600, (2001, 3001));
        f.Recovery.DetectLosses(f.Cpu, window: 0, now: 1600, ref f.Packets);
        Assert.Equal("1:1001L 1001:2001L 2001:3001S", f.Board);
        Assert.Equal((2u, 0u, 3u), (f.Packets.Lost, f.Packets.Retrans, f.Packets.TotalLost));
        Assert.Same(first, f.Recovery.RetransmitHint);
    }

    [Fact]
    public void A_timeout_takes_the_head_for_lost_and_what_is_as_old()
    {
        using var f = new SentFlight();
        f.Send(1000, at: 0);
        f.Send(1000, at: 10);
        f.Send(1000, at: 900);
        f.Recovery.Rack.RttUs = 500;
        Assert.False(f.Recovery.MarkAllLost(f.Cpu, now: 1000, ref f.Packets, hasSack: true));
        Assert.Equal("1:1001L 1001:2001L 2001:3001", f.Board);
    }

    [Fact]
    public void A_receiver_that_has_thrown_away_what_it_SACKed_is_believed_nothing()
    {
        using var f = new SentFlight();
        SkBuff first = f.Send(1000, at: 0);
        f.Send(1000, at: 10);
        f.Send(1000, at: 900);
        f.Sack(950, (1001, 2001));
        f.Recovery.Complete(first);
        f.Packets.Out--;
        f.Recovery.Rack.RttUs = 500;
        Assert.True(f.Recovery.MarkAllLost(f.Cpu, now: 1000, ref f.Packets, hasSack: true));
        Assert.Equal("1001:2001L 2001:3001L", f.Board);
        Assert.Equal((2u, 0u, 2u), (f.Packets.Out, f.Packets.Sacked, f.Packets.Lost));
        Assert.Same(f.Recovery.Queue.First, f.Recovery.HighestSack);
    }

    [Fact]
    public void An_undo_takes_all_marks_off_and_puts_the_buffers_back_in_order()
    {
        using var f = new SentFlight();
        SkBuff first = f.Send(1000, at: 0);
        f.Send(1000, at: 10);
        f.Lose(first);
        f.Recovery.Sent.Remove(first);
        f.Recovery.UnmarkLost(ref f.Packets);
        Assert.Equal("1:1001 1001:2001", f.Board);
        Assert.Equal(0u, f.Packets.Lost);
        Assert.Same(first, f.Recovery.Sent.Last);
        Assert.Null(f.Recovery.RetransmitHint);
    }

    [Fact]
    public void Small_neighbours_become_one_buffer_and_one_packet()
    {
        using var f = new SentFlight();
        SkBuff a = f.Send(100), b = f.Send(200);
        f.Lose(a);
        f.Lose(b);
        b.Tcp.Flags |= TcpFlags.Fin;
        Assert.True(f.Recovery.TryCollapse(f.Cpu, a, b, ref f.Packets, hasSack: true));
        Assert.Equal("1:301L", f.Board);
        Assert.Equal(TcpFlags.Fin, a.Tcp.Flags);
        Assert.Equal((1u, 1u), (f.Packets.Out, f.Packets.Lost));
        Assert.Equal(300, a.Length);
        Assert.Equal(Segmentation.Overhead, b.TrueSize);
        f.Cpu.FreeSkb(b);
    }

    [Fact]
    public void A_cut_leaves_both_halves_marked_and_in_the_sending_order()
    {
        using var f = new SentFlight();
        SkBuff a = f.Send(3000, at: 5), last = f.Send(1000, at: 6);
        f.Lose(a);
        f.Recovery.Cut(f.Cpu, a, 1000, SentFlight.Mss, f.Snd.Nxt, ref f.Packets, hasSack: true);
        Assert.Equal("1:1001L 1001:3001L 3001:4001", f.Board);
        Assert.Equal((4u, 3u), (f.Packets.Out, f.Packets.Lost));
        Assert.Same(SeqTree.After(a), a.TimeNext);
        Assert.Same(last, a.TimeNext!.TimeNext);
    }

    [Fact]
    public void A_cut_at_another_size_changes_how_many_packets_there_are()
    {
        using var f = new SentFlight();
        SkBuff a = f.Send(3000);
        f.Recovery.Cut(f.Cpu, a, 1000, 500, f.Snd.Nxt, ref f.Packets, hasSack: true);
        Assert.Equal(6u, f.Packets.Out);
    }
}
