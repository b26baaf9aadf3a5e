using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Threading;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>A connection as a packet names it: the other side's address and port, ours, and the device it came in on.</summary>
internal readonly record struct FlowKey(IpAddr Remote, ushort RemotePort, IpAddr Local, ushort LocalPort, int IfIndex)
{
    /// <summary>Linux: inet_match.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Matches(SockCommon sk) =>
        sk.RemotePort == RemotePort && sk.LocalPort == LocalPort && sk.RemoteAddr == Remote && sk.LocalAddr == Local
        && (sk.BoundIfIndex == 0 || sk.BoundIfIndex == IfIndex);
}

/// <summary>
/// The established table: every connection by its 4-tuple, from the SYN that opens it (a request sock) to the end of its TIME_WAIT.
/// Readers take no lock; it grows one bucket at a time, so that no insert pays for all.
/// </summary>
/// <remarks>
/// Linear hashing over chains of numbered entries. A chain ends in the complement of its bucket's number, so that a reader whom a
/// removal or a split led onto another chain notices, and starts again; a miss while a split is under way is looked up again under
/// the bucket's lock, before anybody sends a RST for it. Linux: inet_ehashinfo, hlist_nulls.
/// </remarks>
internal sealed class EstablishedHash
{
    private const int MinBuckets = 256;
    private const int LockCount = 256;
    private const int SegmentShift = 12;
    private const int SegmentSize = 1 << SegmentShift;

    private readonly SipKey _key;
    private readonly PaddedLock[] _locks = new PaddedLock[LockCount];
    private volatile int[][] _heads;
    private volatile Entry[][] _entries = [];
    private SpinLock32 _freeLock, _splitLock;
    private int[] _free = new int[64];
    private int _freeCount;
    private int _buckets = MinBuckets;
    private int _splitSequence;
    private int _count;

    public EstablishedHash(SipKey key)
    {
        _key = key;
        _heads = [NewHeads(0)];
    }

    /// <summary>Connections in the table.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Chains.</summary>
    public int Buckets => Volatile.Read(ref _buckets);

    /// <summary>The keyed hash of a 4-tuple. Linux: inet_ehashfn, inet6_ehashfn.</summary>
    public uint HashOf(IpAddr local, ushort localPort, IpAddr remote, ushort remotePort)
    {
        ulong ports = (ulong)localPort << 16 | remotePort;
        return remote.IsV4
            ? (uint)SipHash.Hash13(_key, (ulong)local.V4 << 32 | remote.V4, ports)
            : (uint)SipHash.Hash13(_key, local.High, local.Low, remote.High, remote.Low, ports);
    }

    // The table has it written down, so that the socks need not: what stands in the table keeps its 4-tuple.
    private uint HashOf(SockCommon sk) => HashOf(sk.LocalAddr, sk.LocalPort, sk.RemoteAddr, sk.RemotePort);

    /// <summary>Finds a connection and takes a reference to it; null if there is none. Linux: __inet_lookup_established.</summary>
    public SockCommon? LookUp(Cpu cpu, in FlowKey key)
    {
        uint hash = HashOf(key.Local, key.LocalPort, key.Remote, key.RemotePort);
        while (true)
        {
            int sequence = Volatile.Read(ref _splitSequence);
            int bucket = Address(hash, Volatile.Read(ref _buckets));
            int at = Volatile.Read(ref Head(bucket));
            while (at >= 0)
            {
                ref Entry entry = ref At(at);
                if (entry.Hash == hash && entry.Sock is { } sk && key.Matches(sk))
                {
                    if (!sk.TryHold())
                        break;
                    // It may have been freed and used again for another connection before the reference was ours.
                    if (key.Matches(sk))
                        return sk;
                    sk.Put(cpu);
                    break;
                }
                at = Volatile.Read(ref entry.Next);
            }
            if (at >= 0)
                continue;
            bool undisturbed = (sequence & 1) == 0 && sequence == Volatile.Read(ref _splitSequence);
            if (~at != bucket && undisturbed)
                continue;
            return undisturbed ? null : LookUpLocked(cpu, key, hash);
        }
    }

    /// <summary>Whether a connection is there, without taking a reference.</summary>
    public bool Contains(Cpu cpu, in FlowKey key)
    {
        SockCommon? found = LookUp(cpu, key);
        found?.Put(cpu);
        return found is not null;
    }

    /// <summary>
    /// Inserts a sock, whose addresses are set. The table holds no reference: a sock is taken out before its first one is given
    /// back. Linux: inet_ehash_insert.
    /// </summary>
    public void Insert(Cpu cpu, SockCommon sk)
    {
        uint hash = HashOf(sk);
        ref SpinLock32 stripe = ref LockOf(hash);
        stripe.Lock(cpu);
        InsertLocked(cpu, sk, hash);
        stripe.Unlock(cpu);
        if (Interlocked.Increment(ref _count) > Volatile.Read(ref _buckets))
            SplitOne(cpu);
    }

    /// <summary>
    /// Inserts a sock unless its 4-tuple is taken; then returns who has it, without a reference. <paramref name="decide"/>, if any, may
    /// let the newcomer take the place of a TIME_WAIT sock. Linux: __inet_check_established, inet_ehash_insert with found_dup_sk.
    /// </summary>
    public bool TryInsertUnique(Cpu cpu, SockCommon sk, ITupleConflict? decide = null)
    {
        uint hash = HashOf(sk);
        var key = new FlowKey(sk.RemoteAddr, sk.RemotePort, sk.LocalAddr, sk.LocalPort, sk.BoundIfIndex);
        ref SpinLock32 stripe = ref LockOf(hash);
        stripe.Lock(cpu);
        SockCommon? taken = FindLocked(key, hash);
        bool replaced = taken is not null && decide is not null && decide.MayReplace(cpu, taken, sk);
        if (taken is not null && !replaced)
        {
            stripe.Unlock(cpu);
            return false;
        }
        if (replaced)
            ReplaceLocked(taken!, sk);
        else
            InsertLocked(cpu, sk, hash);
        stripe.Unlock(cpu);
        if (replaced)
            decide!.OnReplaced(cpu, taken!);
        else if (Interlocked.Increment(ref _count) > Volatile.Read(ref _buckets))
            SplitOne(cpu);
        return true;
    }

    /// <summary>
    /// Puts <paramref name="replacement"/>, of the same 4-tuple, in the place of <paramref name="old"/> by one store, so that no reader
    /// can miss both. False: the old one is gone already. Linux: inet_ehash_insert with osk, inet_twsk_hashdance.
    /// </summary>
    public bool TryReplace(Cpu cpu, SockCommon old, SockCommon replacement)
    {
        ref SpinLock32 stripe = ref LockOf(HashOf(old));
        stripe.Lock(cpu);
        bool present = old.HashEntry >= 0;
        if (present)
            ReplaceLocked(old, replacement);
        stripe.Unlock(cpu);
        return present;
    }

    /// <summary>Takes a sock out. True for the one caller who did. Linux: inet_unhash, sk_nulls_del_node_init_rcu.</summary>
    public bool Remove(Cpu cpu, SockCommon sk)
    {
        uint hash = HashOf(sk);
        ref SpinLock32 stripe = ref LockOf(hash);
        stripe.Lock(cpu);
        int entry = sk.HashEntry;
        if (entry >= 0)
        {
            ref int link = ref FindLink(Address(hash, _buckets), entry);
            Volatile.Write(ref link, At(entry).Next);
            At(entry).Sock = null;
            sk.HashEntry = -1;
        }
        stripe.Unlock(cpu);
        if (entry < 0)
            return false;
        FreeEntry(cpu, entry);
        Interlocked.Decrement(ref _count);
        return true;
    }

    /// <summary>Visits every sock, with a reference held during the visit.</summary>
    public void ForEach<TVisitor>(Cpu cpu, ref TVisitor visitor)
        where TVisitor : struct, ISockVisitor
    {
        Entry[][] segments = _entries;
        foreach (Entry[] segment in segments)
        {
            for (int i = 0; i < segment.Length; i++)
            {
                if (Volatile.Read(ref segment[i].Sock) is not { } sk || !sk.TryHold())
                    continue;
                visitor.Visit(cpu, sk);
                sk.Put(cpu);
            }
        }
    }

    private SockCommon? LookUpLocked(Cpu cpu, in FlowKey key, uint hash)
    {
        ref SpinLock32 stripe = ref LockOf(hash);
        stripe.Lock(cpu);
        SockCommon? found = FindLocked(key, hash);
        if (found is not null && !found.TryHold())
            found = null;
        stripe.Unlock(cpu);
        return found;
    }

    private SockCommon? FindLocked(in FlowKey key, uint hash)
    {
        for (int at = Head(Address(hash, _buckets)); at >= 0; at = At(at).Next)
        {
            ref Entry entry = ref At(at);
            if (entry.Hash == hash && key.Matches(entry.Sock!))
                return entry.Sock;
        }
        return null;
    }

    private void InsertLocked(Cpu cpu, SockCommon sk, uint hash)
    {
        Debug.Assert(sk.HashEntry < 0, "a sock is in the table once");
        int index = AllocEntry(cpu);
        ref Entry entry = ref At(index);
        ref int head = ref Head(Address(hash, _buckets));
        entry.Hash = hash;
        entry.Next = head;
        entry.Sock = sk;
        sk.HashEntry = index;
        Volatile.Write(ref head, index);
    }

    private void ReplaceLocked(SockCommon old, SockCommon replacement)
    {
        int index = old.HashEntry;
        replacement.HashEntry = index;
        Volatile.Write(ref At(index).Sock, replacement);
        old.HashEntry = -1;
    }

    // Moves the entries of one bucket that belong to the next new one. Both buckets have the same lock, because their numbers differ
    // only above the bits that choose it.
    private void SplitOne(Cpu cpu)
    {
        if (!_splitLock.TryLock(cpu))
            return;
        int fresh = _buckets;
        int low = 1 << BitOperations.Log2((uint)fresh);
        int source = fresh - low;
        EnsureHeads(fresh);
        ref SpinLock32 stripe = ref _locks[source & (LockCount - 1)].Lock;
        stripe.Lock(cpu);
        Interlocked.Increment(ref _splitSequence);
        int mask = 2 * low - 1;
        int stay = ~source, move = ~fresh;
        for (int at = Head(source); at >= 0;)
        {
            ref Entry entry = ref At(at);
            int next = entry.Next;
            ref int chain = ref ((int)(entry.Hash & (uint)mask) == fresh ? ref move : ref stay);
            Volatile.Write(ref entry.Next, chain);
            chain = at;
            at = next;
        }
        Volatile.Write(ref Head(fresh), move);
        Volatile.Write(ref Head(source), stay);
        Volatile.Write(ref _buckets, fresh + 1);
        Interlocked.Increment(ref _splitSequence);
        stripe.Unlock(cpu);
        _splitLock.Unlock(cpu);
    }

    private ref int FindLink(int bucket, int entry)
    {
        ref int link = ref Head(bucket);
        while (link != entry)
        {
            Debug.Assert(link >= 0, "a hashed sock is in its bucket");
            link = ref At(link).Next;
        }
        return ref link;
    }

    private int AllocEntry(Cpu cpu)
    {
        _freeLock.Lock(cpu);
        if (_freeCount == 0)
            AddSegment();
        int index = _free[--_freeCount];
        _freeLock.Unlock(cpu);
        return index;
    }

    private void FreeEntry(Cpu cpu, int index)
    {
        _freeLock.Lock(cpu);
        _free[_freeCount++] = index;
        _freeLock.Unlock(cpu);
    }

    private void AddSegment()
    {
        int first = _entries.Length << SegmentShift;
        _entries = [.. _entries, new Entry[SegmentSize]];
        if (_free.Length < first + SegmentSize)
            System.Array.Resize(ref _free, System.Math.Max(first + SegmentSize, 2 * _free.Length));
        for (int i = SegmentSize - 1; i >= 0; i--)
            _free[_freeCount++] = first + i;
    }

    private void EnsureHeads(int bucket)
    {
        if (bucket >> SegmentShift >= _heads.Length)
            _heads = [.. _heads, NewHeads(_heads.Length)];
    }

    private static int[] NewHeads(int segment)
    {
        int[] heads = new int[SegmentSize];
        for (int i = 0; i < heads.Length; i++)
            heads[i] = ~((segment << SegmentShift) + i);
        return heads;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Address(uint hash, int buckets)
    {
        int low = 1 << BitOperations.Log2((uint)buckets);
        int bucket = (int)(hash & (uint)(2 * low - 1));
        return bucket < buckets ? bucket : (int)(hash & (uint)(low - 1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref int Head(int bucket) => ref _heads[bucket >> SegmentShift][bucket & (SegmentSize - 1)];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref Entry At(int index) => ref _entries[index >> SegmentShift][index & (SegmentSize - 1)];

    private ref SpinLock32 LockOf(uint hash) => ref _locks[hash & (LockCount - 1)].Lock;

    private struct Entry
    {
        public uint Hash;
        public int Next;
        public SockCommon? Sock;
    }

    [System.Runtime.InteropServices.StructLayout(System.Runtime.InteropServices.LayoutKind.Explicit, Size = 64)]
    private struct PaddedLock
    {
        [System.Runtime.InteropServices.FieldOffset(0)]
        public SpinLock32 Lock;
    }
}

/// <summary>Decides whether a connection may take the 4-tuple of one that is in the table.</summary>
internal interface ITupleConflict
{
    /// <summary>Called under the bucket's lock. Linux: twsk_unique.</summary>
    bool MayReplace(Cpu cpu, SockCommon existing, SockCommon newcomer);

    /// <summary>The existing one has been put out of the table. Called without the lock.</summary>
    void OnReplaced(Cpu cpu, SockCommon existing);
}

internal interface ISockVisitor
{
    void Visit(Cpu cpu, SockCommon sk);
}
