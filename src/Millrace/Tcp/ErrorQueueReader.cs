using System;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Tcp;

/// <summary>recvmsg(MSG_ERRQUEUE). Linux: inet_recv_error, ip_recv_error, ipv6_recv_error.</summary>
internal static class ErrorQueueReader
{
    private const int IpRecvErr = 11, Ipv6RecvErr = 25;

    /// <summary>Size of struct sock_extended_err.</summary>
    private const int ExtendedErrorLength = 16;

    public static SysResult Receive(Cpu cpu, Sock sk, ref MsgHdr message)
    {
        if (Dequeue(cpu, sk) is not { } notice)
            return Errno.EAGAIN;
        int copied = (int)Math.Min(notice.Payload.Length, message.Iter.Count);
        if (copied < notice.Payload.Length)
            message.OutFlags |= MessageFlags.Truncate;
        message.Iter.CopyToUser(notice.Payload.AsSpan(0, copied));
        StampControl.PutNotice(cpu.Host, sk, notice, ref message);
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
        if (notice.IsIcmp)
        {
            int family = v6 ? Af.Inet6 : Af.Inet;
            message.Name = new SockAddr(family, notice.Destination, notice.Port);
            message.HasName = true;
            new SockAddr(family, notice.Reporter, 0).Write(control[ExtendedErrorLength..]);
        }
        message.PutControl(v6 ? SocketLevel.Ipv6 : SocketLevel.Ip, v6 ? Ipv6RecvErr : IpRecvErr, control[..(ExtendedErrorLength + offender)]);
        message.OutFlags |= MessageFlags.ErrorQueue;
        return copied;
    }

    // With an ICMP error that is read, the pending error is that of the next, or none. Linux: sock_dequeue_err_skb.
    private static ErrorNotice? Dequeue(Cpu cpu, Sock sk)
    {
        ErrorNotice? next = null;
        if (sk.ErrorQueue?.Take(out next) is not { } notice)
            return null;
        if (next is { IsIcmp: true })
            sk.Error = next.Error;
        else if (notice.IsIcmp)
            sk.Error = Errno.OK;
        if (next is not null)
            sk.ErrorReport(cpu);
        return notice;
    }
}
