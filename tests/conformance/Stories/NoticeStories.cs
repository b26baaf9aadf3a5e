using System;

namespace Millrace.Conformance;

/// <summary>What the socket tells of what it has sent: zero-copy completions and timestamps. Linux: MSG_ZEROCOPY, SO_TIMESTAMPING.</summary>
public sealed class NoticeStories
{
    private const int SoEeOriginZeroCopy = 5, SoEeOriginTimestamping = 4, TxSched = 1 << 8, TxSoftware = 1 << 1, TxAck = 1 << 9, Software = 1 << 4,
        OptId = 1 << 7, TsOnly = 1 << 11;

    // The next notice: who sent it, its info and its data; null if there is none.
    private static (int Origin, uint Info, uint Data)? Next(App app)
    {
        byte[]? error = app.TryReadError();
        return error is null ? null : (error[4], BitConverter.ToUInt32(error, 8), BitConverter.ToUInt32(error, 12));
    }

    [Fact]
    public void A_zero_copy_write_is_reported_when_it_is_acknowledged()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.ZeroCopy, 1);
        tcp.App.Write(4000, MessageFlags.ZeroCopy);
        tcp.Drain();
        tcp.Gets("ack 4001");
        Assert.Equal((SoEeOriginZeroCopy, 0u, 0u), Next(tcp.App));
        Assert.Null(Next(tcp.App));
    }

    [Fact]
    public void Reports_of_writes_in_a_row_are_one_range()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.ZeroCopy, 1);
        tcp.App.Write(2000, MessageFlags.ZeroCopy);
        tcp.App.Write(2000, MessageFlags.ZeroCopy);
        tcp.App.Write(2000, MessageFlags.ZeroCopy);
        tcp.Drain();
        tcp.Gets("ack 6001");
        Assert.Equal((SoEeOriginZeroCopy, 0u, 2u), Next(tcp.App));
    }

    [Fact]
    public void Poll_says_that_there_is_a_notice()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.ZeroCopy, 1);
        tcp.App.Write(4000, MessageFlags.ZeroCopy);
        tcp.Drain();
        Assert.Equal(0, tcp.App.Poll(0));
        tcp.Gets("ack 4001");
        Assert.Equal(Opt.PollErr, tcp.App.Poll(0));
    }

    [Fact]
    public void Without_SO_ZEROCOPY_the_flag_means_nothing()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Write(4000, MessageFlags.ZeroCopy);
        tcp.Drain();
        tcp.Gets("ack 4001");
        Assert.Null(Next(tcp.App));
    }

    [Fact]
    public void A_timestamp_is_told_when_the_last_byte_is_acknowledged()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.Timestamping, TxAck | Software | OptId | TsOnly);
        tcp.App.Write(2000);
        tcp.Drain();
        tcp.Gets("ack 1001");
        Assert.Null(Next(tcp.App));
        tcp.Gets("ack 2001");
        Assert.Equal((SoEeOriginTimestamping, 2u, 1999u), Next(tcp.App));
    }

    [Fact]
    public void Sending_is_told_before_its_acknowledgment()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.Timestamping, TxSched | TxSoftware | TxAck | Software | OptId | TsOnly);
        tcp.App.Write(500);
        tcp.Drain();
        Assert.Equal((SoEeOriginTimestamping, 1u, 499u), Next(tcp.App));
        Assert.Equal((SoEeOriginTimestamping, 0u, 499u), Next(tcp.App));
        Assert.Null(Next(tcp.App));
        tcp.Gets("ack 501");
        Assert.Equal((SoEeOriginTimestamping, 2u, 499u), Next(tcp.App));
    }
}
