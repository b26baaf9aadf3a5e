namespace Millrace.Conformance;

/// <summary>Loss that duplicate acknowledgments show. RFC 5681 §3.2, RFC 6675, RFC 8985.</summary>
public sealed class FastRetransmitStories
{
    [Fact]
    public void Third_duplicate_ack_retransmits_the_hole_before_the_timer()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(4000);
        tcp.Sends("1:1001 ack 1", "1001:2001 ack 1", "2001:3001 ack 1", "3001:4001 ack 1");
        tcp.After(100);
        tcp.Gets("ack 1 <sack 1001:2001>", "ack 1 <sack 1001:3001>", "ack 1 <sack 1001:4001>");
        tcp.Sends("1:1001 ack 1");
        Assert.Equal(0, tcp.Info.TotalRto);
    }
}
