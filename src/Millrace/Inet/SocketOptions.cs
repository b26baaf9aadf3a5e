using System;
using System.Text;
using Millrace.Devices;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Inet;

/// <summary>
/// getsockopt and setsockopt: SOL_SOCKET here, the network layers' options in <see cref="IpOptions"/>, the rest in the protocol. What
/// is not there is refused with ENOPROTOOPT.
/// </summary>
/// <remarks>Linux: sk_setsockopt, sk_getsockopt.</remarks>
internal sealed class SocketOptions(Sysctls sysctls, BindHash binds, DeviceTable devices, IpOptions ip, long cookieBase)
{
    private const int InterfaceNameSize = 16;

    // Cookies that have been given out; the base itself is the stack's own.
    private long _cookies;

    public Errno Set(ref TaskContext context, Sock sk, int level, int option, ReadOnlySpan<byte> value) => level switch
    {
        SocketLevel.Socket => SetSocket(ref context, sk, option, value),
        SocketLevel.Ip or SocketLevel.Ipv6 => ip.Set(ref context, (InetSock)sk, level, option, value),
        _ => sk.Proto.SetOption(ref context, sk, level, option, value),
    };

    public Errno Get(ref TaskContext context, Sock sk, int level, int option, ref Span<byte> value) => level switch
    {
        SocketLevel.Socket => GetSocket(ref context, sk, option, ref value),
        SocketLevel.Ip or SocketLevel.Ipv6 => ip.Get(ref context, (InetSock)sk, level, option, ref value),
        _ => sk.Proto.GetOption(ref context, sk, level, option, ref value),
    };

    private Errno SetSocket(ref TaskContext context, Sock sk, int option, ReadOnlySpan<byte> value)
    {
        if (option == So.BindToDevice)
            return BindToDevice(ref context, sk, value);
        if (value.Length < sizeof(int))
            return Errno.EINVAL;
        int number = BitConverter.ToInt32(value);
        sk.LockSock(ref context);
        Errno error = SetLocked(context.Cpu, sk, option, value, number);
        sk.ReleaseSock(context.Cpu);
        return error;
    }

    private Errno SetLocked(Cpu cpu, Sock sk, int option, ReadOnlySpan<byte> value, int number)
    {
        bool on = number != 0;
        switch (option)
        {
            case So.ReuseAddr:
                Reclassify(cpu, sk, on, static (s, v) => s.ReuseAddr = v ? AddressReuse.Can : AddressReuse.None);
                return Errno.OK;
            case So.ReusePort:
                Reclassify(cpu, sk, on, static (s, v) => s.ReusePort = v);
                return Errno.OK;
            case So.Debug when on && !sk.Credentials.NetAdmin:
                return Errno.EACCES;
            case So.RcvMark when !sk.Credentials.NetAdmin && !sk.Credentials.NetRaw:
                return Errno.EPERM;
            case var _ when PlainFlag(option) is var flag && flag != SockFlags.None:
                sk.Set(flag, on);
                return Errno.OK;
            case So.SndBuf:
                SetSendBuffer(cpu, sk, (int)Math.Min((uint)number, (uint)sysctls.WmemMax));
                return Errno.OK;
            case So.SndBufForce:
                if (!sk.Credentials.NetAdmin)
                    return Errno.EPERM;
                SetSendBuffer(cpu, sk, Math.Max(number, 0));
                return Errno.OK;
            case So.RcvBuf:
                SetReceiveBuffer(sk, (int)Math.Min((uint)number, (uint)sysctls.RmemMax));
                return Errno.OK;
            case So.RcvBufForce:
                if (!sk.Credentials.NetAdmin)
                    return Errno.EPERM;
                SetReceiveBuffer(sk, Math.Max(number, 0));
                return Errno.OK;
            case So.KeepAlive:
                sk.SetKeepAlive(cpu, on);
                sk.Set(SockFlags.KeepOpen, on);
                return Errno.OK;
            case So.Priority:
                if (number is < 0 or > 6 && !sk.Credentials.NetAdmin)
                    return Errno.EPERM;
                sk.Priority = number;
                return Errno.OK;
            case So.Linger:
                return SetLinger(sk, value);
            case So.RcvLowat:
                return sk.SetReceiveLowWater(cpu, number < 0 ? int.MaxValue : number);
            case So.RcvTimeo or So.RcvTimeoNew:
                if (TryReadTimeout(value, out Micros receive) is not Errno.OK and var badReceive)
                    return badReceive;
                sk.ReceiveTimeout = receive;
                return Errno.OK;
            case So.SndTimeo or So.SndTimeoNew:
                if (TryReadTimeout(value, out Micros send) is not Errno.OK and var badSend)
                    return badSend;
                sk.SendTimeout = send;
                return Errno.OK;
            case So.Mark:
                if (!sk.Credentials.NetAdmin)
                    return Errno.EPERM;
                sk.Mark = (uint)number;
                ((InetSock)sk).Route = null;
                return Errno.OK;
            case So.Timestamp or So.TimestampNs or So.TimestampNew or So.TimestampNsNew:
                SetReceiveStamps(sk, option, on);
                return Errno.OK;
            case So.Timestamping or So.TimestampingNew:
                return SetTimestamping(cpu, sk, option, (uint)number);
            case So.MaxPacingRate:
                sk.MaxPacingRate = value.Length == sizeof(ulong)
                    ? BitConverter.ToUInt64(value)
                    : (uint)number == uint.MaxValue ? ulong.MaxValue : (uint)number;
                sk.PacingRate = Math.Min(sk.PacingRate, sk.MaxPacingRate);
                sk.OnPacingRequested();
                return Errno.OK;
            case So.ZeroCopy:
                if (!sk.SupportsZeroCopy)
                    return Errno.EOPNOTSUPP;
                if (number is < 0 or > 1)
                    return Errno.EINVAL;
                sk.Set(SockFlags.ZeroCopy, on);
                return Errno.OK;
            case So.BindToIfIndex:
                return BindToIfIndex(cpu, sk, number);
            default:
                return SetRare(sk, option, number);
        }
    }

    // Options that few programs set.
    private Errno SetRare(Sock sk, int option, int number)
    {
        switch (option)
        {
            // Once it made a difference. Linux: likewise.
            case So.BsdCompat:
                return Errno.OK;
            case So.CnxAdvice:
                if (number == 1)
                    ((InetSock)sk).Route = null;
                return Errno.OK;
            // There are no groups whose memory could be reserved. Linux: sock_reserve_memory.
            case So.ReserveMem:
                return number < 0 ? Errno.EINVAL : Errno.EOPNOTSUPP;
            case So.TxRehash:
                if (number is < -1 or > 1)
                    return Errno.EINVAL;
                sk.Set(SockFlags.KeepsLabel, number == 0 || (number == -1 && sysctls.TxRehash == 0));
                return Errno.OK;
            case So.PeekOff:
                sk.PeekOffset = number;
                return Errno.OK;
            case So.IncomingCpu:
                sk.IncomingCpu = number;
                return Errno.OK;
            case So.BufLock:
                if ((number & ~3) != 0)
                    return Errno.EINVAL;
                sk.Set(SockFlags.SendBufLocked, (number & 1) != 0);
                sk.Set(SockFlags.RcvBufLocked, (number & 2) != 0);
                return Errno.OK;
            default:
                return Errno.ENOPROTOOPT;
        }
    }

    private Errno GetSocket(ref TaskContext context, Sock sk, int option, ref Span<byte> value)
    {
        switch (option)
        {
            case So.Linger:
                Span<int> linger = [sk.Has(SockFlags.Linger) ? 1 : 0, (int)(sk.LingerTime.Value / 1_000_000)];
                return OptionValue.Put(ref value, System.Runtime.InteropServices.MemoryMarshal.AsBytes(linger));
            case So.RcvTimeo or So.RcvTimeoNew:
                return PutTimeout(ref value, sk.ReceiveTimeout);
            case So.SndTimeo or So.SndTimeoNew:
                return PutTimeout(ref value, sk.SendTimeout);
            case So.Timestamping or So.TimestampingNew:
                // struct so_timestamping; the new one tells only what was set through it.
                bool told = option == So.Timestamping || sk.Has(SockFlags.NewStamps);
                Span<uint> stamping = [told ? sk.Timestamping : 0, 0];
                return OptionValue.Put(ref value, System.Runtime.InteropServices.MemoryMarshal.AsBytes(stamping));
            case So.MaxPacingRate:
                return value.Length >= sizeof(ulong)
                    ? OptionValue.Put(ref value, BitConverter.GetBytes(sk.MaxPacingRate))
                    : OptionValue.Put(ref value, (int)(uint)Math.Min(sk.MaxPacingRate, uint.MaxValue));
            case So.BindToDevice:
                return GetDeviceName(sk, ref value);
            case So.PeerName:
                return GetPeerName(ref context, sk, ref value);
            case So.MemInfo:
                return PutMemInfo(sk, ref value);
            case So.Cookie:
                if (value.Length < sizeof(ulong))
                    return Errno.EINVAL;
                if (sk.Cookie == 0)
                    sk.Cookie = cookieBase + System.Threading.Interlocked.Increment(ref _cookies);
                return OptionValue.Put(ref value, BitConverter.GetBytes(sk.Cookie));
            case So.PeerCred:
                // struct ucred of nobody: who the peer is, only AF_UNIX knows.
                return OptionValue.Put(ref value, [0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
            case So.NetnsCookie:
                return value.Length != sizeof(ulong) ? Errno.EINVAL : OptionValue.Put(ref value, BitConverter.GetBytes(cookieBase));
            default:
                return GetNumber(sk, option, out int number) is var error && error != Errno.OK
                    ? error
                    : OptionValue.Put(ref value, number);
        }
    }

    // Options that are a switch and no more: what they do is done where the switch is looked at.
    private static SockFlags PlainFlag(int option) => option switch
    {
        So.DontRoute => SockFlags.LocalRoute,
        So.Broadcast => SockFlags.Broadcast,
        So.OobInline => SockFlags.UrgInline,
        So.Debug => SockFlags.Debug,
        So.NoCheck => SockFlags.NoCheck,
        So.RxqOvfl => SockFlags.RxqOvfl,
        So.WifiStatus => SockFlags.WifiStatus,
        So.NoFcs => SockFlags.NoFcs,
        So.SelectErrQueue => SockFlags.SelectErrQueue,
        So.RcvMark => SockFlags.ReceiveMark,
        So.RcvPriority => SockFlags.ReceivePriority,
        _ => SockFlags.None,
    };

    private static Errno GetNumber(Sock sk, int option, out int number)
    {
        static int Flag(bool on) => on ? 1 : 0;
        Errno error = Errno.OK;
        number = 0;
        switch (option)
        {
            case So.ReuseAddr:
                number = (int)sk.ReuseAddr;
                break;
            case So.ReusePort:
                number = Flag(sk.ReusePort);
                break;
            case So.Type:
                number = (int)sk.Socket!.Type;
                break;
            case So.Protocol:
                number = sk.Proto.Number;
                break;
            case So.Domain:
                number = sk.Family;
                break;
            case So.Error:
                number = (int)sk.TakeError();
                if (number == 0)
                    (number, sk.SoftError) = ((int)sk.SoftError, Errno.OK);
                break;
            case var _ when PlainFlag(option) is var flag && flag != SockFlags.None:
                number = Flag(sk.Has(flag));
                break;
            case So.BsdCompat or So.IncomingNapiId or So.ReserveMem:
                break;
            case So.TxRehash:
                number = Flag(!sk.Has(SockFlags.KeepsLabel));
                break;
            case So.SndBuf:
                number = sk.SendBuffer;
                break;
            case So.RcvBuf:
                number = sk.ReceiveBuffer;
                break;
            case So.KeepAlive:
                number = Flag(sk.Has(SockFlags.KeepOpen));
                break;
            case So.Priority:
                number = sk.Priority;
                break;
            case So.RcvLowat:
                number = sk.ReceiveLowWater;
                break;
            case So.SndLowat:
                number = 1;
                break;
            case So.AcceptConn:
                number = Flag(sk.State == TcpState.Listen);
                break;
            case So.Mark:
                number = (int)sk.Mark;
                break;
            case So.Timestamp:
                number = Flag((sk.Flags & StampKind) == SockFlags.ReceiveStamp);
                break;
            case So.TimestampNs:
                number = Flag((sk.Flags & (StampKind & ~SockFlags.ReceiveStamp)) == SockFlags.ReceiveStampNs);
                break;
            case So.TimestampNew:
                number = Flag((sk.Flags & (StampKind & ~SockFlags.ReceiveStampNs)) == (SockFlags.ReceiveStamp | SockFlags.NewStamps));
                break;
            case So.TimestampNsNew:
                number = Flag((sk.Flags & (StampKind & ~SockFlags.ReceiveStamp)) == (SockFlags.ReceiveStampNs | SockFlags.NewStamps));
                break;
            case So.PeekOff:
                number = sk.PeekOffset;
                break;
            case So.IncomingCpu:
                number = sk.IncomingCpu;
                break;
            case So.ZeroCopy:
                number = Flag(sk.Has(SockFlags.ZeroCopy));
                break;
            case So.BindToIfIndex:
                number = sk.BoundIfIndex;
                break;
            case So.BufLock:
                number = (sk.Has(SockFlags.SendBufLocked) ? 1 : 0) | (sk.Has(SockFlags.RcvBufLocked) ? 2 : 0);
                break;
            default:
                error = Errno.ENOPROTOOPT;
                break;
        }
        return error;
    }

    private const SockFlags StampKind = SockFlags.ReceiveStamp | SockFlags.ReceiveStampNs | SockFlags.NewStamps;

    // Packets are stamped on even if the option goes off again. Linux: __sock_set_timestamps.
    private static void SetReceiveStamps(Sock sk, int option, bool on)
    {
        bool nanoseconds = option is So.TimestampNs or So.TimestampNsNew;
        sk.Set(SockFlags.ReceiveStamp, on);
        sk.Set(SockFlags.ReceiveStampNs, on && nanoseconds);
        if (!on)
            return;
        sk.Set(SockFlags.NewStamps, option is So.TimestampNew or So.TimestampNsNew);
        sk.DemandStamps(SockFlags.DemandsStamps, on: true);
    }

    private static Errno SetTimestamping(Cpu cpu, Sock sk, int option, uint flags)
    {
        Errno error = sk.SetTimestamping(cpu, flags);
        if (error == Errno.OK)
            sk.Set(SockFlags.NewStamps, option == So.TimestampingNew);
        return error;
    }

    // Linux: sock_set_sndbuf: doubled, because the number counts memory, not payload.
    private static void SetSendBuffer(Cpu cpu, Sock sk, int bytes)
    {
        sk.Flags |= SockFlags.SendBufLocked;
        sk.SendBuffer = (int)Math.Max(Math.Min((long)bytes * 2, int.MaxValue), Sock.MinSendBuffer);
        sk.WriteSpace(cpu);
    }

    // Linux: __sock_set_rcvbuf.
    private static void SetReceiveBuffer(Sock sk, int bytes)
    {
        sk.Flags |= SockFlags.RcvBufLocked;
        sk.ReceiveBuffer = (int)Math.Max(Math.Min((long)bytes * 2, int.MaxValue), Sock.MinReceiveBuffer);
    }

    private static Errno SetLinger(Sock sk, ReadOnlySpan<byte> value)
    {
        if (value.Length < 2 * sizeof(int))
            return Errno.EINVAL;
        bool on = BitConverter.ToInt32(value) != 0;
        sk.Set(SockFlags.Linger, on);
        if (on)
            sk.LingerTime = Micros.FromSeconds((uint)BitConverter.ToInt32(value[4..]));
        return Errno.OK;
    }

    // struct timeval; all zero is no limit, a negative time is none at all. Linux: sock_set_timeout.
    private static Errno TryReadTimeout(ReadOnlySpan<byte> value, out Micros timeout)
    {
        timeout = default;
        if (value.Length < 2 * sizeof(long))
            return Errno.EINVAL;
        long seconds = BitConverter.ToInt64(value), micros = BitConverter.ToInt64(value[8..]);
        if (micros is < 0 or >= 1_000_000)
            return Errno.EDOM;
        if (seconds < 0)
            timeout = Micros.Zero;
        else if (seconds == 0 && micros == 0 || seconds >= long.MaxValue / 1_000_000 - 1)
            timeout = Micros.Never;
        else
            timeout = new Micros(seconds * 1_000_000 + micros);
        return Errno.OK;
    }

    private static Errno PutTimeout(ref Span<byte> value, Micros timeout)
    {
        Span<long> pair = timeout == Micros.Never ? [0, 0] : [timeout.Value / 1_000_000, timeout.Value % 1_000_000];
        return OptionValue.Put(ref value, System.Runtime.InteropServices.MemoryMarshal.AsBytes(pair));
    }

    // Linux: sk_get_meminfo.
    private static Errno PutMemInfo(Sock sk, ref Span<byte> value)
    {
        Span<int> info =
        [
            sk.ReceiveAllocated, sk.ReceiveBuffer, sk.TransmitAllocated, sk.SendBuffer, sk.ForwardAllocated, sk.WriteQueued, 0,
            sk.Lock.BacklogBytes, 0,
        ];
        return OptionValue.Put(ref value, System.Runtime.InteropServices.MemoryMarshal.AsBytes(info));
    }

    private static Errno GetPeerName(ref TaskContext context, Sock sk, ref Span<byte> value)
    {
        Errno error = sk.Socket!.Ops.GetName(ref context, sk.Socket, peer: true, out SockAddr peer);
        if (error != Errno.OK)
            return error;
        Span<byte> address = stackalloc byte[SockAddr.Inet6Length];
        int length = peer.Write(address);
        return value.Length < length ? Errno.EINVAL : OptionValue.Put(ref value, address[..length]);
    }

    private Errno BindToDevice(ref TaskContext context, Sock sk, ReadOnlySpan<byte> value)
    {
        int end = value.IndexOf((byte)0);
        ReadOnlySpan<byte> name = end < 0 ? value : value[..end];
        if (name.Length >= InterfaceNameSize)
            name = name[..(InterfaceNameSize - 1)];
        int ifIndex = 0;
        if (!name.IsEmpty)
        {
            if (devices.ByName(Encoding.UTF8.GetString(name)) is not { } device)
                return Errno.ENODEV;
            ifIndex = device.IfIndex;
        }
        sk.LockSock(ref context);
        Errno error = BindToIfIndex(context.Cpu, sk, ifIndex);
        sk.ReleaseSock(context.Cpu);
        return error;
    }

    // Linux: sock_bindtoindex_locked.
    private Errno BindToIfIndex(Cpu cpu, Sock sk, int ifIndex)
    {
        if (ifIndex < 0)
            return Errno.EINVAL;
        if (sk.BoundIfIndex != 0 && !sk.Credentials.NetRaw)
            return Errno.EPERM;
        Reclassify(cpu, sk, ifIndex, static (s, v) => s.BoundIfIndex = v);
        ((InetSock)sk).Route = null;
        return Errno.OK;
    }

    private Errno GetDeviceName(Sock sk, ref Span<byte> value)
    {
        if (sk.BoundIfIndex == 0)
        {
            value = [];
            return Errno.OK;
        }
        if (devices.ByIndex(sk.BoundIfIndex) is not { } device)
            return Errno.ENODEV;
        byte[] name = Encoding.UTF8.GetBytes(device.Name + '\0');
        return value.Length < InterfaceNameSize ? Errno.EINVAL : OptionValue.Put(ref value, name);
    }

    private void Reclassify<TState>(Cpu cpu, Sock sk, TState state, Action<InetSock, TState> change)
    {
        if (sk is InetConnectionSock connection)
            binds.Change(cpu, connection, (change, state), static (s, v) => v.change(s, v.state));
        else
            change((InetSock)sk, state);
    }
}

/// <summary>Writes an option's value into the caller's buffer, cut to its length, as getsockopt does.</summary>
internal static class OptionValue
{
    public static Errno Put(ref Span<byte> value, scoped ReadOnlySpan<byte> data)
    {
        int length = Math.Min(value.Length, data.Length);
        data[..length].CopyTo(value);
        value = value[..length];
        return Errno.OK;
    }

    public static Errno Put(ref Span<byte> value, int number)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BitConverter.TryWriteBytes(bytes, number);
        return Put(ref value, bytes);
    }
}
