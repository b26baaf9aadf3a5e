using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Fast Open's steps in a connection's own life. RFC 7413.</summary>
internal sealed partial class TcpSock
{
    /// <summary>Writers that wait for the connection. Linux: sk_write_pending.</summary>
    public int WritePending;

    /// <summary>The server's side of a connection that has data before its handshake is over. Linux: tcp_passive_fastopen.</summary>
    public bool IsPassiveFastOpen => State == TcpState.SynRecv && FastOpen is { Passive: not null };

    // ---- Server ----

    /// <summary>Begins the life of a child that a SYN with data has made. Linux: tcp_fastopen_create_child.</summary>
    public void StartFastOpen(Cpu cpu, TcpRequestSock request, SkBuff skb, in TcpHeader tcp)
    {
        // The window of a SYN is never scaled. RFC 7323 §2.2.
        Snd.Wnd = Snd.MaxWnd = tcp.Window;
        RefreshTime(cpu);
        ResetWriteTimer(cpu, TimerEvent.Retransmit, TcpRequestSock.Timeout, RtoMax);
        InitTransfer(cpu);
        Rcv.Nxt = skb.Tcp.Seq + 1;
        TakeSynData(cpu, skb, tcp.HeaderLength);
        request.RcvNxt = Rcv.Wup = Rcv.Nxt;
    }

    // What a SYN or a SYN-ACK carried. The buffer stays the caller's. Linux: tcp_fastopen_add_skb.
    private unsafe void TakeSynData(Cpu cpu, SkBuff skb, int headerLength)
    {
        if (skb.Tcp.EndSeq == Rcv.Nxt)
            return;
        int length = skb.Length - headerLength;
        SkBuff data = cpu.AllocSkb();
        PageSize size = length <= BufferPool.SmallPageBytes ? PageSize.Small : PageSize.Large;
        int page = cpu.AllocPage(size);
        byte* memory = cpu.Pool.PageAddress(page);
        skb.CopyTo(headerLength, new Span<byte>(memory, length));
        data.UsePage(page, memory, BufferPool.BytesOf(size), 0, length);
        data.Tcp = skb.Tcp;
        data.Tcp.Seq++;
        data.Tcp.Flags &= ~TcpFlags.Syn;
        Stats.SegmentsIn = 0;
        CountIn(data);
        ForceSchedule(data.TrueSize);
        Rcv.Nxt = data.Tcp.EndSeq;
        ReceiveQueue.PushLast(data);
        ChargeReceived(data);
        (FastOpen ??= new FastOpenState()).SynDataAcked = true;
        AttachTransfer().BytesReceived = (ulong)length;
        if ((data.Tcp.Flags & TcpFlags.Fin) != 0)
            ReceiveFin(cpu);
    }

    // The SYN-ACK of a Fast Open child has not been answered. Linux: tcp_fastopen_synack_timer.
    private void OnFastOpenTimer(Cpu cpu, TcpRequestSock request)
    {
        int most = SynRetries != 0 ? SynRetries : Tcp.Sysctls.TcpSynackRetries + 1;
        if (request.Timeouts >= most)
        {
            WriteError(cpu);
            return;
        }
        AttachRecovery(cpu);
        if (Retransmits == 1)
            EnterLoss(cpu);
        Tcp.ResendSynAck(cpu, request);
        request.Timeouts++;
        if (Retransmits < byte.MaxValue)
            Retransmits++;
        NoteRto(cpu);
        if (Recovery!.Undo.FirstRetransmit == 0)
            Recovery.Undo.FirstRetransmit = Math.Max(Time.Value, 1);
        ResetWriteTimer(cpu, TimerEvent.Retransmit, TcpRequestSock.Timeout << request.Timeouts, RtoMax);
    }

    // The handshake is over at last. Linux: tcp_rcv_synrecv_state_fastopen.
    private void FinishFastOpen(Cpu cpu)
    {
        if (FastOpen is not { Passive: not null })
            return;
        if (Recovery is not null && CaState == CaState.Loss && PacketsOut == 0)
            TryUndoRecovery(cpu);
        UpdateRtoTime(cpu);
        Retransmits = 0;
        if (Recovery is { } recovery && !AnyRetransmitDone)
            recovery.Undo.FirstRetransmit = 0;
        TcpProto.EndFastOpen(cpu, this, reset: false);
        RearmRto(cpu);
    }

    // ---- Client ----

    /// <summary>Sends a SYN with the beginning of a message. Returns the bytes that went into it. Linux: tcp_connect, tcp_send_syn_data.</summary>
    public int SendSynWithData(Cpu cpu, ref MsgHdr message, ZeroCopySend? notice)
    {
        SkBuff syn = PrepareSyn(cpu);
        SkBuff? data = MakeSynData(cpu, syn, ref message);
        if (data is { Length: > 0 } && notice is not null)
        {
            notice.Hold();
            data.ZeroCopy = notice;
        }
        cpu.BhDisable();
        bool sent = data is not null && TransmitSynData(cpu, syn, data);
        if (!sent)
            TransmitSkb(cpu, syn);
        int copied = data?.Length ?? 0;
        FinishSyn(cpu);
        cpu.BhEnable();
        return copied;
    }

    // What fits beside the options, at the MSS that the peer had last time.
    private SkBuff? MakeSynData(Cpu cpu, SkBuff syn, ref MsgHdr message)
    {
        FastOpenState state = FastOpen!;
        MssClamp = AdvMss;
        if (!Tcp.FindCookie(cpu, this, out ushort mss))
            return null;
        if (mss != 0)
            MssClamp = mss;
        if (UserMss != 0 && UserMss < MssClamp)
            MssClamp = UserMss;
        SyncMss(PathMtu);
        int space = MssOfMtu(PathMtu) + (HeaderLength - TcpHeader.MinLength) - TcpConstants.MaxOptionSpace;
        space = (int)Math.Min(space, message.Iter.Count);
        SkBuff data = AllocWriteSkb(cpu, force: true)!;
        while (data.Length < space)
        {
            Span<byte> room = cpu.FillSpace(out _);
            int take = Math.Min(space - data.Length, Math.Min(room.Length, message.Iter.Contiguous.Length));
            take = Math.Min(take, ScheduleCopy(cpu, take));
            if (take <= 0 || !cpu.CanFill(data))
                break;
            message.Iter.CopyFromUser(room[..take]);
            cpu.CommitFill(data, take);
            cpu.Mib.Add(Mib.MillraceCopiedOutBytes, take);
            data.TrueSize += take;
        }
        data.Tcp = syn.Tcp;
        data.Tcp.EndSeq += data.Length;
        WriteQueued += data.TrueSize;
        Charge(data.TrueSize);
        Snd.Written = data.Tcp.EndSeq;
        Packets.Out++;
        if (data.Length > 0)
            AttachTransfer().Chrono.Start(ChronoType.Busy, cpu.Now);
        return data;
    }

    // The SYN goes with its data in one segment; in the queue they stay apart, so that the data can go again without the SYN.
    private bool TransmitSynData(Cpu cpu, SkBuff syn, SkBuff data)
    {
        Errno error = TransmitSkb(cpu, data);
        syn.SentTime = data.SentTime;
        data.Tcp.Seq++;
        data.Tcp.Flags = TcpFlags.Ack | TcpFlags.Psh;
        if (error == Errno.OK)
        {
            FastOpen!.SynHadData = data.Length > 0;
            Recovery!.Queue.Append(data);
            cpu.Mib.Inc(Mib.TcpExtTCPOrigDataSent);
            return true;
        }
        Recovery!.Sent.Remove(data);
        WriteQueue.PushLast(data);
        Packets.Out--;
        if (FastOpen!.Cookie.HasCookie)
            FastOpen.Cookie = FastOpen.Cookie.AsRequest;
        return false;
    }

    // Linux: the Fast Open part of tcp_syn_options.
    private void AddFastOpenOption(ref OutgoingOptions options)
    {
        if (FastOpen is not { IsRequested: true, Cookie: { HasOption: true } cookie } state)
            return;
        options.FastOpenIsExperimental = cookie.IsExperimental;
        options.FastOpenCookie = cookie.Bytes;
        options.HasFastOpen = true;
        if (options.Room < 0)
        {
            options.HasFastOpen = false;
            return;
        }
        state.SynHadOption = true;
        state.SynHadExperimental = cookie.IsExperimental;
    }

    /// <summary>
    /// The SYN-ACK tells what became of the data and brings a cookie. True: the data goes again. Linux: tcp_rcv_fastopen_synack.
    /// </summary>
    private bool AcceptFastOpenSynAck(Cpu cpu, SkBuff skb, in TcpHeader tcp, in TcpOptions options)
    {
        if (FastOpen is not { } state || !(state.SynHadOption || state.SynHadData))
            return false;
        SkBuff? data = state.SynHadData ? Recovery?.Queue.First : null;
        ushort mss = MssClamp == UserMss ? options.Mss : MssClamp;
        bool hasOption = options.HasFastOpen && state.SynHadOption;
        byte tryExperimental = 0;
        if (state.SynHadOption && TotalRetransmits == 0 && !hasOption && !state.SynHadData)
            tryExperimental = (byte)(state.SynHadExperimental ? 2 : 1);
        FastOpenCookie cookie = hasOption
            ? new FastOpenCookie(options.FastOpenCookie.ToArray(), options.FastOpenIsExperimental)
            : FastOpenCookie.None;
        bool synLost = !cookie.HasCookie && data is not null && TotalRetransmits > 0;
        Tcp.Metrics.LearnCookie(cpu, this, mss, cookie, synLost, tryExperimental);
        if (data is not null)
        {
            state.Failure = TotalRetransmits > 0 ? FastOpenFailure.SynRetransmitted : FastOpenFailure.DataNotAcked;
            for (SkBuff? unacked = data; unacked is not null; unacked = SeqTree.After(unacked))
                MarkLost(cpu, unacked);
            RetransmitWithoutCongestion(cpu);
            cpu.Mib.Inc(Mib.TcpExtTCPFastOpenActiveFail);
            return true;
        }
        state.SynDataAcked = state.SynHadData;
        if (state.SynDataAcked)
        {
            cpu.Mib.Inc(Mib.TcpExtTCPFastOpenActive);
            // The SYN and its data count as two packets, and were one.
            if (Delivered > 1)
                Rate.Delivered--;
        }
        TakeSynData(cpu, skb, tcp.HeaderLength);
        return false;
    }

    // A timeout of a connection that used Fast Open may be a black hole. Linux: tcp_fastopen_active_detect_blackhole.
    private void DetectBlackhole(Cpu cpu, bool expired)
    {
        if (FastOpen is not { } state || !(state.SynHadOption || state.SynHadData || state.SynDataAcked))
            return;
        if (Retransmits != 2 && !(Retransmits < 2 && expired))
            return;
        Tcp.Blackhole.Note(cpu);
        cpu.Mib.Inc(Mib.TcpExtTCPFastOpenActiveFail);
    }

    // The connection ends: if all that ever came was a FIN out of order, its data vanished. Linux: tcp_fastopen_active_disable_ofo_check.
    public void CheckBlackhole(Cpu cpu)
    {
        if (FastOpen is not { SynHadOption: true } state)
            return;
        if (Transfer is not { DataSegmentsIn: > 0 })
        {
            if (SackOut?.Queue.First is { } only && SeqTree.After(only) is null && (only.Tcp.Flags & TcpFlags.Fin) != 0)
                Tcp.Blackhole.Note(cpu);
        }
        else if (state.ProbesBlackhole && Route is not { Device: Devices.LoopbackDevice })
        {
            Tcp.Blackhole.Clear();
        }
    }
}
