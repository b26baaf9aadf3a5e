namespace Millrace.Conformance;

/// <summary>Timestamps: echo, TS.Recent and protection against wrapped sequence numbers. RFC 7323.</summary>
public sealed class PawsStories
{
    [Fact]
    public void Every_segment_carries_a_timestamp_and_echoes_the_last()
    {
        using var tcp = Story.Established(ts: true);
        tcp.Gets("1:101 ack 1 <nop, nop, ts val 1234 ecr 0>");
        tcp.Sends("ack 101 <nop, nop, ts val * ecr 1234>");
    }

    [Fact]
    public void An_older_timestamp_is_dropped_and_answered()
    {
        using var tcp = Story.Established(ts: true, mss: 1000);
        tcp.Gets("1:101 ack 1 <nop, nop, ts val 5000 ecr 0>");
        tcp.Sends("ack 101");
        tcp.Gets("101:201 ack 1 <nop, nop, ts val 4000 ecr 0>");
        tcp.Sends("ack 101 <nop, nop, ts val * ecr 5000>");
        Assert.Equal(1, tcp.Counter("TcpExtPAWSEstab"));
        tcp.Gets("101:201 ack 1 <nop, nop, ts val 5001 ecr 0>");
        tcp.Sends("ack 201");
    }

    [Fact]
    public void A_timestamp_one_tick_older_is_tolerated_and_ts_recent_stays()
    {
        using var tcp = Story.Established(ts: true, mss: 1000);
        tcp.Gets("1:101 ack 1 <nop, nop, ts val 5000 ecr 0>");
        tcp.Sends("ack 101");
        tcp.Gets("101:201 ack 1 <nop, nop, ts val 4999 ecr 0>");
        tcp.Sends("ack 201 <nop, nop, ts val * ecr 5000>");
    }

    [Fact]
    public void A_timestamp_two_ticks_older_is_not()
    {
        using var tcp = Story.Established(ts: true, mss: 1000);
        tcp.Gets("1:101 ack 1 <nop, nop, ts val 5000 ecr 0>");
        tcp.Sends("ack 101");
        tcp.Gets("101:201 ack 1 <nop, nop, ts val 4998 ecr 0>");
        tcp.Sends("ack 101 <nop, nop, ts val * ecr 5000>");
    }

    [Fact]
    public void Ts_recent_comes_from_the_segment_at_the_left_edge_not_from_early_ones()
    {
        using var tcp = Story.Established(ts: true, mss: 1000);
        tcp.Gets("1:101 ack 1 <nop, nop, ts val 5000 ecr 0>");
        tcp.Sends("ack 101");
        tcp.Gets("201:301 ack 1 <nop, nop, ts val 6000 ecr 0>");
        tcp.Sends("ack 101 <nop, nop, ts val * ecr 5000, nop, nop, sack 201:301>");
        tcp.Gets("101:201 ack 1 <nop, nop, ts val 5500 ecr 0>");
        tcp.Sends("ack 301 <nop, nop, ts val * ecr 5500>");
    }

    [Fact]
    public void A_segment_without_timestamp_is_accepted()
    {
        using var tcp = Story.Established(ts: true, mss: 1000);
        tcp.Gets("1:101 ack 1 <nots>");
        tcp.Sends("ack 101");
    }

    [Fact]
    public void A_reset_is_believed_whatever_its_timestamp()
    {
        using var tcp = Story.Established(ts: true, mss: 1000);
        tcp.Gets("1:101 ack 1 <nop, nop, ts val 5000 ecr 0>");
        tcp.Sends("ack 101");
        tcp.Gets("R 101:101 <nop, nop, ts val 1 ecr 0>");
        tcp.App.Read(100);
        tcp.App.ReadFails(Errno.ECONNRESET);
    }

    [Fact]
    public void The_timestamp_clock_ticks_in_milliseconds()
    {
        using var tcp = Story.Established(ts: true, mss: 1000);
        tcp.App.Write(100);
        long first = tcp.Peer.TakeTimestamp();
        tcp.Gets("ack 101");
        tcp.After(1000);
        tcp.App.Write(100);
        Assert.InRange(tcp.Peer.TakeTimestamp() - first, 1000, 1050);
    }

    [Fact]
    public void A_round_trip_is_measured_from_the_echo_after_a_retransmission()
    {
        using var tcp = Story.Established(ts: true, mss: 1000, settings: new StorySettings { Sysctls = new() { ["tcp_early_retrans"] = "0" } });
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 1");
        tcp.After(250);
        tcp.Sends("1:101 ack 1");
        tcp.After(80);
        tcp.Gets("ack 101");
        Assert.InRange(tcp.Info.Rtt, 50_000u, 70_000u);
    }
}
