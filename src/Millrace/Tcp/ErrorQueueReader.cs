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

    public static SysResult Receive(Sched.Host host, Sock sk, ref MsgHdr message)
    {
        ErrorNotice? notice = sk.ErrorQueue?.Take();
        if (notice is null)
            return Errno.EAGAIN;
        int copied = (int)Math.Min(notice.Payload.Length, message.Iter.Count);
        if (copied < notice.Payload.Length)
            message.OutFlags |= MessageFlags.Truncate;
        message.Iter.CopyToUser(notice.Payload.AsSpan(0, copied));
        StampControl.PutNotice(host, sk, notice, ref message);
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
}
