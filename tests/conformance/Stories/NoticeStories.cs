using System;
using System.Collections.Generic;
using System.Linq;

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
    public void A_timestamp_is_told_of_a_byte_that_had_left_when_the_send_buffer_was_full()
    {
        using var tcp = Story.Established(mss: 1000, wscale: null, win: 10_000);
        tcp.App.Set(Opt.Socket, Opt.SndBuf, 4000);
        tcp.App.Set(Opt.Socket, Opt.Timestamping, TxAck | Software | OptId | TsOnly);
        int written = tcp.App.TryWrite(60_000).Value;
        tcp.Drain();
        tcp.Gets($"ack {written + 1}");
        Assert.Equal((SoEeOriginTimestamping, 2u, (uint)written - 1), Next(tcp.App));
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

    // ---- What one message wants ----

    [Fact]
    public void A_message_may_want_times_that_the_socket_does_not()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.Timestamping, Software | OptId | TsOnly);
        tcp.App.Set(Opt.Tcp, Opt.NoDelay, 1);
        tcp.App.Write(100);
        Assert.Equal(100, tcp.App.WriteWithControl(100, Wants(TxAck)));
        tcp.App.Write(100);
        tcp.Drain();
        tcp.Gets("ack 301");
        Assert.Equal((SoEeOriginTimestamping, 2u, 199u), Next(tcp.App));
        Assert.Null(Next(tcp.App));
    }

    [Fact]
    public void A_message_may_do_without_the_times_that_the_socket_wants()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.Timestamping, TxAck | Software | OptId | TsOnly);
        Assert.Equal(100, tcp.App.WriteWithControl(100, Wants(0)));
        tcp.Drain();
        tcp.Gets("ack 101");
        Assert.Null(Next(tcp.App));
    }

    [Fact]
    public void Control_data_that_a_stream_cannot_use_is_refused_or_passed_over()
    {
        const int scmRights = 1, scmTsOptId = 81, scmTxTime = 61;
        using var tcp = Story.Established(mss: 1000);
        int number = 1;

        Errno write(int level, int type, int length = 4) =>
            tcp.App.WriteWithControl(1, new ControlMessage(level, type, new byte[length])) is { IsError: true } failed ? failed.Error : (number++, Errno.OK).OK;

        Assert.Equal(Errno.OK, write(Opt.Ip, Opt.IpTos));
        Assert.Equal(Errno.OK, write(Opt.Tcp, 99));
        Assert.Equal(Errno.OK, write(Opt.Socket, Opt.Mark));
        Assert.Equal(Errno.OK, write(Opt.Socket, Opt.Priority));
        Assert.Equal(Errno.OK, write(Opt.Socket, scmRights));
        Assert.Equal(Errno.EINVAL, write(Opt.Socket, Opt.Priority, 8));
        Assert.Equal(Errno.EINVAL, write(Opt.Socket, scmTsOptId));
        Assert.Equal(Errno.EINVAL, write(Opt.Socket, scmTxTime, 8));
        Assert.Equal(Errno.EINVAL, write(Opt.Socket, Opt.Timestamping, 8));
        Assert.Equal(Errno.EINVAL, write(Opt.Socket, Opt.SndBuf));
        Assert.Equal(Errno.EINVAL, tcp.App.WriteWithControl(1, Wants(Software)).Error);
        byte[] tooLong = new ControlMessage(Opt.Tcp, 1, new byte[8]).Encode();
        tooLong[0]++;
        Assert.Equal(Errno.EINVAL, tcp.Backend.SendMsg(tcp.App.Fd, [1], MessageFlags.None, tooLong).Error);
        Assert.Equal(6, number);
    }

    [Fact]
    public void The_connections_numbers_come_with_a_time_instead_of_the_packet()
    {
        const int optStats = 1 << 12, scmStats = 54;
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.Timestamping, TxSoftware | Software | TsOnly | optStats);
        tcp.App.Write(500);
        tcp.Drain();
        Notice notice = tcp.App.TryReadNotice()!;
        Assert.Equal([(Opt.Socket, Opt.Timestamping), (Opt.Socket, scmStats)], notice.Others.Select(static m => (m.Level, m.Type)));
        Assert.Equal(notice.Payload, notice.Others[1].Data);
        Dictionary<int, byte[]> numbers = Attributes(notice.Payload);
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 17, 13, 14, 18, 19, 20, 21, 22, 23, 24, 25, 27], numbers.Keys);
        Assert.Equal([8, 8, 8, 8, 8, 8, 8, 4, 4, 4, 1, 1, 4, 4, 4, 4, 1, 8, 8, 4, 4, 4, 2, 4, 8, 4], numbers.Values.Select(static v => v.Length));
        const int segmentsOut = 4, window = 8, queued = 13, sent = 18, departure = 25;
        Assert.NotEqual(0, BitConverter.ToInt64(numbers[departure]));
        Assert.Equal(1, BitConverter.ToInt64(numbers[segmentsOut]));
        Assert.Equal(10, BitConverter.ToInt32(numbers[window]));
        Assert.Equal(500, BitConverter.ToInt32(numbers[queued]));
        Assert.Equal(500, BitConverter.ToInt64(numbers[sent]));
    }

    // The netlink attributes, in their order.
    private static Dictionary<int, byte[]> Attributes(ReadOnlySpan<byte> bytes)
    {
        var all = new Dictionary<int, byte[]>();
        while (!bytes.IsEmpty)
        {
            int length = BitConverter.ToUInt16(bytes);
            all.Add(BitConverter.ToUInt16(bytes[2..]), bytes[4..length].ToArray());
            bytes = bytes[((length + 3) / 4 * 4)..];
        }
        return all;
    }

    // ---- What came ----

    private const int Timestamp = 29, TimestampNs = 35, TimestampNew = 63, TimestampNsNew = 64, TimestampingNew = 65, RxSoftware = 1 << 3;

    private static ControlMessage Wants(int times) => new(Opt.Socket, Opt.Timestamping, BitConverter.GetBytes(times));

    [Fact]
    public void A_receive_tells_when_its_last_segment_came()
    {
        foreach (int option in new[] { Timestamp, TimestampNs, TimestampNew, TimestampNsNew, Opt.Timestamping, TimestampingNew })
        {
            using var tcp = Story.Established(mss: 1000);
            bool detailed = option is Opt.Timestamping or TimestampingNew;
            int length = detailed ? 48 : 16;
            tcp.App.Set(Opt.Socket, option, detailed ? RxSoftware | Software : 1);
            tcp.App.Set(Opt.Tcp, Opt.Inq, 1);
            tcp.Gets("P. 1:11 ack 1");
            long first = StampOf(tcp.App.ReadWithControl(10, MessageFlags.Peek), option, length);
            tcp.After(100);
            Assert.Equal(first, StampOf(tcp.App.ReadWithControl(4), option, length));
            tcp.Gets("P. 11:21 ack 1");
            long last = StampOf(tcp.App.ReadWithControl(16), option, length);
            Assert.InRange(Math.Abs(last - first - 100_000), 0, tcp.Backend.Tolerance(100_000));
        }
    }

    // Microseconds. The time comes first, the bytes left behind it.
    private static long StampOf((SysResult Read, IReadOnlyList<ControlMessage> Control) read, int option, int length)
    {
        Assert.Equal([(Opt.Socket, option), (Opt.Tcp, Opt.Inq)], read.Control.Select(static m => (m.Level, m.Type)));
        byte[] data = read.Control[0].Data;
        Assert.Equal(length, data.Length);
        Assert.All(data[16..], static b => Assert.Equal(0, b));
        long seconds = BitConverter.ToInt64(data), rest = BitConverter.ToInt64(data, 8);
        bool micros = option is Timestamp or TimestampNew;
        Assert.InRange(rest, 0, micros ? 999_999 : 999_999_999);
        return seconds * 1_000_000 + (micros ? rest : rest / 1000);
    }

    [Fact]
    public void Times_are_told_only_if_they_are_to_be_reported()
    {
        using var tcp = Story.Established(mss: 1000);
        tcp.App.Set(Opt.Socket, Opt.Timestamping, RxSoftware);
        tcp.Gets("P. 1:11 ack 1");
        Assert.Empty(tcp.App.ReadWithControl(10).Control);
        tcp.App.Set(Opt.Socket, Opt.Timestamping, RxSoftware | Software);
        tcp.Gets("P. 11:21 ack 1");
        Assert.Single(tcp.App.ReadWithControl(10).Control);
        // Stamped for another reason than this option's, and told unless that is not wanted.
        tcp.App.Set(Opt.Socket, Opt.Timestamping, Software);
        tcp.App.Set(Opt.Socket, Timestamp, 1);
        tcp.App.Set(Opt.Socket, Timestamp, 0);
        tcp.Gets("P. 21:31 ack 1");
        Assert.Single(tcp.App.ReadWithControl(10).Control);
        tcp.App.Set(Opt.Socket, Opt.Timestamping, Software | 1 << 17);
        tcp.Gets("P. 31:41 ack 1");
        Assert.Empty(tcp.App.ReadWithControl(10).Control);
    }

    [Fact]
    public void An_accepted_connection_has_its_listeners_stamps()
    {
        using var tcp = Story.Established(mss: 1000, prepare: static app =>
        {
            app.Set(Opt.Socket, TimestampNsNew, 1);
            app.Set(Opt.Socket, TimestampingNew, RxSoftware | Software);
        });
        tcp.Gets("P. 1:11 ack 1");
        Assert.Equal([TimestampNsNew, TimestampingNew], tcp.App.ReadWithControl(10).Control.Select(static m => m.Type));
        Assert.Equal((0, 0, 1), (tcp.App.Get(Opt.Socket, TimestampNs), tcp.App.Get(Opt.Socket, Timestamp), tcp.App.Get(Opt.Socket, TimestampNsNew)));
        Assert.Equal(RxSoftware | Software, tcp.App.Get(Opt.Socket, Opt.Timestamping));
    }

    [Fact]
    public void The_options_of_receive_stamps_read_back_as_Linux_has_them()
    {
        using Story tcp = Story.Idle();
        int[] options = [Timestamp, TimestampNs, TimestampNew, TimestampNsNew];
        App app = tcp.NewSocket();

        int[] values() => [.. options.Select(o => app.Get(Opt.Socket, o)), app.Get(Opt.Socket, TimestampingNew)];

        app.Set(Opt.Socket, Opt.Timestamping, Software);
        Assert.Equal([0, 0, 0, 0, 0], values());
        app.Set(Opt.Socket, Timestamp, 1);
        Assert.Equal([1, 0, 0, 0, 0], values());
        app.Set(Opt.Socket, TimestampNs, 1);
        Assert.Equal([0, 1, 0, 0, 0], values());
        app.Set(Opt.Socket, TimestampNew, 1);
        Assert.Equal([0, 0, 1, 0, Software], values());
        app.Set(Opt.Socket, TimestampNsNew, 1);
        Assert.Equal([0, 0, 1, 1, Software], values());
        app.Set(Opt.Socket, Timestamp, 0);
        Assert.Equal([0, 0, 0, 0, Software], values());
        Assert.Equal(8, tcp.Backend.GetOption(app.Fd, Opt.Socket, Opt.Timestamping, new byte[16]).Value);
    }
}
