using Millrace.Buffers;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>A listener that keeps nothing for a SYN. RFC 4987 §3.6.</summary>
internal sealed partial class TcpProto
{
    // Linux: cookie_init_sequence and what tcp_conn_request does around it.
    private DropReason AnswerWithCookie(Cpu cpu, TcpSock listener, TcpRequestSock request)
    {
        if (!request.HasTimestamps)
            request.HasSack = request.HasWindowScaling = request.EcnOk = request.AccEcnOk = false;
        request.IsCookie = true;
        request.SndIsn = Cookies.Make(request.Key, request.RcvIsn, ref request.Mss);
        listener.AcceptQueue!.LastSynOverflow = cpu.Now;
        cpu.Mib.Inc(Mib.TcpExtSyncookiesSent);
        ChooseWindow(listener, request);
        Replies.SendSynAck(cpu, request);
        DiscardRequest(cpu, request);
        return DropReason.None;
    }

    // A request that has not been in the table.
    private static void DiscardRequest(Cpu cpu, TcpRequestSock request)
    {
        request.Publish(1);
        request.Put(cpu);
    }

    /// <summary>
    /// An ACK has come to a listener that knows nothing of it: is it the answer to a cookie? True: it was, and the buffer is taken
    /// over; else the listener treats it as any stray segment. Linux: cookie_v4_check, cookie_v6_check.
    /// </summary>
    private bool TryOpenByCookie(Cpu cpu, TcpSock listener, SkBuff skb, in TcpHeader tcp)
    {
        bool may = (tcp.Flags & (TcpFlags.Ack | TcpFlags.Syn | TcpFlags.Rst)) == TcpFlags.Ack && Sysctls.TcpSyncookies != 0
            && listener.State == TcpState.Listen && listener.AcceptQueue is not GatedAcceptQueue and { LastSynOverflow.Value: > 0 and var last }
            && cpu.Now - new Micros(last) <= SynCookies.Validity;
        if (!may)
            return false;
        IpAddr local = IpHeaders.Destination(skb), remote = IpHeaders.Source(skb);
        var flow = new FlowKey(remote, tcp.SourcePort, local, tcp.DestinationPort, listener.BoundIfIndex);
        SeqNumber peerIsn = tcp.Seq - 1, cookie = tcp.AckSeq - 1;
        if (!Cookies.TryRead(flow, peerIsn, cookie, out ushort mss))
        {
            cpu.Mib.Inc(Mib.TcpExtSyncookiesFailed);
            return false;
        }
        cpu.Mib.Inc(Mib.TcpExtSyncookiesRecv);
        TcpOptions options = TcpOptions.Parse(tcp.Options);
        TcpRequestSock request = NewRequest(cpu, listener, skb, tcp, local, remote);
        request.RcvIsn = peerIsn;
        request.RcvNxt = tcp.Seq;
        request.SndIsn = cookie;
        request.Mss = mss;
        request.HasSack = request.HasWindowScaling = request.EcnOk = request.AccEcnOk = false;
        bool decoded = !request.HasTimestamps || options.TsEcr == 0
            || CookieTimestamp.TryDecode(options.TsEcr - request.TsOffset, Sysctls, request);
        // Which ECN it was, the cookie does not tell, but the ACK's flags do. RFC 9768 §5.1. Linux: cookie_accecn_ok.
        request.AccEcnOk = request.EcnOk && Sysctls.TcpEcn >= 3 && AceField.Of(tcp.Flags) > 1;
        request.Route = Routes.LookUpOutput(remote, local, listener.BoundIfIndex, listener.Has(Sockets.SockFlags.LocalRoute));
        if (decoded && request.Route is not null)
        {
            ChooseWindow(listener, request);
            OpenByCookie(cpu, listener, request, skb, tcp, options);
        }
        DiscardRequest(cpu, request);
        return decoded;
    }

    // Linux: tcp_get_cookie_sock. The buffer is taken over.
    private void OpenByCookie(Cpu cpu, TcpSock listener, TcpRequestSock request, SkBuff skb, in TcpHeader tcp, in TcpOptions options)
    {
        if (listener.AcceptBacklog > listener.MaxAcceptBacklog)
        {
            cpu.Mib.Inc(Mib.TcpExtListenOverflows);
            Devices.Drops.Free(cpu, skb, ListenDrop(cpu, DropReason.TcpListenOverflow));
            return;
        }
        TcpSock made = CreateChild(cpu, request, skb, tcp);
        made.Lock.Lock(cpu);
        if (!Established.TryInsertUnique(cpu, made))
        {
            // Another CPU was quicker with the same ACK.
            Discard(cpu, made);
            cpu.FreeSkb(skb);
            return;
        }
        Binds.Inherit(cpu, made, listener);
        if (options.HasTimestamp && made.HasTimestamps)
            made.TsRecent = options.TsVal;
        if (listener.AcceptQueue!.TryAdd(cpu, made))
        {
            ToChild(cpu, listener, made, skb);
            return;
        }
        // The listener has closed meanwhile.
        ForgetChild(cpu, made);
        made.Lock.Unlock(cpu);
        made.Put(cpu);
        cpu.FreeSkb(skb);
    }
}
