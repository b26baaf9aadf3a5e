using System;
using System.Buffers.Binary;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>Options of IPPROTO_IP and IPPROTO_IPV6. Linux: do_ip_setsockopt, do_ipv6_setsockopt.</summary>
internal sealed class IpOptions(RoutingTable routes, Sysctls sysctls)
{
    public Errno Set(ref TaskContext context, InetSock sk, int level, int option, ReadOnlySpan<byte> value)
    {
        if (level == SocketLevel.Ipv6 && sk.Family != Af.Inet6)
            return Errno.ENOPROTOOPT;
        if (!TryReadNumber(level, option, value, out int number))
            return Errno.EINVAL;
        sk.LockSock(ref context);
        Errno error = level == SocketLevel.Ip ? SetIpv4(sk, option, number) : SetIpv6(sk, option, number);
        sk.ReleaseSock(context.Cpu);
        return error;
    }

    // One byte will do for IPv4's options, as it always has, and for some none, which is 0.
    private static bool TryReadNumber(int level, int option, ReadOnlySpan<byte> value, out int number)
    {
        bool full = value.Length >= sizeof(int);
        number = full ? BitConverter.ToInt32(value) : level == SocketLevel.Ip && value.Length > 0 ? value[0] : 0;
        if (level == SocketLevel.Ipv6)
            return full || option == Ipv6Option.AutoFlowLabel;
        return option switch
        {
            IpOption.LocalPortRange => value.Length == sizeof(uint),
            IpOption.FreeBind or IpOption.Transparent or IpOption.MinTtl => value.Length > 0,
            _ => true,
        };
    }

    public Errno Get(ref TaskContext context, InetSock sk, int level, int option, ref Span<byte> value)
    {
        if (level == SocketLevel.Ipv6 && sk.Family != Af.Inet6)
            return Errno.EOPNOTSUPP;
        if (level == SocketLevel.Ip && option == IpOption.PktOptions)
            return GetPacketOptions(ref context, sk, ref value);
        sk.LockSock(ref context);
        Errno error = level == SocketLevel.Ip ? GetIpv4(sk, option, out int number) : GetIpv6(sk, option, out number);
        sk.ReleaseSock(context.Cpu);
        if (error != Errno.OK)
            return error;
        if (level == SocketLevel.Ip && value.Length is > 0 and < sizeof(int) && number is >= 0 and <= 255)
            return OptionValue.Put(ref value, [(byte)number]);
        return OptionValue.Put(ref value, number);
    }

    private static Errno SetIpv4(InetSock sk, int option, int number)
    {
        bool on = number != 0;
        switch (option)
        {
            case IpOption.Tos:
                SetTos(sk, (byte)number);
                return Errno.OK;
            case IpOption.Ttl:
                if (number != -1 && number is < 1 or > 255)
                    return Errno.EINVAL;
                sk.Ttl = (short)number;
                return Errno.OK;
            case IpOption.MtuDiscover:
                if (number is < 0 or > (int)PathMtuDiscovery.Omit)
                    return Errno.EINVAL;
                sk.PathMtuDiscovery = (PathMtuDiscovery)number;
                return Errno.OK;
            case IpOption.RecvErr:
                SetRecvErr(sk, InetFlags.RecvErr, on);
                return Errno.OK;
            case IpOption.PktInfo:
                sk.SetInet(InetFlags.PacketInfo, on);
                return Errno.OK;
            case IpOption.RecvTtl:
                sk.SetInet(InetFlags.RecvTtl, on);
                return Errno.OK;
            case IpOption.RecvTos:
                sk.SetInet(InetFlags.RecvTos, on);
                return Errno.OK;
            case IpOption.FreeBind:
                sk.SetInet(InetFlags.FreeBind, on);
                return Errno.OK;
            case IpOption.Transparent:
                if (on && !sk.Credentials.NetRaw && !sk.Credentials.NetAdmin)
                    return Errno.EPERM;
                sk.SetInet(InetFlags.Transparent, on);
                return Errno.OK;
            case IpOption.MinTtl:
                if (number is < 0 or > 255)
                    return Errno.EINVAL;
                sk.MinTtl = (byte)number;
                return Errno.OK;
            case IpOption.BindAddressNoPort:
                sk.SetInet(InetFlags.BindAddressNoPort, on);
                return Errno.OK;
            case IpOption.LocalPortRange:
                (ushort low, ushort high) = ((ushort)number, (ushort)(number >> 16));
                if (low != 0 && high != 0 && low > high)
                    return Errno.EINVAL;
                sk.PortRange = (low, high);
                return Errno.OK;
            default:
                return Errno.ENOPROTOOPT;
        }
    }

    private Errno GetIpv4(InetSock sk, int option, out int number)
    {
        number = 0;
        switch (option)
        {
            case IpOption.Tos:
                number = sk.Tos;
                return Errno.OK;
            case IpOption.Ttl:
                number = sk.Ttl < 0 ? sysctls.IpDefaultTtl : sk.Ttl;
                return Errno.OK;
            case IpOption.MtuDiscover:
                number = (int)sk.PathMtuDiscovery;
                return Errno.OK;
            case IpOption.RecvErr:
                number = sk.HasInet(InetFlags.RecvErr) ? 1 : 0;
                return Errno.OK;
            case IpOption.PktInfo:
                number = sk.HasInet(InetFlags.PacketInfo) ? 1 : 0;
                return Errno.OK;
            case IpOption.RecvTtl:
                number = sk.HasInet(InetFlags.RecvTtl) ? 1 : 0;
                return Errno.OK;
            case IpOption.RecvTos:
                number = sk.HasInet(InetFlags.RecvTos) ? 1 : 0;
                return Errno.OK;
            case IpOption.Mtu:
                return GetMtu(sk, out number);
            case IpOption.FreeBind:
                number = sk.HasInet(InetFlags.FreeBind) ? 1 : 0;
                return Errno.OK;
            case IpOption.Transparent:
                number = sk.HasInet(InetFlags.Transparent) ? 1 : 0;
                return Errno.OK;
            case IpOption.MinTtl:
                number = sk.MinTtl;
                return Errno.OK;
            case IpOption.BindAddressNoPort:
                number = sk.HasInet(InetFlags.BindAddressNoPort) ? 1 : 0;
                return Errno.OK;
            case IpOption.LocalPortRange:
                number = sk.PortRange.High << 16 | sk.PortRange.Low;
                return Errno.OK;
            default:
                return Errno.ENOPROTOOPT;
        }
    }

    private static Errno SetIpv6(InetSock sk, int option, int number)
    {
        bool on = number != 0;
        switch (option)
        {
            case Ipv6Option.UnicastHops:
                if (number is < -1 or > 255)
                    return Errno.EINVAL;
                sk.HopLimit = (short)number;
                return Errno.OK;
            case Ipv6Option.MtuDiscover:
                if (number is < 0 or > (int)PathMtuDiscovery.Omit)
                    return Errno.EINVAL;
                sk.PathMtuDiscovery6 = (PathMtuDiscovery)number;
                return Errno.OK;
            case Ipv6Option.RecvErr:
                SetRecvErr(sk, InetFlags.RecvErr6, on);
                return Errno.OK;
            case Ipv6Option.Mtu:
                // For datagrams alone; a stream only remembers that the number was none too small. Linux: frag_size.
                return number is 0 or >= Ipv6Header.MinMtu ? Errno.OK : Errno.EINVAL;
            case Ipv6Option.FlowInfoSend:
                sk.SetInet(InetFlags.FlowInfoSend, on);
                return Errno.OK;
            case Ipv6Option.V6Only:
                if (sk.HasPort)
                    return Errno.EINVAL;
                sk.SetInet(InetFlags.V6Only, on);
                return Errno.OK;
            case Ipv6Option.TClass:
                if (number is < -1 or > 255)
                    return Errno.EINVAL;
                sk.TrafficClass = KeepEcn(sk, (byte)Math.Max(number, 0), sk.TrafficClass);
                return Errno.OK;
            case Ipv6Option.AutoFlowLabel:
                sk.SetInet(InetFlags.AutoFlowLabel, on);
                return Errno.OK;
            case Ipv6Option.FreeBind:
                sk.SetInet(InetFlags.FreeBind, on);
                return Errno.OK;
            case Ipv6Option.Transparent:
                if (on && !sk.Credentials.NetRaw && !sk.Credentials.NetAdmin)
                    return Errno.EPERM;
                sk.SetInet(InetFlags.Transparent, on);
                return Errno.OK;
            case Ipv6Option.MinHopCount:
                if (number is < 0 or > 255)
                    return Errno.EINVAL;
                sk.MinTtl = (byte)number;
                return Errno.OK;
            default:
                return Errno.ENOPROTOOPT;
        }
    }

    private Errno GetIpv6(InetSock sk, int option, out int number)
    {
        number = 0;
        switch (option)
        {
            case Ipv6Option.UnicastHops:
                number = sk.HopLimit < 0 ? sysctls.IpDefaultTtl : sk.HopLimit;
                return Errno.OK;
            case Ipv6Option.MtuDiscover:
                number = (int)sk.PathMtuDiscovery6;
                return Errno.OK;
            case Ipv6Option.RecvErr:
                number = sk.HasInet(InetFlags.RecvErr6) ? 1 : 0;
                return Errno.OK;
            case Ipv6Option.Mtu:
                return GetMtu(sk, out number);
            case Ipv6Option.FlowInfoSend:
                number = sk.HasInet(InetFlags.FlowInfoSend) ? 1 : 0;
                return Errno.OK;
            case Ipv6Option.V6Only:
                number = sk.IsV6Only ? 1 : 0;
                return Errno.OK;
            case Ipv6Option.TClass:
                number = sk.TrafficClass;
                return Errno.OK;
            case Ipv6Option.AutoFlowLabel:
                number = sk.HasInet(InetFlags.AutoFlowLabel) ? 1 : 0;
                return Errno.OK;
            case Ipv6Option.FreeBind:
                number = sk.HasInet(InetFlags.FreeBind) ? 1 : 0;
                return Errno.OK;
            case Ipv6Option.Transparent:
                number = sk.HasInet(InetFlags.Transparent) ? 1 : 0;
                return Errno.OK;
            case Ipv6Option.MinHopCount:
                number = sk.MinTtl;
                return Errno.OK;
            default:
                return Errno.ENOPROTOOPT;
        }
    }

    // What is known of the packet that opened the connection, as control messages. Linux: IP_PKTOPTIONS of do_ip_getsockopt.
    private static Errno GetPacketOptions(ref TaskContext context, InetSock sk, ref Span<byte> value)
    {
        if (!sk.IsStream)
            return Errno.ENOPROTOOPT;
        var message = new MsgHdr { Control = value };
        sk.LockSock(ref context);
        if (sk.HasInet(InetFlags.PacketInfo))
        {
            Span<byte> info = stackalloc byte[12];
            BitConverter.TryWriteBytes(info, sk.OpenedFrom.IfIndex);
            BinaryPrimitives.WriteUInt32BigEndian(info[4..], sk.LocalAddr.V4);
            BinaryPrimitives.WriteUInt32BigEndian(info[8..], sk.LocalAddr.V4);
            message.PutControl(SocketLevel.Ip, IpOption.PktInfo, info);
        }
        if (sk.HasInet(InetFlags.RecvTtl))
            message.PutControl(SocketLevel.Ip, IpOption.Ttl, BitConverter.GetBytes((int)sk.OpenedFrom.Ttl));
        if (sk.HasInet(InetFlags.RecvTos))
            message.PutControl(SocketLevel.Ip, IpOption.Tos, BitConverter.GetBytes((int)sk.OpenedFrom.Tos));
        sk.ReleaseSock(context.Cpu);
        value = value[..message.ControlLength];
        return Errno.OK;
    }

    private static void SetRecvErr(InetSock sk, InetFlags flag, bool on)
    {
        sk.SetInet(flag, on);
        if (!on)
            sk.ErrorQueue?.PurgeErrors();
    }

    // A stream's ECN bits are the transport's.
    private static byte KeepEcn(InetSock sk, byte asked, byte now)
    {
        const byte ecnMask = 3;
        return sk.IsStream ? (byte)((asked & ~ecnMask) | (now & ecnMask)) : asked;
    }

    // Linux: __ip_sock_set_tos.
    private static void SetTos(InetSock sk, byte tos)
    {
        tos = KeepEcn(sk, tos, sk.Tos);
        if (sk.Tos == tos)
            return;
        sk.Tos = tos;
        sk.Priority = TosPriority(tos);
        sk.Route = null;
    }

    // Linux: rt_tos2priority.
    private static int TosPriority(byte tos) => ((tos & 0x1e) >> 1) switch
    {
        0 or 1 => 0,
        2 or 3 => 0,
        4 or 5 or 6 or 7 => 2,
        8 or 9 or 10 or 11 => 6,
        _ => 4,
    };

    private Errno GetMtu(InetSock sk, out int number)
    {
        number = 0;
        if (sk.RemotePort == 0 || sk.CheckRoute(routes) is not { } route)
            return Errno.ENOTCONN;
        number = route.Mtu;
        return Errno.OK;
    }
}
