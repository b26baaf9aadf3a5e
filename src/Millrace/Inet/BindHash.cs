using System;
using System.Diagnostics;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>What an owner of a port is doing there, as far as others may share it.</summary>
internal enum BindKind : byte
{
    Normal,
    Listen,
    TimeWait,
}

/// <summary>
/// Everything about an owner of a port that decides whether another may have it too. Owners that agree in all of it are counted
/// together, so a server with a million connections has two entries.
/// </summary>
internal readonly record struct BindOwner(
    IpAddr Address, int IfIndex, bool ReuseAddr, bool ReusePort, int Uid, bool V6Only, BindKind Kind)
{
    /// <summary>Whether one packet could be for both addresses. Linux: inet_rcv_saddr_equal.</summary>
    public bool Overlaps(in BindOwner other)
    {
        if (!Address.IsAny && !other.Address.IsAny)
            return Address == other.Address;
        return Address.IsAny && Covers(other) || other.Address.IsAny && other.Covers(this);
    }

    // This is a wildcard: 0.0.0.0 covers what speaks IPv4; "::" covers all, or, if v6only, what speaks IPv6.
    private bool Covers(in BindOwner other)
    {
        bool otherHasV4 = other.Address.IsV4 || !other.V6Only;
        bool otherHasV6 = !other.Address.IsV4;
        if (Address.IsV4)
            return otherHasV4;
        return otherHasV6 || (!V6Only && otherHasV4);
    }
}

/// <summary>The owners of a port who agree in everything, and are counted together. Guarded by the port's lock.</summary>
internal sealed class BindShare(BindBucket bucket, in BindOwner owner)
{
    public BindBucket Bucket { get; } = bucket;

    /// <summary>Changes only while nobody is counted.</summary>
    public BindOwner Owner { get; set; } = owner;

    public int Count { get; set; }
}

/// <summary>A local port and who has it. Linux: inet_bind_bucket.</summary>
internal sealed class BindBucket(ushort port)
{
    // Behind those in use stand those that were: connections come and go, each with a share or two.
    private BindShare?[] _owners = new BindShare?[1];
    private int _used;

    public ushort Port { get; } = port;

    public bool IsEmpty => _used == 0;

    /// <summary>Owners that chose the port by bind, rather than being given it by connect.</summary>
    public int BoundOwners { get; set; }

    public BindShare Add(in BindOwner owner)
    {
        for (int i = 0; i < _used; i++)
        {
            if (_owners[i]!.Owner == owner)
            {
                _owners[i]!.Count++;
                return _owners[i]!;
            }
        }
        if (_used == _owners.Length)
            Array.Resize(ref _owners, 2 * _used);
        BindShare share = _owners[_used++] ??= new BindShare(this, owner);
        share.Owner = owner;
        share.Count = 1;
        return share;
    }

    public void Remove(in BindOwner owner)
    {
        for (int i = 0; i < _used; i++)
        {
            if (_owners[i]!.Owner != owner)
                continue;
            if (--_owners[i]!.Count > 0)
                return;
            _used--;
            (_owners[i], _owners[_used]) = (_owners[_used], _owners[i]);
            return;
        }
        Debug.Fail("an owner leaves the port as what it is counted as");
    }

    /// <summary>Whether a newcomer, who is not counted yet, collides with somebody. Linux: inet_csk_bind_conflict.</summary>
    /// <param name="relax">SO_REUSEADDR counts.</param>
    /// <param name="asked">The port was asked for by number, so that SO_REUSEPORT counts.</param>
    public bool Conflicts(in BindOwner newcomer, bool relax, bool asked)
    {
        for (int i = 0; i < _used; i++)
        {
            BindOwner other = _owners[i]!.Owner;
            bool sameDevice = newcomer.IfIndex == 0 || other.IfIndex == 0 || newcomer.IfIndex == other.IfIndex;
            if (sameDevice && newcomer.Overlaps(other) && !MayShare(newcomer, other, relax, asked))
                return true;
        }
        return false;
    }

    // Linux: inet_bind_conflict.
    private static bool MayShare(in BindOwner newcomer, in BindOwner other, bool relax, bool asked)
    {
        bool sameGroup = newcomer.ReusePort && other.ReusePort && (other.Kind == BindKind.TimeWait || newcomer.Uid == other.Uid);
        if (newcomer.ReuseAddr && other.ReuseAddr && other.Kind != BindKind.Listen)
            return relax && (asked || !sameGroup);
        return asked && sameGroup;
    }
}

/// <summary>The ports in use. Linux: bhash, bhash2 of inet_hashinfo.</summary>
internal sealed class BindHash(Sysctls sysctls, SharedPrng random)
{
    private const int LockCount = 64;

    private readonly BindBucket?[]?[] _buckets = new BindBucket?[256][];
    private readonly SpinLock32[] _locks = new SpinLock32[LockCount];

    /// <summary>The parity of the port that a bind was given last: odd, until they are all taken.</summary>
    private volatile uint _parity = 1;

    /// <summary>How a sock counts as the owner of a port.</summary>
    public static BindOwner OwnerOf(InetSock sk, BindKind kind) =>
        new(sk.LocalAddr, sk.BoundIfIndex, sk.ReuseAddr != AddressReuse.None, sk.ReusePort, sk.Credentials.Uid, sk.IsV6Only, kind);

    /// <summary>Gives a sock a port; 0 asks for any. Linux: inet_csk_get_port.</summary>
    public Errno GetPort(Cpu cpu, InetConnectionSock sk, ushort port)
    {
        cpu.Trace(Tp.inet_csk_get_port, sk, port);
        BindKind kind = sk.State == TcpState.Listen ? BindKind.Listen : BindKind.Normal;
        if (port == 0)
            return FindFreePort(cpu, sk, kind);
        ref SpinLock32 stripe = ref LockOf(port);
        stripe.Lock(cpu);
        BindBucket bucket = BucketOf(port);
        bool counted = sk.BindBucket == bucket;
        if (counted)
            bucket.Remove(OwnerOf(sk, sk.BindKind));
        bool conflict = sk.ReuseAddr != AddressReuse.Force && bucket.Conflicts(OwnerOf(sk, kind), relax: true, asked: true);
        if (!conflict)
            Attach(cpu, sk, bucket, kind, counted);
        else if (counted)
            bucket.Add(OwnerOf(sk, sk.BindKind));
        stripe.Unlock(cpu);
        return conflict ? Errno.EADDRINUSE : Errno.OK;
    }

    // Odd ports first, so that the even ones are left for connect, which prefers them. Linux: inet_csk_find_open_port.
    // Deviates: it begins where it had luck last, so that it does not walk over all odd ports each time when they are taken.
    private Errno FindFreePort(Cpu cpu, InetConnectionSock sk, BindKind kind)
    {
        uint start = (random.NextUInt32() & ~1u) | _parity;
        bool found = TryFindFreePort(cpu, sk, kind, start, relax: false)
            || (sysctls.IpAutobindReuse && TryFindFreePort(cpu, sk, kind, start, relax: true));
        return found ? Errno.OK : Errno.EADDRINUSE;
    }

    private bool TryFindFreePort(Cpu cpu, InetConnectionSock sk, BindKind kind, uint start, bool relax)
    {
        var walk = new PortWalk(sysctls, sk, start);
        while (walk.TryNext(out ushort port))
        {
            if (sysctls.IsReservedPort(port))
                continue;
            cpu.Mib.Inc(Mib.MillracePortProbes);
            ref SpinLock32 stripe = ref LockOf(port);
            stripe.Lock(cpu);
            BindBucket bucket = BucketOf(port);
            bool free = !bucket.Conflicts(OwnerOf(sk, kind), relax, asked: false);
            if (free)
                Attach(cpu, sk, bucket, kind, counted: false);
            stripe.Unlock(cpu);
            if (!free)
                continue;
            if (walk.HasTurned)
                _parity ^= 1;
            return true;
        }
        return false;
    }

    /// <summary>
    /// Gives a connecting sock this port, unless somebody has chosen it by bind: those who share connect's ports differ in the rest of
    /// the tuple, which the caller checks. False: taken. Linux: the loop of __inet_hash_connect.
    /// </summary>
    public bool TryGetForConnect(Cpu cpu, InetConnectionSock sk, ushort port)
    {
        cpu.Mib.Inc(Mib.MillracePortProbes);
        ref SpinLock32 stripe = ref LockOf(port);
        stripe.Lock(cpu);
        BindBucket bucket = BucketOf(port);
        bool free = bucket.BoundOwners == 0;
        if (free)
        {
            sk.BindBucket = bucket;
            sk.BindKind = BindKind.Normal;
            sk.LocalPort = port;
            sk.BoundByConnect = true;
            bucket.Add(OwnerOf(sk, BindKind.Normal));
        }
        stripe.Unlock(cpu);
        return free;
    }

    /// <summary>An accepted connection shares its listener's port. Linux: __inet_inherit_port.</summary>
    public void Inherit(Cpu cpu, InetConnectionSock child, InetConnectionSock parent)
    {
        ref SpinLock32 stripe = ref LockOf(child.LocalPort);
        stripe.Lock(cpu);
        // The listener may have let go of the port meanwhile; the connection has it all the same.
        Attach(cpu, child, parent.BindBucket ?? BucketOf(child.LocalPort), BindKind.Normal, counted: false);
        stripe.Unlock(cpu);
    }

    /// <summary>A mini-sock shares the port of the sock that it follows; null if that has none. Linux: inet_twsk_hashdance.</summary>
    public BindShare? TransferToTimeWait(Cpu cpu, InetConnectionSock sk, out bool bound)
    {
        bound = !sk.BoundByConnect;
        ref SpinLock32 stripe = ref LockOf(sk.LocalPort);
        stripe.Lock(cpu);
        BindShare? share = sk.BindBucket?.Add(OwnerOf(sk, BindKind.TimeWait));
        if (share is not null && bound)
            share.Bucket.BoundOwners++;
        stripe.Unlock(cpu);
        return share;
    }

    /// <summary>A mini-sock lets go of its port.</summary>
    public void Release(Cpu cpu, BindShare share, bool bound)
    {
        BindBucket bucket = share.Bucket;
        ref SpinLock32 stripe = ref LockOf(bucket.Port);
        stripe.Lock(cpu);
        bucket.Remove(share.Owner);
        if (bound)
            bucket.BoundOwners--;
        stripe.Unlock(cpu);
    }

    /// <summary>A sock lets go of its port. Linux: inet_put_port.</summary>
    public void PutPort(Cpu cpu, InetConnectionSock sk)
    {
        if (sk.BindBucket is not { } bucket)
            return;
        cpu.Trace(Tp.inet_put_port, sk);
        ref SpinLock32 stripe = ref LockOf(bucket.Port);
        stripe.Lock(cpu);
        bucket.Remove(OwnerOf(sk, sk.BindKind));
        if (!sk.BoundByConnect)
            bucket.BoundOwners--;
        sk.BindBucket = null;
        sk.BoundByConnect = false;
        stripe.Unlock(cpu);
    }

    /// <summary>
    /// Changes what the sock is counted by (address, device, reuse) while it owns a port. Linux: inet_bhash2_update_saddr.
    /// </summary>
    public void Change<TState>(Cpu cpu, InetConnectionSock sk, TState state, Action<InetConnectionSock, TState> change)
    {
        if (sk.BindBucket is not { } bucket)
        {
            change(sk, state);
            return;
        }
        ref SpinLock32 stripe = ref LockOf(bucket.Port);
        stripe.Lock(cpu);
        bucket.Remove(OwnerOf(sk, sk.BindKind));
        change(sk, state);
        bucket.Add(OwnerOf(sk, sk.BindKind));
        stripe.Unlock(cpu);
    }

    private static void Attach(Cpu cpu, InetConnectionSock sk, BindBucket bucket, BindKind kind, bool counted)
    {
        sk.LocalPort = bucket.Port;
        sk.BindBucket = bucket;
        sk.BindKind = kind;
        bucket.Add(OwnerOf(sk, kind));
        if (counted)
            return;
        bucket.BoundOwners++;
        cpu.Trace(Tp.inet_bind_hash, sk, bucket.Port);
    }

    private BindBucket BucketOf(ushort port)
    {
        BindBucket?[] page = _buckets[port >> 8] ??= new BindBucket?[256];
        return page[port & 0xff] ??= new BindBucket(port);
    }

    // Ports of one page share a lock, so that the page is made by one.
    private ref SpinLock32 LockOf(ushort port) => ref _locks[(port >> 8) & (LockCount - 1)];
}
