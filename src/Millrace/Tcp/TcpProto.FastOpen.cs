using System;
using Millrace.Buffers;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Fast Open: a server that takes data from a SYN, a client that writes into one. RFC 7413. Linux: tcp_fastopen.c.</summary>
internal sealed partial class TcpProto
{
    public FastOpenBlackhole Blackhole { get; }

    private FastOpenFlags FastOpenFlags => (FastOpenFlags)Sysctls.TcpFastopen;

    // ---- Server ----

    /// <summary>Lets a listener take so many unfinished handshakes with data. Linux: fastopen_queue_tune.</summary>
    public void TuneFastOpen(TcpSock listener, int backlog)
    {
        FastOpenState state = listener.FastOpen ??= new FastOpenState();
        (state.Queue ??= new FastOpenQueue()).MaxLength = Math.Min(backlog, Sysctls.SoMaxConn);
        Sysctls.InitFastOpenKeys(_random);
    }

    // Every listener takes part. Linux: the Fast Open part of __inet_listen_sk.
    private void EnableFastOpen(TcpSock listener)
    {
        const FastOpenFlags both = FastOpenFlags.Server | FastOpenFlags.AllListeners;
        if ((FastOpenFlags & both) == both && listener.FastOpen?.Queue is not { MaxLength: > 0 })
            TuneFastOpen(listener, listener.MaxAcceptBacklog);
    }

    /// <summary>
    /// Makes a connection of a SYN whose cookie is good. Null: it is an ordinary SYN; <paramref name="answer"/> is what the SYN-ACK
    /// says. The child is locked. Linux: tcp_try_fastopen.
    /// </summary>
    private TcpSock? TryFastOpen(Cpu cpu, TcpRequestSock request, SkBuff skb, in TcpHeader tcp, in TcpOptions options,
        out FastOpenCookie answer)
    {
        TcpSock listener = request.Listener;
        bool hasData = skb.Tcp.EndSeq != skb.Tcp.Seq + 1;
        answer = FastOpenCookie.None;
        if (options.HasFastOpen && options.FastOpenCookie.IsEmpty)
            cpu.Mib.Inc(Mib.TcpExtTCPFastOpenCookieReqd);
        if ((FastOpenFlags & FastOpenFlags.Server) == 0 || !(hasData || options.HasFastOpen) || !HasFastOpenRoom(cpu, listener))
            return null;
        bool needsCookie = !IsCookieless(listener, request.Route, FastOpenFlags.ServerWithoutCookie);
        int key = 0;
        if (needsCookie)
        {
            if (!options.HasFastOpen)
                return null;
            if ((listener.FastOpen?.Keys ?? Sysctls.FastOpenKeys) is not { } keys)
                return null;
            answer = new FastOpenCookie(keys.MakeCookie(request.RemoteAddr, request.LocalAddr), options.FastOpenIsExperimental);
            if (options.FastOpenCookie.IsEmpty)
                return null;
            key = keys.Match(options.FastOpenCookie, request.RemoteAddr, request.LocalAddr);
        }
        TcpSock? child = needsCookie && key == 0 ? null : CreateFastOpenChild(cpu, request, skb, tcp);
        if (child is null)
        {
            cpu.Mib.Inc(Mib.TcpExtTCPFastOpenPassiveFail);
            return null;
        }
        if (key == 2)
            cpu.Mib.Inc(Mib.TcpExtTCPFastOpenPassiveAltKey);
        else
            answer = FastOpenCookie.None;
        cpu.Mib.Inc(Mib.TcpExtTCPFastOpenPassive);
        return child;
    }

    private static bool HasFastOpenRoom(Cpu cpu, TcpSock listener)
    {
        bool overflow = false;
        bool room = listener.FastOpen?.Queue?.HasRoom(cpu, out overflow) ?? false;
        if (overflow)
            cpu.Mib.Inc(Mib.TcpExtTCPFastOpenListenOverflow);
        return room;
    }

    // Linux: tcp_fastopen_no_cookie.
    private bool IsCookieless(TcpSock sk, Route? route, FastOpenFlags flag) =>
        (FastOpenFlags & flag) != 0 || sk.FastOpen is { NoCookie: true } || route is { Metrics.FastOpenNoCookie: true };

    // The child comes before its handshake is over, and has the SYN's data. Linux: tcp_fastopen_create_child.
    private TcpSock? CreateFastOpenChild(Cpu cpu, TcpRequestSock request, SkBuff skb, in TcpHeader tcp)
    {
        TcpSock listener = request.Listener;
        if (listener.AcceptBacklog > listener.MaxAcceptBacklog)
        {
            cpu.Mib.Inc(Mib.TcpExtListenOverflows);
            return null;
        }
        TcpSock child = CreateChild(cpu, request, skb, tcp);
        child.Lock.Lock(cpu);
        cpu.Trace(Tp.inet_ehash_insert, child);
        if (!Established.TryInsertUnique(cpu, child))
        {
            Discard(cpu, child);
            return null;
        }
        Binds.Inherit(cpu, child, listener);
        listener.FastOpen!.Queue!.Add(cpu);
        FastOpenState state = child.FastOpen ??= new FastOpenState();
        state.Passive = request;
        // One reference is the child's, one the caller's: no table and no timer holds this request.
        request.Publish(2);
        child.StartFastOpen(cpu, request, skb, tcp);
        return child;
    }

    /// <summary>
    /// The handshake of a Fast Open child is over, or the child is. Linux: reqsk_fastopen_remove.
    /// </summary>
    /// <param name="reset">A RST has ended it.</param>
    public static void EndFastOpen(Cpu cpu, TcpSock child, bool reset)
    {
        if (child.FastOpen is not { Passive: { } request } state)
            return;
        state.Passive = null;
        TcpSock listener = request.Listener;
        bool penalize = reset && state.IsAccepted && listener.State == TcpState.Listen;
        listener.FastOpen!.Queue!.Remove(cpu, penalize);
        request.Put(cpu);
    }

    /// <summary>
    /// A segment for a child whose handshake is not over meets its request first. True: it may go on. The buffer stays the caller's.
    /// Linux: tcp_check_req with fastopen.
    /// </summary>
    public bool CheckFastOpenRequest(Cpu cpu, TcpSock child, TcpRequestSock request, SkBuff skb, in TcpHeader tcp)
    {
        RequestVerdict verdict = CheckSegment(cpu, request, skb, tcp, isFastOpen: true, out _, out bool reset);
        if (!reset)
            return verdict == RequestVerdict.Child;
        if (!tcp.Has(TcpFlags.Rst))
        {
            Replies.SendReset(cpu, child, skb);
            return false;
        }
        EndFastOpen(cpu, child, reset: true);
        child.EndByReset(cpu);
        return false;
    }

    // ---- Client ----

    /// <summary>Whether connect should wait for data, because a SYN can carry it. Linux: tcp_fastopen_defer_connect.</summary>
    private bool DefersConnect(Cpu cpu, TcpSock sk)
    {
        if (sk.FastOpen is not { } state)
            return false;
        if (state.IsRequested)
            return true;
        if (!state.ConnectOption)
            return false;
        if (FindCookie(cpu, sk, out _))
            return true;
        // At least ask for a cookie.
        state.IsRequested = true;
        return false;
    }

    /// <summary>
    /// The option for a SYN to this peer, and the peer's MSS if it is known. True: the SYN may carry data.
    /// Linux: tcp_fastopen_cookie_check.
    /// </summary>
    public bool FindCookie(Cpu cpu, TcpSock sk, out ushort mss)
    {
        FastOpenState state = sk.FastOpen!;
        state.Cookie = Metrics.FindCookie(cpu, sk, out mss);
        if (Blackhole.MustPause(cpu))
        {
            state.Cookie = FastOpenCookie.None;
            return false;
        }
        // The pause is over: this connection tells whether the black hole is gone.
        state.ProbesBlackhole = Blackhole.WasSeen;
        if (IsCookieless(sk, sk.Route, FastOpenFlags.ClientWithoutCookie))
        {
            state.Cookie = FastOpenCookie.None;
            return true;
        }
        if (state.Cookie.HasCookie)
            return true;
        state.Failure = FastOpenFailure.CookieUnavailable;
        return false;
    }

    // Connects, with as much of the message as fits the SYN. Linux: tcp_sendmsg_fastopen.
    private Errno SendFastOpen(ref TaskContext context, TcpSock sk, ref MsgHdr message, TcpSock.ZeroCopySend? notice, out int copied)
    {
        copied = 0;
        if ((FastOpenFlags & FastOpenFlags.Client) == 0 || (message.HasName && message.Name.Family == Af.Unspec))
            return Errno.EOPNOTSUPP;
        FastOpenState state = sk.FastOpen ??= new FastOpenState();
        if (state.IsRequested)
            return Errno.EALREADY;
        state.IsRequested = true;
        Socket socket = sk.Socket!;
        bool nonBlocking = message.Has(MessageFlags.DontWait) || socket.NonBlocking;
        if (!sk.DefersConnect)
        {
            Span<byte> address = stackalloc byte[SockAddr.Inet6Length];
            int length = message.HasName ? message.Name.Write(address) : 0;
            Errno failed = length == 0 && socket.State == SocketState.Unconnected
                ? Errno.EINVAL
                : socket.Ops.ConnectOwned(ref context, socket, address[..length], nonBlocking);
            if (failed != Errno.OK || !sk.DefersConnect)
            {
                // Nothing failed: it is connected already, and this is an ordinary write.
                state.IsRequested = false;
                return failed;
            }
        }
        sk.DefersConnect = false;
        copied = sk.SendSynWithData(context.Cpu, ref message, notice);
        bool more = message.Iter.Count > 0;
        if (more)
            sk.WritePending++;
        Errno error = socket.Ops.AwaitConnection(ref context, socket, nonBlocking);
        if (more)
            sk.WritePending--;
        state.IsRequested = false;
        return error;
    }
}
