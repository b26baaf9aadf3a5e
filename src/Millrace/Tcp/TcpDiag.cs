using System;
using System.Collections.Generic;
using System.Net;
using Millrace.Inet;
using Millrace.Sched;
using Millrace.Sockets;

namespace Millrace.Tcp;

/// <summary>
/// Lists the socks in the tables. The tables are read without locks; each full sock is owned while its numbers are read, so that they
/// fit each other.
/// </summary>
/// <remarks>Linux: tcp_diag, inet_diag_dump_icsk.</remarks>
internal static class TcpDiag
{
    /// <summary>Listeners first, then all others in no order.</summary>
    public static List<TcpSocketEntry> List(ref TaskContext context, ListenHash listeners, EstablishedHash established)
    {
        var held = new Holder([]);
        foreach (InetConnectionSock listener in listeners.Snapshot())
        {
            if (listener.TryHold())
                held.Socks.Add(listener);
        }
        established.ForEach(context.Cpu, ref held);
        var entries = new List<TcpSocketEntry>(held.Socks.Count);
        foreach (SockCommon sock in held.Socks)
        {
            if (Describe(ref context, sock) is { } entry)
                entries.Add(entry);
            sock.Put(context.Cpu);
        }
        return entries;
    }

    private static TcpSocketEntry? Describe(ref TaskContext context, SockCommon sock) => sock switch
    {
        TcpSock sk => Describe(ref context, sk),
        TcpRequestSock request => Describe(context.Cpu, request),
        TcpTimeWaitSock tw => Describe(context.Cpu, tw),
        _ => null,
    };

    // Linux: inet_sk_diag_fill, tcp_diag_get_info. Null: it was closed since it was found.
    private static TcpSocketEntry? Describe(ref TaskContext context, TcpSock sk)
    {
        sk.LockSock(ref context);
        Cpu cpu = context.Cpu;
        TcpSocketEntry? entry = null;
        if (sk.State != TcpState.Close)
        {
            bool listens = sk.State == TcpState.Listen;
            (SocketTimer timer, Micros at, int retransmits) = TimerOf(sk);
            Span<byte> info = stackalloc byte[TcpInfoWriter.Length];
            TcpInfoWriter.Write(cpu, sk, info);
            entry = new TcpSocketEntry
            {
                State = sk.State,
                Local = EndPoint(sk.LocalAddr, sk.LocalPort),
                Remote = listens ? EndPoint(sk.LocalAddr.IsV4 ? Wire.IpAddr.Any4 : Wire.IpAddr.Any6, 0) : EndPoint(sk.RemoteAddr, sk.RemotePort),
                ReceiveQueue = listens ? sk.AcceptBacklog : Math.Max(sk.Rcv.Nxt - sk.Rcv.Copied, 0),
                SendQueue = listens ? sk.MaxAcceptBacklog : sk.Snd.Written - sk.Snd.Una,
                Timer = timer,
                TimerExpires = Until(cpu, timer, at),
                Retransmits = retransmits,
                CongestionControl = sk.CongestionName ?? sk.Tcp.Sysctls.TcpCongestionControl,
                Info = TcpInfo.Read(info),
            };
        }
        sk.ReleaseSock(cpu);
        return entry;
    }

    private static (SocketTimer Timer, Micros At, int Retransmits) TimerOf(TcpSock sk) => sk.PendingTimer switch
    {
        TimerEvent.Retransmit or TimerEvent.LossProbe or TimerEvent.Reordering => (SocketTimer.Retransmit, sk.WriteDeadline, sk.Retransmits),
        TimerEvent.Probe0 => (SocketTimer.Probe, sk.WriteDeadline, sk.ProbesOut),
        TimerEvent.None when sk.KeepAliveDeadline != Micros.Never => (SocketTimer.KeepAlive, sk.KeepAliveDeadline, sk.ProbesOut),
        TimerEvent.None => (SocketTimer.None, Micros.Never, 0),
    };

    // Linux: inet_req_diag_fill.
    private static TcpSocketEntry Describe(Cpu cpu, TcpRequestSock request) => new()
    {
        State = TcpState.SynRecv,
        Local = EndPoint(request.LocalAddr, request.LocalPort),
        Remote = EndPoint(request.RemoteAddr, request.RemotePort),
        Timer = SocketTimer.Retransmit,
        TimerExpires = Until(cpu, SocketTimer.Retransmit, new Micros(request.Expires)),
        Retransmits = request.Retransmits,
    };

    // Linux: inet_twsk_diag_fill. The state is the one that the peer's FIN, still to come, would find.
    private static TcpSocketEntry Describe(Cpu cpu, TcpTimeWaitSock tw) => new()
    {
        State = tw.Substate,
        Local = EndPoint(tw.LocalAddr, tw.LocalPort),
        Remote = EndPoint(tw.RemoteAddr, tw.RemotePort),
        Timer = SocketTimer.TimeWait,
        TimerExpires = Until(cpu, SocketTimer.TimeWait, tw.Deadline),
    };

    private static TimeSpan Until(Cpu cpu, SocketTimer timer, Micros at) =>
        timer == SocketTimer.None ? TimeSpan.Zero : Micros.Max(at - cpu.Now, Micros.Zero).ToTimeSpan();

    private static IPEndPoint EndPoint(Wire.IpAddr address, ushort port) => new(address.ToIPAddress(), port);

    private readonly struct Holder(List<SockCommon> socks) : ISockVisitor
    {
        public List<SockCommon> Socks => socks;

        public void Visit(Cpu cpu, SockCommon sk)
        {
            sk.Hold();
            socks.Add(sk);
        }
    }
}
