using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Sockets;

namespace Millrace.Conformance;

/// <summary>What some socket options do to packets, and packets to them.</summary>
public sealed class OptionStories
{
    private const int TxRehash = 74;

    private static bool IsV4(Story tcp) => tcp.Backend.Remote.AddressFamily == AddressFamily.InterNetwork;

    private static uint Label(IpPacket packet) =>
        packet.Bytes[0] >> 4 == 4 ? 0 : (uint)((packet.Bytes[1] & 15) << 16 | packet.Bytes[2] << 8 | packet.Bytes[3]);

    // The labels of a segment, of its loss probe, and of its retransmission after a timeout.
    private static uint[] LabelsOfARetransmission(Story tcp)
    {
        tcp.App.Write(100);
        tcp.After(1500);
        return [.. tcp.Peer.DrainPackets().Take(3).Select(Label)];
    }

    [Fact]
    public void A_flow_that_times_out_takes_another_label()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Peer.DrainPackets();
        uint[] labels = LabelsOfARetransmission(tcp);
        Assert.Equal(labels[0], labels[1]);
        Assert.Equal(IsV4(tcp), labels[1] == labels[2]);
        Assert.NotEqual(0, tcp.Counter("TcpExtTcpTimeoutRehash"));
        Assert.NotEqual(0u, tcp.Info.Rehash);
    }

    [Fact]
    public void A_flow_that_may_not_keeps_its_label()
    {
        using var tcp = Story.Established(mss: 1000, prepare: static app => app.Set(Opt.Socket, TxRehash, 0));
        tcp.Peer.DrainPackets();
        Assert.Single(LabelsOfARetransmission(tcp).Distinct());
        Assert.Equal(0, tcp.Counter("TcpExtTcpTimeoutRehash"));
        Assert.Equal(0, tcp.App.Get(Opt.Socket, TxRehash));
        tcp.App.Set(Opt.Socket, TxRehash, -1);
        Assert.Equal(1, tcp.App.Get(Opt.Socket, TxRehash));
        Assert.Equal(Errno.EINVAL, tcp.App.TrySet(Opt.Socket, TxRehash, BitConverter.GetBytes(2)).Error);
    }

    [Fact]
    public void The_packet_that_opened_a_connection_is_told_of()
    {
        const int pktInfo = 8, pktOptions = 9, recvTtl = 12, recvTos = 13;
        using Story tcp = Story.Listening();
        if (!IsV4(tcp))
            return;
        foreach (int option in new[] { pktInfo, recvTtl, recvTos })
            tcp.Listener.Set(Opt.Ip, option, 1);
        tcp.Gets("[ttl 33] S 0:0 win 65535 <mss 1000>");
        tcp.Sends("S. 0:0 ack 1 <...>");
        tcp.Gets("[ttl 44] [tos 32] . 1:1 ack 1");
        App app = tcp.Accept();
        var room = new byte[200];
        int length = tcp.Backend.GetOption(app.Fd, Opt.Ip, pktOptions, room).Value;
        List<ControlMessage> told = ControlMessage.Read(room.AsSpan(0, length));
        Assert.Equal([(Opt.Ip, pktInfo), (Opt.Ip, Opt.IpTtl), (Opt.Ip, Opt.IpTos)], told.Select(static m => (m.Level, m.Type)));
        byte[] local = tcp.Backend.Local.GetAddressBytes();
        Assert.Equal([.. local, .. local], told[0].Data[4..]);
        Assert.NotEqual(0, BitConverter.ToInt32(told[0].Data));
        Assert.Equal((44, 32), (BitConverter.ToInt32(told[1].Data), BitConverter.ToInt32(told[2].Data)));
        app.Set(Opt.Ip, recvTtl, 0);
        app.Set(Opt.Ip, pktInfo, 0);
        Assert.Equal(24, tcp.Backend.GetOption(app.Fd, Opt.Ip, pktOptions, room).Value);
        Assert.Equal(0, tcp.Backend.GetOption(tcp.NewSocket().Fd, Opt.Ip, pktOptions, room).Value);
    }
}
