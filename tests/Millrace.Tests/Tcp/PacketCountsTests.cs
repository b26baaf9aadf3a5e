using Millrace.Buffers;
using Millrace.Tcp;

namespace Millrace.Tests.Tcp;

public sealed class PacketCountsTests
{
    [Fact]
    public void In_flight_is_what_is_out_and_neither_delivered_nor_lost_and_what_was_sent_again()
    {
        var p = new PacketCounts { Out = 10, Sacked = 3, Lost = 4, Retrans = 2 };
        Assert.Equal((7u, 5u), (p.Left, p.InFlight));
    }

    [Fact]
    public void A_buffer_is_lost_once_and_its_retransmission_again()
    {
        var p = new PacketCounts { Out = 5 };
        var tcp = new TcpControlBlock { Segments = 2 };
        Assert.Equal(0u, p.MarkLost(ref tcp));
        Assert.Equal(0u, p.MarkLost(ref tcp));
        Assert.Equal((2u, 2u), (p.Lost, p.TotalLost));
        tcp.Sacked |= SackedFlags.Retrans;
        p.Retrans += 2;
        Assert.Equal(2u, p.MarkLost(ref tcp));
        Assert.Equal((2u, 0u, 4u), (p.Lost, p.Retrans, p.TotalLost));
        Assert.Equal(SackedFlags.Lost | SackedFlags.EverRetrans | SackedFlags.Repaired, tcp.Sacked);
    }

    [Fact]
    public void A_buffer_that_makes_fewer_packets_changes_every_count_that_it_is_in()
    {
        var p = new PacketCounts { Out = 10, Sacked = 4, Lost = 4, Retrans = 4 };
        p.Shrink(SackedFlags.Lost | SackedFlags.SackedRetrans, 2, hasSack: true);
        Assert.Equal((8u, 4u, 2u, 2u), (p.Out, p.Sacked, p.Lost, p.Retrans));
        p.Shrink(SackedFlags.SackedAcked, -1, hasSack: true);
        Assert.Equal((9u, 5u), (p.Out, p.Sacked));
    }

    [Fact]
    public void Without_SACK_there_is_always_one_hole()
    {
        var p = new PacketCounts { Out = 4 };
        Assert.Equal(2u, p.AddReno(2, out bool reordered));
        Assert.False(reordered);
        Assert.Equal(1u, p.AddReno(5, out reordered));
        Assert.True(reordered);
        Assert.Equal(3u, p.Sacked);
        Assert.Equal(0u, p.AddReno(1, out reordered));
        Assert.True(reordered);
    }

    [Fact]
    public void Without_SACK_an_ACK_delivers_the_hole_and_what_no_duplicate_stood_for()
    {
        // Five out, three duplicates counted, all acknowledged: two were not counted.
        var p = new PacketCounts { Out = 0, Sacked = 3 };
        Assert.Equal(2u, p.RemoveReno(5, out _));
        Assert.Equal(0u, p.Sacked);
        p = new PacketCounts { Out = 8, Sacked = 3 };
        Assert.Equal(1u, p.RemoveReno(2, out bool reordered));
        Assert.False(reordered);
        Assert.Equal(2u, p.Sacked);
    }
}
