using System;
using Millrace.Inet;
using Millrace.Sockets;

namespace Millrace.Tcp;

/// <summary>Control data of sendmsg. Linux: sock_cmsg_send, __sock_cmsg_send, as TCP uses them: whatever is wrong is EINVAL.</summary>
internal static class SendControl
{
    private const int HeaderLength = 16, Rights = 1, Credentials = 2;

    /// <summary>Reads what of <paramref name="control"/> concerns a stream: which times are wanted of its bytes. Other levels are passed over.</summary>
    public static Errno Read(Sock sk, ReadOnlySpan<byte> control, ref uint timestamping)
    {
        while (control.Length >= HeaderLength)
        {
            ulong length = BitConverter.ToUInt64(control);
            if (length < HeaderLength || length > (ulong)control.Length)
                return Errno.EINVAL;
            int level = BitConverter.ToInt32(control[8..]), type = BitConverter.ToInt32(control[12..]);
            if (level == SocketLevel.Socket && !Accept(sk, type, control[HeaderLength..(int)length], ref timestamping))
                return Errno.EINVAL;
            control = control[(int)Math.Min((length + 7) & ~7ul, (ulong)control.Length)..];
        }
        return Errno.OK;
    }

    // Mark and priority are read, and no more: a stream's segments are not one message's. Linux: likewise.
    private static bool Accept(Sock sk, int type, ReadOnlySpan<byte> data, ref uint timestamping)
    {
        switch (type)
        {
            case Rights or Credentials:
                return true;
            case So.Mark:
                return data.Length == sizeof(uint) && (sk.Credentials.NetAdmin || sk.Credentials.NetRaw);
            case So.Priority:
                return data.Length == sizeof(uint) && (sk.Credentials.NetAdmin || BitConverter.ToInt32(data) is >= 0 and <= 6);
            case So.Timestamping or So.TimestampingNew:
                if (data.Length != sizeof(uint) || (BitConverter.ToUInt32(data) & ~TimestampFlags.PerMessage) != 0)
                    return false;
                timestamping = (timestamping & ~TimestampFlags.PerMessage) | BitConverter.ToUInt32(data);
                return true;
            default:
                return false;
        }
    }
}
