using System;
using Millrace.Buffers;
using Millrace.Sched;
using Millrace.Tracing;
using Millrace.Wire;

namespace Millrace.Tcp;

/// <summary>Making segments: a header for what is queued, and what is noted when it leaves.</summary>
internal sealed partial class TcpSock
{
    /// <summary>
    /// Sends a queued buffer: the segment gets headers of its own and shares the payload, the buffer stays. Linux: tcp_transmit_skb.
    /// </summary>
    private Errno TransmitSkb(Cpu cpu, SkBuff skb)
    {
        AttachRecovery(cpu);
        Micros priorWire = Pace.Advance(Time);
        skb.SentTime = Pace.Next.Value;
        Rate.OnSent(skb, PacketsOut == 0);
        if (InUrgentMode && skb.Tcp.Seq < Snd.Up)
            skb.Tcp.Flags |= TcpFlags.Urg;
        SkBuff segment = cpu.AllocSkb(SkBuff.TransmitHeadroom);
        if (skb.Length > 0)
            segment.ShareFragmentsFrom(skb, 0, skb.Length, cpu);
        segment.Tcp = skb.Tcp;
        segment.TrueSize = skb.TrueSize;
        (segment.Stamps, segment.StampKey) = (skb.Stamps, skb.StampKey);
        segment.SentTime = skb.SentTime;
        segment.Time = IsPaced ? Pace.Next.Value : 0;
        if (skb.ZeroCopy is { } notice)
        {
            notice.Hold();
            segment.ZeroCopy = notice;
        }
        Errno error = SendSegment(cpu, segment);
        AfterTransmit(skb, priorWire);
        return error;
    }

    /// <summary>Sends a segment without payload of its own. Linux: tcp_transmit_skb with clone_it = 0.</summary>
    private void TransmitEmpty(Cpu cpu, SeqNumber seq, TcpFlags flags, SeqNumber? ack = null)
    {
        SkBuff segment = cpu.AllocSkb(SkBuff.TransmitHeadroom);
        segment.Tcp.Seq = seq;
        segment.Tcp.EndSeq = (flags & (TcpFlags.Syn | TcpFlags.Fin)) != 0 ? seq + 1 : seq;
        segment.Tcp.Flags = flags;
        segment.Tcp.Segments = 1;
        segment.IpSummed = ChecksumState.Partial;
        SendSegment(cpu, segment, ack);
    }

    /// <summary>Gives a segment its TCP header and hands it to the network layer. Linux: __tcp_transmit_skb.</summary>
    /// <param name="ack">What to acknowledge; null: everything that has come.</param>
    private unsafe Errno SendSegment(Cpu cpu, SkBuff segment, SeqNumber? ack = null)
    {
        cpu.Trace(Tp.__tcp_transmit_skb, this, segment.Tcp.Seq.Value, segment.Length, (long)segment.Tcp.Flags, Rcv.Nxt.Value);
        TcpFlags flags = segment.Tcp.Flags;
        bool syn = (flags & TcpFlags.Syn) != 0;
        int payload = segment.Length;
        Span<SeqRange> blocks = stackalloc SeqRange[TcpOptions.MaxSackBlocks];
        Md5Key? key = SigningKey;
        scoped var options = new OutgoingOptions { HasMd5 = key is not null };
        if (syn)
            AddSynOptions(segment, ref options);
        else
            AddEstablishedOptions(ref options, blocks);
        // A super-packet is pushed, so that the receiver hands it up at once; a lone segment may be a sign of congestion.
        if (!syn && segment.Tcp.Segments > 1)
            flags |= TcpFlags.Psh;
        int headerLength = TcpHeader.MinLength + options.Size;
        ushort window = syn ? (ushort)Math.Min(Rcv.Wnd, ushort.MaxValue) : SelectWindow(cpu);
        flags = MarkEcn(segment, flags, payload);
        byte* tcp = segment.Push(headerLength);
        TcpHeader.Write(tcp, LocalPort, RemotePort, segment.Tcp.Seq, (flags & TcpFlags.Ack) != 0 ? ack ?? Rcv.Nxt : default, headerLength, flags,
            window, UrgentPointer(segment, ref flags));
        if ((flags & TcpFlags.Urg) != 0)
            tcp[13] |= (byte)TcpFlags.Urg;
        byte* digest = options.Write(tcp + TcpHeader.MinLength);
        if (key is not null)
            Tcp.Signer.Compute(cpu, key, SourceAddr, RemoteAddr, segment, new Span<byte>(digest, Md5Signer.DigestLength));
        AccEcn?.OnOptionsWritten(options.HasAccEcn, SackOut is { HasDuplicate: true }, Time);
        segment.TransportOffset = segment.Headroom;
        FinishHeader(segment, payload);
        if ((flags & TcpFlags.Ack) != 0 && (ack is null || ack == Rcv.Nxt))
            OnAckSent(cpu);
        if (payload > 0)
        {
            OnDataSent();
            AttachTransfer().DataSegmentsOut += (uint)segment.Tcp.Segments;
            AttachTransfer().BytesSent += (ulong)payload;
        }
        if (segment.Tcp.EndSeq > Snd.Nxt || segment.Tcp.Seq == segment.Tcp.EndSeq)
            cpu.Mib.Add(Mib.TcpOutSegs, segment.Tcp.Segments);
        Stats.SegmentsOut += (uint)segment.Tcp.Segments;
        ChargeTransmit(segment);
        Errno error = AfOps.QueueXmit(cpu, this, segment);
        if (error == Errno.ENOBUFS)
            EnterCwr(cpu);
        return error;
    }

    private unsafe void FinishHeader(SkBuff segment, int payload)
    {
        if (segment.Tcp.SegmentSize != 0 && payload > segment.Tcp.SegmentSize)
        {
            segment.GsoSize = (ushort)segment.Tcp.SegmentSize;
            segment.GsoSegs = (ushort)segment.Tcp.Segments;
            segment.GsoType = AfOps.IsV6 ? GsoType.TcpV6 : GsoType.TcpV4;
            if (IsAccEcn)
                segment.GsoType |= GsoType.TcpAccEcn;
            else if ((segment.Tcp.Flags & TcpFlags.Cwr) != 0)
                segment.GsoType |= GsoType.TcpEcn;
        }
        byte* tcp = segment.TransportHeader;
        uint pseudo = Checksum.PseudoHeader(SourceAddr, RemoteAddr, IpProtocol.Tcp, segment.Length);
        Be.PutRaw16(tcp + TcpHeader.ChecksumOffset, Checksum.Fold(pseudo));
        segment.IpSummed = ChecksumState.Partial;
        segment.ChecksumStart = segment.TransportOffset;
        segment.ChecksumOffset = TcpHeader.ChecksumOffset;
    }

    // What is gone when the call returns would be charged and uncharged within it, by four atomic operations that nobody could see.
    private void ChargeTransmit(SkBuff segment)
    {
        if (Route is { Device.KeepsPackets: false } && segment.Stamps == TransmitStamps.None)
            return;
        segment.Owner = this;
        segment.Charge = ChargeKind.Transmit;
        AddTransmitAllocated(segment.TrueSize);
        Hold();
    }

    /// <summary>A segment has left the host, or was dropped on it. Linux: tcp_wfree.</summary>
    internal override void OnBufferGone(SkBuff skb, ChargeKind charge, BufferCache cache)
    {
        if (charge != ChargeKind.Transmit)
        {
            base.OnBufferGone(skb, charge, cache);
            return;
        }
        AddTransmitAllocated(-skb.TrueSize);
        var cpu = (Cpu)cache;
        if (IsThrottled)
            Tcp.SmallQueues.Add(cpu, this);
        Put(cpu);
    }

    private void AddEstablishedOptions(ref OutgoingOptions options, Span<SeqRange> blocks)
    {
        if (HasTimestamps)
        {
            options.HasTimestamp = true;
            options.TsVal = TimestampOf(Time);
            options.TsEcr = TsRecent;
        }
        if (SackOut is { } sack)
            options.SackBlocks = blocks[..sack.Report(blocks[..SackBlocksToSend])];
        if (IsAccEcn)
            AddAccEcnOption(ref options);
    }

    private ushort UrgentPointer(SkBuff segment, ref TcpFlags flags)
    {
        if (!InUrgentMode || segment.Tcp.Seq >= Snd.Up)
            return 0;
        long distance = Snd.Up - segment.Tcp.Seq;
        if (distance > ushort.MaxValue)
        {
            if (Snd.Nxt + 0xffff <= segment.Tcp.Seq)
                return 0;
            distance = ushort.MaxValue;
        }
        flags |= TcpFlags.Urg;
        return (ushort)distance;
    }

    /// <summary>An ACK has gone with a segment. Linux: tcp_event_ack_sent.</summary>
    private void OnAckSent(Cpu cpu)
    {
        if (SackOut is { } sack)
        {
            if (sack.CompressedAcks > 0)
            {
                cpu.Mib.Add(Mib.TcpExtTCPAckCompressed, sack.CompressedAcks);
                sack.CompressedAcks = 0;
                sack.CompressedDeadline = Micros.Never;
            }
            sack.ClearDuplicate();
        }
        Ack.OnAckSent(Ack.IsScheduled ? 1 : 0);
        AckDeadline = Micros.Never;
    }

    // Linux: tcp_event_data_sent.
    private void OnDataSent()
    {
        if (PacketsInFlight == 0)
            Congestion?.OnEvent(this, CaEvent.TxStart);
        LastSent = Time;
        // An answer soon after data has come: an interactive exchange.
        if ((Time - Ack.LastReceived).Value < Ack.Ato)
            Ack.IncPingPong();
    }

    // Linux: tcp_update_skb_after_send.
    private void AfterTransmit(SkBuff skb, Micros priorWire)
    {
        if (IsPaced && PacingRate != ulong.MaxValue && PacingRate != 0 && Transfer?.DataSegmentsOut >= TcpConstants.InitialCwnd)
            Pace.OnSent(skb.Length, PacingRate, priorWire);
        Recovery!.Sent.Remove(skb);
        Recovery.Sent.Append(skb);
    }

    // ---- Pacing, and the layers below ----

    /// <summary>When the next segment may leave.</summary>
    public Pacer Pace;

    /// <summary>Whether segments are spread by the stack's own timer. Linux: SK_PACING_NEEDED.</summary>
    public bool IsPaced;

    /// <summary>
    /// Whether the queueing discipline has held segments until their time, and whether anybody else has asked for that. Linux:
    /// SK_PACING_FQ, SK_PACING_NEEDED.
    /// </summary>
    private bool _isPacedBelow, _isPacingRequested;

    internal bool IsPacedBelow => _isPacedBelow;

    internal override void OnPacedBelow() => IsPaced = _isPacedBelow = true;

    /// <summary>The send loop has stopped because the layers below were full. Linux: TSQ_THROTTLED.</summary>
    public volatile bool IsThrottled;

    /// <summary>
    /// Leaves it to the last of what is below to go on with sending. False: the layers below hold no more than
    /// <paramref name="most"/> bytes any more, and nobody may be left to come back.
    /// </summary>
    internal bool Throttle(long most)
    {
        // Whoever sees the flag needs a place for the connection.
        AttachTransfer();
        IsThrottled = true;
        // Whoever takes from the sum looks at the flag after it: one of the two must see the other's.
        Atomic.Fence();
        return TransmitAllocated > most;
    }

    public override void OnPacingRequested() => IsPaced = _isPacingRequested = true;

    // Deviates: Linux goes on as if fq were still there, and then nobody spreads the segments of who had asked for it.
    private void NoticeDiscipline()
    {
        if (!_isPacedBelow || Route is not { Device.Qdisc.KeepsTime: false })
            return;
        _isPacedBelow = false;
        IsPaced = _isPacingRequested;
    }

    private bool MustPace(Cpu cpu)
    {
        NoticeDiscipline();
        if (!IsPaced || _isPacedBelow || Pace.Next <= Time)
            return false;
        PacingDeadline = Pace.Next;
        ArmTimer(cpu, PacingDeadline);
        return true;
    }
}
