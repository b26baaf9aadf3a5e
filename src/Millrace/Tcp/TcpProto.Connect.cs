using System;
using System.Threading;
using Millrace.Devices;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>A port and a place in the established table for a connection that is being opened.</summary>
internal sealed partial class TcpProto : ITupleConflict
{
    /// <summary>Where the search for a port to the same peer goes on, by peer. RFC 6056 §3.3.4. Linux: table_perturb.</summary>
    private readonly int[] _perturb = new int[1 << 12];

    // Linux: inet_hash_connect. Even ports first; when those to this peer are gone it keeps to the odd ones until they are.
    private Errno HashConnect(Cpu cpu, TcpSock sk)
    {
        cpu.Trace(Tp.inet_hash_connect, sk);
        if (sk.BindBucket is not null)
            return TryHash(cpu, sk) ? Errno.OK : Errno.EADDRNOTAVAIL;
        ulong offset = Sequences.PortOffset(sk.LocalAddr, sk.RemoteAddr, sk.RemotePort);
        ref int perturb = ref _perturb[offset & (ulong)(_perturb.Length - 1)];
        uint start = (uint)Volatile.Read(ref perturb) + ((uint)(offset >> 32) & ~1u);
        var walk = new PortWalk(Sysctls, sk, start);
        while (walk.TryNext(out ushort port))
        {
            if (Sysctls.IsReservedPort(port) || !Binds.TryGetForConnect(cpu, sk, port))
                continue;
            if (TryHash(cpu, sk))
            {
                // The next connection to this peer begins behind this one, at a distance that nobody can tell.
                int passed = Math.Max(walk.Distance, _random.Below(8) * walk.Step);
                Interlocked.Add(ref perturb, passed + walk.Step + (walk.HasTurned ? 1 : 0));
                return Errno.OK;
            }
            Binds.PutPort(cpu, sk);
        }
        return Errno.EADDRNOTAVAIL;
    }

    // Linux: __inet_check_established.
    private bool TryHash(Cpu cpu, TcpSock sk)
    {
        if (!Established.TryInsertUnique(cpu, sk, this))
            return false;
        cpu.Trace(Tp.inet_ehash_insert, sk);
        return true;
    }

    // May a connection take a TIME_WAIT's place? RFC 6191: if timestamps prove that its segments are newer. Who has bound the port meant
    // this one; who is only given a port needs the setting, and some time in between. Linux: tcp_twsk_unique.
    bool ITupleConflict.MayReplace(Cpu cpu, SockCommon existing, SockCommon newcomer)
    {
        if (existing is not TcpTimeWaitSock { TsRecentStamp: > 0 } tw || newcomer is not TcpSock sk)
            return false;
        if (sk.BoundByConnect && !IsReusable(cpu, tw))
            return false;
        SeqNumber next = tw.SndNxt + 65535 + 2;
        sk.Snd.Written = next == default ? new SeqNumber(1) : next;
        sk.TsRecent = tw.TsRecent;
        sk.TsRecentStamp = tw.TsRecentStamp;
        tw.Hold();
        return true;
    }

    private bool IsReusable(Cpu cpu, TcpTimeWaitSock tw)
    {
        bool on = Sysctls.TcpTwReuse switch
        {
            0 => false,
            2 => tw.LocalAddr.IsLoopback || tw.RemoteAddr.IsLoopback || tw.BoundIfIndex == LoopbackDevice.StandardIfIndex,
            _ => true,
        };
        return on && tw.Substate == TcpState.TimeWait && (int)((uint)cpu.Now.Milliseconds - tw.Entered) > Sysctls.TcpTwReuseDelay;
    }

    void ITupleConflict.OnReplaced(Cpu cpu, SockCommon existing)
    {
        var tw = (TcpTimeWaitSock)existing;
        cpu.Mib.Inc(Mib.TcpExtTWRecycled);
        EndTimeWait(cpu, tw);
        tw.Put(cpu);
    }
}
