using System;
using Millrace.Inet;
using Millrace.Sockets;

namespace Millrace.Tcp;

/// <summary>recvmsg(MSG_ERRQUEUE). Linux: inet_recv_error, ip_recv_error, ipv6_recv_error.</summary>
internal static class ErrorQueueReader
{
    private const int IpRecvErr = 11, Ipv6RecvErr = 25;

    /// <summary>Size of struct sock_extended_err.</summary>
    private const int ExtendedErrorLength = 16;

    /// <summary>SCM_TIMESTAMPING: three times, of which the first is the software's.</summary>
    private const int ScmTimestamping = 37, ScmTimestampingLength = 48;

    public static SysResult Receive(Sched.Host host, Sock sk, ref MsgHdr message)
    {
        ErrorNotice? notice = sk.ErrorQueue?.Take();
        if (notice is null)
            return Errno.EAGAIN;
        int copied = (int)Math.Min(notice.Payload.Length, message.Iter.Count);
        if (copied < notice.Payload.Length)
            message.OutFlags |= MessageFlags.Truncate;
        message.Iter.CopyToUser(notice.Payload.AsSpan(0, copied));
        if (notice.Origin == ErrorOrigin.Timestamping && (sk.Timestamping & TimestampFlags.Report) != 0)
            PutTime(host, notice, ref message);
        bool v6 = sk.Family == Af.Inet6;
        Span<byte> control = stackalloc byte[ExtendedErrorLength + SockAddr.Inet6Length];
        control.Clear();
        BitConverter.TryWriteBytes(control, (int)notice.Error);
        control[4] = (byte)notice.Origin;
        control[5] = notice.Type;
        control[6] = notice.Code;
        BitConverter.TryWriteBytes(control[8..], notice.Info);
        BitConverter.TryWriteBytes(control[12..], notice.Data);
        int offender = v6 ? SockAddr.Inet6Length : SockAddr.InetLength;
        if (notice.Origin is ErrorOrigin.Icmp or ErrorOrigin.Icmp6)
            new SockAddr(v6 ? Af.Inet6 : Af.Inet, notice.Address, 0).Write(control[ExtendedErrorLength..]);
        message.PutControl(v6 ? SocketLevel.Ipv6 : SocketLevel.Ip, v6 ? Ipv6RecvErr : IpRecvErr, control[..(ExtendedErrorLength + offender)]);
        message.OutFlags |= MessageFlags.ErrorQueue;
        return copied;
    }

    // Linux: __sock_recv_timestamp.
    private static void PutTime(Sched.Host host, ErrorNotice notice, ref MsgHdr message)
    {
        long nanoseconds = (host.Epoch - DateTimeOffset.UnixEpoch).Ticks * 100 + notice.Time * 1000;
        Span<byte> times = stackalloc byte[ScmTimestampingLength];
        times.Clear();
        BitConverter.TryWriteBytes(times, nanoseconds / 1_000_000_000);
        BitConverter.TryWriteBytes(times[8..], nanoseconds % 1_000_000_000);
        message.PutControl(SocketLevel.Socket, ScmTimestamping, times);
    }
}
