using System.Collections.Generic;
using System.Threading;
using Millrace.Buffers;
using Millrace.Devices;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>What TCP is built on. Collected once, when the stack is.</summary>
internal sealed record TcpCollaborators
{
    public required Sysctls Sysctls { get; init; }

    public required RoutingTable Routes { get; init; }

    public required EstablishedHash Established { get; init; }

    public required ListenHash Listeners { get; init; }

    public required BindHash Binds { get; init; }

    public required TimerService Timers { get; init; }

    public required SecureSequence Sequences { get; init; }

    public required SynCookies Cookies { get; init; }

    public required CongestionRegistry Congestions { get; init; }

    public required AfOps Ipv4 { get; init; }

    public required AfOps Ipv6 { get; init; }

    public required SharedPrng Random { get; init; }

    public required ReceiveStamps Stamps { get; init; }
}

/// <summary>
/// TCP as a protocol: what the socket layer calls, and what all connections of a stack share. The connection's own work is in
/// <see cref="TcpSock"/>.
/// </summary>
/// <remarks>Linux: tcp_prot, tcpv6_prot, and the TCP part of struct net.</remarks>
internal sealed partial class TcpProto : Proto
{
    private readonly TcpCollaborators _with;
    private readonly SharedPrng _random;
    private int _orphans;
    private volatile bool _stopped;

    public TcpProto(TcpCollaborators with)
    {
        _with = with;
        _random = with.Random;
        TimeWaits = new TimeWaitRow(this);
        Replies = new TcpReplies(this);
        Metrics = new TcpMetrics(with.Sysctls);
        Blackhole = new FastOpenBlackhole(with.Sysctls);
        SmallQueues = new SmallQueueSoftirq();
    }

    public override string Name => "TCP";

    public override int Number => IpProtocol.Tcp;

    public override ProtoMemory Memory => _with.Sysctls.TcpMemory;

    public override ReceiveStamps Stamps => _with.Stamps;

    public Sysctls Sysctls => _with.Sysctls;

    public RoutingTable Routes => _with.Routes;

    public EstablishedHash Established => _with.Established;

    public ListenHash Listeners => _with.Listeners;

    public BindHash Binds => _with.Binds;

    public TimerService Timers => _with.Timers;

    public SecureSequence Sequences => _with.Sequences;

    public SynCookies Cookies => _with.Cookies;

    public CongestionRegistry Congestions => _with.Congestions;

    public TimeWaitRow TimeWaits { get; }

    public TcpReplies Replies { get; }

    public TcpMetrics Metrics { get; }

    public Md5Signer Signer { get; } = new();

    public SmallQueueSoftirq SmallQueues { get; }

    public RecoveryPool Recoveries { get; } = new();

    /// <summary>Connections without a user. Linux: tcp_orphan_count.</summary>
    public int Orphans => Volatile.Read(ref _orphans);

    public AfOps AfOpsOf(IpAddr remote) => remote.IsV4 ? _with.Ipv4 : _with.Ipv6;

    // ---- Life ----

    public override Sock Allocate(Cpu cpu)
    {
        var sk = new TcpSock(this);
        sk.Publish(1);
        return sk;
    }

    // Linux: tcp_v4_init_sock, tcp_init_sock.
    public override Errno InitSock(Cpu cpu, Sock sock)
    {
        var sk = (TcpSock)sock;
        cpu.Trace(sk.Family == Af.Inet6 ? Tp.tcp_v6_init_sock : Tp.tcp_v4_init_sock, sk);
        sk.ReceiveBuffer = Sysctls.TcpRmem.Default;
        sk.SendBuffer = Sysctls.TcpWmem.Default;
        ResetConnection(sk);
        return Errno.OK;
    }

    /// <summary>The state of a connection that has not begun. Linux: the common part of tcp_init_sock and tcp_disconnect.</summary>
    private void ResetConnection(TcpSock sk)
    {
        sk.Cc = new CongestionWindow
        {
            Cwnd = TcpConstants.InitialCwnd,
            Ssthresh = TcpConstants.InfiniteSsthresh,
            Clamp = uint.MaxValue,
        };
        sk.Rto = TcpConstants.TimeoutInit;
        sk.Rtt = new RttEstimator { Mdev4 = (uint)TcpConstants.TimeoutInit.Value };
        sk.MinRtt = default;
        sk.Rate.AppLimited = uint.MaxValue;
        sk.Rate.BestAppLimited = true;
        sk.MssCache = TcpConstants.DefaultMss;
        sk.Reorder.Degree = (ushort)Sysctls.TcpReordering;
        sk.CaState = CaState.Open;
        sk.Packets.Clear();
        sk.Stats = default;
    }

    public override void Free(Cpu cpu, Sock sock)
    {
        var sk = (TcpSock)sock;
        sk.PurgeAll(cpu);
        sk.DestructInet(cpu);
        sk.Reclaim();
    }

    public override Errno GetPort(Cpu cpu, Sock sk, ushort port) => Binds.GetPort(cpu, (TcpSock)sk, port);

    // Linux: inet_unhash.
    public override void Unhash(Cpu cpu, Sock sock)
    {
        var sk = (TcpSock)sock;
        cpu.Trace(Tp.inet_unhash, sk);
        if (sk.State == TcpState.Listen)
            Listeners.Remove(sk);
        else if (sk.HashEntry >= 0)
            Established.Remove(cpu, sk);
    }

    public override void ReleaseCallback(Cpu cpu, Sock sk) => ((TcpSock)sk).RunDeferred(cpu);

    // Linux: tcp_v4_do_rcv, called for the backlog.
    public override void BacklogReceive(Cpu cpu, Sock sk, SkBuff skb) => Deliver(cpu, (TcpSock)sk, skb);

    /// <summary>A segment meets its connection, which nobody else touches now. Linux: tcp_v4_do_rcv.</summary>
    public void Deliver(Cpu cpu, TcpSock sk, SkBuff skb)
    {
        cpu.Trace(Tp.tcp_v4_do_rcv, sk, (long)sk.State);
        if (sk.State == TcpState.Established)
        {
            sk.ReceiveEstablished(cpu, skb);
            return;
        }
        DropReason refused = sk.ReceiveInState(cpu, skb);
        if (refused == DropReason.None)
            return;
        Replies.SendReset(cpu, sk, skb);
        Devices.Drops.Free(cpu, skb, refused);
    }

    // ---- Connect ----

    // Linux: tcp_v4_connect, tcp_v6_connect.
    public override Errno Connect(ref TaskContext context, Sock sock, in SockAddr address)
    {
        Cpu cpu = context.Cpu;
        var sk = (TcpSock)sock;
        IpAddr remote = address.Address;
        cpu.Trace(remote.IsV4 ? Tp.tcp_v4_connect : Tp.tcp_v6_connect, sk);
        if (_stopped)
            return Errno.ENETDOWN;
        // Connecting to the wildcard means this host.
        if (remote.IsAny)
            remote = remote.IsV4 ? IpAddr.Loopback4 : sk.LocalAddr.IsV4 && !sk.LocalAddr.IsAny ? IpAddr.Loopback4 : IpAddr.Loopback6;
        if (remote.IsV4 && sk.Family == Af.Inet6 && sk.IsV6Only)
            return Errno.ENETUNREACH;
        if (remote.IsMulticast)
            return Errno.ENETUNREACH;
        IpAddr source = SourceFor(sk, remote);
        Route? route = Routes.LookUpOutput(remote, source, sk.BoundIfIndex, sk.Has(SockFlags.LocalRoute));
        if (route is null)
        {
            cpu.Mib.Inc(Mib.IpOutNoRoutes);
            return Errno.ENETUNREACH;
        }
        if (route.Type is RouteType.Broadcast or RouteType.Multicast)
            return Errno.ENETUNREACH;
        return ConnectOver(cpu, sk, remote, address.Port, address.FlowInfo, route);
    }

    private static IpAddr SourceFor(TcpSock sk, IpAddr remote)
    {
        IpAddr bound = sk.SourceAddr;
        return bound.IsAny ? remote.IsV4 ? IpAddr.Any4 : IpAddr.Any6 : bound;
    }

    private Errno ConnectOver(Cpu cpu, TcpSock sk, IpAddr remote, ushort port, uint flowInfo, Route route)
    {
        if (sk.SourceAddr.IsAny)
        {
            Binds.Change(cpu, sk, route.Source, static (s, source) => s.SetLocalAddr(source));
        }
        if (sk.TsRecentStamp != 0 && sk.RemoteAddr != remote)
        {
            // Another peer: what the last one's timestamps said is void.
            sk.TsRecent = 0;
            sk.TsRecentStamp = 0;
            if (!sk.InRepair)
                sk.Snd.Written = default;
        }
        sk.RemoteAddr = remote;
        sk.RemotePort = port;
        sk.FlowLabel = sk.HasInet(InetFlags.FlowInfoSend) ? flowInfo & 0xf_ffff : 0;
        sk.Route = route;
        sk.MssClamp = TcpConstants.DefaultMss;
        sk.SetState(cpu, TcpState.SynSent);
        Errno error = HashConnect(cpu, sk);
        if (error != Errno.OK)
        {
            sk.SetState(cpu, TcpState.Close);
            ResetSource(cpu, sk);
            sk.Route = null;
            sk.RemotePort = 0;
            return error;
        }
        if (!sk.InRepair)
            ChooseNumbers(cpu, sk);
        sk.DefersConnect = DefersConnect(cpu, sk);
        if (sk.DefersConnect)
            return Errno.OK;
        if (sk.InRepair)
            sk.ConnectInRepair(cpu);
        else
            sk.SendSyn(cpu);
        return Errno.OK;
    }

    // Where sequence numbers and timestamps begin. RFC 6528, RFC 7323 §5.4.
    private void ChooseNumbers(Cpu cpu, TcpSock sk)
    {
        cpu.Trace(Tp.secure_tcp_seq, sk);
        if (sk.Snd.Written == default)
            sk.Snd.Written = Sequences.InitialSequence(sk.LocalAddr, sk.LocalPort, sk.RemoteAddr, sk.RemotePort);
        sk.TsOffset = Sysctls.TcpTimestamps == 1 ? Sequences.TimestampOffset(sk.LocalAddr, sk.RemoteAddr) : 0;
    }

    // ---- Disconnect ----

    // RFC 9293 §3.10.5 ABORT, and the socket can be used again. Linux: tcp_disconnect.
    public override Errno Disconnect(Cpu cpu, Sock sock)
    {
        var sk = (TcpSock)sock;
        cpu.Trace(Tp.tcp_disconnect, sk);
        TcpState before = sk.State;
        if (before != TcpState.Close)
            sk.SetState(cpu, TcpState.Close);
        bool reset = NeedsReset(before) || (sk.Snd.Nxt != sk.Snd.Written && before is TcpState.Closing or TcpState.LastAck);
        if (before == TcpState.Listen)
        {
            StopListening(cpu, sk);
        }
        else if (sk.InRepair)
        {
            sk.Error = Errno.ECONNABORTED;
        }
        else if (reset)
        {
            sk.SendActiveReset(cpu);
            sk.Error = Errno.ECONNRESET;
        }
        else if (before == TcpState.SynSent)
        {
            sk.Error = Errno.ECONNRESET;
        }
        sk.ClearTimers(cpu);
        EndFastOpen(cpu, sk, reset: false);
        sk.PurgeAll(cpu);
        sk.Rcv.Copied = sk.Rcv.Nxt;
        sk.UrgData = 0;
        sk.PeekOffset = -1;
        sk.RemotePort = 0;
        ResetSource(cpu, sk);
        sk.Shutdown = ShutdownMask.None;
        sk.Flags &= ~SockFlags.Done;
        sk.Backoff = sk.ProbesOut = sk.Retransmits = 0;
        // The next connection's sequence numbers lie beyond any of this one.
        SeqNumber next = sk.Snd.Written + sk.Snd.MaxWnd + 2;
        sk.Snd = new SendSpace { Written = next == default ? new SeqNumber(1) : next };
        sk.Rcv = default;
        sk.Ack = default;
        sk.Features = TcpFeatures.None;
        sk.SackOut = null;
        sk.FastPath = false;
        sk.Rate.Delivered = sk.Rate.DeliveredCe = sk.Packets.TotalLost = 0;
        sk.Transfer?.RcvRtt = default;
        sk.EcnState = EcnFlags.None;
        sk.AccEcn = null;
        sk.DefersConnect = false;
        sk.FastOpen?.OnDisconnect();
        sk.MtuSearch = null;
        sk.Route = null;
        ResetConnection(sk);
        sk.ErrorReport(cpu);
        return Errno.OK;
    }

    // Whether the peer would wait for more. Linux: tcp_need_reset.
    private static bool NeedsReset(TcpState state) =>
        state.IsAny(TcpStateSet.Established | TcpStateSet.CloseWait | TcpStateSet.FinWait1 | TcpStateSet.FinWait2 | TcpStateSet.SynRecv);

    // Linux: tcp_abort.
    public override void Abort(ref TaskContext context, Sock sock, Errno error)
    {
        var sk = (TcpSock)sock;
        sk.LockSock(ref context);
        Cpu cpu = context.Cpu;
        if (sk.State == TcpState.Listen)
        {
            sk.SetState(cpu, TcpState.Close);
            StopListening(cpu, sk);
            sk.Error = error;
            sk.ErrorReport(cpu);
        }
        else if (sk.State != TcpState.Close)
        {
            if (NeedsReset(sk.State))
                sk.SendActiveReset(cpu);
            sk.PurgeWriteQueue(cpu);
            Done(cpu, sk, error);
        }
        sk.ReleaseSock(cpu);
    }

    private void ResetSource(Cpu cpu, TcpSock sk)
    {
        if (!sk.BindAddressLocked)
            Binds.Change(cpu, sk, 0, static (s, _) => s.ResetSourceAddr());
    }

    // ---- Close ----

    // Linux: tcp_close.
    public override void Close(ref TaskContext context, Sock sock, Micros timeout)
    {
        var sk = (TcpSock)sock;
        context.Cpu.Trace(Tp.tcp_close, sk);
        sk.LockSock(ref context);
        CloseLocked(ref context, sk, timeout);
        sk.ReleaseSock(context.Cpu);
        sk.Put(context.Cpu);
    }

    // Linux: __tcp_close.
    private void CloseLocked(ref TaskContext context, TcpSock sk, Micros timeout)
    {
        Cpu cpu = context.Cpu;
        cpu.Trace(Tp.__tcp_close, sk);
        sk.Shutdown = ShutdownMask.Both;
        if (sk.State == TcpState.Listen)
        {
            sk.SetState(cpu, TcpState.Close);
            StopListening(cpu, sk);
        }
        else
        {
            bool unread = DiscardUnread(cpu, sk);
            if (sk.State != TcpState.Close)
                CloseConnection(ref context, sk, unread, timeout);
        }
        AdjudgeToDeath(context.Cpu, sk);
    }

    private static bool DiscardUnread(Cpu cpu, TcpSock sk)
    {
        bool unread = false;
        while (sk.ReceiveQueue.PopFirst() is { } skb)
        {
            SeqNumber end = (skb.Tcp.Flags & TcpFlags.Fin) != 0 ? skb.Tcp.EndSeq - 1 : skb.Tcp.EndSeq;
            unread |= end > sk.Rcv.Copied;
            sk.UnchargeReceived(skb.TrueSize);
            cpu.FreeSkb(skb);
        }
        return unread;
    }

    private void CloseConnection(ref TaskContext context, TcpSock sk, bool unread, Micros timeout)
    {
        Cpu cpu = context.Cpu;
        if (sk.InRepair)
        {
            // Somebody else goes on with it: the peer must not notice.
            Disconnect(cpu, sk);
        }
        else if (unread)
        {
            // RFC 2525 §2.17: data was lost, and the peer must know.
            cpu.Mib.Inc(Mib.TcpExtTCPAbortOnClose);
            sk.SetState(cpu, TcpState.Close);
            sk.SendActiveReset(cpu);
        }
        else if (sk.Has(SockFlags.Linger) && sk.LingerTime == Micros.Zero)
        {
            Disconnect(cpu, sk);
            cpu.Mib.Inc(Mib.TcpExtTCPAbortOnData);
        }
        else
        {
            CloseSending(cpu, sk);
        }
        WaitForClose(ref context, sk, timeout);
    }

    // Linux: tcp_close_state and what follows it.
    private static void CloseSending(Cpu cpu, TcpSock sk)
    {
        (TcpState next, bool sendFin) = TcpStateMachine.OnClose(sk.State);
        if (next != sk.State)
            sk.SetState(cpu, next);
        if (sendFin)
            sk.SendFin(cpu);
    }

    // SO_LINGER with a time: until everything is acknowledged. Linux: sk_stream_wait_close.
    private static void WaitForClose(ref TaskContext context, TcpSock sk, Micros timeout)
    {
        if (timeout == Micros.Zero || sk.Socket is not { } socket)
            return;
        Micros deadline = context.Cpu.Now + timeout;
        while (sk.State.IsAny(TcpStateSet.FinWait1 | TcpStateSet.Closing | TcpStateSet.LastAck))
        {
            Cpu cpu = context.Cpu;
            if (context.Task.SignalPending || cpu.Now >= deadline)
                break;
            socket.Wait.Prepare(cpu, context.Task, PollEvents.Readable | PollEvents.Writable | PollEvents.Terminal, exclusive: false);
            sk.ReleaseSock(cpu);
            Scheduler.ScheduleTimeout(ref context, deadline, "sk_stream_wait_close");
            sk.LockSock(ref context);
            socket.Wait.Finish(context.Cpu, context.Task);
        }
    }

    // The user is gone; the protocol finishes alone, or at once. Linux: the part of __tcp_close behind adjudge_to_death.
    private void AdjudgeToDeath(Cpu cpu, TcpSock sk)
    {
        TcpState before = sk.State;
        sk.Hold();
        sk.Orphan();
        cpu.BhDisable();
        sk.Lock.Lock(cpu);
        sk.DrainBacklog(cpu);
        Interlocked.Increment(ref _orphans);
        // A segment of the backlog may have ended it.
        if (before == TcpState.Close || sk.State != TcpState.Close)
            FinishOrphan(cpu, sk);
        sk.Lock.Unlock(cpu);
        cpu.BhEnable();
    }

    private void FinishOrphan(Cpu cpu, TcpSock sk)
    {
        if (sk.State == TcpState.FinWait2)
        {
            if (sk.Linger2 < 0)
            {
                sk.SetState(cpu, TcpState.Close);
                sk.SendActiveReset(cpu);
                cpu.Mib.Inc(Mib.TcpExtTCPAbortOnLinger);
            }
            else
            {
                Micros timeout = sk.FinTime;
                if (timeout <= TcpConstants.TimeWaitLength)
                {
                    EnterTimeWait(cpu, sk, TcpState.FinWait2, timeout);
                    return;
                }
                sk.ArmKeepAlive(cpu, timeout - TcpConstants.TimeWaitLength);
            }
        }
        if (sk.State != TcpState.Close && IsOutOfMemory(cpu, sk))
        {
            sk.SetState(cpu, TcpState.Close);
            sk.SendActiveReset(cpu);
            cpu.Mib.Inc(Mib.TcpExtTCPAbortOnMemory);
        }
        if (sk.State == TcpState.Close)
            Destroy(cpu, sk);
    }

    /// <summary>The connection is over. <paramref name="error"/>, if any, is what its user learns. Linux: tcp_done, tcp_done_with_error.</summary>
    public void Done(Cpu cpu, TcpSock sk, Errno error)
    {
        cpu.Trace(Tp.tcp_done, sk);
        if (error != Errno.OK)
            sk.Error = error;
        if (sk.State is TcpState.SynSent or TcpState.SynRecv)
            cpu.Mib.Inc(Mib.TcpAttemptFails);
        sk.SetState(cpu, TcpState.Close);
        sk.ClearTimers(cpu);
        EndFastOpen(cpu, sk, reset: false);
        sk.Shutdown = ShutdownMask.Both;
        if (sk.Has(SockFlags.Dead))
        {
            Destroy(cpu, sk);
            return;
        }
        sk.StateChange(cpu);
        if (error != Errno.OK)
            sk.ErrorReport(cpu);
    }

    /// <summary>The last of a connection without a user: its first reference is given back. Linux: inet_csk_destroy_sock.</summary>
    public void Destroy(Cpu cpu, TcpSock sk)
    {
        cpu.Trace(Tp.inet_csk_destroy_sock, sk);
        cpu.Trace(Tp.tcp_destroy_sock, sk);
        sk.ClearTimers(cpu);
        EndFastOpen(cpu, sk, reset: false);
        sk.CheckBlackhole(cpu);
        sk.PurgeAll(cpu);
        if (sk.BindBucket is not null)
            Binds.PutPort(cpu, sk);
        Interlocked.Decrement(ref _orphans);
        sk.Put(cpu);
    }

    /// <summary>Whether there are too many orphans for this one to live. Linux: tcp_out_of_resources.</summary>
    public bool IsOutOfOrphans(Cpu cpu, TcpSock sk, bool doReset)
    {
        int shift = 0;
        // One that is idle, or whose peer sends nothing and offers no window, is worth less.
        if (cpu.Now - sk.LastSent > sk.RtoMax * 2 || sk.Snd.Wnd == 0)
            shift++;
        if (sk.SoftError != Errno.OK)
            shift++;
        if (!HasTooManyOrphans(shift))
            return false;
        if (sk.Snd.Wnd == 0 || cpu.Now - sk.LastSent <= TcpConstants.TimeWaitLength)
            doReset = true;
        if (doReset)
            sk.SendActiveReset(cpu);
        Done(cpu, sk, Errno.OK);
        cpu.Mib.Inc(Mib.TcpExtTCPAbortOnMemory);
        return true;
    }

    // Linux: tcp_check_oom.
    private bool IsOutOfMemory(Cpu cpu, TcpSock sk) =>
        HasTooManyOrphans(0) || (sk.WriteQueued > sk.SendBuffer && Memory.Allocated > Memory.Limits[2]);

    private bool HasTooManyOrphans(int shift) => Orphans << shift > Sysctls.TcpMaxOrphans;

    // Linux: tcp_shutdown.
    public override void Shutdown(Cpu cpu, Sock sock, ShutdownMask how)
    {
        var sk = (TcpSock)sock;
        if ((how & ShutdownMask.Send) == 0)
            return;
        cpu.Trace(Tp.tcp_shutdown, sk);
        if (sk.State.IsAny(TcpStateSet.Established | TcpStateSet.SynSent | TcpStateSet.CloseWait))
            CloseSending(cpu, sk);
    }

    /// <summary>Ends all connections from these local addresses: their device is gone.</summary>
    public void AbortConnections(CpuSet cpus, IReadOnlyList<IpAddr> local, Errno error)
    {
        TaskContext context = cpus.Enter();
        AbortConnections(ref context, local, error);
        cpus.Leave(ref context);
    }

    private void AbortConnections(ref TaskContext context, IReadOnlyList<IpAddr>? local, Errno error)
    {
        var found = new ConnectionsFrom(local);
        Established.ForEach(context.Cpu, ref found);
        foreach (TcpSock sk in found.Held)
        {
            // One error is one caller's; the others shall not take it for the end of the stream.
            if (local is null)
                sk.Socket?.Abandon();
            Abort(ref context, sk, error);
            sk.Put(context.Cpu);
        }
    }

    private readonly struct ConnectionsFrom(IReadOnlyList<IpAddr>? local) : ISockVisitor
    {
        public List<TcpSock> Held { get; } = [];

        public void Visit(Cpu cpu, SockCommon sock)
        {
            if (sock is not TcpSock sk || !(local is null || Contains(local, sk.LocalAddr)))
                return;
            sk.Hold();
            Held.Add(sk);
        }

        private static bool Contains(IReadOnlyList<IpAddr> local, IpAddr address)
        {
            foreach (IpAddr each in local)
            {
                if (each == address)
                    return true;
            }
            return false;
        }
    }

    /// <summary>
    /// The stack ends: nothing is opened any more; listeners and connections are, with a RST, and whoever waits for them is told so.
    /// </summary>
    public void Stop(CpuSet cpus, Errno error)
    {
        _stopped = true;
        TaskContext context = cpus.Enter();
        foreach (InetConnectionSock listener in Listeners.Snapshot())
        {
            if (!listener.TryHold())
                continue;
            listener.Socket?.Abandon();
            Abort(ref context, listener, error);
            listener.Put(context.Cpu);
        }
        AbortConnections(ref context, local: null, error);
        cpus.Leave(ref context);
    }

    // ---- Limits of the stack ----

    private readonly Lock _challengeLock = new();
    private long _challengeSecond = -1;
    private int _challenges;

    /// <summary>Whether the stack may send one more challenge ACK this second. RFC 5961 §7. Linux: tcp_challenge_ack_limit.</summary>
    public bool TakeChallenge(Cpu cpu)
    {
        int limit = Sysctls.TcpChallengeAckLimit;
        if (limit == int.MaxValue)
            return true;
        lock (_challengeLock)
        {
            long second = cpu.Now.Value / 1_000_000;
            if (second != _challengeSecond)
            {
                // A random share, so that nobody can count what others get.
                int half = (limit + 1) / 2;
                _challengeSecond = second;
                _challenges = half + _random.Below(limit);
            }
            return _challenges-- > 0;
        }
    }
}
