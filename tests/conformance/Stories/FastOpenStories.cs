using System;
using System.Linq;

namespace Millrace.Conformance;

/// <summary>Data in the SYN. RFC 7413.</summary>
public sealed class FastOpenStories
{
    private static StorySettings Enabled(string mode) => new() { Sysctls = { ["tcp_fastopen"] = mode } };

    private static Story Server(string mode = "2") =>
        Story.Listening(Enabled(mode), static app => app.Set(Opt.Tcp, Opt.FastOpen, 8));

    // The cookie that the stack gives this peer.
    private static string AskForCookie(Story tcp)
    {
        Flow asking = tcp.NewFlow();
        asking.Gets("S 0:0 win 65535 <mss 1000, sackOK, nop, wscale 7, FO>");
        string option = asking.TakeOne().Options!.First(static o => o.StartsWith("FO ", StringComparison.Ordinal));
        return option[3..];
    }

    [Fact]
    public void A_request_for_a_cookie_is_answered_with_eight_bytes()
    {
        using Story tcp = Server();
        Assert.Equal(16, AskForCookie(tcp).Length);
    }

    [Fact]
    public void A_cookie_belongs_to_the_address_and_not_to_the_port()
    {
        using Story tcp = Server();
        Assert.Equal(AskForCookie(tcp), AskForCookie(tcp));
    }

    [Fact]
    public void With_a_cookie_the_syns_data_is_taken_at_once()
    {
        using Story tcp = Server();
        string cookie = AskForCookie(tcp);
        tcp.Gets($"S 0:500 win 65535 <mss 1000, sackOK, nop, wscale 7, FO {cookie}>");
        tcp.Sends("S. 0:0 ack 501 <...>");
        tcp.Accept();
        tcp.App.Read(500);
        Assert.Equal(32, tcp.Info.Options & 32);
        Assert.Equal(1, tcp.Counter("TcpExtTCPFastOpenPassive"));
    }

    [Fact]
    public void The_application_may_answer_before_the_handshake_is_done()
    {
        using Story tcp = Server();
        string cookie = AskForCookie(tcp);
        tcp.Gets($"S 0:500 win 65535 <mss 1000, sackOK, nop, wscale 7, FO {cookie}>");
        tcp.Sends("S. 0:0 ack 501 <...>");
        tcp.Accept();
        tcp.App.Write(800);
        tcp.Sends("1:801 ack 501");
        tcp.Gets(". 501:501 ack 801 win 512");
        Assert.Equal((byte)1, tcp.Info.State);
    }

    [Fact]
    public void With_a_wrong_cookie_the_data_is_not_taken_and_a_right_one_is_given()
    {
        using Story tcp = Server();
        string cookie = AskForCookie(tcp);
        tcp.Gets("S 0:500 win 65535 <mss 1000, sackOK, nop, wscale 7, FO 0123456789abcdef>");
        Segment answer = tcp.Peer.TakeOne();
        Assert.Equal(1, answer.Ack);
        Assert.Contains($"FO {cookie}", answer.Options!);
        Assert.Equal(1, tcp.Counter("TcpExtTCPFastOpenPassiveFail"));
    }

    [Fact]
    public void A_listener_without_the_option_ignores_it()
    {
        using var tcp = Story.Listening(Enabled("2"));
        tcp.Gets("S 0:500 win 65535 <mss 1000, FO>");
        tcp.Sends("S. 0:0 ack 1 <mss 1460>");
    }

    [Fact]
    public void With_0x200_a_cookie_is_not_needed()
    {
        using Story tcp = Server("0x202");
        tcp.Gets("S 0:500 win 65535 <mss 1000, sackOK, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 501 <...>");
        tcp.Accept();
        tcp.App.Read(500);
    }

    [Fact]
    public void A_disconnected_child_opens_again_with_nothing_left_of_its_first_handshake()
    {
        using Story tcp = Server("3");
        string cookie = AskForCookie(tcp);
        tcp.Gets($"S 0:500 win 65535 <mss 1000, sackOK, nop, wscale 7, FO {cookie}>");
        tcp.Sends("S. 0:0 ack 501 <...>");
        tcp.Accept();
        tcp.App.Disconnect();
        tcp.Sends("R. 1:1 ack 501");
        Assert.Equal(Errno.EINPROGRESS, tcp.ConnectAgain().Error);
        tcp.Sends("S 0:0 <...>");
        tcp.SendsAfter(1000, "S 0:0 <...>");
    }

    [Fact]
    public void A_reset_that_is_not_exact_does_not_end_a_child()
    {
        using Story tcp = Server();
        string cookie = AskForCookie(tcp);
        tcp.Gets($"S 0:500 win 65535 <mss 1000, sackOK, nop, wscale 7, FO {cookie}>");
        tcp.Sends("S. 0:0 ack 501 <...>");
        tcp.Accept();
        tcp.Gets("R 502:502");
        tcp.Sends("ack 501");
        tcp.Gets(". 501:501 ack 1");
        tcp.App.Read(500);
        tcp.App.Write(100);
        tcp.Sends("1:101 ack 501");
    }

    [Fact]
    public void The_syn_ack_is_repeated_with_the_same_acknowledgment()
    {
        using Story tcp = Server();
        string cookie = AskForCookie(tcp);
        tcp.Gets($"S 0:500 win 65535 <mss 1000, sackOK, nop, wscale 7, FO {cookie}>");
        tcp.Sends("S. 0:0 ack 501 <...>");
        tcp.SendsAfter(1000, "S. 0:0 ack 501 <...>");
    }

    [Fact]
    public void A_client_without_a_cookie_asks_for_one()
    {
        using var tcp = Story.Idle(Enabled("1"));
        SysResult result = tcp.ConnectWithData(500);
        Assert.Equal(Errno.EINPROGRESS, result.Error);
        Assert.Contains("FO", tcp.Peer.TakeOne().Options!);
    }

    [Fact]
    public void A_client_with_a_cookie_sends_data_in_its_syn()
    {
        using var tcp = Story.Idle(Enabled("1"));
        tcp.ConnectWithData(500);
        tcp.Peer.TakeOne();
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 1000, sackOK, nop, wscale 7, FO 0011223344556677>");
        tcp.Drain();
        tcp.App.Close();
        tcp.Drain();
        tcp.Gets("F. 1:1 ack 2");
        tcp.Drain();
        Assert.Equal(400, tcp.ConnectWithData(400).Value);
        Segment syn = tcp.Peer.TakeOne();
        Assert.Equal(400, syn.Length);
        Assert.Contains("FO 0011223344556677", syn.Options!);
        tcp.Gets("S. 0:0 ack 401 win 65535 <mss 1000, sackOK, nop, wscale 7>");
        tcp.Sends(". 401:401 ack 1");
        Assert.Equal(1, tcp.Counter("TcpExtTCPFastOpenActive"));
    }

    [Fact]
    public void Data_that_the_syn_ack_does_not_acknowledge_is_sent_again_at_once()
    {
        using var tcp = Story.Idle(Enabled("1"));
        tcp.ConnectWithData(500);
        tcp.Peer.TakeOne();
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 1000, sackOK, nop, wscale 7, FO 0011223344556677>");
        tcp.Drain();
        tcp.App.Close();
        tcp.Drain();
        tcp.Gets("F. 1:1 ack 2");
        tcp.Drain();
        tcp.ConnectWithData(400);
        tcp.Peer.TakeOne();
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 1000, sackOK, nop, wscale 7>");
        tcp.Sends("1:401 ack 1");
    }

    [Fact]
    public void Without_the_setting_MSG_FASTOPEN_is_refused()
    {
        using var tcp = Story.Idle(Enabled("0"));
        Assert.Equal(Errno.EOPNOTSUPP, tcp.ConnectWithData(100).Error);
    }
}
