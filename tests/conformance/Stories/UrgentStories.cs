namespace Millrace.Conformance;

/// <summary>Urgent data. RFC 9293 §3.8.5, RFC 6093.</summary>
public sealed class UrgentStories
{
    [Fact]
    public void The_urgent_byte_is_read_apart()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("PU. 1:6 ack 1 urg 5");
        tcp.Drain();
        Assert.Equal(4, tcp.App.TryRead(100).Value);
        Assert.Equal(1, tcp.App.TryRead(1, MessageFlags.OutOfBand).Value);
        tcp.App.Skip(1);
        tcp.App.ReadFails(Errno.EAGAIN);
    }

    [Fact]
    public void Poll_tells_of_it()
    {
        using var tcp = Story.Established(mss: 1000);
        Assert.Equal(0, tcp.App.Poll(Opt.PollPri));
        tcp.Gets("PU. 1:6 ack 1 urg 5");
        Assert.Equal(Opt.PollPri, tcp.App.Poll(Opt.PollPri));
    }

    [Fact]
    public void A_read_stops_at_the_mark()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("PU. 1:11 ack 1 urg 5");
        tcp.Drain();
        Assert.Equal(4, tcp.App.TryRead(100).Value);
        Assert.Equal(1, tcp.App.Ioctl(Opt.SiocAtMark));
        tcp.App.Skip(1);
        Assert.Equal(5, tcp.App.TryRead(100).Value);
        Assert.Equal(0, tcp.App.Ioctl(Opt.SiocAtMark));
    }

    [Fact]
    public void SO_OOBINLINE_leaves_it_in_the_stream()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.OobInline, 1);
        tcp.Gets("PU. 1:11 ack 1 urg 5");
        tcp.Drain();
        Assert.Equal(4, tcp.App.TryRead(100).Value);
        Assert.Equal(1, tcp.App.Ioctl(Opt.SiocAtMark));
        Assert.Equal(6, tcp.App.TryRead(100).Value);
    }

    [Fact]
    public void Reading_it_twice_fails()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.Gets("PU. 1:2 ack 1 urg 1");
        Assert.Equal(1, tcp.App.TryRead(1, MessageFlags.OutOfBand).Value);
        Assert.Equal(Errno.EINVAL, tcp.App.TryRead(1, MessageFlags.OutOfBand).Error);
    }

    [Fact]
    public void Reading_it_when_there_is_none_fails()
    {
        using var tcp = Story.Established(mss: 1000);
        Assert.Equal(Errno.EINVAL, tcp.App.TryRead(1, MessageFlags.OutOfBand).Error);
    }

    [Fact]
    public void MSG_OOB_sends_the_last_byte_as_urgent_at_once()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(5, MessageFlags.OutOfBand);
        tcp.Sends("PU. 1:6 ack 1 urg 5");
    }

    [Fact]
    public void The_urgent_pointer_stays_until_it_is_acknowledged()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Tcp, Opt.NoDelay, 1);
        tcp.App.Write(5, MessageFlags.OutOfBand);
        tcp.Sends("PU. 1:6 ack 1 urg 5");
        tcp.Gets("ack 6");
        tcp.App.Write(5);
        tcp.Sends("6:11 ack 1");
    }
}
