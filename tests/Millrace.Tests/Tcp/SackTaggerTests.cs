using Millrace.Buffers;
using Millrace.Tcp;
using Millrace.Wire;

namespace Millrace.Tests.Tcp;

public sealed class SackTaggerTests
{
    [Fact]
    public void What_a_block_covers_is_marked_counted_and_out_of_the_sending_order()
    {
        using var f = new SentFlight();
        f.Send(1000, at: 10);
        SkBuff second = f.Send(1000, at: 20);
        f.Send(1000, at: 30);
        f.Sack(100, (1001, 2001));
        Assert.Equal("1:1001 1001:2001S 2001:3001", f.Board);
        Assert.Equal((3u, 1u), (f.Packets.Out, f.Packets.Sacked));
        Assert.Equal(1u, f.Rate.Delivered);
        Assert.False(f.Recovery.Sent.Contains(second));
        Assert.Equal(new SeqNumber(2001), f.Recovery.HighestSackSeq(f.Packets, f.Snd));
        Assert.True(f.Ack.Has(AckFlags.DataSacked));
        Assert.Equal((20, 20), (f.Ack.FirstSackTime, f.Ack.LastSackTime));
    }

    [Fact]
    public void Part_of_a_segment_counts_for_nothing()
    {
        using var f = new SentFlight();
        f.Send(1000);
        f.Send(1000);
        f.Sack(100, (1001, 1900));
        Assert.Equal("1:1001 1001:2001", f.Board);
        Assert.Equal(0u, f.Packets.Sacked);
    }

    [Fact]
    public void A_buffer_of_many_segments_is_cut_where_the_block_begins_and_ends()
    {
        using var f = new SentFlight();
        f.Send(5000);
        f.Sack(100, (2001, 4001));
        Assert.Equal("1:2001 2001:4001S 4001:5001", f.Board);
        Assert.Equal((5u, 2u), (f.Packets.Out, f.Packets.Sacked));
        Assert.Equal(2 * Segmentation.Overhead, f.Charged);
    }

    [Fact]
    public void Cuts_are_made_between_segments_only()
    {
        using var f = new SentFlight();
        f.Send(5000);
        // From the middle of the second segment to the middle of the fourth: only the third is whole.
        f.Sack(100, (1501, 3501));
        Assert.Equal("1:2001 2001:3001S 3001:5001", f.Board);
        Assert.Equal(1u, f.Packets.Sacked);
    }

    [Fact]
    public void Neighbours_that_are_SACKed_one_after_the_other_become_one_buffer()
    {
        using var f = new SentFlight();
        for (int i = 0; i < 4; i++)
            f.Send(1000);
        f.Sack(100, (1001, 2001));
        f.Sack(110, (1001, 3001));
        Assert.Equal("1:1001 1001:3001S 3001:4001", f.Board);
        Assert.Equal(2u, f.Packets.Sacked);
        // The merged buffer's own overhead is given back.
        Assert.Equal(-Segmentation.Overhead, f.Charged);
        f.Sack(120, (1001, 4001));
        Assert.Equal("1:1001 1001:4001S", f.Board);
        Assert.Equal(3u, f.Packets.Sacked);
    }

    [Fact]
    public void A_hole_that_is_filled_joins_both_sides()
    {
        using var f = new SentFlight();
        for (int i = 0; i < 4; i++)
            f.Send(1000);
        f.Sack(100, (3001, 4001), (1001, 2001));
        f.Sack(110, (1001, 4001));
        Assert.Equal("1:1001 1001:4001S", f.Board);
        Assert.Equal(3u, f.Packets.Sacked);
    }

    [Fact]
    public void What_fills_a_hole_below_the_highest_SACK_was_overtaken()
    {
        using var f = new SentFlight();
        for (int i = 0; i < 4; i++)
            f.Send(1000);
        f.Sack(100, (3001, 4001));
        Assert.Equal(f.Snd.Nxt, f.Ack.Reordered);
        f.Sack(110, (1001, 2001), (3001, 4001));
        Assert.Equal(new SeqNumber(1001), f.Ack.Reordered);
    }

    [Fact]
    public void A_retransmission_that_is_SACKed_says_nothing_of_the_order_and_gives_no_time()
    {
        using var f = new SentFlight();
        f.Send(1000);
        SkBuff second = f.Send(1000);
        f.Send(1000);
        f.Sack(100, (2001, 3001));
        f.Lose(second);
        f.Retransmit(second, at: 200);
        Assert.Equal("1:1001 1001:2001LR 2001:3001S", f.Board);
        f.Sack(300, (1001, 3001));
        Assert.Equal("1:1001 1001:2001S 2001:3001S", f.Board);
        Assert.Equal((0u, 0u, 2u), (f.Packets.Lost, f.Packets.Retrans, f.Packets.Sacked));
        Assert.Equal(f.Snd.Nxt, f.Ack.Reordered);
        Assert.Equal(0, f.Ack.FirstSackTime);
        // RACK has learned from it: 100 µs after it was sent again.
        Assert.Equal((200, 100u), (f.Recovery.Rack.SentTime, f.Recovery.Rack.RttUs));
    }

    [Fact]
    public void Data_from_before_the_recovery_point_tells_FRTO_that_the_original_arrived()
    {
        using var f = new SentFlight();
        f.Send(1000);
        f.Send(1000);
        f.Recovery.RecoveryPoint = new SeqNumber(2001);
        f.Sack(100, (1001, 2001));
        Assert.True(f.Ack.Has(AckFlags.OrigSackAcked));
        f.Send(1000);
        f.Sack(110, (2001, 3001));
        Assert.False(f.Ack.Has(AckFlags.OrigSackAcked));
    }

    [Fact]
    public void A_DSACK_of_a_retransmission_counts_it_as_needless()
    {
        using var f = new SentFlight();
        f.Send(1000);
        SkBuff second = f.Send(1000);
        f.Send(1000);
        f.Recovery.Undo.Start(f.Snd.Una, f.Packets.Retrans);
        f.Lose(second);
        f.Retransmit(second, at: 50);
        f.Sack(100, (1001, 3001));
        Assert.Equal(1, f.Recovery.Undo.Retransmits);
        // RFC 2883 §4.2: the duplicate, and the block that holds it.
        f.Sack(110, duplicate: true, (1001, 2001), (1001, 3001));
        Assert.Equal(0, f.Recovery.Undo.Retransmits);
        Assert.True(f.Recovery.Undo.AllWereDuplicates);
    }

    [Fact]
    public void What_was_said_already_is_not_walked_again_but_what_is_new_is()
    {
        using var f = new SentFlight();
        for (int i = 0; i < 6; i++)
            f.Send(1000);
        f.Sack(100, (2001, 3001));
        f.Sack(110, (1001, 4001));
        Assert.Equal((3u, 3u), (f.Packets.Sacked, f.Rate.Delivered));
        f.Sack(120, (1001, 4001), (5001, 6001));
        Assert.Equal((4u, 4u), (f.Packets.Sacked, f.Rate.Delivered));
        Assert.Equal("1:1001 1001:2001S 2001:4001S 4001:5001 5001:6001S", f.Board);
    }
}
