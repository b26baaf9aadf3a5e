namespace Millrace.Conformance;

/// <summary>Errors that the path reports, true and invented. RFC 1122 §4.2.3.9, RFC 5927, RFC 1191, RFC 8201, RFC 4821.</summary>
public sealed class IcmpStories
{
    [Fact]
    public void Host_unreachable_ends_connect_at_once()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 <...>");
        tcp.GetsIcmp(Icmp.HostUnreachable, "S 0:0");
        Assert.Equal(Errno.EHOSTUNREACH, tcp.App.TakeError());
    }

    [Fact]
    public void Port_unreachable_refuses_the_connection()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 <...>");
        tcp.GetsIcmp(Icmp.PortUnreachable, "S 0:0");
        Assert.Equal(Errno.ECONNREFUSED, tcp.App.TakeError());
    }

    [Fact]
    public void An_error_about_a_syn_that_was_never_sent_is_ignored()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 <...>");
        tcp.GetsIcmp(Icmp.PortUnreachable, "S 777:777");
        Assert.Equal(Errno.OK, tcp.App.TakeError());
        Assert.Equal(1, tcp.Counter("TcpExtOutOfWindowIcmps"));
    }

    [Fact]
    public void No_error_ends_an_established_connection()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.GetsIcmp(Icmp.PortUnreachable, "1:1001 ack 1");
        tcp.GetsIcmp(Icmp.HostUnreachable, "1:1001 ack 1");
        tcp.GetsIcmp(Icmp.ProtocolUnreachable, "1:1001 ack 1");
        Assert.Equal((byte)1, tcp.Info.State);
        tcp.Gets("ack 1001");
        tcp.App.Write(1000);
        tcp.Sends("1001:2001 ack 1");
    }

    [Fact]
    public void Packet_too_big_makes_segments_smaller_and_sends_them_again()
    {
        using var tcp = Story.Established(mss: 1460);
        tcp.App.Write(2920);
        tcp.SendsData(1, 2921, 1460);
        tcp.GetsIcmp(Icmp.PacketTooBig, "1:1461 ack 1", mtu: Story.Mtu(1300));
        tcp.SendsData(1, 2921, 1260);
        Assert.Equal(1260u, tcp.Info.SendMss);
    }

    [Fact]
    public void Packet_too_big_about_data_that_is_not_out_is_ignored()
    {
        using var tcp = Story.Established(mss: 1460);
        tcp.App.Write(1460);
        tcp.Sends("1:1461 ack 1");
        tcp.GetsIcmp(Icmp.PacketTooBig, "50001:51461 ack 1", mtu: Story.Mtu(1300));
        tcp.SendsNothing();
        Assert.Equal(1460u, tcp.Info.SendMss);
    }

    [Fact]
    public void Packet_too_big_with_a_larger_mtu_changes_nothing()
    {
        using var tcp = Story.Established(mss: 1460);
        tcp.App.Write(1460);
        tcp.Sends("1:1461 ack 1");
        tcp.GetsIcmp(Icmp.PacketTooBig, "1:1461 ack 1", mtu: Story.Mtu(9000));
        tcp.SendsNothing();
        Assert.Equal(1460u, tcp.Info.SendMss);
    }

    [Fact]
    public void The_path_mtu_is_remembered_for_the_next_connection()
    {
        using var tcp = Story.Established(mss: 1460);
        tcp.App.Write(1460);
        tcp.Sends("1:1461 ack 1");
        tcp.GetsIcmp(Icmp.PacketTooBig, "1:1461 ack 1", mtu: Story.Mtu(1300));
        tcp.Drain();
        Flow next = tcp.NewFlow();
        next.Shakes(new Peer(Mss: 1460));
        App app = tcp.Accept();
        app.Write(1300);
        next.Sends("1:1261 ack 1", "1261:1301 ack 1");
    }

    [Fact]
    public void An_error_for_a_listener_is_ignored()
    {
        using var tcp = Story.Listening();
        tcp.GetsIcmp(Icmp.PortUnreachable, "1:1 ack 1");
        tcp.Peer.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
    }

    [Fact]
    public void Host_unreachable_about_a_syn_ack_forgets_the_request()
    {
        using var tcp = Story.Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.GetsIcmp(Icmp.HostUnreachable, "S. 0:0 ack 1");
        tcp.Gets(". 1:1 ack 1");
        tcp.Sends("R 1:1");
    }
}
