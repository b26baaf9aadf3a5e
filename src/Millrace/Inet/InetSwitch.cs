using System;
using System.Threading;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>One kind of Internet socket: what protocol serves which type, with which operations. Linux: inet_protosw.</summary>
internal sealed record InetProtoSwitch(SocketType Type, int Protocol, Proto Proto, ProtoOps Ops4, ProtoOps Ops6);

/// <summary>The kinds of Internet socket, by type. Readers take no lock. Linux: inetsw, inetsw6.</summary>
internal sealed class InetSwitch
{
    private readonly Lock _lock = new();
    private volatile InetProtoSwitch[] _all = [];

    public void Register(InetProtoSwitch protocol)
    {
        lock (_lock)
            _all = [.. _all, protocol];
    }

    public ReadOnlySpan<InetProtoSwitch> All => _all;
}

/// <summary>AF_INET and AF_INET6: makes a socket of a type and a protocol. Linux: inet_create, inet6_create.</summary>
internal sealed class InetFamily(int family, InetSwitch kinds, Sysctls sysctls, IpIdGenerator ids) : NetProtoFamily
{
    /// <summary>Linux: IPPROTO_MAX.</summary>
    private const int ProtocolMax = 263;

    public override int Family => family;

    public override Errno Create(Cpu cpu, Socket socket, int protocol, Credentials credentials)
    {
        cpu.Trace(Tp.inet_create, (long)socket.Type, protocol);
        if (protocol is < 0 or >= ProtocolMax)
            return Errno.EINVAL;
        Errno error = Errno.ESOCKTNOSUPPORT;
        foreach (InetProtoSwitch kind in kinds.All)
        {
            if (kind.Type != socket.Type)
                continue;
            error = Errno.EPROTONOSUPPORT;
            if (protocol == 0 || protocol == kind.Protocol)
                return Create(cpu, socket, kind, credentials);
        }
        return error;
    }

    private Errno Create(Cpu cpu, Socket socket, InetProtoSwitch kind, Credentials credentials)
    {
        socket.State = SocketState.Unconnected;
        socket.Ops = family == Af.Inet6 ? kind.Ops6 : kind.Ops4;
        cpu.Trace(Tp.sk_alloc, family, kind.Protocol);
        var sk = (InetSock)kind.Proto.Allocate(cpu);
        sk.Family = (byte)family;
        sk.Credentials = credentials;
        sk.ResetSourceAddr();
        sk.RemoteAddr = sk.LocalAddr;
        if (family == Af.Inet6)
        {
            sk.SetInet(InetFlags.V6Only, sysctls.BindV6Only);
            sk.SetInet(InetFlags.AutoFlowLabel, sysctls.AutoFlowLabels is 1 or 3);
        }
        sk.PathMtuDiscovery = sysctls.IpNoPmtuDisc != 0 ? PathMtuDiscovery.Dont : PathMtuDiscovery.Want;
        sk.SeedIpId(ids.Next(IpAddr.Any4, IpAddr.Any4, 0));
        sk.InitData(cpu, socket, sysctls.RmemDefault, sysctls.WmemDefault);
        Errno error = kind.Proto.InitSock(cpu, sk);
        if (error != Errno.OK)
        {
            socket.Sk = null;
            sk.Put(cpu);
        }
        return error;
    }
}
