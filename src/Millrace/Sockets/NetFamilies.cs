using System.Threading;
using Millrace.Sched;
using Millrace.Tracing;

namespace Millrace.Sockets;

/// <summary>One address family: how its sockets are made. Linux: net_proto_family.</summary>
internal abstract class NetProtoFamily
{
    public abstract int Family { get; }

    /// <summary>Gives the socket its operations and its sock. Linux: create.</summary>
    public abstract Errno Create(Cpu cpu, Socket socket, int protocol, Credentials credentials);
}

/// <summary>Who makes a call, as far as the stack asks. Linux: struct cred.</summary>
internal sealed record Credentials(int Uid, bool NetBindService, bool NetAdmin, bool NetRaw)
{
    public static Credentials Root { get; } = new(0, true, true, true);

    public static Credentials User(int uid) => new(uid, false, false, false);
}

/// <summary>
/// The table of address families. Read without a lock; a family can come and go while sockets are made: a create that has found a
/// family finishes with it, since the reference keeps it alive, and one that comes later finds none.
/// </summary>
/// <remarks>Linux: net_families, sock_register, sock_unregister, __sock_create.</remarks>
internal sealed class NetFamilies
{
    private readonly NetProtoFamily?[] _families = new NetProtoFamily?[Af.Max];

    public Errno Register(NetProtoFamily family)
    {
        if ((uint)family.Family >= Af.Max)
            return Errno.ENOBUFS;
        return Interlocked.CompareExchange(ref _families[family.Family], family, null) is null ? Errno.OK : Errno.EEXIST;
    }

    /// <summary>Takes a family out, if it is there. Creates that have found it already finish with it.</summary>
    public NetProtoFamily? Unregister(int family) =>
        (uint)family < Af.Max ? Interlocked.Exchange(ref _families[family], null) : null;

    /// <summary>Makes a socket. Linux: sock_create, __sock_create.</summary>
    public Errno Create(ref TaskContext context, int family, int type, int protocol, Credentials credentials, SecurityPolicy security,
        out Socket? socket)
    {
        socket = null;
        Cpu cpu = context.Cpu;
        cpu.Trace(Tp.sock_create, family, type, protocol);
        cpu.Trace(Tp.__sock_create, family, type, protocol);
        if (family is < 0 or >= Af.Max)
            return Errno.EAFNOSUPPORT;
        if (type is < 0 or > (int)SocketType.Packet)
            return Errno.EINVAL;
        Errno denied = Ask(ref context, security, family, type, protocol);
        if (denied != Errno.OK)
            return denied;
        NetProtoFamily? found = Volatile.Read(ref _families[family]);
        if (found is null)
            return Errno.EAFNOSUPPORT;
        var created = new Socket((SocketType)type, security);
        Errno error = found.Create(context.Cpu, created, protocol, credentials);
        if (error == Errno.OK)
            socket = created;
        return error;
    }

    private static Errno Ask(ref TaskContext context, SecurityPolicy security, int family, int type, int protocol)
    {
        if (security.IsPermissive)
            return Errno.OK;
        CpuSet set = context.ExitToUser();
        try
        {
            return security.OnCreate(family, type, protocol);
        }
        finally
        {
            context.ReturnFromUser(set);
        }
    }
}
