using System;
using System.Diagnostics;
using Millrace.Buffers;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Passive open: listeners, request socks, accept. RFC 9293 §3.10.7.2 and the SYN-RECEIVED part of §3.10.7.4.</summary>
internal sealed partial class TcpProto
{
    // ---- Listening ----

    /// <summary>Linux: inet_csk_listen_start.</summary>
    public Errno StartListening(Cpu cpu, TcpSock sk)
    {
        cpu.Trace(Tp.inet_csk_listen_start, sk);
        if (_stopped)
            return Errno.ENETDOWN;
        sk.AcceptQueue ??= new AcceptQueue();
        sk.AcceptQueue.Reopen();
        sk.AcceptQueue.DeferAccept = sk.DeferAccept;
        EnableFastOpen(sk);
        sk.Ack = default;
        // First the state, then the port's last check: of two who race for it as listeners one loses.
        sk.StoreState(cpu, TcpState.Close, TcpState.Listen);
        Errno error = Binds.GetPort(cpu, sk, sk.BindBucket?.Port ?? 0);
        if (error != Errno.OK)
        {
            sk.StoreState(cpu, TcpState.Listen, TcpState.Close);
            return error;
        }
        sk.Route = null;
        Listeners.Insert(cpu, sk);
        return Errno.OK;
    }

    /// <summary>Ends everything that waits at a listener that has closed. Linux: inet_csk_listen_stop.</summary>
    private void StopListening(Cpu cpu, TcpSock sk)
    {
        cpu.Trace(Tp.inet_csk_listen_stop, sk);
        AcceptQueue queue = sk.AcceptQueue!;
        queue.Close(cpu);
        if (queue is GatedAcceptQueue { Gate: var gate })
            CloseGate(cpu, gate);
        while (queue.Take(cpu) is TcpSock child)
        {
            cpu.BhDisable();
            child.Lock.Lock(cpu);
            Debug.Assert(!child.Lock.IsOwned, "a connection that nobody has accepted has no owner");
            ForgetChild(cpu, child);
            child.Lock.Unlock(cpu);
            cpu.BhEnable();
            child.Put(cpu);
        }
    }

    // Linux: inet_child_forget.
    private void ForgetChild(Cpu cpu, TcpSock child)
    {
        child.Hold();
        Disconnect(cpu, child);
        child.Orphan();
        System.Threading.Interlocked.Increment(ref _orphans);
        Destroy(cpu, child);
    }

    // ---- SYN ----

    /// <summary>
    /// A SYN has come to a listener. None: it was taken, one way or the other. <see cref="SkBuff.ReopenIsn"/> tells the sequence number
    /// with which it reopens a connection in TIME_WAIT. Linux: tcp_conn_request.
    /// </summary>
    public DropReason OnConnectionRequest(Cpu cpu, TcpSock listener, SkBuff skb)
    {
        cpu.Trace(Tp.tcp_conn_request, listener);
        AcceptQueue queue = listener.AcceptQueue!;
        IpAddr local = IpHeaders.Destination(skb), remote = IpHeaders.Source(skb);
        if (remote.IsMulticast || !Routes.IsLocal(local))
            return ListenDrop(cpu, DropReason.IpInvalidDest);
        // A cookie is an answer, and would bring a connection that nobody has decided about.
        int syncookies = queue is not GatedAcceptQueue ? Sysctls.TcpSyncookies : 0;
        bool reopens = skb.ReopenIsn != 0, cookies = syncookies != 0;
        bool flooded = !reopens && (syncookies == 2 || queue.Pending > listener.MaxAcceptBacklog);
        if (flooded)
        {
            cpu.Mib.Inc(cookies ? Mib.TcpExtTCPReqQFullDoCookies : Mib.TcpExtTCPReqQFullDrop);
            if (!cookies)
                return ListenDrop(cpu, DropReason.TcpListenOverflow);
        }
        if (listener.AcceptBacklog > listener.MaxAcceptBacklog)
        {
            cpu.Mib.Inc(Mib.TcpExtListenOverflows);
            return ListenDrop(cpu, DropReason.TcpListenOverflow);
        }
        unsafe
        {
            TcpHeader.TryParse(skb.Data, skb.LinearLength, out TcpHeader tcp);
            TcpRequestSock request = NewRequest(cpu, listener, skb, tcp, local, remote);
            request.Route = Routes.LookUpOutput(remote, local, listener.BoundIfIndex, listener.Has(SockFlags.LocalRoute));
            if (request.Route is null)
            {
                DiscardRequest(cpu, request);
                return ListenDrop(cpu, DropReason.IpOutNoroutes);
            }
            if (flooded)
                return AnswerWithCookie(cpu, listener, request);
            // Without cookies the last quarter of the queue is kept free. Linux: tcp_conn_request.
            int most = Sysctls.TcpMaxSynBacklog;
            if (!reopens && !cookies && most - queue.Pending < most >> 2 && !Metrics.IsProven(cpu, local, remote, request.Route))
            {
                DiscardRequest(cpu, request);
                return ListenDrop(cpu, DropReason.TcpListenOverflow);
            }
            cpu.Trace(Tp.secure_tcp_seq, request);
            request.SndIsn = skb.ReopenIsn != 0
                ? new SeqNumber(skb.ReopenIsn)
                : Sequences.InitialSequence(local, request.LocalPort, remote, request.RemotePort);
            ChooseWindow(listener, request);
            if (queue is GatedAcceptQueue { Gate: var gate })
            {
                Park(cpu, listener, request, gate);
                return DropReason.None;
            }
            TcpSock? child = TryFastOpen(cpu, request, skb, tcp, TcpOptions.Parse(tcp.Options), out FastOpenCookie cookie);
            if (child is not null)
            {
                AddFastOpenChild(cpu, request, child, cookie);
                return DropReason.None;
            }
            if (!HashRequest(cpu, listener, request, TcpRequestSock.Timeout))
                return DropReason.None;
            Replies.SendSynAck(cpu, request, cookie);
            request.Put(cpu);
        }
        return DropReason.None;
    }

    // The connection can be accepted at once; the child is locked, and this call's reference to it ends here.
    private void AddFastOpenChild(Cpu cpu, TcpRequestSock request, TcpSock child, in FastOpenCookie cookie)
    {
        TcpSock listener = request.Listener;
        Replies.SendSynAck(cpu, request, cookie);
        if (listener.AcceptQueue!.TryAdd(cpu, child))
            listener.DataReady(cpu, default);
        else
            ForgetChild(cpu, child);
        child.Lock.Unlock(cpu);
        child.Put(cpu);
        request.Put(cpu);
    }

    private static DropReason ListenDrop(Cpu cpu, DropReason reason)
    {
        cpu.Mib.Inc(Mib.TcpExtListenDrops);
        return reason;
    }

    // Linux: inet_reqsk_alloc, tcp_openreq_init.
    private TcpRequestSock NewRequest(Cpu cpu, TcpSock listener, SkBuff skb, in TcpHeader tcp, IpAddr local, IpAddr remote)
    {
        TcpOptions options = TcpOptions.Parse(tcp.Options);
        listener.Hold();
        var request = new TcpRequestSock
        {
            Listener = listener,
            LocalAddr = local,
            RemoteAddr = remote,
            LocalPort = tcp.DestinationPort,
            RemotePort = tcp.SourcePort,
            BoundIfIndex = listener.BoundIfIndex,
            Family = listener.Family,
            RcvIsn = tcp.Seq,
            RcvNxt = tcp.Seq + 1,
            HasTimestamps = options.HasTimestamp && Sysctls.TcpTimestamps != 0,
            HasSack = options.SackPermitted && Sysctls.TcpSack,
            HasWindowScaling = options.WindowScale >= 0 && Sysctls.TcpWindowScaling,
            SynTos = IpHeaders.DsField(skb),
        };
        cpu.Trace(Tp.inet_reqsk_alloc, request);
        if (listener.Rare is { SaveSyn: > 0 })
            request.SavedSyn = IpHeaders.ThroughTransport(skb, tcp.HeaderLength);
        request.SetState();
        if (request.HasTimestamps)
        {
            request.TsRecent = options.TsVal;
            request.TsOffset = Sysctls.TcpTimestamps == 1 ? Sequences.TimestampOffset(local, remote) : 0;
        }
        if (request.HasWindowScaling)
            request.SndWndScale = (byte)Math.Min(options.WindowScale, TcpConstants.MaxWindowScale);
        ushort mss = options.Mss != 0 ? options.Mss : (ushort)TcpConstants.DefaultMss;
        request.Mss = listener.UserMss != 0 && listener.UserMss < mss ? listener.UserMss : mss;
        AgreeOnEcn(listener, request, tcp.Flags);
        return request;
    }

    // Linux: tcp_openreq_init_rwin.
    private void ChooseWindow(TcpSock listener, TcpRequestSock request)
    {
        int full = listener.FullReceiveSpace;
        int mss = Replies.AdvertisedMss(request);
        int clamp = listener.Rcv.WndClamp != 0 ? listener.Rcv.WndClamp : request.Route!.Metrics.Window;
        if (listener.Has(SockFlags.RcvBufLocked) && (clamp > full || clamp == 0))
            clamp = full;
        ReceiveSpace.SelectInitial(Sysctls, full, mss - (request.HasTimestamps ? TcpConstants.TimestampOptionLength : 0),
            request.HasWindowScaling, request.Route!.Metrics.InitRwnd, ref clamp, out request.RcvWnd, out request.RcvWndScale);
        request.WndClamp = clamp;
    }

    // The request goes into the table, with its timer; a SYN that was sent twice finds the first. Linux: inet_csk_reqsk_queue_hash_add.
    private bool HashRequest(Cpu cpu, TcpSock listener, TcpRequestSock request, Micros wait)
    {
        cpu.Trace(Tp.inet_csk_reqsk_queue_hash_add, request);
        // One reference is the table's and timer's life, one this call's.
        request.Publish(2);
        if (!Established.TryInsertUnique(cpu, request))
        {
            request.Publish(1);
            request.Put(cpu);
            return false;
        }
        cpu.Trace(Tp.inet_ehash_insert, request);
        request.Arm(cpu, Timers, cpu.Now + wait);
        cpu.Trace(Tp.timer_start, request, 0, wait.Value);
        listener.AcceptQueue!.AddPending();
        return true;
    }

    /// <summary>Takes a request out of the table. True for the one caller who did. Linux: inet_csk_reqsk_queue_drop.</summary>
    /// <param name="why">What whoever waits for the connection is told.</param>
    private bool DropRequest(Cpu cpu, TcpRequestSock request, Errno why)
    {
        request.Pending?.TryDecide();
        if (!Established.Remove(cpu, request))
            return false;
        if (request.Pending is { } pending)
        {
            pending.Gate.Remove(cpu, pending);
            pending.OnGone(cpu, why);
        }
        EndRequest(cpu, request);
        return true;
    }

    // It is out of the table: timer, count and first reference go.
    private void EndRequest(Cpu cpu, TcpRequestSock request)
    {
        request.Disarm(cpu, Timers);
        request.Listener.AcceptQueue!.RemovePending(request.Timeouts == 0);
        request.Put(cpu);
    }

    /// <summary>Nobody has answered the SYN-ACK. Linux: reqsk_timer_handler.</summary>
    public void OnRequestTimer(Cpu cpu, TcpRequestSock request)
    {
        TcpSock listener = request.Listener;
        // Another CPU may have ended it, and one more have armed its timer before it knew.
        if (request.HashEntry < 0)
            return;
        if (listener.State != TcpState.Listen || request.Pending is { IsParked: true })
        {
            DropRequest(cpu, request, Errno.ETIMEDOUT);
            return;
        }
        AcceptQueue queue = listener.AcceptQueue!;
        int most = listener.SynRetries != 0 ? listener.SynRetries : Sysctls.TcpSynackRetries;
        most = PruneRetries(queue, listener, most);
        int defer = queue.DeferAccept;
        bool expire = request.Timeouts >= most && (defer == 0 || !request.Acked || request.Timeouts >= defer);
        bool resend = defer == 0 || !request.Acked || request.Timeouts >= defer - 1;
        cpu.Mib.Inc(Mib.TcpExtTCPTimeouts);
        if (expire)
        {
            DropRequest(cpu, request, Errno.ETIMEDOUT);
            return;
        }
        if (resend)
            ResendSynAck(cpu, request);
        if (request.Timeouts++ == 0)
            queue.Aged();
        request.Arm(cpu, Timers, cpu.Now + RequestTimeout(request));
    }

    // Half of the queue is kept for the young; the old go sooner if they are about to clog it. Linux: reqsk_timer_handler.
    private static int PruneRetries(AcceptQueue queue, TcpSock listener, int most)
    {
        int pending = queue.Pending;
        if (pending << 1 <= Math.Max(8, listener.MaxAcceptBacklog))
            return most;
        int young = queue.Young << 1;
        while (most > 2 && pending >= young)
        {
            most--;
            young <<= 1;
        }
        return most;
    }

    private Micros RequestTimeout(TcpRequestSock request) =>
        Micros.Min(TcpRequestSock.Timeout << request.Timeouts, Micros.FromMilliseconds(Sysctls.TcpRtoMaxMs));

    // Linux: tcp_rtx_synack.
    public void ResendSynAck(Cpu cpu, TcpRequestSock request)
    {
        Replies.SendSynAck(cpu, request, isRetransmit: true);
        cpu.Mib.Inc(Mib.TcpRetransSegs);
        cpu.Mib.Inc(Mib.TcpExtTCPSynRetrans);
        request.Retransmits++;
        if (request.Retransmits > 1 && request.AccEcnOk)
            request.AccEcnFailure |= AccEcnFailure.AceSend;
    }

    // ---- The ACK of the SYN-ACK ----

    /// <summary>What a segment means to a request sock.</summary>
    private enum RequestVerdict
    {
        /// <summary>The segment is to be dropped; an answer, if any, was sent.</summary>
        Drop,

        /// <summary>The listener answers, with a RST.</summary>
        ToListener,

        /// <summary>A connection was made, and is locked: the segment is its first.</summary>
        Child,

        /// <summary>Another CPU has just made the connection: look it up again.</summary>
        Stolen,
    }

    /// <summary>Linux: tcp_check_req.</summary>
    private RequestVerdict CheckRequest(Cpu cpu, TcpRequestSock request, SkBuff skb, in TcpHeader tcp, out TcpSock? child)
    {
        child = null;
        RequestVerdict verdict = CheckSegment(cpu, request, skb, tcp, isFastOpen: false, out TcpOptions options, out bool reset);
        if (reset)
            return ResetEmbryo(cpu, request, skb, tcp.Flags & TcpFlags.Rst);
        if (verdict != RequestVerdict.Child)
            return verdict;
        if (request.Timeouts < request.Listener.AcceptQueue!.DeferAccept && skb.Tcp.EndSeq == request.RcvIsn + 1)
        {
            request.Acked = true;
            cpu.Mib.Inc(Mib.TcpExtTCPDeferAcceptDrop);
            return RequestVerdict.Drop;
        }
        return MakeChild(cpu, request, skb, tcp, options, options.HasTimestamp && request.HasTimestamps, out child);
    }

    // Child: the segment is fit to make the connection. <paramref name="reset"/>: it ends the request.
    private RequestVerdict CheckSegment(Cpu cpu, TcpRequestSock request, SkBuff skb, in TcpHeader tcp, bool isFastOpen,
        out TcpOptions options, out bool reset)
    {
        cpu.Trace(Tp.tcp_check_req, request);
        reset = false;
        options = TcpOptions.Parse(tcp.Options);
        bool sawTimestamp = options.HasTimestamp && request.HasTimestamps;
        bool old = sawTimestamp && (int)(request.TsRecent - options.TsVal) > 0;
        bool badEcho = sawTimestamp && options.TsEcr != 0 && !IsEchoOfSynAck(cpu, request, options.TsEcr);
        TcpFlags flags = tcp.Flags & (TcpFlags.Rst | TcpFlags.Syn | TcpFlags.Ack);
        SeqNumber seq = skb.Tcp.Seq, end = skb.Tcp.EndSeq;
        if (request.Pending is { IsParked: true })
        {
            // The peer has seen no answer: it can only ask again, or give up.
            reset = (flags & TcpFlags.Rst) != 0 && !old && IsInWindow(seq, end, request.RcvNxt, request.RcvNxt + Math.Min(request.RcvWnd, 65535));
            return RequestVerdict.Drop;
        }
        if (seq == request.RcvIsn && flags == TcpFlags.Syn && !old)
        {
            // The SYN again: so goes the SYN-ACK.
            if (!request.OutOfWindowAcks.IsLimited(cpu, Sysctls, Mib.TcpExtTCPACKSkippedSynRecv))
            {
                NoteSynAgain(request, skb, tcp.Flags);
                ResendSynAck(cpu, request);
                if (!isFastOpen)
                    request.Arm(cpu, Timers, cpu.Now + RequestTimeout(request));
            }
            return RequestVerdict.Drop;
        }
        if ((flags & (TcpFlags.Ack | TcpFlags.Rst)) == TcpFlags.Ack && !isFastOpen && skb.Tcp.AckSeq != request.SndIsn + 1)
            return RequestVerdict.ToListener;
        if (old || badEcho || !IsInWindow(seq, end, request.RcvNxt, request.RcvNxt + Math.Min(request.RcvWnd, 65535)))
            return RejectForRequest(cpu, request, flags, old, badEcho);
        if ((flags & TcpFlags.Rst) != 0 && seq != request.RcvNxt)
        {
            ChallengeForRequest(cpu, request);
            return RequestVerdict.Drop;
        }
        if (seq == request.RcvIsn)
            flags &= ~TcpFlags.Syn;
        if ((flags & (TcpFlags.Rst | TcpFlags.Syn)) != 0)
        {
            cpu.Mib.Inc(Mib.TcpAttemptFails);
            reset = true;
            return RequestVerdict.Drop;
        }
        if ((flags & TcpFlags.Ack) == 0)
            return RequestVerdict.Drop;
        NoteAccEcnOption(request, options);
        return RequestVerdict.Child;
    }

    private static bool IsInWindow(SeqNumber seq, SeqNumber end, SeqNumber windowStart, SeqNumber windowEnd)
    {
        if (seq == windowStart)
            return true;
        if (end > windowStart && seq < windowEnd)
            return true;
        return seq == windowEnd && seq == end;
    }

    private static bool IsEchoOfSynAck(Cpu cpu, TcpRequestSock request, uint echo)
    {
        uint first = (uint)request.SynAckSent.Milliseconds + request.TsOffset, last = (uint)cpu.Now.Milliseconds + request.TsOffset;
        return last - first >= echo - first;
    }

    private RequestVerdict RejectForRequest(Cpu cpu, TcpRequestSock request, TcpFlags flags, bool old, bool badEcho)
    {
        if ((flags & TcpFlags.Rst) == 0
            && !request.OutOfWindowAcks.IsLimited(cpu, Sysctls, Mib.TcpExtTCPACKSkippedSynRecv))
            AckForRequest(cpu, request);
        if (old)
            cpu.Mib.Inc(Mib.TcpExtPAWSEstab);
        else if (badEcho)
            cpu.Mib.Inc(Mib.TcpExtTSEcrRejected);
        return RequestVerdict.Drop;
    }

    // A RST that is not exact: whoever sent it learns the number to use. RFC 5961 §3.2.
    private void ChallengeForRequest(Cpu cpu, TcpRequestSock request)
    {
        if (request.OutOfWindowAcks.IsLimited(cpu, Sysctls, Mib.TcpExtTCPACKSkippedSynRecv))
            return;
        cpu.Mib.Inc(Mib.TcpExtTCPChallengeACK);
        AckForRequest(cpu, request);
    }

    // Linux: tcp_v4_reqsk_send_ack.
    private void AckForRequest(Cpu cpu, TcpRequestSock request) => Replies.SendAck(cpu,
        new AckReply(request.LocalAddr, request.LocalPort, request.RemoteAddr, request.RemotePort, request.SndIsn + 1, request.RcvNxt,
            (ushort)(request.RcvWnd >> request.RcvWndScale))
        {
            HasTimestamp = request.HasTimestamps,
            TsVal = (uint)cpu.Now.Milliseconds + request.TsOffset,
            TsEcr = request.TsRecent,
            Key = request.Listener.Md5Keys?.Find(request.RemoteAddr),
            IfIndex = request.BoundIfIndex,
        });

    private RequestVerdict ResetEmbryo(Cpu cpu, TcpRequestSock request, SkBuff skb, TcpFlags flags)
    {
        if ((flags & TcpFlags.Rst) == 0)
            Replies.SendReset(cpu, request.Listener, skb);
        if (!DropRequest(cpu, request, Errno.ECONNRESET))
            return RequestVerdict.Stolen;
        cpu.Mib.Inc(Mib.TcpExtEmbryonicRsts);
        return RequestVerdict.Drop;
    }

    private RequestVerdict MakeChild(Cpu cpu, TcpRequestSock request, SkBuff skb, in TcpHeader tcp, in TcpOptions options, bool sawTimestamp,
        out TcpSock? child)
    {
        TcpSock listener = request.Listener;
        cpu.Trace(Tp.tcp_v4_syn_recv_sock, request);
        child = null;
        if (listener.AcceptBacklog > listener.MaxAcceptBacklog)
        {
            cpu.Mib.Inc(Mib.TcpExtListenOverflows);
            cpu.Mib.Inc(Mib.TcpExtListenDrops);
            if (Sysctls.TcpAbortOnOverflow)
                return ResetEmbryo(cpu, request, skb, TcpFlags.None);
            request.Acked = true;
            return RequestVerdict.Drop;
        }
        TcpSock made = CreateChild(cpu, request, skb, tcp);
        made.Lock.Lock(cpu);
        Binds.Inherit(cpu, made, listener);
        cpu.Trace(Tp.inet_ehash_insert, made);
        if (!Established.TryReplace(cpu, request, made))
        {
            // Another CPU was quicker with the same ACK.
            Discard(cpu, made);
            return RequestVerdict.Stolen;
        }
        if (sawTimestamp && skb.Tcp.Seq <= request.RcvNxt)
            made.TsRecent = options.TsVal;
        if (request.SavedSyn is { } syn)
            made.AttachRare().SavedSyn = syn;
        if (request.Retransmits == 0 && request.SynAckSent != Micros.Zero)
            made.NoteSynAck(request.SynAckSent);
        cpu.Trace(Tp.inet_csk_complete_hashdance, made);
        request.Hold();
        EndRequest(cpu, request);
        bool queued = TryTakeForPending(cpu, request, made) || listener.AcceptQueue!.TryAdd(cpu, made);
        request.Put(cpu);
        if (queued)
        {
            child = made;
            return RequestVerdict.Child;
        }
        // The listener has closed meanwhile.
        ForgetChild(cpu, made);
        made.Lock.Unlock(cpu);
        made.Put(cpu);
        return RequestVerdict.Drop;
    }

    // Somebody may wait for the connection of this very request.
    private static bool TryTakeForPending(Cpu cpu, TcpRequestSock request, TcpSock made)
    {
        if (request.Pending is not { } pending)
            return false;
        pending.Gate.Remove(cpu, pending);
        return pending.TryTake(cpu, made);
    }

    private void Discard(Cpu cpu, TcpSock made)
    {
        Binds.PutPort(cpu, made);
        made.Lock.Unlock(cpu);
        made.Put(cpu);
        made.Put(cpu);
    }

    // A full sock from a request and its listener. Linux: tcp_create_openreq_child, tcp_v4_syn_recv_sock.
    private TcpSock CreateChild(Cpu cpu, TcpRequestSock request, SkBuff skb, in TcpHeader tcp)
    {
        TcpSock listener = request.Listener;
        var sk = (TcpSock)Allocate(cpu);
        cpu.Trace(Tp.tcp_create_openreq_child, request);
        sk.CopyFromListener(listener);
        // Of all keys it needs its peer's. Linux: tcp_md5_key_copy.
        if (listener.Md5Keys?.Find(request.RemoteAddr) is { } key)
            sk.AttachRare().Md5Keys = new Md5Keys(key with { Address = request.RemoteAddr, PrefixLength = request.RemoteAddr.IsV4 ? 32 : 128 });
        sk.SetLocalAddr(request.LocalAddr);
        sk.RemoteAddr = request.RemoteAddr;
        sk.LocalPort = request.LocalPort;
        sk.RemotePort = request.RemotePort;
        sk.BoundIfIndex = request.BoundIfIndex;
        sk.OpenedFrom = (skb.IfIndex, IpHeaders.Ttl(skb), IpHeaders.DsField(skb));
        if (Sysctls.TcpReflectTos)
            (sk.Tos, sk.TrafficClass) = sk.RemoteAddr.IsV4 ? (TosOf(request), sk.TrafficClass) : (sk.Tos, TosOf(request));
        ResetConnection(sk);
        sk.StoreState(cpu, TcpState.Listen, TcpState.SynRecv);
        cpu.Mib.Inc(Mib.TcpPassiveOpens);
        sk.AdoptRequest(cpu, request, skb, tcp);
        // One reference is the connection's own, one the caller's.
        sk.Publish(2);
        return sk;
    }

    /// <summary>What a SYN-ACK, and the connection that it opens, bear. Linux: tcp_reflect_tos.</summary>
    public byte TosOf(TcpRequestSock request)
    {
        byte own = request.AfOps.IsV6 ? request.Listener.TrafficClass : request.Listener.Tos;
        return Sysctls.TcpReflectTos ? (byte)((request.SynTos & ~3) | (own & 3)) : own;
    }

    // ---- Accept ----

    // Linux: inet_csk_accept.
    public override Sock? Accept(ref TaskContext context, Sock sock, bool nonBlocking, out Errno error)
    {
        var sk = (TcpSock)sock;
        context.Cpu.Trace(Tp.inet_csk_accept, sk);
        sk.LockSock(ref context);
        TcpSock? child = null;
        error = Errno.EINVAL;
        if (sk.State == TcpState.Listen)
        {
            AcceptQueue queue = sk.AcceptQueue!;
            error = queue.IsEmpty ? WaitForConnection(ref context, sk, nonBlocking) : Errno.OK;
            if (error == Errno.OK)
                child = TakeChild(context.Cpu, sk);
            // Of two who were woken, one may find nothing; and who leaves while more wait passes the wake-up on.
            if (error == Errno.OK && child is null)
                error = Errno.EAGAIN;
            if (!queue.IsEmpty)
                sk.HandOver(context.Cpu, sk.Rcv.Nxt);
        }
        sk.ReleaseSock(context.Cpu);
        return child;
    }

    private static TcpSock? TakeChild(Cpu cpu, TcpSock listener)
    {
        var child = (TcpSock?)listener.AcceptQueue!.Take(cpu);
        if (child is { FastOpen: { } state })
            state.IsAccepted = true;
        return child;
    }

    public override Sock? AcceptOwned(Cpu cpu, Sock sock, out Errno error)
    {
        var sk = (TcpSock)sock;
        error = Errno.EINVAL;
        if (sk.State != TcpState.Listen)
            return null;
        TcpSock? child = TakeChild(cpu, sk);
        error = child is null ? Errno.EAGAIN : Errno.OK;
        if (child is not null && !sk.AcceptQueue!.IsEmpty)
            sk.HandOver(cpu, sk.Rcv.Nxt);
        return child;
    }

    // Linux: inet_csk_wait_for_connect. Exclusive: one connection wakes one task, first come first served.
    private static Errno WaitForConnection(ref TaskContext context, TcpSock sk, bool nonBlocking)
    {
        Micros deadline = sk.ReceiveDeadline(context.Cpu, nonBlocking);
        if (deadline == Micros.Zero)
            return Errno.EAGAIN;
        Socket socket = sk.Socket!;
        while (true)
        {
            Cpu cpu = context.Cpu;
            socket.Wait.Prepare(cpu, context.Task, PollEvents.Readable | PollEvents.Terminal, exclusive: true);
            sk.ReleaseSock(cpu);
            if (sk.AcceptQueue!.IsEmpty)
                Scheduler.ScheduleTimeout(ref context, deadline, "inet_csk_accept");
            sk.LockSock(ref context);
            socket.Wait.Finish(context.Cpu, context.Task);
            if (!sk.AcceptQueue.IsEmpty)
                return Errno.OK;
            if (sk.State != TcpState.Listen)
                return Errno.EINVAL;
            if (context.Task.SignalPending)
                return Sock.InterruptedErrno(deadline);
            if (context.Cpu.Now >= deadline)
                return Errno.EAGAIN;
        }
    }
}
