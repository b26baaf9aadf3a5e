using System;
using System.Net;
using System.Runtime.InteropServices;

namespace Millrace.Conformance;

/// <summary>A connection that is taken out of its socket and put into another. Linux: TCP_REPAIR.</summary>
public sealed class RepairStories
{
    private const int Repair = 19, RepairQueue = 20, QueueSeq = 21, RepairOptions = 22, Timestamp = 24, RepairWindow = 29;
    private const int On = 1, Off = 0, OffWithoutProbe = -1, ReceiveQueue = 1, SendQueue = 2;
    private const int OptionMss = 2, OptionScale = 3, OptionSack = 4, OptionTimestamps = 8;

    /// <summary>Everything that a connection is.</summary>
    private sealed record Image(uint SendSeq, byte[] Unacknowledged, uint ReceiveSeq, byte[] Unread, byte[] Window, int Mss, int Timestamp, int Scales, byte Options);

    private static Image Dump(Story tcp, App app)
    {
        app.Set(Opt.Tcp, Repair, On);
        app.Set(Opt.Tcp, RepairQueue, SendQueue);
        var room = new byte[1 << 16];
        byte[] peek(int length) => room[..Math.Min(tcp.Backend.Recv(app.Fd, room, MessageFlags.Peek).Value, length)];
        uint sent = (uint)app.Get(Opt.Tcp, QueueSeq);
        byte[] unacknowledged = peek(app.Ioctl(Opt.SiocOutq));
        app.Set(Opt.Tcp, RepairQueue, ReceiveQueue);
        uint received = (uint)app.Get(Opt.Tcp, QueueSeq);
        int waiting = app.Ioctl(Opt.SiocInq);
        byte[] unread = waiting == 0 ? [] : peek(waiting);
        var window = new byte[20];
        Assert.Equal(20, tcp.Backend.GetOption(app.Fd, Opt.Tcp, RepairWindow, window).Value);
        var info = new byte[8];
        tcp.Backend.GetOption(app.Fd, Opt.Tcp, Opt.TcpInfo, info);
        int scales = (info[6] & 15) | (info[6] >> 4) << 16;
        return new Image(sent, unacknowledged, received, unread, window, app.Get(Opt.Tcp, Opt.MaxSeg), app.Get(Opt.Tcp, Timestamp), scales, info[5]);
    }

    // A socket that is at the connection's place, still in repair.
    private static App Restore(Story tcp, Image image)
    {
        App app = tcp.NewSocket();
        app.Set(Opt.Tcp, Repair, On);
        app.Set(Opt.Tcp, RepairQueue, SendQueue);
        app.Set(Opt.Tcp, QueueSeq, (int)(image.SendSeq - image.Unacknowledged.Length));
        app.Set(Opt.Tcp, RepairQueue, ReceiveQueue);
        app.Set(Opt.Tcp, QueueSeq, (int)(image.ReceiveSeq - image.Unread.Length));
        Assert.Equal(0, tcp.Backend.Bind(app.Fd, new IPEndPoint(tcp.Backend.Local, tcp.Peer.LocalPort)));
        Assert.Equal(0, tcp.Backend.Connect(app.Fd, new IPEndPoint(tcp.Backend.Remote, tcp.Peer.RemotePort)));
        int[] pairs = [OptionMss, image.Mss];
        const int hasTimestamps = 1, hasSack = 2, hasScale = 4;
        if ((image.Options & hasScale) != 0)
            pairs = [.. pairs, OptionScale, image.Scales];
        if ((image.Options & hasSack) != 0)
            pairs = [.. pairs, OptionSack, 0];
        if ((image.Options & hasTimestamps) != 0)
            pairs = [.. pairs, OptionTimestamps, 0];
        Assert.Equal(0, app.TrySet(Opt.Tcp, RepairOptions, MemoryMarshal.AsBytes(pairs.AsSpan())));
        app.Set(Opt.Tcp, Timestamp, image.Timestamp);
        if (image.Unread.Length > 0)
            Assert.Equal(image.Unread.Length, tcp.Backend.Send(app.Fd, image.Unread, MessageFlags.None, null));
        app.Set(Opt.Tcp, RepairQueue, SendQueue);
        if (image.Unacknowledged.Length > 0)
            Assert.Equal(image.Unacknowledged.Length, tcp.Backend.Send(app.Fd, image.Unacknowledged, MessageFlags.None, null));
        Assert.Equal(0, app.TrySet(Opt.Tcp, RepairWindow, image.Window));
        return app;
    }

    private static void GoesOn(bool ts)
    {
        using var tcp = Story.Established(mss: 1000, ts: ts);
        App old = tcp.App;
        old.Write(1500);
        int mss = ts ? 988 : 1000;
        tcp.SendsData(1, 1501, mss);
        tcp.After(50);
        tcp.Gets($"1:301 ack {1 + mss}");
        tcp.Sends(". 1501:1501 ack 301");
        Image image = Dump(tcp, old);
        Assert.Equal((1500 - mss, 300), (image.Unacknowledged.Length, image.Unread.Length));
        old.Close();
        tcp.SendsNothing();
        App app = Restore(tcp, image);
        app.SkipWritten(1500);
        tcp.SendsNothing();
        Assert.Equal(1, app.Info.State);
        app.Set(Opt.Tcp, Repair, Off);
        tcp.Sends($". {mss}:{mss} ack 301");
        tcp.After(50);
        tcp.Gets("301:401 ack 1501");
        tcp.After(100);
        tcp.Drain();
        app.Read(400);
        app.Write(800);
        // What the peer said of its MSS counts once the path is looked at anew; until then it is as if nothing had been said.
        tcp.SendsData(1501, 2301, ts ? 524 : 536);
        tcp.After(50);
        tcp.Gets("F. 401:401 ack 2301");
        app.ReadsEof();
        tcp.After(100);
        tcp.Drain();
        app.Close();
        tcp.Sends("F. 2301:2301 ack 402");
        tcp.Gets("ack 2302");
    }

    [Fact]
    public void A_connection_goes_on_in_another_socket() => GoesOn(ts: false);

    [Fact]
    public void A_connection_with_timestamps_goes_on_in_another_socket() => GoesOn(ts: true);

    [Fact]
    public void What_was_restored_as_sent_is_sent_again_if_nobody_acknowledges_it()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(1500);
        tcp.Sends("1:1001 ack 1", "1001:1501 ack 1");
        Image image = Dump(tcp, tcp.App);
        tcp.App.Close();
        App app = Restore(tcp, image);
        app.Set(Opt.Tcp, Repair, OffWithoutProbe);
        tcp.SendsNothing();
        tcp.After(3000);
        Segment first = tcp.Drain()[0];
        Assert.Equal("P.", "P" + first.Flags!.Replace("P", "", StringComparison.Ordinal));
        Assert.InRange(first.Seq!.Value, 1, 1500);
    }

    [Fact]
    public void In_repair_nothing_that_the_user_does_is_seen()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Repair, On);
        tcp.App.Set(Opt.Tcp, RepairQueue, SendQueue);
        tcp.App.Write(100);
        tcp.SendsNothing();
        Assert.Equal(100, tcp.App.Ioctl(Opt.SiocOutq));
        Assert.Equal(0, tcp.App.Ioctl(Opt.SiocOutqNsd));
        tcp.App.Set(Opt.Tcp, RepairQueue, ReceiveQueue);
        Assert.Equal(10, tcp.Backend.Send(tcp.App.Fd, new byte[10], MessageFlags.None, null));
        Assert.Equal(10, tcp.App.Ioctl(Opt.SiocInq));
        tcp.App.Close();
        tcp.SendsNothingFor(2000);
    }

    [Fact]
    public void A_peek_tells_of_bytes_for_which_there_is_no_room()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(100);
        tcp.Drain();
        tcp.App.Set(Opt.Tcp, Repair, On);
        tcp.App.Set(Opt.Tcp, RepairQueue, SendQueue);
        var room = new byte[60];
        Assert.Equal(100, tcp.Backend.Recv(tcp.App.Fd, room, MessageFlags.Peek).Value);
        var all = new byte[60];
        Pattern.Fill(all, 0);
        Assert.Equal(all, room);
    }

    [Fact]
    public void A_disconnect_in_repair_ends_the_connection_here_alone()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Repair, On);
        tcp.App.Disconnect();
        tcp.SendsNothing();
        Assert.Equal(Errno.ECONNABORTED, tcp.App.TakeError());
        Assert.Equal(On, tcp.App.Get(Opt.Tcp, Repair));
    }
}
