using System;
using System.Collections.Immutable;
using System.Threading;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Inet;

/// <summary>
/// The listeners, by port. A bucket is an immutable array that writers swap, so that readers take no lock and no reference: a listener
/// is never pooled, and one that was found just before it closed refuses under its own lock.
/// </summary>
/// <remarks>Linux: lhash2 of inet_hashinfo, SOCK_RCU_FREE, inet_lookup_listener, reuseport_select_sock.</remarks>
internal sealed class ListenHash(SipKey key)
{
    private const int BucketCount = 256;

    private readonly ImmutableArray<InetConnectionSock>[] _buckets = NewBuckets();
    private readonly Lock _lock = new();

    /// <summary>Linux: inet_hash of a listener.</summary>
    public void Insert(Cpu cpu, InetConnectionSock sk)
    {
        cpu.Trace(Tp.inet_hash, sk);
        ref ImmutableArray<InetConnectionSock> bucket = ref BucketOf(sk.LocalPort);
        lock (_lock)
            bucket = bucket.Insert(0, sk);
    }

    public void Remove(InetConnectionSock sk)
    {
        ref ImmutableArray<InetConnectionSock> bucket = ref BucketOf(sk.LocalPort);
        lock (_lock)
            bucket = bucket.Remove(sk);
    }

    /// <summary>
    /// The listener that fits a packet best: a bound address before a wildcard, a bound device before none, IPv4 before a dual-stack
    /// wildcard; among equals of a SO_REUSEPORT group, the one that the flow's hash picks. No reference is taken.
    /// Linux: __inet_lookup_listener, compute_score.
    /// </summary>
    public InetConnectionSock? LookUp(Cpu cpu, in FlowKey flow)
    {
        cpu.Trace(Tp.__inet_lookup_listener, flow.LocalPort);
        InetConnectionSock? best = null;
        int bestScore = 0, ties = 0;
        ImmutableArray<InetConnectionSock> bucket = BucketOf(flow.LocalPort);
        foreach (InetConnectionSock sk in bucket)
        {
            int score = Score(cpu, sk, flow);
            if (score > bestScore)
            {
                best = sk;
                bestScore = score;
                ties = 1;
            }
            else if (score == bestScore && score > 0)
            {
                ties++;
            }
        }
        if (ties > 1 && best!.ReusePort)
            best = Select(cpu, bucket, flow, bestScore, ties);
        return best;
    }

    /// <summary>All listeners.</summary>
    public ImmutableArray<InetConnectionSock> Snapshot()
    {
        ImmutableArray<InetConnectionSock>.Builder all = ImmutableArray.CreateBuilder<InetConnectionSock>();
        foreach (ImmutableArray<InetConnectionSock> bucket in _buckets)
            all.AddRange(bucket);
        return all.ToImmutable();
    }

    private InetConnectionSock Select(Cpu cpu, ImmutableArray<InetConnectionSock> bucket, in FlowKey flow, int score, int members)
    {
        ulong hash = SipHash.Hash13(key, flow.Remote.High ^ flow.Local.High, flow.Remote.Low, flow.Local.Low,
            (ulong)flow.RemotePort << 16 | flow.LocalPort, 0);
        int index = (int)(((hash & 0xffff_ffff) * (ulong)members) >> 32);
        // Members stand newest first; the group counts them in the order in which they joined.
        index = members - 1 - index;
        InetConnectionSock? chosen = null;
        foreach (InetConnectionSock sk in bucket)
        {
            if (Score(cpu, sk, flow) != score)
                continue;
            chosen = sk;
            if (index-- == 0)
                break;
        }
        return chosen!;
    }

    private static int Score(Cpu cpu, InetConnectionSock sk, in FlowKey flow)
    {
        if (sk.LocalPort != flow.LocalPort || (sk.BoundIfIndex != 0 && sk.BoundIfIndex != flow.IfIndex))
            return 0;
        IpAddr bound = sk.LocalAddr;
        bool v4 = flow.Local.IsV4;
        int score;
        if (!bound.IsAny)
        {
            if (bound != flow.Local)
                return 0;
            score = 4;
        }
        else if (bound.IsV4 ? v4 : !v4)
        {
            score = 2;
        }
        else if (!bound.IsV4 && v4 && !sk.IsV6Only)
        {
            score = 1;
        }
        else
        {
            return 0;
        }
        score *= 4;
        if (sk.BoundIfIndex != 0)
            score += 2;
        return sk.IncomingCpu == cpu.Index ? score + 1 : score;
    }

    private ref ImmutableArray<InetConnectionSock> BucketOf(ushort port) => ref _buckets[port & (BucketCount - 1)];

    private static ImmutableArray<InetConnectionSock>[] NewBuckets()
    {
        var buckets = new ImmutableArray<InetConnectionSock>[BucketCount];
        Array.Fill(buckets, []);
        return buckets;
    }
}
