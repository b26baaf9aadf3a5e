using System;
using System.Diagnostics;
using System.Runtime.InteropServices;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Sockets;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>A queue that TCP_REPAIR reads or fills. Linux: TCP_NO_QUEUE, TCP_RECV_QUEUE, TCP_SEND_QUEUE.</summary>
internal enum RepairQueue : byte
{
    None,
    Receive,
    Send,
}

/// <summary>What TCP_REPAIR_WINDOW tells and takes. Linux: struct tcp_repair_window.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RepairWindow
{
    public uint SndWl1, SndWnd, MaxWindow, RcvWnd, RcvWup;
}

/// <summary>
/// A connection whose state is read out or put in, so that another socket can go on where one stopped: in repair nothing that its user
/// does reaches the peer. Linux: TCP_REPAIR.
/// </summary>
internal sealed partial class TcpSock
{
    /// <summary>Linux: repair.</summary>
    public bool InRepair => Rare is { InRepair: true };

    /// <summary>Linux: repair_queue.</summary>
    public RepairQueue RepairQueue => Rare?.RepairQueue ?? RepairQueue.None;

    // Written data counts as sent. Linux: the condition in tcp_write_xmit.
    private bool RepairsSendQueue => Rare is { InRepair: true, RepairQueue: RepairQueue.Send };

    /// <summary>Begins, and takes ports whoever has them. Linux: TCP_REPAIR_ON.</summary>
    public void BeginRepair(Cpu cpu)
    {
        RareTcpState rare = AttachRare();
        rare.InRepair = true;
        rare.RepairQueue = RepairQueue.None;
        Tcp.Binds.Change(cpu, this, AddressReuse.Force, static (s, reuse) => s.ReuseAddr = reuse);
    }

    /// <summary>Goes on as a connection; <paramref name="probe"/> asks the peer where it stands. Linux: TCP_REPAIR_OFF, tcp_send_window_probe.</summary>
    public void EndRepair(Cpu cpu, bool probe)
    {
        Rare?.InRepair = false;
        Tcp.Binds.Change(cpu, this, AddressReuse.None, static (s, reuse) => s.ReuseAddr = reuse);
        if (!probe || State != TcpState.Established)
            return;
        Snd.Wl1 = Rcv.Nxt - 1;
        RefreshTime(cpu);
        SendProbeSegment(cpu, urgent: false, Mib.TcpExtTCPWinProbe);
    }

    /// <summary>Where the chosen queue begins, before there is a connection. Linux: TCP_QUEUE_SEQ.</summary>
    public Errno SetQueueSeq(SeqNumber seq)
    {
        if (State != TcpState.Close)
            return Errno.EPERM;
        switch (RepairQueue)
        {
            case RepairQueue.Send when !IsRtxEmpty:
            case RepairQueue.Receive when Rcv.Nxt != Rcv.Copied:
                return Errno.EPERM;
            case RepairQueue.Send:
                Snd.Written = seq;
                return Errno.OK;
            case RepairQueue.Receive:
                Rcv.Nxt = Rcv.Copied = seq;
                return Errno.OK;
            case RepairQueue.None:
                return Errno.EINVAL;
            default:
                throw new UnreachableException();
        }
    }

    /// <summary>Behind the last byte of the chosen queue.</summary>
    public Errno GetQueueSeq(out int seq)
    {
        seq = (int)(RepairQueue == RepairQueue.Send ? Snd.Written : Rcv.Nxt).Value;
        return RepairQueue == RepairQueue.None ? Errno.EINVAL : Errno.OK;
    }

    /// <summary>Linux: tcp_repair_set_window.</summary>
    public Errno SetRepairWindow(in RepairWindow window)
    {
        if (window.MaxWindow < window.SndWnd || new SeqNumber(window.SndWl1) > Rcv.Nxt + window.RcvWnd || new SeqNumber(window.RcvWup) > Rcv.Nxt)
            return Errno.EINVAL;
        Snd.Wl1 = new SeqNumber(window.SndWl1);
        Snd.Wnd = window.SndWnd;
        Snd.MaxWnd = window.MaxWindow;
        Rcv.Wnd = window.RcvWnd;
        Rcv.Wup = new SeqNumber(window.RcvWup);
        return Errno.OK;
    }

    public RepairWindow RepairWindow => new()
    {
        SndWl1 = Snd.Wl1.Value,
        SndWnd = Snd.Wnd,
        MaxWindow = Snd.MaxWnd,
        RcvWnd = Rcv.Wnd,
        RcvWup = Rcv.Wup.Value,
    };

    /// <summary>What the handshake of the connection had settled: pairs of an option's kind and its value. Linux: tcp_repair_options_est.</summary>
    public Errno SetRepairOptions(Cpu cpu, ReadOnlySpan<byte> pairs)
    {
        const int pair = 8;
        for (; pairs.Length >= pair; pairs = pairs[pair..])
        {
            Errno error = SetRepairOption(cpu, BitConverter.ToUInt32(pairs), BitConverter.ToUInt32(pairs[4..]));
            if (error != Errno.OK)
                return error;
        }
        return Errno.OK;
    }

    // Kinds that nobody knows are passed over. Linux: likewise.
    private Errno SetRepairOption(Cpu cpu, uint kind, uint value)
    {
        switch (kind)
        {
            case (uint)TcpOptionKind.Mss:
                MssClamp = (ushort)value;
                InitMtuSearch(cpu);
                return Errno.OK;
            case (uint)TcpOptionKind.WindowScale:
                (uint send, uint receive) = (value & 0xffff, value >> 16);
                if (Math.Max(send, receive) > TcpConstants.MaxWindowScale)
                    return Errno.EFBIG;
                (Snd.WndScale, Rcv.WndScale) = ((byte)send, (byte)receive);
                SetFeature(TcpFeatures.WindowScaling, true);
                return Errno.OK;
            case (uint)TcpOptionKind.SackPermitted or (uint)TcpOptionKind.Timestamp:
                if (value != 0)
                    return Errno.EINVAL;
                SetFeature(kind == (uint)TcpOptionKind.Timestamp ? TcpFeatures.Timestamps : TcpFeatures.Sack, true);
                UseHeaderLength(TcpHeader.MinLength + (HasTimestamps ? TcpConstants.TimestampOptionLength : 0));
                return Errno.OK;
            default:
                return Errno.OK;
        }
    }

    // The MSS in use gains what the header loses.
    private void UseHeaderLength(int length)
    {
        MssCache += HeaderLength - length;
        HeaderLength = (ushort)length;
    }

    /// <summary>Connects without a word to the peer. Addresses, ports and the queues' numbers are set. Linux: tcp_connect.</summary>
    public void ConnectInRepair(Cpu cpu)
    {
        cpu.Trace(Tp.tcp_connect, this);
        InitConnect(cpu);
        Snd.Pushed = Snd.Written;
        UseHeaderLength(TcpHeader.MinLength);
        FinishConnect(cpu);
        StateChange(cpu);
    }

    /// <summary>Appends bytes to the receive queue as if the peer had sent them. The count, which may be less. Linux: tcp_send_rcvq.</summary>
    public SysResult RestoreReceived(Cpu cpu, ref MsgHdr message)
    {
        const int page = 4096, mostPages = 17;
        int size = (int)Math.Min(message.Iter.Count, int.MaxValue);
        if (size == 0)
            return 0;
        // As many whole pages as one buffer holds there, and what is left over of the last.
        size = Math.Min(size / page, mostPages) * page + size % page;
        SkBuff skb = cpu.AllocSkb();
        skb.TrueSize += size;
        if (!TryScheduleReceive(cpu, skb.TrueSize))
        {
            cpu.Mib.Inc(Mib.TcpExtTCPRcvQDrop);
            cpu.FreeSkb(skb);
            return Errno.ENOMEM;
        }
        for (int left = size; left > 0;)
        {
            Span<byte> user = message.Iter.Contiguous;
            int take = Math.Min(user.Length, left);
            cpu.AppendCopy(skb, user[..take]);
            message.Iter.Advance(take);
            left -= take;
        }
        skb.Tcp.Seq = Rcv.Nxt;
        skb.Tcp.EndSeq = Rcv.Nxt + size;
        skb.Tcp.AckSeq = Snd.Una - 1;
        QueueReceived(cpu, skb);
        if (skb.IsCoalesced)
            cpu.FreeSkb(skb);
        return size;
    }

    /// <summary>Copies what is sent and not acknowledged, and what is not sent; as many bytes as there are, if fewer fit. Linux: tcp_peek_sndq.</summary>
    public SysResult PeekSendQueue(Cpu cpu, ref MsgHdr message)
    {
        int length = 0;
        for (SkBuff? skb = Recovery?.Queue.First; skb is not null; skb = SeqTree.After(skb))
            length += Peek(cpu, skb, ref message);
        for (SkBuff? skb = WriteQueue.First; skb is not null; skb = WriteQueue.After(skb))
            length += Peek(cpu, skb, ref message);
        return length;
    }

    private int Peek(Cpu cpu, SkBuff skb, ref MsgHdr message)
    {
        int fit = (int)Math.Min(skb.Length, message.Iter.Count);
        SkbCopy.ToUser(skb, 0, ref message.Iter, fit);
        cpu.Mib.Add(Mib.MillraceCopiedInBytes, fit);
        return skb.Length;
    }

    // What is written goes where it would be if it had been sent. Linux: the repair label of tcp_write_xmit.
    private void TakeAsSent(Cpu cpu, int mss)
    {
        LossRecovery recovery = AttachRecovery(cpu);
        RefreshTime(cpu);
        while (SendHead is { } skb && skb.Tcp.Seq != skb.Tcp.EndSeq)
        {
            skb.SentTime = Time.Value;
            recovery.Sent.Remove(skb);
            recovery.Sent.Append(skb);
            Segmentation.SetSegments(skb, mss);
            OnNewDataSent(cpu, skb);
            if (skb.Length < skb.Tcp.Segments * mss)
                Snd.Small = skb.Tcp.EndSeq;
        }
        ScheduleLossProbe(cpu, advancingRto: false);
    }
}
