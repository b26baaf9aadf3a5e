using System.Net;
using System.Net.Sockets;

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

    private static int RecvErr(Story tcp, out int level)
    {
        bool v4 = tcp.Backend.Remote.AddressFamily == AddressFamily.InterNetwork;
        level = v4 ? Opt.Ip : Opt.Ipv6;
        return v4 ? Opt.IpRecvErr : Opt.Ipv6RecvErr;
    }

    [Fact]
    public void An_error_that_ends_connect_is_told_in_full_on_the_error_queue()
    {
        using Story tcp = Story.Idle();
        tcp.Connect(app => app.Set(RecvErr(tcp, out int level) is var option ? level : 0, option, 1));
        tcp.Sends("S 0:0 <...>");
        tcp.GetsIcmp(Icmp.PortUnreachable, "S 0:0 <mss 1460>");
        Assert.Equal(Opt.PollErr | Opt.PollHup, tcp.App.Poll(Opt.PollPri));
        Notice notice = tcp.App.TryReadNotice()!;
        bool v4 = tcp.Backend.Remote.AddressFamily == AddressFamily.InterNetwork;
        byte origin = (byte)(v4 ? 2 : 3), type = (byte)(v4 ? 3 : 1), code = (byte)(v4 ? 3 : 4);
        Assert.Equal([111, 0, 0, 0, origin, type, code, 0, 0, 0, 0, 0, 0, 0, 0, 0], notice.ExtendedError);
        Assert.Equal(Address(tcp.Backend.Remote, 0), notice.Offender);
        Assert.Equal(Address(tcp.Backend.Remote, Story.Port), notice.Name);
        // The quoted TCP header.
        Assert.Equal(24, notice.Payload.Length);
        Assert.Equal(Story.Port, notice.Payload[2] << 8 | notice.Payload[3]);
        Assert.Null(tcp.App.TryReadNotice());
        // Who has read it there need not be told again.
        Assert.Equal(Errno.OK, tcp.App.TakeError());
    }

    // A struct sockaddr_in or sockaddr_in6.
    private static byte[] Address(IPAddress address, ushort port)
    {
        byte[] bytes = address.GetAddressBytes(), ends = [(byte)(port >> 8), (byte)port];
        return bytes.Length == 4 ? [2, 0, .. ends, .. bytes, .. new byte[8]] : [10, 0, .. ends, 0, 0, 0, 0, .. bytes, 0, 0, 0, 0];
    }

    [Fact]
    public void The_error_may_be_taken_first_and_the_queue_read_then()
    {
        using Story tcp = Story.Idle();
        tcp.Connect(app => app.Set(RecvErr(tcp, out int level) is var option ? level : 0, option, 1));
        tcp.Sends("S 0:0 <...>");
        tcp.GetsIcmp(Icmp.HostUnreachable, "S 0:0");
        Assert.Equal(Errno.EHOSTUNREACH, tcp.App.TakeError());
        Assert.NotNull(tcp.App.TryReadNotice());
        Assert.Equal(Errno.OK, tcp.App.TakeError());
    }

    [Fact]
    public void IPv4_fills_the_queue_unasked_and_IPv6_does_not()
    {
        using var tcp = Story.Connecting();
        tcp.Sends("S 0:0 <...>");
        tcp.GetsIcmp(Icmp.HostUnreachable, "S 0:0");
        bool v4 = tcp.Backend.Remote.AddressFamily == AddressFamily.InterNetwork;
        Assert.Equal(v4, tcp.App.TryReadNotice() is not null);
        Assert.Equal(v4 ? Errno.OK : Errno.EHOSTUNREACH, tcp.App.TakeError());
    }

    [Fact]
    public void Turning_the_option_off_empties_the_queue()
    {
        using Story tcp = Story.Idle();
        int option = RecvErr(tcp, out int level);
        tcp.Connect(app => app.Set(level, option, 1));
        tcp.Sends("S 0:0 <...>");
        tcp.GetsIcmp(Icmp.HostUnreachable, "S 0:0");
        tcp.App.Set(level, option, 0);
        Assert.Null(tcp.App.TryReadNotice());
        Assert.Equal(Errno.EHOSTUNREACH, tcp.App.TakeError());
    }

    [Fact]
    public void An_established_connection_keeps_the_error_as_a_soft_one()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.GetsIcmp(Icmp.HostUnreachable, "1:1001 ack 1");
        Assert.Equal(0, tcp.App.Poll(Opt.PollIn));
        tcp.App.ReadFails(Errno.EAGAIN);
        Assert.Equal(Errno.EHOSTUNREACH, tcp.App.TakeError());
        Assert.Equal(Errno.OK, tcp.App.TakeError());
        Assert.Null(tcp.App.TryReadNotice());
        tcp.GetsIcmp(Icmp.ProtocolUnreachable, "1:1001 ack 1");
        tcp.Gets("ack 1001");
        // What is acknowledged shows that there is a way.
        Assert.Equal(Errno.OK, tcp.App.TakeError());
    }

    [Fact]
    public void An_established_connection_that_asks_for_errors_gets_them_as_pending_ones()
    {
        using Story tcp = Story.Established(mss: 1000);
        int option = RecvErr(tcp, out int level);
        tcp.App.Set(level, option, 1);
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.GetsIcmp(Icmp.TimeExceeded, "1:1001 ack 1");
        Assert.Null(tcp.App.TryReadNotice());
        Assert.Equal(Opt.PollErr, tcp.App.Poll(Opt.PollIn) & Opt.PollErr);
        tcp.App.ReadFails(Errno.EHOSTUNREACH);
        tcp.App.ReadFails(Errno.EAGAIN);
        Assert.Equal((byte)1, tcp.Info.State);
    }

    [Fact]
    public void A_connection_that_times_out_fails_with_what_the_path_said()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.UserTimeout, 600);
        tcp.App.Write(1000);
        tcp.Sends("1:1001 ack 1");
        tcp.GetsIcmp(Icmp.HostUnreachable, "1:1001 ack 1");
        tcp.After(2000);
        Assert.Equal(Errno.EHOSTUNREACH, tcp.App.TakeError());
    }

    [Fact]
    public void A_path_that_is_said_to_be_broken_is_tried_without_backing_off()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(100);
        tcp.Sends("P. 1:101 ack 1");
        // A loss probe; then a timeout, after which the next would come twice as late.
        tcp.Peer.Next(1000);
        (_, double timeout) = tcp.Peer.Next(1000);
        Assert.Equal(1, tcp.Info.Backoff);
        tcp.GetsIcmp(Icmp.NetUnreachable, "1:101 ack 1");
        Assert.Equal(0, tcp.Info.Backoff);
        (_, double reverted) = tcp.Peer.Next(1000);
        Assert.InRange(reverted, timeout * 0.75, timeout * 1.4);
        // About another segment it says nothing of this one.
        tcp.GetsIcmp(Icmp.NetUnreachable, "51:101 ack 1");
        (_, double doubled) = tcp.Peer.Next(2000);
        Assert.InRange(doubled, timeout * 1.6, timeout * 2.5);
    }
}
