using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Tcp;

/// <summary>The options of TCP_REPAIR, and what a socket in repair does with calls.</summary>
internal sealed partial class TcpProto
{
    private const int RepairOn = 1, RepairOff = 0, RepairOffNoProbe = -1;

    private static bool IsRepair(int option) =>
        option is TcpOption.Repair or TcpOption.RepairQueue or TcpOption.QueueSeq or TcpOption.RepairOptions or TcpOption.RepairWindow
            or TcpOption.Timestamp;

    private static Errno SetRepair(Cpu cpu, TcpSock sk, int option, ReadOnlySpan<byte> value)
    {
        int number = BitConverter.ToInt32(value);
        switch (option)
        {
            case TcpOption.Repair:
                return SwitchRepair(cpu, sk, number);
            case TcpOption.RepairQueue:
                if (!sk.InRepair)
                    return Errno.EPERM;
                if ((uint)number > (uint)RepairQueue.Send)
                    return Errno.EINVAL;
                sk.AttachRare().RepairQueue = (RepairQueue)number;
                return Errno.OK;
            case TcpOption.QueueSeq:
                return sk.SetQueueSeq(new Wire.SeqNumber((uint)number));
            case TcpOption.RepairOptions:
                if (!sk.InRepair)
                    return Errno.EINVAL;
                return sk.State == TcpState.Established && sk.Transfer is not { BytesSent: > 0 } ? sk.SetRepairOptions(cpu, value) : Errno.EPERM;
            case TcpOption.RepairWindow:
                if (!sk.InRepair)
                    return Errno.EPERM;
                return value.Length == Unsafe.SizeOf<RepairWindow>() ? sk.SetRepairWindow(MemoryMarshal.Read<RepairWindow>(value)) : Errno.EINVAL;
            case TcpOption.Timestamp:
                return sk.InRepair ? SetTimestamp(cpu, sk, (uint)number) : Errno.EPERM;
            default:
                return Errno.ENOPROTOOPT;
        }
    }

    // Linux: tcp_can_repair_sock, and TCP_REPAIR of do_tcp_setsockopt.
    private static Errno SwitchRepair(Cpu cpu, TcpSock sk, int number)
    {
        if (!sk.Credentials.NetAdmin || sk.State == TcpState.Listen)
            return Errno.EPERM;
        if (number is not (RepairOn or RepairOff or RepairOffNoProbe))
            return Errno.EINVAL;
        if (number == RepairOn)
            sk.BeginRepair(cpu);
        else
            sk.EndRepair(cpu, probe: number == RepairOff);
        return Errno.OK;
    }

    // Deviates: an odd number asks Linux for timestamps in microseconds, which there are none of here.
    private static Errno SetTimestamp(Cpu cpu, TcpSock sk, uint timestamp)
    {
        if ((timestamp & 1) != 0)
            return Errno.EINVAL;
        sk.TsOffset = timestamp - (uint)cpu.Now.Milliseconds;
        return Errno.OK;
    }

    private static Errno GetRepair(Cpu cpu, TcpSock sk, int option, ref Span<byte> value)
    {
        switch (option)
        {
            case TcpOption.Repair:
                return OptionValue.Put(ref value, sk.InRepair ? 1 : 0);
            case TcpOption.RepairQueue:
                return sk.InRepair ? OptionValue.Put(ref value, (int)sk.RepairQueue) : Errno.EINVAL;
            case TcpOption.QueueSeq:
                Errno error = sk.GetQueueSeq(out int seq);
                return error == Errno.OK ? OptionValue.Put(ref value, seq) : error;
            case TcpOption.RepairWindow:
                if (value.Length != Unsafe.SizeOf<RepairWindow>())
                    return Errno.EINVAL;
                if (!sk.InRepair)
                    return Errno.EPERM;
                MemoryMarshal.Write(value, sk.RepairWindow);
                return Errno.OK;
            case TcpOption.Timestamp:
                return OptionValue.Put(ref value, (int)(sk.TimestampOf(cpu.Now) & ~1u));
            default:
                return Errno.ENOPROTOOPT;
        }
    }

    // Whether the message goes where every other goes. False: it does not, and this is what became of it. Linux: in tcp_sendmsg_locked.
    private static bool IsForSendQueue(Cpu cpu, TcpSock sk, ref MsgHdr message, out SysResult result)
    {
        result = sk.RepairQueue == RepairQueue.Receive ? sk.RestoreReceived(cpu, ref message) : Errno.EINVAL;
        return sk.RepairQueue == RepairQueue.Send;
    }

    // Whether the call may look at the receive queue, which only a peek may. False: this is its end. Linux: in tcp_recvmsg_locked.
    private static bool IsForReceiveQueue(Cpu cpu, TcpSock sk, ref MsgHdr message, out SysResult result)
    {
        result = Errno.EPERM;
        if (!message.Has(MessageFlags.Peek))
            return false;
        result = sk.RepairQueue == RepairQueue.Send ? sk.PeekSendQueue(cpu, ref message) : Errno.EINVAL;
        return sk.RepairQueue == RepairQueue.Receive;
    }
}
