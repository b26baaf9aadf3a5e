using System;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>Gives a socket its local address and port. Linux: inet_bind, inet6_bind.</summary>
internal sealed class InetBinder(RoutingTable routes, Sysctls sysctls)
{
    private const int ShortInet6Length = 24;

    public Errno Bind(ref TaskContext context, InetSock sk, int family, scoped ReadOnlySpan<byte> bytes)
    {
        Cpu cpu = context.Cpu;
        cpu.Trace(Tp.inet_bind, sk);
        if (bytes.Length < (family == Af.Inet6 ? ShortInet6Length : SockAddr.InetLength))
            return Errno.EINVAL;
        SockAddr address = SockAddr.Read(bytes);
        Errno error = CheckFamily(sk, family, address);
        if (error != Errno.OK)
            return error;
        if (!IsUsable(sk, address.Address))
            return Errno.EADDRNOTAVAIL;
        if (address.Port != 0 && address.Port < sysctls.IpUnprivilegedPortStart && !sk.Credentials.NetBindService)
            return Errno.EACCES;
        sk.LockSock(ref context);
        error = BindLocked(context.Cpu, sk, address);
        sk.ReleaseSock(context.Cpu);
        return error;
    }

    private static Errno CheckFamily(InetSock sk, int family, in SockAddr address)
    {
        if (family == Af.Inet)
        {
            bool anyOfNoFamily = address.Family == Af.Unspec && address.Address.IsAny;
            return address.Family == Af.Inet || anyOfNoFamily ? Errno.OK : Errno.EAFNOSUPPORT;
        }
        if (address.Family != Af.Inet6)
            return Errno.EAFNOSUPPORT;
        bool mapped = address.Address.IsV4;
        return mapped && sk.IsV6Only ? Errno.EINVAL : Errno.OK;
    }

    // Linux: inet_addr_valid_or_nonlocal.
    private bool IsUsable(InetSock sk, IpAddr address) =>
        address.IsAny || (address.IsV4 ? sysctls.IpNonlocalBind : sysctls.Ip6NonlocalBind) || sk.HasInet(InetFlags.FreeBind) || sk.HasInet(InetFlags.Transparent)
        || routes.IsLocal(address) || address.IsMulticast || routes.IsBroadcast(address);

    private Errno BindLocked(Cpu cpu, InetSock sk, in SockAddr address)
    {
        if (sk.State != TcpState.Close || sk.HasPort)
            return Errno.EINVAL;
        bool wasV6Only = sk.IsV6Only;
        if (address.Family == Af.Inet6 && !address.Address.IsAny && !address.Address.IsV4)
            sk.SetInet(InetFlags.V6Only, true);
        sk.LocalAddr = address.Address;
        sk.IsBoundToMany = address.Address.IsMulticast || routes.IsBroadcast(address.Address);
        bool portLater = address.Port == 0 && sk.HasInet(InetFlags.BindAddressNoPort);
        if (!portLater)
        {
            Errno error = sk.Proto.GetPort(cpu, sk, address.Port);
            if (error != Errno.OK)
            {
                sk.SetInet(InetFlags.V6Only, wasV6Only);
                sk.ResetSourceAddr();
                return error;
            }
        }
        sk.BindAddressLocked = !address.Address.IsAny;
        sk.BindPortLocked = address.Port != 0;
        sk.RemotePort = 0;
        sk.Route = null;
        return Errno.OK;
    }
}
