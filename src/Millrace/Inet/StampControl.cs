using System;
using System.Runtime.InteropServices;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Inet;

/// <summary>Control messages that tell when something came, or went. The times are those of the host's clock, since 1970.</summary>
internal static class StampControl
{
    /// <summary>Linux: SCM_TIMESTAMPING_OPT_STATS.</summary>
    private const int OptStats = 54;

    /// <summary>A receive tells when the last of its bytes came. Linux: tcp_recv_timestamp.</summary>
    /// <param name="time">Microseconds of the stack's clock.</param>
    public static void PutReceived(Host host, Sock sk, long time, ref MsgHdr message)
    {
        uint flags = sk.Timestamping;
        bool asked = (flags & TimestampFlags.ReceiveSoftware) != 0 || (flags & TimestampFlags.OnlyWhatWasAskedFor) == 0;
        Put(host, sk, time, (flags & TimestampFlags.Report) != 0 && asked, ref message);
    }

    /// <summary>What the error queue tells. Linux: __sock_recv_timestamp.</summary>
    public static void PutNotice(Host host, Sock sk, ErrorNotice notice, ref MsgHdr message)
    {
        bool isStamp = notice.Origin == ErrorOrigin.Timestamping;
        Put(host, sk, isStamp ? notice.Time : host.Now.Value, isStamp && (sk.Timestamping & TimestampFlags.Report) != 0, ref message);
        if (notice.IsStats)
            message.PutControl(SocketLevel.Socket, OptStats, notice.Payload);
    }

    private static void Put(Host host, Sock sk, long time, bool detailed, ref MsgHdr message)
    {
        long nanoseconds = (host.Epoch - DateTimeOffset.UnixEpoch).Ticks * 100 + time * 1000;
        bool isNew = sk.Has(SockFlags.NewStamps);
        // Of the three times the first is the software's, the last the hardware's; the second is history.
        Span<long> times = [nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000, 0, 0, 0, 0];
        if (sk.Has(SockFlags.ReceiveStampNs))
        {
            message.PutControl(SocketLevel.Socket, isNew ? So.TimestampNsNew : So.TimestampNs, MemoryMarshal.AsBytes(times[..2]));
        }
        else if (sk.Has(SockFlags.ReceiveStamp))
        {
            Span<long> timeval = [times[0], times[1] / 1000];
            message.PutControl(SocketLevel.Socket, isNew ? So.TimestampNew : So.Timestamp, MemoryMarshal.AsBytes(timeval));
        }
        if (detailed)
            message.PutControl(SocketLevel.Socket, isNew ? So.TimestampingNew : So.Timestamping, MemoryMarshal.AsBytes(times));
    }
}
