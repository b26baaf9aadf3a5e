using System;
using System.Linq;
using System.Net;

namespace Millrace.Conformance;

/// <summary>Signed segments. RFC 2385; TCP_MD5SIG, TCP_MD5SIG_EXT.</summary>
public sealed class Md5Stories
{
    private static readonly byte[] Secret = [.. "not told"u8], Another = [.. "other one"u8];

    private static void SetKey(Story tcp, App app, byte[] secret) =>
        Assert.Equal(0, app.TrySet(Opt.Tcp, Opt.Md5Sig, Md5Signature.Option(tcp.Backend.Remote, secret)));

    private static void SetPrefixKey(App app, IPAddress prefix, int length, byte[] secret) =>
        Assert.Equal(0, app.TrySet(Opt.Tcp, Opt.Md5SigExt, Md5Signature.Option(prefix, secret, flags: 1, prefix: length)));

    private static Story Listening(StorySettings? settings = null)
    {
        Story tcp = Story.Listening(settings);
        SetKey(tcp, tcp.Listener, Secret);
        tcp.Peer.Secret = Secret;
        return tcp;
    }

    private static Story Accepted(Peer? peer = null, StorySettings? settings = null)
    {
        Story tcp = Listening(settings);
        tcp.Peer.Shakes(peer ?? new Peer(Mss: 1000));
        tcp.Accept();
        return tcp;
    }

    private static Story Connecting()
    {
        Story tcp = Story.Idle();
        tcp.Connect(app => SetKey(tcp, app, Secret));
        tcp.Peer.Secret = Secret;
        return tcp;
    }

    [Fact]
    public void An_accepted_connection_signs_everything_from_its_first_segment_on()
    {
        using Story tcp = Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000, sackOK, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 <nop, nop, md5, mss 1460, nop, nop, sackOK, nop, wscale 7>");
        tcp.Gets(". ack 1 win 1000");
        App app = tcp.Accept();
        tcp.Gets("P. 1:11 ack 1");
        tcp.Sends(". ack 11 <nop, nop, md5>");
        app.Read(10);
        app.Write(10);
        tcp.Sends("P. 1:11 ack 11 <nop, nop, md5>");
        tcp.Gets("F. 11:11 ack 11");
        app.Close();
        tcp.Sends("F. 11:11 ack 12 <nop, nop, md5>");
    }

    [Fact]
    public void A_signed_SYN_bears_no_timestamp()
    {
        using Story tcp = Connecting();
        tcp.Sends("S 0:0 <nop, nop, md5, mss 1460, nop, nop, sackOK, nop, wscale *>");
        tcp.Gets("S. 0:0 ack 1 win 65535 <mss 1000, sackOK, nop, wscale 7>");
        tcp.Sends(". ack 1 <nop, nop, md5>");
        tcp.App.Write(10);
        tcp.Sends("P. 1:11 ack 1");
        tcp.Gets("P. 1:11 ack 11");
        tcp.Drain();
        tcp.App.Read(10);
    }

    [Fact]
    public void A_SYN_ACK_has_timestamps_only_if_there_will_be_no_SACK()
    {
        using Story tcp = Listening();
        tcp.Gets("S 0:0 win 65535 <mss 1000, sackOK, ts val 1 ecr 0>");
        tcp.Sends("S. 0:0 ack 1 <nop, nop, md5, mss 1460, nop, nop, sackOK>");
        Flow other = tcp.NewFlow();
        other.Secret = Secret;
        other.Gets("S 0:0 win 65535 <mss 1000, ts val 1000 ecr 0>");
        other.Sends("S. 0:0 ack 1 <nop, nop, md5, mss 1460, nop, nop, ts val 100 ecr 1000>");
    }

    [Fact]
    public void What_is_not_signed_is_dropped_and_counted()
    {
        using Story tcp = Listening();
        tcp.Gets("S 0:0 <nomd5, mss 1000>");
        tcp.SendsNothing();
        Assert.Equal(1, tcp.Counter("TcpExtTCPMD5NotFound"));
        tcp.Gets("S 0:0 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets(". ack 1 <nomd5>");
        Assert.Equal(Errno.EAGAIN, tcp.TryAccept().Error);
        tcp.Gets(". ack 1");
        App app = tcp.Accept();
        tcp.Gets("P. 1:11 ack 1 <nomd5>", "R 11:11 <nomd5>");
        tcp.SendsNothing();
        app.ReadFails(Errno.EAGAIN);
        Assert.Equal(4, tcp.Counter("TcpExtTCPMD5NotFound"));
    }

    [Fact]
    public void What_is_signed_wrongly_is_dropped_and_counted()
    {
        using Story tcp = Accepted();
        tcp.Peer.Secret = Another;
        tcp.Gets("P. 1:11 ack 1", "R. 1:1 ack 1");
        tcp.SendsNothing();
        Assert.Equal(2, tcp.Counter("TcpExtTCPMD5Failure"));
        tcp.App.ReadFails(Errno.EAGAIN);
        tcp.Peer.Secret = Secret;
        tcp.Gets("P. 1:11 ack 1");
        tcp.Sends(". ack 11");
    }

    [Fact]
    public void A_signature_that_nobody_asked_for_is_dropped_and_counted()
    {
        using Story tcp = Story.Listening();
        tcp.Peer.Secret = Secret;
        tcp.Gets("S 0:0 <mss 1000>");
        tcp.SendsNothing();
        Assert.Equal(1, tcp.Counter("TcpExtTCPMD5Unexpected"));
        Assert.Equal(0, tcp.Counter("TcpOutRsts"));
    }

    [Fact]
    public void Two_signatures_are_one_too_many()
    {
        using Story tcp = Accepted();
        tcp.Gets("P. 1:11 ack 1 <md5, md5, nop, nop>");
        tcp.SendsNothing();
        tcp.App.ReadFails(Errno.EAGAIN);
        Assert.Equal(0, tcp.Counter("TcpExtTCPMD5Failure") + tcp.Counter("TcpExtTCPMD5NotFound"));
    }

    [Fact]
    public void Options_that_cannot_be_read_where_a_signature_would_fit_drop_the_segment()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("P. 1:11 ack 1 <hex fd00, hex 0101010101010101010101010101010101010101>");
        tcp.SendsNothing();
        tcp.App.ReadFails(Errno.EAGAIN);
        tcp.Gets("P. 1:11 ack 1 <hex fd00, hex 01010101>");
        tcp.Sends(". ack 11");
    }

    [Fact]
    public void The_key_holds_for_the_peer_that_it_names()
    {
        using Story tcp = Story.Listening();
        bool v4 = tcp.Backend.Remote.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork;
        Assert.Equal(0, tcp.Listener.TrySet(Opt.Tcp, Opt.Md5Sig, Md5Signature.Option(IPAddress.Parse(v4 ? "192.0.2.2" : "fd3d:fa7b:d17d:1::2"), Secret)));
        tcp.Peer.Shakes(new Peer(Mss: 1000));
        tcp.Accept().Write(10);
        tcp.Sends("P. 1:11 ack 1");
    }

    [Fact]
    public void The_longest_prefix_has_the_key()
    {
        using Story tcp = Story.Listening();
        bool v4 = tcp.Backend.Remote.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork;
        (int wide, int narrow) = v4 ? (16, 24) : (48, 64);
        SetPrefixKey(tcp.Listener, tcp.Backend.Remote, narrow, Secret);
        SetPrefixKey(tcp.Listener, tcp.Backend.Remote, wide, Another);
        tcp.Peer.Secret = Another;
        tcp.Gets("S 0:0 <mss 1000>");
        tcp.SendsNothing();
        tcp.Peer.Secret = Secret;
        tcp.Peer.Shakes(new Peer(Mss: 1000));
        App app = tcp.Accept();
        // The accepted socket has a copy, for its peer alone.
        Assert.Equal(Errno.ENOENT, app.TrySet(Opt.Tcp, Opt.Md5SigExt, Md5Signature.Option(tcp.Backend.Remote, [], flags: 1, prefix: narrow)).Error);
        Assert.Equal(0, tcp.Listener.TrySet(Opt.Tcp, Opt.Md5SigExt, Md5Signature.Option(tcp.Backend.Remote, [], flags: 1, prefix: narrow)));
        app.Write(10);
        tcp.Sends("P. 1:11 ack 1");
        Flow later = tcp.NewFlow();
        later.Secret = Another;
        later.Gets("S 0:0 <mss 1000>");
        later.Sends("S. 0:0 ack 1 <...>");
    }

    [Fact]
    public void A_key_may_change_while_the_connection_lives()
    {
        using Story tcp = Accepted();
        SetKey(tcp, tcp.App, Another);
        tcp.Gets("P. 1:11 ack 1");
        tcp.SendsNothing();
        tcp.Peer.Secret = Another;
        tcp.Gets("P. 1:11 ack 1");
        tcp.Sends(". ack 11");
        SetKey(tcp, tcp.App, []);
        tcp.Peer.Secret = null;
        tcp.App.Write(10);
        tcp.Sends("P. 1:11 ack 11 <>");
    }

    [Fact]
    public void The_signature_takes_its_room_from_the_payload()
    {
        using Story tcp = Accepted();
        Assert.Equal(1000, tcp.App.Get(Opt.Tcp, Opt.MaxSeg));
        tcp.App.Write(2000);
        tcp.Sends(". 1:981 ack 1", ". 981:1961 ack 1", "P. 1961:2001 ack 1");
    }

    [Fact]
    public void Two_SACK_blocks_fit_beside_it()
    {
        using Story tcp = Accepted();
        tcp.Gets("101:201 ack 1", "301:401 ack 1", "501:601 ack 1");
        tcp.Sends(". ack 1 <nop, nop, md5, nop, nop, sack 101:201>", ". ack 1 <nop, nop, md5, nop, nop, sack 301:401 101:201>",
            ". ack 1 <nop, nop, md5, nop, nop, sack 501:601 301:401>");
    }

    [Fact]
    public void A_retransmission_is_signed_too()
    {
        using Story tcp = Accepted();
        tcp.App.Write(100);
        tcp.Sends("P. 1:101 ack 1");
        (Segment again, _) = tcp.Peer.Next(2000);
        Assert.Contains("md5", again.Options!);
    }

    [Fact]
    public void A_closing_reset_is_signed()
    {
        using Story tcp = Accepted();
        tcp.Gets("P. 1:11 ack 1");
        tcp.Sends(". ack 11");
        tcp.App.Close();
        tcp.Sends("R. 1:1 ack 11 <nop, nop, md5>");
    }

    [Fact]
    public void A_listener_signs_its_resets()
    {
        using Story tcp = Listening();
        tcp.Gets("S 0:0 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets(". 1:1 ack 500");
        tcp.Sends("R 500:500 <nop, nop, md5>");
    }

    [Fact]
    public void A_mini_sock_signs_its_ACKs()
    {
        using Story tcp = Accepted();
        tcp.App.Close();
        tcp.Sends("F. 1:1 ack 1");
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends(". ack 2");
        tcp.After(1000);
        tcp.Gets("F. 1:1 ack 2");
        tcp.Sends(". ack 2 <nop, nop, md5>");
    }

    [Fact]
    public void Nobody_gets_an_answer_whose_signature_nobody_knows()
    {
        using Story tcp = Story.Idle();
        tcp.Peer.Secret = Secret;
        tcp.Gets(". 1:1 ack 1");
        tcp.SendsNothing();
        tcp.Peer.Secret = null;
        tcp.Gets(". 1:1 ack 1");
        tcp.Sends("R 1:1");
    }

    [Fact]
    public void A_lost_connection_is_reset_with_the_key_of_who_listens_on_the_peers_port()
    {
        using Story tcp = Listening();
        Flow lost = tcp.NewFlow(5000, Story.Port);
        lost.Secret = Another;
        lost.Gets(". 1:1 ack 1");
        lost.Sends();
        lost.Secret = Secret;
        lost.Gets(". 1:1 ack 1");
        lost.Sends("R 1:1 <nop, nop, md5>");
    }

    [Fact]
    public void Cookies_are_signed_and_keep_their_timestamps()
    {
        using Story tcp = Listening(new StorySettings { Sysctls = { ["tcp_syncookies"] = "2" } });
        tcp.Gets("S 0:0 win 65535 <mss 1000, sackOK, ts val 1000 ecr 0, nop, wscale 7>");
        tcp.Sends("S. 0:0 ack 1 <nop, nop, md5, mss 1460, sackOK, ts val 100 ecr 1000, nop, wscale 7>");
        tcp.After(50);
        tcp.Gets(". 1:1 ack 1 win 1000");
        tcp.Accept();
        tcp.Gets("101:201 ack 1");
        // Signature and timestamps leave no room for blocks.
        tcp.Sends(". ack 1 <nop, nop, md5, nop, nop, ts val * ecr *>");
    }

    [Fact]
    public void Keys_are_refused_as_Linux_refuses_them()
    {
        using Story tcp = Story.Idle();
        App app = tcp.NewSocket();
        IPAddress peer = tcp.Backend.Remote;
        bool v4 = peer.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork;
        IPAddress otherFamily = IPAddress.Parse(v4 ? "2001:db8::1" : "192.0.2.1");

        Errno set(byte[] value, int option = Opt.Md5SigExt) => app.TrySet(Opt.Tcp, option, value).Error;

        Assert.Equal(Errno.EINVAL, set(new byte[3]));
        Assert.Equal(Errno.EINVAL, set(Md5Signature.Option(peer, Secret)[..215]));
        Assert.Equal(Errno.EINVAL, set(Md5Signature.Option(otherFamily, Secret)));
        Assert.Equal(Errno.EINVAL, set(Md5Signature.Option(peer, Secret, flags: 1, prefix: v4 ? 33 : 129)));
        Assert.Equal(Errno.OK, set(Md5Signature.Option(peer, Secret, flags: 1, prefix: v4 ? 33 : 129), Opt.Md5Sig));
        Assert.Equal(Errno.EINVAL, set(Md5Signature.Option(peer, new byte[81])));
        Assert.Equal(Errno.EINVAL, set(Md5Signature.Option(peer, Secret, flags: 2, device: 1)));
        Assert.Equal(Errno.ENOENT, set(Md5Signature.Option(peer, [], flags: 2)));
        Assert.Equal(Errno.OK, set(Md5Signature.Option(peer, Secret, flags: 2)));
        Assert.Equal(Errno.OK, set(Md5Signature.Option(peer, [], flags: 2)));
        Assert.Equal(Errno.OK, set(Md5Signature.Option(peer, new byte[80])));
        Assert.Equal(Errno.OK, set(Md5Signature.Option(peer, [])));
        Assert.Equal(Errno.ENOENT, set(Md5Signature.Option(peer, [])));
        Assert.Equal(Errno.ENOPROTOOPT, tcp.Backend.GetOption(app.Fd, Opt.Tcp, Opt.Md5Sig, new byte[216]).Error);
        Assert.Equal(Errno.ENOPROTOOPT, tcp.Backend.GetOption(app.Fd, Opt.Tcp, Opt.Md5SigExt, new byte[216]).Error);
    }

    [Fact]
    public void A_socket_has_so_many_keys_and_no_more()
    {
        using Story tcp = Story.Idle();
        App app = tcp.NewSocket();
        int taken = Enumerable.Range(0, 2000).TakeWhile(i =>
        {
            byte[] address = tcp.Backend.Remote.GetAddressBytes();
            (address[^2], address[^1]) = ((byte)(i >> 8), (byte)i);
            return !app.TrySet(Opt.Tcp, Opt.Md5Sig, Md5Signature.Option(new IPAddress(address), Secret)).IsError;
        }).Count();
        Assert.Equal(131072 / 136, taken);
    }

    [Fact]
    public void Super_packets_are_not_signed_and_not_sent()
    {
        using Story tcp = Accepted(settings: new StorySettings { Offload = true });
        tcp.App.Write(5000);
        Assert.All(tcp.Drain(), static s => Assert.InRange(s.Length, 1, 980));
    }
}
